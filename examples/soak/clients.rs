//! The clients of the soak test, their expected results, and the final check of the counters.

use cws::{
    CloseReason, Config, Counter, Error, Handler, Immediate, Request, Response, Schedule, Server,
    WhenFull,
};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const WORKERS: usize = 2;
/// Few enough that the clients fill it.
const QUEUE: usize = 2;
/// Clients at a time: more than are served and may wait.
const THREADS: u64 = 8;
/// The last byte of the addresses that clients come from.
const ADDRESSES: Range<u8> = 2..10;
/// A service so long that others wait in the room.
const SLOW: Duration = Duration::from_millis(1);
/// Requests wait up to half of it: some that wait for several slow services are refused.
const SHORT_PATIENCE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(20);
const LARGE: usize = 1 << 20;
const GET: &str = "GET /small HTTP/1.1\r\nHost: soak\r\n\r\n";
const LAST: &str = "GET /small HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n";

const SCHEDULES: [Schedule; 4] =
    [Schedule::Fair, Schedule::Fifo, Schedule::Lifo, Schedule::SmallestFirst];
const WHEN_FULL: [WhenFull; 4] =
    [WhenFull::Refuse, WhenFull::DropHead, WhenFull::DropRandom, WhenFull::Block];

/// What the servers of all cases have refused.
#[derive(Debug, Clone, Copy, Default)]
struct Refusals {
    queue_full: u64,
    expired: u64,
}

/// Runs `connections` clients against servers in this process, one for each order of service and
/// each choice of what gives way when the queue is full, and checks their counters. `tell` gets a
/// line of progress every few seconds.
pub fn soak(connections: u64, seed: u64, tell: impl Fn(&str) + Sync) -> Result<(), String> {
    let done = AtomicU64::new(0);
    let mut next = Instant::now() + TELL_EVERY;
    let mut refusals = Refusals::default();
    let cases = (SCHEDULES.len() * WHEN_FULL.len()) as u64;
    for nth in 0..cases {
        let (row, column) = (nth as usize / WHEN_FULL.len(), nth as usize % WHEN_FULL.len());
        let (schedule, when_full) = (SCHEDULES[row], WHEN_FULL[column]);
        // In every other case of each row and column.
        let patience = ((row + column) % 2 == 1).then_some(SHORT_PATIENCE);
        let config = Config::default().schedule(schedule).when_full(when_full).patience(patience);
        let case = Case { config, seed: seed ^ (nth << 48), mine: share(connections, cases, nth) };
        let refused = case
            .run(&done, &mut next, &tell)
            .map_err(|problem| format!("{schedule:?}, {when_full:?}: {problem}"))?;
        refusals.queue_full += refused.queue_full;
        refusals.expired += refused.expired;
    }
    if connections >= ENOUGH && (refusals.queue_full == 0 || refusals.expired == 0) {
        return Err(format!("the queue was never full, or nobody waited too long: {refusals:?}"));
    }
    Ok(())
}

/// The time between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// So many connections fill the queue.
const ENOUGH: u64 = 1000;

/// What the `nth` of so many parts has of the whole.
fn share(whole: u64, parts: u64, nth: u64) -> u64 {
    whole / parts + u64::from(nth < whole % parts)
}

/// One server and its clients.
struct Case {
    config: Config,
    seed: u64,
    /// The number of its connections.
    mine: u64,
}

impl Case {
    fn run(
        self,
        done: &AtomicU64,
        next: &mut Instant,
        tell: &impl Fn(&str),
    ) -> Result<Refusals, String> {
        let handler = Answers { large: vec![b'x'; LARGE].into(), asked: AtomicU64::new(0) };
        let blocks = self.config.when_full == WhenFull::Block;
        // The kernel holds no connection back at the end, so a case ends at once.
        let config = self.config.workers(WORKERS).queue(QUEUE).defer_accept(false);
        let server = Server::start(config, handler).map_err(|error| error.to_string())?;
        let address = server.addresses()[0];
        let descriptors = open_descriptors();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (mine, seed) =
                        (share(self.mine, THREADS, thread), self.seed ^ (thread << 32));
                    scope.spawn(move || run_clients(address, mine, seed, done))
                })
                .collect();
            while clients.iter().any(|client| !client.is_finished()) {
                std::thread::sleep(Duration::from_millis(5));
                if Instant::now() >= *next {
                    *next += TELL_EVERY;
                    tell(&progress(done.load(Relaxed)));
                }
            }
            clients.into_iter().try_for_each(|client| {
                client.join().unwrap_or_else(|_| Err("a client panicked".to_owned()))
            })
        })?;
        audit(server, self.mine, descriptors, blocks)
    }
}

