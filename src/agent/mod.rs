//! The agent of HAProxy's `agent-check`: it tells a balancer how much this server can take.
//!
//! A balancer connects every second or so, and reads one line. The line is ready at any time, and a
//! thread of the agent's own writes it, so that it comes at once while all workers are busy.

mod capacity;
mod weight;

use crate::config;
use crate::listening::{self, Listener};
use crate::observer::Observer;
use crate::server::StartError;
use capacity::Capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use weight::{Headroom, Weight};

/// The most bytes that a balancer may send (`agent-send`). They are read and dropped.
const SENT_MOST: usize = 1024;

/// The running HAProxy agent of a server. Dropping it stops it.
///
/// It needs the feature `admin`. To each connection it writes one line and closes it:
///
/// - `up 75% maxconn:1284` while the server takes requests;
/// - `drain` from the moment at which it is told to stop. Keep the agent until the server has
///   ended.
///
/// In its first minute it says `ready`, too, which cancels the `drain` of the process before it.
///
/// The percentage is that of the weight which the balancer's configuration gives to the server. It
/// is proportional to the capacity W / S, where S is the service time that is measured now. So
/// servers of different sizes and speeds come to the same utilisation, whatever the load is. No
/// weight depends on the utilisation that it causes, so nothing oscillates. Only a backlog lowers
/// it: by the rate at which the backlog is served in 5 s, and by half at most. It changes once a
/// second at most, and only if it is off by 3 percent.
///
/// Percentages need a unit that all servers of a balancer share, since no server knows the others:
/// the capacity that is 100 percent ([`Agent::with_capacity`]). Without it the unit is the server's
/// own usual capacity. Then a server that becomes slower than usual gives way, and the balancer's
/// configuration gives weights to servers of different sizes.
///
/// `maxconn` is the number of requests that the server can have, W and the bound of its queue, and
/// 256 more that it refuses at once. With fewer, the balancer keeps what is too much in a queue of
/// its own, which knows no deadline, and most requests are answered too late.
#[derive(Debug)]
#[must_use = "dropping it stops the agent"]
pub struct Agent {
    address: SocketAddr,
    // Dropped first: the thread sees that it is gone, and can be joined.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// The descriptors that it holds at most.
    pub const DESCRIPTORS: usize = config::AGENT_CONNECTIONS + 4;

    /// Tells about a server on `listen`. The weight is in percent of the server's usual capacity.
    pub fn start(listen: SocketAddr, observed: Observer) -> Result<Self, StartError> {
        Self::start_on(listener_at(listen)?, None, observed)
    }

    /// Like [`Agent::start`], but 100 percent is a capacity of this many requests per second. Give
    /// all servers of a balancer the same, at least that of the largest. A server that can do more
    /// says 100 percent, one that can do less than a hundredth says 1 percent.
    pub fn with_capacity(
        listen: SocketAddr,
        capacity: f64,
        observed: Observer,
    ) -> Result<Self, StartError> {
        check(capacity)?;
        Self::start_on(listener_at(listen)?, Some(capacity), observed)
    }

    /// Like [`Agent::start`] or [`Agent::with_capacity`], on a TCP socket that listens already.
    pub fn start_on(
        listener: Listener,
        capacity: Option<f64>,
        observed: Observer,
    ) -> Result<Self, StartError> {
        capacity.map_or(Ok(()), check)?;
        let Some(address) = listener.address() else {
            let reason = format!("with an agent on {listener} (name an address and a port)");
            return Err(StartError::Config(reason));
        };
        let (stopped, stop) = io::pipe().map_err(StartError::System)?;
        let teller = Teller::new(observed, capacity);
        let desk = Desk { listener, stopped, teller, leaving: Vec::new() };
        let thread = thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || desk.run())
            .map_err(StartError::System)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// The address that it listens on, with its actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn listener_at(listen: SocketAddr) -> Result<Listener, StartError> {
    let mut listeners = Listener::bind(&[listen])?;
    listeners.pop().ok_or_else(|| StartError::Listen(listen, ErrorKind::AddrNotAvailable.into()))
}

fn check(capacity: f64) -> Result<(), StartError> {
    if capacity.is_finite() && capacity > 0.0 {
        return Ok(());
    }
    let reason = format!("with the agent's capacity {capacity} (more than 0 requests/s)");
    Err(StartError::Config(reason))
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the agent panicked");
        }
    }
}

/// What is told.
#[derive(Debug)]
struct Teller {
    observed: Observer,
    capacity: Capacity,
    weight: Weight,
    started: Instant,
}

