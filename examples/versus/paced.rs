//! Sends requests at fixed times, independent of earlier ones: the latency at a given rate.
//!
//! One thread does everything. It sleeps in `poll` until a response arrives or a request is due, so
//! it needs no more of the processors than its requests do.

use super::driver::Driven;
use super::exchange::{cut, lengths};
use super::usage::own_thread_cpu;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// The longest wait for responses after the last request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most connections that are open at once, if each request has its own.
const MOST_AT_ONCE: usize = 1024;

/// Requests at fixed times.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// The bytes of a request.
    pub request: Vec<u8>,
    /// The connections that take the requests in turn. `None`: each request has its own.
    pub connections: Option<usize>,
    /// Requests per second.
    pub rate: f64,
    /// How long requests are sent.
    pub length: Duration,
}

/// A connection, and the requests that it has to send, by their intended starts.
struct Client {
    stream: TcpStream,
    waiting: VecDeque<Instant>,
    /// The request under way: its intended start, and how much of it has been sent.
    current: Option<(Instant, usize)>,
    received: Vec<u8>,
    /// The length of the response under way, once its head has arrived.
    whole: Option<usize>,
}

/// The results so far.
#[derive(Default)]
struct Results {
    latencies: Vec<Duration>,
    errors: u64,
}

/// Sends the requests. A latency counts from the intended start of its request, so a late pacer or
/// a busy connection makes it longer. Fails if the server does not keep connections open.
pub fn drive(plan: &Plan) -> io::Result<Driven> {
    // Request precise timers, so that waits end on time.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let count = plan.connections.unwrap_or(0);
    let mut clients = (0..count).map(|_| Client::new(plan.address)).collect::<io::Result<_>>()?;
    let mut results = Results::default();
    let (cpu, start) = (own_thread_cpu(), Instant::now() + Duration::from_millis(10));
    let intended = |number: u64| start + Duration::from_secs_f64(number as f64 / plan.rate);
    let total = (plan.length.as_secs_f64() * plan.rate) as u64;
    let mut sent = 0;
    loop {
        let now = Instant::now();
        while sent < total && intended(sent) <= now {
            plan.begin(&mut clients, sent, intended(sent), &mut results)?;
            sent += 1;
        }
        let is_done = clients.iter().all(|client| client.current.is_none());
        if sent == total && (is_done || now > start + plan.length + PATIENCE) {
            results.errors += clients.iter().map(Client::unanswered).sum::<u64>();
            break;
        }
        let until = if sent < total { intended(sent) } else { now + PATIENCE };
        let ready = wait(&clients, until.saturating_duration_since(Instant::now()))?;
        plan.advance(&mut clients, &ready, &mut results)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu = own_thread_cpu().saturating_sub(cpu).as_secs_f64();
    Ok(results.summary(seconds, cpu / seconds))
}

impl Plan {
    /// Gives the request to its connection.
    fn begin(
        &self,
        clients: &mut Vec<Client>,
        number: u64,
        intended: Instant,
        results: &mut Results,
    ) -> io::Result<()> {
        if let Some(connections) = self.connections {
            let client = &mut clients[(number % connections as u64) as usize];
            client.waiting.push_back(intended);
            return client.send(&self.request);
        }
        if clients.len() >= MOST_AT_ONCE {
            results.errors += 1;
            return Ok(());
        }
        let mut client = Client::new(self.address)?;
        client.waiting.push_back(intended);
        client.send(&self.request)?;
        clients.push(client);
        Ok(())
    }

    /// Continues with the connections that are ready.
    fn advance(
        &self,
        clients: &mut Vec<Client>,
        ready: &[usize],
        results: &mut Results,
    ) -> io::Result<()> {
        // From the last one on, because finished ones are removed.
        for &at in ready.iter().rev() {
            let client = &mut clients[at];
            client.send(&self.request)?;
            if client.receive(results)? {
                match self.connections {
                    Some(_) => client.send(&self.request)?,
                    None => drop(clients.swap_remove(at)),
                }
            }
        }
        Ok(())
    }
}

/// Waits for responses, for at most this long. Returns the positions of the ready connections, in
/// ascending order.
fn wait(clients: &[Client], limit: Duration) -> io::Result<Vec<usize>> {
    let busy = || clients.iter().enumerate().filter(|(_, client)| client.current.is_some());
    let mut sockets: Vec<PollFd<'_>> =
        busy().map(|(_, client)| PollFd::new(&client.stream, client.interest())).collect();
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    match poll(&mut sockets, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = |socket: &PollFd<'_>| !socket.revents().is_empty();
    Ok(busy().zip(&sockets).filter(|(_, s)| is_ready(s)).map(|((at, _), _)| at).collect())
}

impl Client {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            stream: socket.into(),
            waiting: VecDeque::new(),
            current: None,
            received: Vec::new(),
            whole: None,
        })
    }

    fn interest(&self) -> PollFlags {
        // The next byte to send is behind the request, which is not empty, once it is sent.
        match self.current {
            Some((_, usize::MAX)) | None => PollFlags::IN,
            Some(_) => PollFlags::OUT,
        }
    }

    /// The requests without a response.
    fn unanswered(&self) -> u64 {
        self.waiting.len() as u64 + u64::from(self.current.is_some())
    }

    /// Sends what is left of the request under way, or else the next one.
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        if self.current.is_none() {
            self.current = self.waiting.pop_front().map(|intended| (intended, 0));
        }
        let Some((_, sent)) = &mut self.current else { return Ok(()) };
        while *sent < request.len() {
            match self.stream.write(&request[*sent..]) {
                Ok(count) => *sent += count,
                // The connection is not established, or its buffer is full.
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        *sent = usize::MAX;
        Ok(())
    }

    /// Reads what has arrived. True if the response is complete.
    fn receive(&mut self, results: &mut Results) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let Some((intended, usize::MAX)) = self.current else { return Ok(false) };
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(cut("the server closed a connection without a whole response")),
            Ok(count) => self.received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.whole.is_none() {
            self.whole = lengths(&self.received)?.map(|(whole, _)| whole);
        }
        if self.whole.is_none_or(|whole| self.received.len() < whole) {
            return Ok(false);
        }
        results.latencies.push(intended.elapsed());
        results.errors += u64::from(!self.received.starts_with(b"HTTP/1.1 200 "));
        (self.current, self.whole) = (None, None);
        self.received.clear();
        Ok(true)
    }
}

