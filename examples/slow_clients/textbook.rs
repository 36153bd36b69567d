//! The textbook pool: a channel of connections, and W threads that each stay with one connection
//! until it ends.
//!
//! It is written as in books and courses, with a limit on what it reads, and it keeps connections
//! open as HTTP/1.1 requires. Its weakness is the architecture: a worker belongs to a connection,
//! not to a request.

use crate::LARGE;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// The read timeout, a common default of servers of this kind.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// The limit of a request head in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// A textbook pool. Its threads end with the process.
pub struct Textbook {
    pub address: SocketAddr,
}

impl Textbook {
    /// Starts the threads.
    pub fn start(workers: usize, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (send, receive) = mpsc::channel::<TcpStream>();
        let receive = Arc::new(Mutex::new(receive));
        let large = Arc::new(vec![b'x'; LARGE]);
        for number in 1..=workers {
            let (receive, large) = (Arc::clone(&receive), Arc::clone(&large));
            let work = move || {
                loop {
                    let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(stream) = next else { return };
                    // An error of one client does not concern the server.
                    let _ = serve(stream, delay, &large);
                }
            };
            thread::Builder::new().name(format!("textbook-{number}")).spawn(work)?;
        }
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if send.send(stream).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("textbook".to_owned()).spawn(accept)?;
        Ok(Self { address })
    }
}

/// Serves one request after another until the connection ends.
fn serve(mut stream: TcpStream, delay: Duration, large: &[u8]) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_nodelay(true)?;
    while let Some(head) = read_head(&mut stream)? {
        thread::sleep(delay);
        let content = if head.starts_with(b"GET /large ") { large } else { b"done\n" };
        let is_last = contains(&head, b"Connection: close\r\n");
        let connection = if is_last { "Connection: close\r\n" } else { "" };
        let length = content.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{connection}\r\n")?;
        stream.write_all(content)?;
        if is_last {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads the next request head. `None` at the end of the connection.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut some = [0; 1024];
    while !contains(&head, b"\r\n\r\n") {
        let count = stream.read(&mut some)?;
        if count == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&some[..count]);
        if head.len() > HEAD_BYTES {
            return Err(io::Error::other("the head is too long"));
        }
    }
    Ok(Some(head))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
