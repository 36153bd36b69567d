//! Slow clients of four kinds. One thread runs them all.

use lab::load::{Connections, Target};
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time between two bytes of a trickling client.
const TRICKLE: Duration = Duration::from_millis(100);

/// The receive buffer of a client that does not read. The system may choose another size.
const RECEIVE_BYTES: usize = 16 * 1024;

/// The kinds of slow clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Connects and sends nothing.
    Silent,
    /// Sends a request one byte at a time.
    Trickling,
    /// Requests a large response and does not read it.
    Deaf,
    /// Sends one request and keeps the connection open.
    Idle,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Silent, Self::Trickling, Self::Deaf, Self::Idle];

    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Trickling => "trickling",
            Self::Deaf => "not reading",
            Self::Idle => "idle keep-alive",
        }
    }
}

/// A number of clients of one kind, for a time interval.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    pub kind: Kind,
    pub clients: usize,
    /// The time from the start of the run.
    pub begin: Duration,
    pub length: Duration,
}

/// Runs these intervals, which are in order. The clients request the small or the large resource.
pub fn start(
    [small, large]: [Target; 2],
    attacks: Vec<Attack>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let begun = Instant::now();
    let play = move || {
        for attack in attacks {
            wait_until(begun + attack.begin);
            let target = if attack.kind == Kind::Deaf { &large } else { &small };
            attack.play(target, begun + attack.begin + attack.length)?;
        }
        Ok(())
    };
    thread::Builder::new().name("slow clients".to_owned()).spawn(play)
}

impl Attack {
    fn play(&self, target: &Target, end: Instant) -> io::Result<()> {
        let mut clients = Vec::with_capacity(self.clients);
        for _ in 0..self.clients {
            clients.push(self.kind.connect(target)?);
        }
        if self.kind == Kind::Trickling {
            let start = format!("GET {} HTTP/1.1\r\nX-Filler: ", target.path);
            for byte in start.as_bytes().iter().chain(b"slow ".iter().cycle()) {
                if Instant::now() + TRICKLE >= end {
                    break;
                }
                thread::sleep(TRICKLE);
                for client in &mut clients {
                    tolerate(client.write_all(&[*byte]))?;
                }
            }
        }
        wait_until(end);
        Ok(())
    }
}

impl Kind {
    fn connect(self, target: &Target) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        match self {
            Self::Silent | Self::Trickling => return Ok(stream),
            Self::Deaf => socket2::SockRef::from(&stream).set_recv_buffer_size(RECEIVE_BYTES)?,
            Self::Idle => {}
        }
        tolerate(stream.write_all(&target.request(Connections::Kept(1))))?;
        Ok(stream)
    }
}

/// The server may close connections of such clients.
fn tolerate(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error)
            if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn wait_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