/// Answers some of the small requests without a worker.
struct Answers {
    large: bytes::Bytes,
    asked: AtomicU64,
}

impl Handler for Answers {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        Ok(match request.target.raw {
            b"/large" => Response::ok("text/plain", self.large.clone()),
            b"/slow" => {
                std::thread::sleep(SLOW);
                Response::ok("text/plain", "slow")
            }
            _ => Response::ok("text/plain", "small"),
        })
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }
}

impl Immediate for Answers {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        let is_second = self.asked.fetch_add(1, Relaxed).is_multiple_of(2);
        let is_small = request.target.raw == b"/small";
        (is_small && is_second).then(|| Response::ok("text/plain", "small"))
    }
}

fn progress(done: u64) -> String {
    let (memory, descriptors) = (resident_kib(), open_descriptors());
    format!("{done:>9} connections  RSS {memory:>6} KiB  {descriptors:>4} open files")
}

/// Checks that each connection was closed for one reason, that each response belongs to one
/// request, and that whatever was queued has left the queue. `blocks` says that a full queue
/// refuses nobody.
fn audit(
    server: Server,
    connections: u64,
    descriptors: usize,
    blocks: bool,
) -> Result<Refusals, String> {
    let deadline = Instant::now() + PATIENCE;
    while server.open_connections() > 0 {
        if Instant::now() > deadline {
            return Err(format!("{} connections are still open", server.open_connections()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let same = |what: &str, left: u64, right: u64| {
        if left == right { Ok(()) } else { Err(format!("{what}: {left} and {right}")) }
    };
    same("workers alive and workers", server.workers_alive() as u64, WORKERS as u64)?;
    // Fewer than before are no leak: a thread that starts may have had a file open.
    let open = open_descriptors();
    if open > descriptors {
        return Err(format!("{open} open files after, {descriptors} before"));
    }
    let books = server.shutdown().snapshot;
    same("accepted and connected", books.get(Counter::Accepted), connections)?;
    same("closed and accepted", books.closed_in_all(), books.get(Counter::Accepted))?;
    let answers = [Counter::Handled, Counter::Immediate, Counter::Refused];
    let answered = answers.iter().map(|&of| books.get(of)).sum();
    same("answered and responses", answered, books.responses_in_all())?;
    same("arrivals and departures", books.arrivals(), books.departures())?;
    same("waiting", books.queue.waiting as u64, 0)?;
    same("workers replaced", books.get(Counter::WorkersReplaced), 0)?;
    same("cut", books.closed(CloseReason::Cut), 0)?;
    let queue_full = books.get(Counter::QueueFull);
    if blocks {
        same("refused by a queue that blocks", queue_full, 0)?;
    }
    Ok(Refusals { queue_full, expired: books.get(Counter::Expired) })
}

fn run_clients(address: SocketAddr, count: u64, seed: u64, done: &AtomicU64) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(seed);
    for nth in 0..count {
        let kind = random.usize(..KINDS.len());
        let (name, client) = KINDS[kind];
        let outcome =
            connect(address, random.u8(ADDRESSES)).and_then(|stream| client(stream, &mut random));
        if let Err(error) = outcome {
            return Err(format!("client {nth} of seed {seed}, {name}: {error}"));
        }
        done.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// The field of a response that ends its connection.
const CLOSE: &[u8] = b"\r\nConnection: close\r\n";

type Client = fn(TcpStream, &mut fastrand::Rng) -> io::Result<()>;

const KINDS: &[(&str, Client)] = &[
    ("one request", one_request),
    ("one request", one_request),
    ("keep-alive", keep_alive),
    ("pipelining", pipelining),
    ("in pieces", in_pieces),
    ("with a body", with_a_body),
    ("large", large),
    ("slow service", slow),
    ("silent", |_, _| Ok(())),
    ("cut within the head", cut_head),
    ("reset within a response", reset_response),
    ("deaf, then gone", deaf),
    ("noise", noise),
    ("malformed", malformed),
];

/// A connection from 127.0.0.`from`, where the system has this address without further ado.
fn connect(address: SocketAddr, from: u8) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if cfg!(target_os = "linux") {
        socket.bind(&SocketAddr::from(([127, 0, 0, from], 0)).into())?;
    }
    socket.connect(&address.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

/// Reads to the end. Expects these statuses in order; each may be replaced by a complete 503, which
/// can be the last.
fn expect(mut stream: TcpStream, statuses: &[&str]) -> io::Result<()> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let found: Vec<&str> = text
        .match_indices("HTTP/1.1 ")
        .filter_map(|(at, mark)| text.get(at + mark.len()..at + mark.len() + 3))
        .collect();
    let fits = |(found, wanted): (&&str, &&str)| found == wanted || *found == "503";
    let is_whole = found.len() == statuses.len()
        || (found.len() < statuses.len() && found.last() == Some(&"503"));
    if is_whole && found.iter().zip(statuses).all(fits) {
        return Ok(());
    }
    Err(wrong(format!("got {found:?} instead of {statuses:?}")))
}

fn one_request(mut stream: TcpStream, _: &mut fastrand::Rng) -> io::Result<()> {
    stream.write_all(LAST.as_bytes())?;
    expect(stream, &["200"])
}

fn slow(mut stream: TcpStream, _: &mut fastrand::Rng) -> io::Result<()> {
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    expect(stream, &["200"])
}

fn keep_alive(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    for _ in 0..random.u32(1..8) {
        stream.write_all(GET.as_bytes())?;
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"small") && !bytes.ends_with(b"</html>\n") {
            let mut some = [0; 512];
            let count = stream.read(&mut some)?;
            bytes.extend_from_slice(&some[..count]);
            if count == 0 {
                return Err(wrong("closed without a response"));
            }
        }
        if bytes.ends_with(b"</html>\n") && !bytes.starts_with(b"HTTP/1.1 503") {
            return Err(wrong("another error than a refusal"));
        }
        if bytes.windows(CLOSE.len()).any(|window| window == CLOSE) {
            return Ok(());
        }
    }
    stream.write_all(LAST.as_bytes())?;
    expect(stream, &["200"])
}

fn pipelining(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    let count = random.usize(1..40);
    stream.write_all(GET.repeat(count).as_bytes())?;
    stream.write_all(LAST.as_bytes())?;
    expect(stream, &vec!["200"; count + 1])
}

fn in_pieces(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    let mut rest = LAST.as_bytes();
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(random.usize(1..=rest.len()));
        stream.write_all(piece)?;
        std::thread::yield_now();
        rest = tail;
    }
    stream.shutdown(Shutdown::Write)?;
    expect(stream, &["200"])
}

fn with_a_body(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    let body = "x".repeat(random.usize(1..50_000));
    let length = body.len();
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    if random.bool() {
        write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}")?;
    } else {
        write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n")?;
        write!(stream, "{length:x}\r\n{body}\r\n0\r\n\r\n")?;
    }
    stream.write_all(LAST.as_bytes())?;
    expect(stream, &["200", "200"])
}

fn large(mut stream: TcpStream, _: &mut fastrand::Rng) -> io::Result<()> {
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let whole = bytes.len() > LARGE || bytes.starts_with(b"HTTP/1.1 503");
    if whole { Ok(()) } else { Err(wrong(format!("{} bytes of a large file", bytes.len()))) }
}

fn cut_head(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    let cut = random.usize(1..LAST.len() - 1);
    stream.write_all(&LAST.as_bytes()[..cut])?;
    if random.bool() {
        return Ok(());
    }
    stream.shutdown(Shutdown::Write)?;
    expect(stream, &["400"])
}

fn reset(stream: TcpStream) -> io::Result<()> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

fn reset_response(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut some = vec![0; random.usize(1..100_000)];
    let _ = stream.read(&mut some)?;
    reset(stream)
}

fn deaf(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")?;
    if random.bool() { reset(stream) } else { Ok(()) }
}

fn noise(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    let bytes: Vec<u8> = (0..random.usize(1..2000)).map(|_| random.u8(..)).collect();
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)?;
    expect_end(stream)
}

fn malformed(mut stream: TcpStream, random: &mut fastrand::Rng) -> io::Result<()> {
    let mut bytes = LAST.as_bytes().to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len());
        match random.u8(..3) {
            0 => bytes[at] = random.u8(..),
            1 => bytes.insert(at, random.u8(..)),
            _ => drop(bytes.remove(at)),
        }
    }
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)?;
    expect_end(stream)
}

/// Accepts any response that ends without a reset.
fn expect_end(mut stream: TcpStream) -> io::Result<()> {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(wrong("no progress")),
        Err(error) => Err(error),
    }
}

/// The open descriptors of this process; 0 if the system does not report them.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The resident memory of this process in KiB; 0 if the system does not report it.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