impl Results {
    fn summary(mut self, seconds: f64, driver: f64) -> Driven {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let rank = (share * self.latencies.len() as f64).ceil() as usize;
            self.latencies.get(rank.max(1) - 1).map_or(0.0, |taken| taken.as_secs_f64() * 1e6)
        };
        Driven {
            requests: self.latencies.len() as u64,
            seconds,
            p50: at(0.50),
            p99: at(0.99),
            errors: self.errors,
            driver,
            downloads: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers each request on each connection, in pieces, and closes the connection after `most`.
    fn respond(listener: &TcpListener, connections: usize, most: usize) {
        thread::scope(|scope| {
            for _ in 0..connections {
                let Ok((mut stream, _)) = listener.accept() else { return };
                stream.set_nodelay(true).expect("it is open");
                scope.spawn(move || {
                    for _ in 0..most {
                        let mut request = [0; 3];
                        if stream.read_exact(&mut request).is_err() {
                            return;
                        }
                        for piece in ["HTTP/1.1 200 OK\r\nContent-", "Length: 2\r\n\r\na", "b"] {
                            stream.write_all(piece.as_bytes()).expect("the client reads");
                        }
                    }
                });
            }
        });
    }

    fn plan(listener: &TcpListener, connections: Option<usize>) -> Plan {
        let address = listener.local_addr().expect("an address");
        let (request, length) = (b"GET".to_vec(), Duration::from_millis(100));
        Plan { address, request, connections, rate: 1000.0, length }
    }

    #[test]
    fn each_request_is_sent_once_and_answered_once() {
        for connections in [Some(1), Some(3), None] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let plan = plan(&listener, connections);
            let driven = thread::scope(|scope| {
                let (count, most) = connections.map_or((100, 1), |count| (count, 1000));
                scope.spawn(move || respond(&listener, count, most));
                drive(&plan).expect("the pacer succeeds")
            });
            assert_eq!((driven.requests, driven.errors), (100, 0), "{connections:?}");
            assert!(driven.seconds >= 0.099, "the last one starts after 99 ms: {driven:?}");
            assert!(driven.p50 > 0.0 && driven.p50 <= driven.p99, "{driven:?}");
        }
    }

    #[test]
    fn a_connection_that_the_server_closes_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let plan = plan(&listener, Some(1));
        thread::scope(|scope| {
            scope.spawn(move || respond(&listener, 1, 2));
            assert!(drive(&plan).is_err(), "two of a hundred are answered");
        });
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let latencies = (1..=200).rev().map(Duration::from_micros).collect();
        let driven = Results { latencies, errors: 0 }.summary(1.0, 0.5);
        assert_eq!((driven.p50.round(), driven.p99.round()), (100.0, 198.0));
        assert_eq!(Results::default().summary(1.0, 0.0).p99, 0.0);
    }
}
