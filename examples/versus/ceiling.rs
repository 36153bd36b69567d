//! The ceiling: a responder of this server's shape that parses nothing and sends constant bytes.
//!
//! One thread accepts and reads, a channel carries what is readable to the workers, a table and a
//! poller hold what waits. What bytes come is all one: some mean a request. What this cannot reach,
//! no server of this shape can.

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsRawFd, OwnedFd};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Content up to this size goes out with its head.
const SMALL: usize = 16 * 1024;

/// Descriptors that there may be.
const TABLE: usize = 1 << 16;

const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    /// Bytes of the current response that were sent.
    sent: usize,
    is_known: bool,
}

struct Shared {
    epoll: OwnedFd,
    table: Vec<Mutex<Option<Connection>>>,
    /// Head and content, or the head alone and the content in a file.
    head: Vec<u8>,
    file: Option<File>,
    length: usize,
    closes: bool,
}

/// Serves until it is killed.
pub fn serve(bytes: usize, workers: usize, port: u16, closes: bool) -> io::Result<()> {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    listener.listen(4096)?;
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    let connection = if closes { "Connection: close\r\n" } else { "" };
    let mut head = format!(
        "HTTP/1.1 200 OK\r\n{connection}Server: ceiling\r\nDate: Tue, 24 Nov 2026 08:43:30 GMT\r\n\
         Content-Type: text/html; charset=utf-8\r\nETag: \"9a91dc-73-18eaa0020a6c22d4\"\r\n\
         Last-Modified: Tue, 24 Nov 2026 08:42:12 GMT\r\nAccept-Ranges: bytes\r\n\
         Content-Length: {bytes}\r\n\r\n"
    )
    .into_bytes();
    let length = head.len() + bytes;
    let mut file = None;
    if bytes <= SMALL {
        head.resize(length, b'x');
    } else {
        let mut content = tempfile::tempfile()?;
        content.write_all(&vec![b'x'; bytes])?;
        file = Some(content);
    }
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let table = (0..TABLE).map(|_| Mutex::new(None)).collect();
    let shared = Arc::new(Shared { epoll, table, head, file, length, closes });
    let (jobs, waiting) = bounded(TABLE);
    for _ in 0..workers {
        let (shared, waiting): (_, Receiver<Connection>) = (Arc::clone(&shared), waiting.clone());
        thread::spawn(move || waiting.iter().for_each(|connection| shared.respond(connection)));
    }
    shared.accept(&listener, &jobs)
}

impl Shared {
    fn accept(&self, listener: &TcpListener, jobs: &Sender<Connection>) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        let mut buffer = vec![0; 16 * 1024];
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let key = event.data.u64();
                if key != LISTENER {
                    let taken = self.slot(key as usize).and_then(|slot| lock(slot).take());
                    if let Some(connection) = taken {
                        self.advance(connection, &mut buffer, jobs);
                    }
                    continue;
                }
                for _ in 0..64 {
                    let Ok((stream, _)) = listener.accept() else { break };
                    stream.set_nonblocking(true)?;
                    let fresh = Connection { stream, sent: 0, is_known: false };
                    self.advance(fresh, &mut buffer, jobs);
                }
            }
            let mut tries = 16;
            while !jobs.is_empty() && tries > 0 {
                thread::yield_now();
                tries -= 1;
            }
        }
    }

    /// Reads what has come, or sends on what was begun.
    fn advance(&self, mut connection: Connection, buffer: &mut [u8], jobs: &Sender<Connection>) {
        if connection.sent > 0 {
            return self.respond(connection);
        }
        match connection.stream.read(buffer) {
            Ok(0) => {}
            Ok(_) => {
                let _ = jobs.send(connection);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.park(connection, EventFlags::IN);
            }
            Err(_) => {}
        }
    }

    /// Sends what there is room for, and parks.
    fn respond(&self, mut connection: Connection) {
        while connection.sent < self.length {
            match self.send(&mut connection) {
                Ok(0) => return,
                Ok(count) => connection.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.park(connection, EventFlags::OUT);
                }
                Err(_) => return,
            }
        }
        connection.sent = 0;
        if !self.closes {
            self.park(connection, EventFlags::IN);
        }
    }

    fn send(&self, connection: &mut Connection) -> io::Result<usize> {
        use rustix::net::{SendFlags, send};
        let sent = connection.sent;
        match &self.file {
            Some(file) if sent >= self.head.len() => {
                let mut offset = (sent - self.head.len()) as u64;
                let left = (self.length - sent).min(256 * 1024);
                Ok(rustix::fs::sendfile(&connection.stream, file, Some(&mut offset), left)?)
            }
            Some(_) => Ok(send(&connection.stream, &self.head[sent..], SendFlags::MORE)?),
            None => connection.stream.write(&self.head[sent..]),
        }
    }

    fn park(&self, mut connection: Connection, interest: EventFlags) {
        let key = connection.stream.as_raw_fd() as usize;
        let Some(slot) = self.slot(key) else { return };
        let mut slot = lock(slot);
        let known = std::mem::replace(&mut connection.is_known, true);
        // Held while the poller is told, so that its finder waits for the connection.
        let stream = &slot.insert(connection).stream;
        let (data, flags) = (EventData::new_u64(key as u64), interest | EventFlags::ONESHOT);
        let armed = match known {
            true => epoll::modify(&self.epoll, stream, data, flags),
            false => epoll::add(&self.epoll, stream, data, flags),
        };
        if armed.is_err() {
            *slot = None;
        }
    }

    fn slot(&self, key: usize) -> Option<&Mutex<Option<Connection>>> {
        self.table.get(key)
    }
}

fn lock(slot: &Mutex<Option<Connection>>) -> std::sync::MutexGuard<'_, Option<Connection>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
