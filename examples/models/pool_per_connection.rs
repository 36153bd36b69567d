//! The textbook pool: a channel of connections, and W threads that each stay with one connection
//! until it ends.
//!
//! At most W requests at a time, however many clients there are: W/D requests per second. Its
//! weakness is that a worker belongs to a connection, not to a request: W clients that send nothing
//! block all others.

use crate::conversation::converse;
use crate::duty::Duty;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

pub fn serve(listener: &TcpListener, workers: usize, duty: &Arc<Duty>) -> io::Result<()> {
    let (send, receive) = mpsc::channel::<TcpStream>();
    let receive = Arc::new(Mutex::new(receive));
    for number in 1..=workers {
        let (receive, duty) = (Arc::clone(&receive), Arc::clone(duty));
        let work = move || {
            loop {
                let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(stream) = next else { return };
                // An error of one client does not concern the server.
                let _ = converse(stream, &duty);
            }
        };
        thread::Builder::new().name(format!("worker-{number}")).spawn(work)?;
    }
    loop {
        let (stream, _) = listener.accept()?;
        if send.send(stream).is_err() {
            return Err(io::Error::other("all workers have ended"));
        }
    }
}
