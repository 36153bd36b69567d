//! A raw server that records what arrives, byte by byte, and when.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub at: Instant,
    pub head: String,
    pub body: Vec<u8>,
}

impl Arrived {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The server. It lives until the process ends.
pub struct Recorder {
    pub address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    connected: Arc<OnceLock<Instant>>,
}

impl Recorder {
    /// Answers everything with [`OK`], a HEAD without its body.
    pub fn start() -> Self {
        Self::answering(Duration::ZERO)
    }

    /// The same after a delay.
    pub fn answering(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&arrived);
        let connected = Arc::new(OnceLock::new());
        let first = Arc::clone(&connected);
        thread::spawn(move || {
            for stream in listener.incoming() {
                first.get_or_init(Instant::now);
                let record = Arc::clone(&record);
                thread::spawn(move || serve(stream.unwrap(), delay, &record));
            }
        });
        Self { address, arrived, connected }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The time of the first connection, with which `load` finds out whether a server is there: the
    /// load starts later.
    pub fn before_the_load(&self) -> Instant {
        *self.connected.get().unwrap()
    }

    /// What has arrived so far, in the order of its last bytes.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, delay: Duration, record: &Mutex<Vec<Arrived>>) {
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let arrived = Arrived { at: Instant::now(), head, body: Vec::new() };
            let length = arrived.field("Content-Length").map_or(0, |text| text.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let rest = bytes.split_off(end + 4 + length);
                let body = bytes.split_off(end + 4);
                bytes = rest;
                let is_head = arrived.head.starts_with("HEAD ");
                record.lock().unwrap().push(Arrived { body, ..arrived });
                thread::sleep(delay);
                let answer = if is_head { &OK[..OK.len() - 2] } else { OK };
                if stream.write_all(answer).is_err() {
                    return;
                }
                continue;
            }
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
}
