//! Runs all cases, rounds and servers.

use super::Args;
use super::cases::{self, Case, PACED};
use super::driver::{self, Driven};
use super::idle::{self, read_response};
use super::machine;
use super::paced;
use super::peers::{Contender, Setup, contenders};
use super::process::{Started, Usage, end_all};
use super::report::{self, Turn};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait for a server to listen.
const START: Duration = Duration::from_secs(20);

/// The largest rate at half load: the client needs a part of the machine, too.
const PACED_MOST: f64 = 20_000.0;

/// Exit code after an interrupt.
const INTERRUPTED: i32 = 130;

/// A server that runs for a case.
struct Running {
    contender: Contender,
    process: Started,
    address: SocketAddr,
    log: PathBuf,
}

/// Runs the cases that the arguments select, and writes the reports.
pub fn all(args: &Args) -> Result<(), String> {
    let cases = chosen_cases(args)?;
    let server = find_server(args)?;
    let contenders = contenders(&server, &args.peers)?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    end_on_signals(folder.path())?;
    let root = folder.path().join("site");
    // Servers that run as an unprivileged user must be able to read the folder.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
        .and_then(|()| cases::make_site(&root))
        .map_err(|error| format!("cannot write the files to serve: {error}"))?;
    let lines = machine::describe(&contenders);
    lines.iter().for_each(|line| println!("{line}"));
    let (mut turns, mut outcome) = (Vec::new(), Ok(()));
    for case in &cases {
        match run_case(args, case, &contenders, folder.path()) {
            Ok(of_case) => {
                print!("{}", report::table(case, &of_case));
                turns.extend(of_case);
            }
            Err(reason) => {
                // Report the results so far.
                outcome = Err(reason);
                break;
            }
        }
    }
    print!("{}", report::summary(&cases, &turns));
    let write = |file: &Option<PathBuf>, text: String| match file {
        Some(file) => fs::write(file, text)
            .map_err(|error| format!("cannot write {}: {error}", file.display())),
        None => Ok(()),
    };
    write(&args.csv, report::csv(&turns))?;
    write(&args.html, report::html(&lines, &cases, &turns))?;
    outcome
}

fn chosen_cases(args: &Args) -> Result<Vec<Case>, String> {
    let known = cases::ALL.map(|case| case.name);
    if let Some(unknown) = args.cases.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("unknown case {unknown} (choose from {})", known.join(", ")));
    }
    let wanted = |case: &Case| args.cases.is_empty() || args.cases.iter().any(|n| n == case.name);
    let most = if args.quick && args.cases.is_empty() { 1 } else { usize::MAX };
    Ok(cases::ALL.into_iter().filter(wanted).take(most).collect())
}

/// The server to measure: the given one, or the one beside this program, which is rebuilt if cargo
/// started this program.
fn find_server(args: &Args) -> Result<PathBuf, String> {
    if let Some(server) = &args.server {
        return Ok(server.clone());
    }
    let this = std::env::current_exe()
        .map_err(|error| format!("cannot find this program's own file: {error}"))?;
    let target = this.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--bin", "server"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        if target.file_name().is_some_and(|name| name == "release") {
            command.arg("--release");
        }
        if !command.status().is_ok_and(|status| status.success()) {
            return Err("cannot build the server to measure (choose one with --server)".to_owned());
        }
    }
    let server = target.join("server");
    let how = "run cargo build --release, or choose one with --server";
    if !server.is_file() {
        return Err(format!("{} does not exist ({how})", server.display()));
    }
    Ok(server)
}

/// Stops all servers and removes the folder on SIGINT or SIGTERM.
fn end_on_signals(folder: &Path) -> Result<(), String> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let folder = folder.to_owned();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            end_all();
            let _ = fs::remove_dir_all(folder);
            eprintln!("versus: interrupted; all servers are stopped");
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

