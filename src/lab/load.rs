//! An open-loop generator: each request starts when it is meant to, whatever became of the others.
//!
//! One thread and one poller drive all exchanges, connecting included, so that no answer that is
//! late or lost delays another request. What a request met counts from its *intended* start.

use crate::client::ResponseFraming;
use crate::parking::{Interest, Parked, Parking, ReadyKeys, Socket};
use socket2::{Domain, Protocol, Type};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Grain at which patience is looked at.
const SWEEP: Duration = Duration::from_millis(2);

/// Descriptors that a load may use at once.
const DESCRIPTORS: usize = 1 << 20;

/// What each client does: one request on a connection of its own.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub target: SocketAddr,
    /// The bytes that it is sent.
    pub request: Vec<u8>,
    /// How long a client waits for its answer, from the start of a try, before it hangs up.
    pub patience: Duration,
    /// How many times it tries again, at once, when it was refused or has hung up.
    pub retries: u32,
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// When it was meant to start, from the start of the load.
    pub intended: Duration,
    /// How much later it did: the generator's own lateness.
    pub lateness: Duration,
    /// When it ended, on the same clock.
    pub ended: Duration,
    /// How its last try ended.
    pub answer: Answer,
    /// How often it was tried.
    pub tries: u32,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A whole response with this status.
    Status(u16),
    /// The client hung up.
    TimedOut,
    /// The connection failed, or the response was cut.
    Failed(ErrorKind),
}

impl Outcome {
    /// True for a whole 200 within `patience` of the intended start.
    pub fn is_good(&self, patience: Duration) -> bool {
        self.answer == Answer::Status(200) && self.ended <= self.intended + patience
    }

    /// The time from the intended start to the end.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_sub(self.intended)
    }
}

impl Load {
    /// Runs one request for each of `starts`, which are in order; returns when all have ended.
    ///
    /// # Errors
    ///
    /// If the system has no poller for it; what befalls a request is in its outcome.
    pub fn run(&self, starts: &[Duration]) -> io::Result<Vec<Outcome>> {
        let mut run = Run {
            load: self,
            parking: Parking::new(DESCRIPTORS)?,
            clock: Instant::now(),
            open: 0,
            outcomes: Vec::with_capacity(starts.len()),
            buffer: vec![0; 64 * 1024],
        };
        let mut ready = ReadyKeys::with_capacity(1024);
        let mut next_sweep = Duration::ZERO;
        let mut waiting = starts.iter().copied().peekable();
        while waiting.peek().is_some() || run.open > 0 {
            while let Some(intended) = waiting.next_if(|start| *start <= run.clock.elapsed()) {
                run.start(intended);
            }
            let now = run.clock.elapsed();
            let next_start = waiting.peek().map_or(SWEEP, |start| start.saturating_sub(now));
            run.parking.wait(&mut ready, next_start.min(SWEEP))?;
            for key in ready.iter() {
                if let Some(exchange) = run.parking.take(key) {
                    run.advance(exchange);
                }
            }
            if run.clock.elapsed() >= next_sweep {
                run.hang_up();
                next_sweep = run.clock.elapsed() + SWEEP;
            }
        }
        Ok(run.outcomes)
    }
}

/// One try on its way.
struct Exchange {
    socket: Socket,
    intended: Duration,
    lateness: Duration,
    tries: u32,
    deadline: Instant,
    phase: Phase,
}

enum Phase {
    /// Connecting, or with so many bytes of the request sent.
    Sending(usize),
    Receiving(Box<ResponseFraming>),
}

impl Parked for Exchange {
    fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }
}

struct Run<'a> {
    load: &'a Load,
    parking: Parking<Exchange>,
    clock: Instant,
    open: usize,
    outcomes: Vec<Outcome>,
    buffer: Vec<u8>,
}

impl Run<'_> {
    fn start(&mut self, intended: Duration) {
        let lateness = self.clock.elapsed().saturating_sub(intended);
        self.try_once(intended, lateness, 1);
    }

    fn try_once(&mut self, intended: Duration, lateness: Duration, tries: u32) {
        self.open += 1;
        // The first try's patience counts from when the client meant to start.
        let begun = if tries == 1 { self.clock + intended } else { Instant::now() };
        let deadline = begun + self.load.patience;
        match connect(self.load.target) {
            Ok(socket) => {
                let phase = Phase::Sending(0);
                let exchange = Exchange { socket, intended, lateness, tries, deadline, phase };
                self.park(Box::new(exchange), Interest::Writable);
            }
            Err(error) => self.end(intended, lateness, tries, Answer::Failed(error.kind())),
        }
    }

    fn park(&mut self, exchange: Box<Exchange>, interest: Interest) {
        if let Err((exchange, error)) = self.parking.park(exchange, interest) {
            self.finish(*exchange, Answer::Failed(error.kind()));
        }
    }

    fn advance(&mut self, mut exchange: Box<Exchange>) {
        match exchange.step(self.load, &mut self.buffer) {
            Ok(Some(status)) => self.finish(*exchange, Answer::Status(status)),
            Ok(None) => {
                let interest = match exchange.phase {
                    Phase::Sending(_) => Interest::Writable,
                    Phase::Receiving(_) => Interest::Readable,
                };
                self.park(exchange, interest);
            }
            Err(error) => self.finish(*exchange, Answer::Failed(error.kind())),
        }
    }

    fn hang_up(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        self.parking.take_all(|exchange| exchange.deadline <= now, |exchange| due.push(exchange));
        for exchange in due {
            self.finish(*exchange, Answer::TimedOut);
        }
    }

    fn finish(&mut self, exchange: Exchange, answer: Answer) {
        let Exchange { intended, lateness, tries, .. } = exchange;
        self.end(intended, lateness, tries, answer);
    }

    fn end(&mut self, intended: Duration, lateness: Duration, tries: u32, answer: Answer) {
        self.open -= 1;
        if answer != Answer::Status(200) && tries <= self.load.retries {
            return self.try_once(intended, lateness, tries + 1);
        }
        let ended = self.clock.elapsed();
        self.outcomes.push(Outcome { intended, lateness, ended, answer, tries });
    }
}

impl Exchange {
    /// Goes on as far as possible without waiting; gives the status once the response is whole.
    fn step(&mut self, load: &Load, buffer: &mut [u8]) -> io::Result<Option<u16>> {
        if let Phase::Sending(sent) = &mut self.phase {
            self.socket.take_error()?;
            while *sent < load.request.len() {
                match self.socket.write(&[IoSlice::new(&load.request[*sent..])]) {
                    Ok(count) => *sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            self.phase = Phase::Receiving(Box::new(ResponseFraming::new(false)));
            return Ok(None);
        }
        let Phase::Receiving(framing) = &mut self.phase else { return Ok(None) };
        let cut = || io::Error::from(ErrorKind::UnexpectedEof);
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return framing.finish().ok().flatten().map(Some).ok_or_else(cut),
                Ok(count) => {
                    framing.feed(&buffer[..count]);
                    if let Some(verdict) = framing.verdict() {
                        return verdict.map(Some).map_err(|_| cut());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

fn connect(target: SocketAddr) -> io::Result<Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(Socket::new(socket.into()))
}
