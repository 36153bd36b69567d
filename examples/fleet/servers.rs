//! Real servers: processes of the `server` binary that can be stopped, killed and started again.
#![allow(dead_code, reason = "each program uses its own part")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A process that takes longer to start, to answer or to end has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks at what another process does.
pub const PAUSE: Duration = Duration::from_millis(5);

/// How the servers are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The `server` binary.
    pub binary: PathBuf,
    /// The options of all servers, without their addresses.
    pub options: Vec<String>,
    /// They have an agent for HAProxy.
    pub has_agent: bool,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    child: Child,
    /// It stays open, because the server may write to it.
    stdout: BufReader<ChildStdout>,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it tells its health and its metrics.
    pub admin: SocketAddr,
    /// Where it tells HAProxy its weight.
    pub agent: Option<SocketAddr>,
}

/// What the workers of a server have done.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Services {
    /// The number of requests that workers have finished.
    pub count: f64,
    /// The time that they took, in seconds.
    pub seconds: f64,
}

impl Server {
    /// Starts a server on free ports of the loopback interface.
    pub fn start(launch: &Launch) -> io::Result<Self> {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(launch, free, free, launch.has_agent.then_some(free))
    }

    fn start_at(
        launch: &Launch,
        address: SocketAddr,
        admin: SocketAddr,
        agent: Option<SocketAddr>,
    ) -> io::Result<Self> {
        let mut command = Command::new(&launch.binary);
        without_own_options(&mut command);
        command.args(["--bind", &address.ip().to_string(), "--admin", &admin.to_string()]);
        if let Some(agent) = agent {
            command.args(["--agent", &agent.to_string()]);
        }
        command.args(&launch.options).arg(address.port().to_string());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let stdout = BufReader::new(stdout);
        let launch = launch.clone();
        let mut server = Self { launch, child, stdout, address, admin, agent };
        // It prints the addresses in this order.
        server.address = server.announced("listening on http://")?;
        server.admin = server.announced("admin page on http://")?;
        if server.agent.is_some() {
            server.agent = Some(server.announced("agent on ")?);
        }
        Ok(server)
    }

    /// The address in its next line.
    fn announced(&mut self, what: &str) -> io::Result<SocketAddr> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let address = line.trim_end().strip_prefix(what).map(|rest| rest.trim_end_matches('/'));
        address.and_then(|address| address.parse().ok()).ok_or_else(|| {
            io::Error::other(format!("the server does not start: it prints {line:?}"))
        })
    }

    /// Tells it to stop, and waits until it has ended.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or_else(|| io::Error::other("it has no process"))?, Signal::TERM)?;
        until("the server to end", || self.child.try_wait())
    }

    /// Kills it (SIGKILL), and waits until it has ended.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Starts it again at the same addresses, after it has ended.
    pub fn start_again(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match Self::start_at(&self.launch, self.address, self.admin, self.agent) {
                Ok(server) => {
                    *self = server;
                    return Ok(());
                }
                // A connection of another process may have the port for a moment.
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// What its workers have done since it started, from its metrics.
    pub fn services(&self) -> io::Result<Services> {
        let metrics = get(self.admin, "/metrics")?;
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse().ok())
                .ok_or_else(|| io::Error::other(format!("its metrics have no {name}")))
        };
        Ok(Services {
            count: value("cws_service_seconds_count ")?,
            seconds: value("cws_service_seconds_sum ")?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Options of this process's environment are not those of the servers.
fn without_own_options(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CWS_") {
            command.env_remove(name);
        }
    }
}

/// The content of a page.
fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Asks until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("waited too long for {what}")));
        }
        std::thread::sleep(PAUSE);
    }
}
