//! A thread for each connection.
//!
//! As many requests at a time as there are clients, and no bound on either. A client that sends
//! nothing costs a thread: a stack, and a place in the scheduler.

use crate::conversation::converse;
use crate::duty::Duty;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

pub fn serve(listener: &TcpListener, duty: &Arc<Duty>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let duty = Arc::clone(duty);
        let work = move || {
            // An error of one client does not concern the server.
            let _ = converse(stream, &duty);
        };
        // If no thread can be started, this client is dropped, and others may end and leave room.
        drop(thread::Builder::new().spawn(work));
    }
}
