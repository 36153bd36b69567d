//! Clients that are slow, each kind in its own way. One thread plays them all.

use lab::load::{Connections, Target};
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time between two bytes of one that trickles.
const TRICKLE: Duration = Duration::from_millis(100);

/// The receive buffer of one that does not read; the system takes it for a wish.
const RECEIVE_BYTES: usize = 16 * 1024;

/// The kinds of slow clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Connects, and says nothing.
    Silent,
    /// Sends a request a byte at a time.
    Trickling,
    /// Asks for much, and does not read it.
    Deaf,
    /// Asks once, and keeps the connection for later.
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

/// So many clients of a kind, for a while.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    pub kind: Kind,
    pub clients: usize,
    /// From the start of the run.
    pub begin: Duration,
    pub length: Duration,
}

/// Plays these, which are in order, from now on, on what is small and on what is large.
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

/// A server may hang up on such clients.
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
