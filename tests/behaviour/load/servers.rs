//! Servers that do one thing, each slow or wrong in its own way, and clients for them.

use lab::load::{Client, Connections, Outcome, Target};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// The time after which a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A listener that passes each connection, with its number, to `serve` on a thread. It lives until
/// the process ends.
pub struct FakeServer {
    pub address: SocketAddr,
    pub accepted: Arc<AtomicUsize>,
}

impl FakeServer {
    pub fn start(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (Arc::clone(&accepted), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = count.fetch_add(1, SeqCst);
                let serve = Arc::clone(&serve);
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                thread::spawn(move || serve(stream, number));
            }
        });
        Self { address, accepted }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

/// Reads one request head; false at the end of the connection.
pub fn read_request(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// Answers each request of a connection with these bytes after `delay`.
pub fn answer(mut stream: TcpStream, delay: Duration, bytes: &[u8]) {
    while read_request(&mut stream) {
        thread::sleep(delay);
        if stream.write_all(bytes).is_err() {
            return;
        }
    }
}

pub fn client(target: SocketAddr, connections: Connections) -> Client {
    Target::new(target, "/").client(connections, PATIENCE)
}

/// The outcome of one request.
pub fn ask_once(client: &Client) -> Outcome {
    let run = client.open_loop(&[Duration::ZERO]).unwrap();
    let [outcome] = run.outcomes[..] else { panic!("{:?}", run.outcomes) };
    outcome
}
