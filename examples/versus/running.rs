//! A server that runs for a case: its start, the check of its responses, and the load on it.

use super::calls::Counter;
use super::cases::{Case, LARGE, Pace};
use super::driver::{self, Driven, Loop};
use super::exchange::{self, field, open_idle, read_response};
use super::figures::Turn;
use super::link::Link;
use super::paced::{self, Plan};
use super::peers::{Contender, Role, Setup, find_program, haproxy};
use super::process::Started;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait for a server to listen.
const START: Duration = Duration::from_secs(20);

/// How long system calls are counted, and how long servers warm up, in seconds.
const SHORT: u32 = 1;

/// A server that runs for a case.
pub struct Running {
    /// What runs.
    pub contender: Contender,
    /// The coding in which it sends files to clients that accept some.
    pub coding: String,
    /// In front of the server, if the case wants it. It ends first.
    _proxy: Option<Started>,
    process: Started,
    /// Where requests go: the server, or the proxy in front of it.
    address: SocketAddr,
    log: PathBuf,
    folder: PathBuf,
}

/// The address on which servers listen.
fn host(link: Option<&Link>) -> IpAddr {
    link.map_or(Ipv4Addr::LOCALHOST, |_| Link::SERVER).into()
}

/// A free port where the servers are.
fn free_port(link: Option<&Link>) -> std::io::Result<u16> {
    let host = host(link);
    let bind = || TcpListener::bind((host, 0))?.local_addr();
    Ok(at_servers(link, bind)?.port())
}

/// Does this at the other end of the link, if there is one.
fn at_servers<T: Send>(
    link: Option<&Link>,
    work: impl FnOnce() -> std::io::Result<T> + Send,
) -> std::io::Result<T> {
    match link {
        Some(link) => link.at_servers(work)?,
        None => work(),
    }
}

/// An error text with a server's own messages.
fn failed(contender: &Contender, log: &Path, reason: &str) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let said: String = said.lines().next_back().unwrap_or_default().chars().take(200).collect();
    format!("{}: {reason} {said}", contender.name).trim_end().to_owned()
}

/// Whether a server can take part in a case.
pub fn suits(contender: &Contender, case: &Case) -> bool {
    let is_able = !case.logs || contender.can_log();
    match contender.role {
        Role::Ceiling => case.suits_the_ceiling(),
        _ => is_able && (case.delay.is_none() || contender.is_ours()),
    }
}

impl Running {
    /// Starts a server, waits until it listens, and checks its responses.
    pub fn start(
        contender: &Contender,
        case: &Case,
        folder: &Path,
        link: Option<&Link>,
    ) -> Result<Self, String> {
        let name = &contender.name;
        let of_system = |error: std::io::Error| format!("cannot start {name}: {error}");
        let port = free_port(link).map_err(of_system)?;
        let own = folder.join(format!("{}-{name}", case.name));
        let setup = Setup {
            root: folder.join("site"),
            folder: own.clone(),
            host: host(link),
            port,
            connections: case.connections,
            workers: case.workers,
            logs: case.logs,
            closes: case.closes,
            is_coded: !case.target.fields().is_empty(),
            delay: case.delay,
            is_privileged: rustix::process::geteuid().is_root(),
            length: case.target.length(),
        };
        let command = contender.command(&setup).map_err(of_system)?;
        let log = own.join("output");
        let mut process = at_servers(link, || Started::new(command, &log)).map_err(of_system)?;
        let mut address = SocketAddr::from((setup.host, port));
        wait_for(address, &mut process).map_err(|e| failed(contender, &log, &e))?;
        let mut proxy = None;
        if case.is_proxied {
            let program = find_program("haproxy").ok_or("haproxy is not installed")?;
            let front = free_port(link).map_err(of_system)?;
            let command = haproxy(&program, &setup, front).map_err(of_system)?;
            let mut started =
                at_servers(link, || Started::new(command, &log)).map_err(of_system)?;
            address = SocketAddr::from((setup.host, front));
            wait_for(address, &mut started).map_err(|e| failed(contender, &log, &e))?;
            proxy = Some(started);
        }
        let (contender, folder) = (contender.clone(), folder.to_owned());
        let coding = String::new();
        let mut running = Self { contender, coding, _proxy: proxy, process, address, log, folder };
        running.coding = running.check(case)?;
        Ok(running)
    }