impl Teller {
    fn new(observed: Observer, whole: Option<f64>) -> Self {
        let capacity = Capacity::new(observed.config().workers, observed.work());
        Self { observed, capacity, weight: Weight::new(whole), started: Instant::now() }
    }

    /// Looks at the workers.
    fn look(&mut self) {
        self.capacity.look(self.observed.work());
        if let Some(rate) = self.capacity.rate() {
            let headroom = Headroom {
                rate,
                is_settled: self.capacity.is_settled(),
                waiting: self.observed.waiting(),
                may_rise: !self.capacity.is_failing(),
            };
            self.weight.follow(headroom, self.started.elapsed());
        }
    }

    fn line(&self) -> String {
        if !self.observed.is_ready() {
            return "drain\n".to_owned();
        }
        let config = self.observed.config();
        let most = config.workers + self.observed.bound() + config::AGENT_REFUSALS;
        report(self.started.elapsed() < config::AGENT_READY, self.weight.percent(), most)
    }
}

/// The line for a server that takes requests: words that HAProxy understands in any order. A word
/// that is not there leaves what it is about as it was.
fn report(is_new: bool, percent: Option<u32>, most: usize) -> String {
    let ready = if is_new { "ready " } else { "" };
    let percent = percent.map_or(String::new(), |percent| format!("{percent}% "));
    format!("{ready}up {percent}maxconn:{most}\n")
}

/// The thread: it answers balancers, and looks at the workers.
#[derive(Debug)]
struct Desk {
    listener: Listener,
    /// At its end when the agent is dropped.
    stopped: PipeReader,
    teller: Teller,
    /// Those who have got their line, the latest last.
    leaving: Vec<Leaving>,
}

/// A connection whose line is sent. If it were closed before the balancer's own bytes are read, the
/// system would reset it, and the line could be lost.
#[derive(Debug)]
struct Leaving {
    stream: TcpStream,
    until: Instant,
    read: usize,
}

impl Desk {
    fn run(mut self) {
        let mut next_look = Instant::now();
        let mut accepts = 0;
        loop {
            let now = Instant::now();
            if next_look <= now {
                next_look = now + config::AGENT_TICK;
                accepts = config::AGENT_ACCEPTS;
                self.teller.look();
                self.leaving.retain(|one| one.until > now);
            }
            match self.wait(next_look - now, accepts > 0) {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    log::error!("the agent cannot wait for balancers: {error}");
                    thread::sleep(config::AGENT_TICK);
                }
            }
            self.leaving.retain_mut(|one| !one.is_over());
            while accepts > 0 {
                match listening::accept(&self.listener) {
                    Ok((stream, _)) => {
                        accepts -= 1;
                        self.tell(stream);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // Short of descriptors, or the connection has failed: later.
                    Err(_) => accepts = 0,
                }
            }
        }
    }

    /// Waits for an event. True if the agent is dropped.
    fn wait(&self, most: Duration, accepts: bool) -> io::Result<bool> {
        let mut watched = vec![PollFd::new(&self.stopped, PollFlags::IN)];
        watched.extend(self.leaving.iter().map(|one| PollFd::new(&one.stream, PollFlags::IN)));
        if accepts {
            watched.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        let most = Timespec::try_from(most).map_err(io::Error::other)?;
        match poll(&mut watched, Some(&most)) {
            Ok(_) => Ok(!watched[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends the line. A new connection has room for it; one that does not is closed.
    fn tell(&mut self, mut stream: TcpStream) {
        let line = self.teller.line();
        let sent = stream
            .set_nonblocking(true)
            .and_then(|()| stream.write_all(line.as_bytes()))
            .and_then(|()| stream.shutdown(Shutdown::Write));
        if sent.is_err() {
            return;
        }
        let mut leaving = Leaving { stream, until: Instant::now() + config::AGENT_LINGER, read: 0 };
        if leaving.is_over() {
            return;
        }
        if self.leaving.len() == config::AGENT_CONNECTIONS {
            self.leaving.remove(0);
        }
        self.leaving.push(leaving);
    }
}

impl Leaving {
    /// True if its other end has closed it, or has sent too much.
    fn is_over(&mut self) -> bool {
        let mut bytes = [0; 256];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(count) => self.read += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
            if self.read > SENT_MOST {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_what_is_known() {
        assert_eq!(report(true, None, 1284), "ready up maxconn:1284\n");
        assert_eq!(report(true, Some(100), 1284), "ready up 100% maxconn:1284\n");
        assert_eq!(report(false, Some(75), 1), "up 75% maxconn:1\n");
    }
}
