//! The clients of a run: ordinary ones, and others that occupy a server without a request.

use lab::load::{Client, Connections, Target};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What every client requests.
pub const FILE: &str = "testfile";

/// The time between two bytes of a slow client.
const TRICKLE: Duration = Duration::from_millis(100);

/// Which clients a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Few,
    Many,
    /// Few, while others connect and send nothing.
    Silent,
    /// Few, while others send a request one byte at a time.
    Slow,
}

impl Scenario {
    pub const ALL: [Self; 4] = [Self::Few, Self::Many, Self::Silent, Self::Slow];

    pub fn name(self) -> &'static str {
        match self {
            Self::Few => "few",
            Self::Many => "many",
            Self::Silent => "silent",
            Self::Slow => "slow",
        }
    }
}

/// An ordinary client.
pub fn ordinary(server: SocketAddr, patience: Duration) -> Client {
    Target::new(server, &format!("/{FILE}")).client(Connections::NewEach, patience)
}

/// Connected clients without a request. Dropping this disconnects them.
pub struct Occupants {
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Occupants {
    /// Connects the clients that the scenario has beside the ordinary ones.
    pub fn connect(scenario: Scenario, count: usize, server: SocketAddr) -> io::Result<Self> {
        let sends = match scenario {
            Scenario::Few | Scenario::Many => return Ok(Self { running: None, thread: None }),
            Scenario::Silent => false,
            Scenario::Slow => true,
        };
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(TcpStream::connect(server)?);
        }
        let (running, ended) = channel::<()>();
        let play = move || {
            let head = format!("GET /{FILE} HTTP/1.1\r\nX-Filler: ");
            for byte in head.as_bytes().iter().chain(b"slow ".iter().cycle()) {
                // A server may have closed some of them.
                let send = |client: &mut TcpStream| drop(client.write_all(&[*byte]));
                if sends {
                    clients.iter_mut().for_each(send);
                }
                if ended.recv_timeout(TRICKLE) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("occupants".to_owned()).spawn(play)?;
        Ok(Self { running: Some(running), thread: Some(thread) })
    }
}

impl Drop for Occupants {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // It cannot fail: it ignores all errors of its clients.
            let _ = thread.join();
        }
    }
}