    /// Sends a request of the case and compares the response. Returns its coding.
    fn check(&self, case: &Case) -> Result<String, String> {
        if self.contender.role == Role::Ceiling {
            return Ok(String::new());
        }
        let path = case.target.example();
        let mut bytes = Vec::new();
        let request = exchange::request(case.target, self.address, false);
        let length = TcpStream::connect(self.address)
            .and_then(|mut stream| {
                stream.set_read_timeout(Some(START))?;
                stream.write_all(&request)?;
                read_response(&mut stream, &mut bytes)
            })
            .map_err(|error| self.failed(&format!("no response to {path}: {error}")))?;
        let (head, content) = bytes.split_at(length);
        let status = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        if case.target == super::cases::Target::Missing {
            let is_missing = status == b"404";
            let reason = || self.failed(&format!("it does not answer 404 to {path}"));
            return if is_missing { Ok(String::new()) } else { Err(reason()) };
        }
        let coding = field(head, "content-encoding").unwrap_or_default();
        if status != b"200" || case.target.expected(coding).as_deref() != Some(content) {
            return Err(self.failed(&format!("it delivers wrong bytes for {path}")));
        }
        Ok(coding.to_owned())
    }

    /// A short load, so that caches are filled and memory is touched.
    pub fn warm_up(&self, case: &Case) -> Result<(), String> {
        let Case { target, connections, closes, .. } = *case;
        let load = Loop { target, connections, closes };
        let driven = driver::drive(&load, self.address, SHORT, &self.folder);
        driven.map(|_| ()).map_err(|reason| self.failed(&reason))
    }

    /// One turn: the load of the case, and what the server used for it.
    pub fn measure(&self, case: &Case, round: u32, seconds: u32) -> Result<Turn, String> {
        // The requests of the last turn that nobody waits for any more do not count in this one.
        thread::sleep(2 * case.backlog());
        // One server at a time: there are not enough descriptors for all.
        let _idle = self.open_idle(case)?;
        let before = self.process.usage();
        let driven = self.drive(case, seconds)?;
        let after = self.process.usage();
        let used = after.since(&before);
        // What downloads used beside the requests cannot be told apart.
        let requests = driven.requests.max(1) as f64;
        let each = if driven.downloads > 0.0 { 0.0 } else { 1.0 / requests };
        Ok(Turn {
            case: case.name,
            server: self.contender.name.clone(),
            role: Some(self.contender.role),
            round,
            rate: driven.requests as f64 / driven.seconds,
            cpu: used.cpu.as_secs_f64() * 1e6 * each,
            p50: driven.p50,
            p99: driven.p99,
            switches: used.switches as f64 * each,
            calls: None,
            errors: driven.errors,
            rss: after.peak_rss,
            driver: driven.driver,
            downloads: driven.downloads,
        })
    }

    /// System calls per request, in a short run of their own.
    pub fn count_calls(&self, case: &Case, counter: Counter) -> Result<Option<f64>, String> {
        if let Pace::Beside(..) = case.pace {
            return Ok(None);
        }
        let _idle = self.open_idle(case)?;
        let work = || self.drive(case, SHORT);
        let (calls, driven) = counter.count(&self.process.family(), &self.folder, work)?;
        Ok(Some(calls as f64 / driven.requests.max(1) as f64))
    }

    fn drive(&self, case: &Case, seconds: u32) -> Result<Driven, String> {
        let Case { target, connections, closes, .. } = *case;
        let plan = |rate| Plan {
            address: self.address,
            request: exchange::request(target, self.address, closes),
            connections: (!closes).then_some(connections),
            rate,
            length: Duration::from_secs(seconds.into()),
        };
        let paced = |rate| paced::drive(&plan(rate)).map_err(|error| error.to_string());
        let closed = |load: Loop| driver::drive(&load, self.address, seconds, &self.folder);
        let driven = match case.pace {
            Pace::Closed => closed(Loop { target, connections, closes }),
            Pace::Fixed(rate) => paced(rate),
            Pace::Beside(rate, connections) => thread::scope(|scope| {
                let load = Loop { target: LARGE, connections, closes: false };
                let downloads = scope.spawn(move || closed(load));
                let driven = paced(rate)?;
                let downloads = downloads.join().map_err(|_| "a thread panicked")??;
                let per_second = downloads.requests as f64 / downloads.seconds;
                Ok(Driven {
                    downloads: per_second,
                    errors: driven.errors + downloads.errors,
                    ..driven
                })
            }),
        };
        driven.map_err(|reason| self.failed(&reason))
    }

    /// The connections that stay idle during the measurement.
    fn open_idle(&self, case: &Case) -> Result<Vec<TcpStream>, String> {
        open_idle(self.address, case.target, case.idle).map_err(|error| {
            self.failed(&format!("cannot open {} idle connections: {error}", case.idle))
        })
    }

    fn failed(&self, reason: &str) -> String {
        failed(&self.contender, &self.log, reason)
    }
}

fn wait_for(address: SocketAddr, process: &mut Started) -> Result<(), String> {
    let deadline = Instant::now() + START;
    while TcpStream::connect(address).is_err() {
        if !process.is_running() {
            return Err("it exited at once".to_owned());
        }
        if Instant::now() > deadline {
            return Err("it does not listen in time".to_owned());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