fn run_case(
    args: &Args,
    case: &Case,
    contenders: &[Contender],
    folder: &Path,
) -> Result<Vec<Turn>, String> {
    let (rounds, seconds) = if args.quick { (1, 1) } else { (args.rounds, args.seconds) };
    let able = contenders.iter().filter(|one| !case.logs || one.can_log());
    // The ceiling has no files, so it cannot answer 404.
    let mut running =
        able.map(|one| start(one, case, folder)).collect::<Result<Vec<Running>, _>>()?;
    // Warm up all servers first. Their rates determine the rate at half load.
    let mut slowest = PACED_MOST * 2.0;
    if !args.quick || case.paced {
        for one in &mut running {
            let driven = driver::drive(case, one.address, 1, folder).map_err(|e| one.failed(&e))?;
            if !one.contender.is_ceiling() {
                slowest = slowest.min(driven.requests as f64 / driven.seconds);
            }
        }
    }
    let rate = case.paced.then_some(slowest / 2.0);
    let mut turns = Vec::new();
    for round in 1..=rounds {
        for one in &mut running {
            // One server at a time: there are not enough descriptors for all.
            let _idle = one.open_idle(case)?;
            let before = one.process.usage();
            let driven = one.drive(case, rate, seconds, folder)?;
            let after = one.process.usage();
            turns.push(turn(case, &one.contender, round, driven, before, after));
        }
    }
    Ok(turns)
}

fn turn(
    case: &Case,
    contender: &Contender,
    round: u32,
    driven: Driven,
    before: Usage,
    after: Usage,
) -> Turn {
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6;
    Turn {
        case: case.name,
        server: contender.name,
        round,
        rate: driven.requests as f64 / driven.seconds,
        cpu_micros: cpu / driven.requests.max(1) as f64,
        p50: driven.p50,
        p99: driven.p99,
        errors: driven.errors,
        rss: after.peak_rss,
    }
}

/// Starts a server, waits until it listens, and checks its responses.
fn start(contender: &Contender, case: &Case, folder: &Path) -> Result<Running, String> {
    let of_system = |error: std::io::Error| format!("cannot start {}: {error}", contender.name);
    let port = free_port().map_err(of_system)?;
    let own = folder.join(format!("{}-{}", case.name, contender.name.trim_matches(['(', ')'])));
    let setup = Setup {
        root: folder.join("site"),
        folder: own.clone(),
        port,
        workers: case.workers,
        logs: case.logs,
        closes: case.closes,
        is_privileged: rustix::process::geteuid().is_root(),
        length: case.target.length(),
    };
    let command = contender.command(&setup).map_err(of_system)?;
    let log = own.join("output");
    let process = Started::new(command, &log).map_err(of_system)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let contender = contender.clone();
    let mut running = Running { contender, process, address, log };
    running.wait()?;
    running.check(case)?;
    Ok(running)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Running {
    fn drive(
        &mut self,
        case: &Case,
        rate: Option<f64>,
        seconds: u32,
        folder: &Path,
    ) -> Result<Driven, String> {
        let driven = match rate {
            Some(rate) => {
                let (path, _) = case.target.example();
                let length = Duration::from_secs(seconds.into());
                paced::drive(self.address, &path, PACED, rate, length).map_err(|e| e.to_string())
            }
            None => driver::drive(case, self.address, seconds, folder),
        };
        driven.map_err(|reason| self.failed(&reason))
    }

    /// The connections that stay idle during the measurement.
    fn open_idle(&self, case: &Case) -> Result<Vec<TcpStream>, String> {
        let (path, _) = case.target.example();
        idle::open(self.address, &path, case.idle).map_err(|error| {
            self.failed(&format!("cannot open {} idle connections: {error}", case.idle))
        })
    }

    fn wait(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            if !self.process.is_running() {
                return Err(self.failed("it exited at once"));
            }
            if Instant::now() > deadline {
                return Err(self.failed("it does not listen in time"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends a request of the case and compares the response.
    fn check(&mut self, case: &Case) -> Result<(), String> {
        if self.contender.is_ceiling() {
            return Ok(());
        }
        let (path, expected) = case.target.example();
        let mut bytes = Vec::new();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let head = TcpStream::connect(self.address)
            .and_then(|mut stream| {
                stream.set_read_timeout(Some(START))?;
                stream.write_all(request.as_bytes())?;
                read_response(&mut stream, &mut bytes)
            })
            .map_err(|error| self.failed(&format!("no response to {path}: {error}")))?;
        let status = bytes.split(|&byte| byte == b' ').nth(1).unwrap_or_default().to_owned();
        match expected {
            Some(expected) if status != b"200" || bytes[head..] != expected => {
                Err(self.failed(&format!("it delivers wrong bytes for {path}")))
            }
            None if status != b"404" => {
                Err(self.failed(&format!("it does not answer 404 to {path}")))
            }
            _ => Ok(()),
        }
    }

    /// An error text with the server's own messages.
    fn failed(&self, reason: &str) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let said: Vec<&str> = said.lines().rev().take(3).collect();
        let name = self.contender.name;
        format!("{name}: {reason} {} (exclude it with --peers)", said.join("; "))
    }
}
