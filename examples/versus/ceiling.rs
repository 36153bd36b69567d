//! The ceiling: a responder with this server's architecture that parses nothing and sends constant
//! bytes.
//!
//! One thread accepts and reads, a channel carries readable connections to the workers, and a table
//! and a poller hold waiting connections. Any received bytes count as a request. No server with
//! this architecture can be faster.

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsRawFd, OwnedFd};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Content up to this size is sent together with its head.
const SMALL: usize = 16 * 1024;

/// The size of the table, by descriptor.
const TABLE: usize = 1 << 16;

const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    /// Bytes of the current response that have been sent.
    sent: usize,
    /// The events that the poller reports for it, once it is registered.
    reported: Option<EventFlags>,
}

#[derive(Default)]
struct Slot {
    guest: Option<Connection>,
    /// An event arrived while the slot was empty.
    missed: bool,
}

struct Shared {
    epoll: OwnedFd,
    table: Vec<Mutex<Slot>>,
    /// Head and content, or only the head if the content is in a file.
    head: Vec<u8>,
    file: Option<File>,
    length: usize,
    closes: bool,
}

/// Serves until the process is killed.
pub fn serve(bytes: usize, workers: usize, address: SocketAddr, closes: bool) -> io::Result<()> {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.bind(&address.into())?;
    listener.listen(4096)?;
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    set_options(&listener)?;
    rustix::net::sockopt::set_tcp_quickack(&listener, false)?;
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
    let table = (0..TABLE).map(|_| Mutex::default()).collect();
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
                    if let Some(connection) = self.take(key as usize) {
                        self.advance(connection, &mut buffer, jobs);
                    }
                    continue;
                }
                for _ in 0..64 {
                    let Ok((stream, _)) = listener.accept() else { break };
                    stream.set_nonblocking(true)?;
                    let fresh = Connection { stream, sent: 0, reported: None };
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

    /// Reads the received bytes, or continues to send.
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

    /// Sends as much as possible, then parks the connection.
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
        if self.closes {
            let _ = connection.stream.shutdown(Shutdown::Write);
        } else {
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
            None if !self.closes => connection.stream.write(&self.head[sent..]),
            _ => Ok(send(&connection.stream, &self.head[sent..], SendFlags::MORE)?),
        }
    }

    fn park(&self, mut connection: Connection, interest: EventFlags) {
        let key = connection.stream.as_raw_fd() as usize;
        let Some(slot) = self.table.get(key) else { return };
        let mut slot = lock(slot);
        let missed = std::mem::take(&mut slot.missed);
        let reported = connection.reported.replace(interest);
        // Hold the lock while the poller is updated, so that a thread that gets the event waits for
        // the connection.
        let stream = &slot.guest.insert(connection).stream;
        let (data, flags) = (EventData::new_u64(key as u64), interest | EventFlags::ET);
        let armed = match reported {
            None => epoll::add(&self.epoll, stream, data, flags),
            Some(before) if before == EventFlags::IN && interest == before && !missed => Ok(()),
            Some(_) => epoll::modify(&self.epoll, stream, data, flags),
        };
        if armed.is_err() {
            slot.guest = None;
        }
    }

    fn take(&self, key: usize) -> Option<Connection> {
        let mut slot = lock(self.table.get(key)?);
        let guest = slot.guest.take();
        slot.missed = guest.is_none();
        guest
    }
}

/// The number of unsent bytes that the kernel queues.
const UNSENT: libc::c_int = 256 * 1024;

/// Sets the same socket options as the server: deferred accept, and a limit on unsent bytes.
#[allow(unsafe_code, reason = "no crate that is used here wraps these options")]
fn set_options(listener: &TcpListener) -> io::Result<()> {
    for (option, value) in [(libc::TCP_DEFER_ACCEPT, 1), (libc::TCP_NOTSENT_LOWAT, UNSENT)] {
        // SAFETY: the descriptor is open while `listener` is borrowed; the kernel reads one
        // `c_int`.
        let outcome = unsafe {
            libc::setsockopt(
                listener.as_raw_fd(),
                libc::IPPROTO_TCP,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn lock(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
