//! A real HAProxy in front of the servers, and what it counts.
#![allow(dead_code, reason = "each program uses its own part")]

use super::servers::{Server, until};
use socket2::{Domain, Socket, Type};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A port on which nobody listens.
const NOBODY: u16 = 1;

/// How it is started. The file gets all of this by environment variables.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The program.
    pub program: &'a Path,
    /// The configuration.
    pub file: &'a Path,
    /// How it chooses a server.
    pub balance: &'a str,
    /// The agents of the servers have a say.
    pub asks_agents: bool,
    /// It tells the servers the clients' addresses by the PROXY protocol.
    pub proxy_protocol: bool,
}

/// A running HAProxy. Dropping it kills it.
#[derive(Debug)]
pub struct Balancer {
    child: Child,
    folder: tempfile::TempDir,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A copy of its counters: a row for each front, server and back.
#[derive(Debug)]
pub struct Stats {
    rows: Vec<HashMap<String, String>>,
}

impl Balancer {
    /// Starts it on a free port of the loopback interface, and waits until it has checked all
    /// servers.
    pub fn start(setup: &Setup<'_>, servers: &[Server]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = File::create(folder.path().join("log"))?;
        // It gets the socket as its standard input, and listens on it itself.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::other("the socket has no port"))?;
        let mut command = Command::new(setup.program);
        command.arg("-db").arg("-f").arg(setup.file);
        command.stdin(OwnedFd::from(socket)).stdout(log.try_clone()?).stderr(log);
        command.env("CWS_FRONT", "fd@0").env("CWS_BALANCE", setup.balance);
        command.env("CWS_PROXY_PROTOCOL", setup.proxy_protocol.to_string());
        command.env("CWS_STATS", folder.path().join("stats"));
        for (letter, server) in ('A'..).zip(servers) {
            command.env(format!("CWS_{letter}"), server.address.to_string());
            command.env(format!("CWS_{letter}_ADMIN"), server.admin.port().to_string());
            let agent =
                server.agent.filter(|_| setup.asks_agents).map_or(NOBODY, |agent| agent.port());
            command.env(format!("CWS_{letter}_AGENT"), agent.to_string());
        }
        let child = command.spawn()?;
        let mut balancer = Self { child, folder, address };
        let ready = until("HAProxy to start", || balancer.is_ready(servers.len()));
        ready.map_err(|error| {
            let log = fs::read_to_string(balancer.path("log")).unwrap_or_default();
            io::Error::other(format!("{error}; HAProxy says: {log}"))
        })?;
        Ok(balancer)
    }

    fn is_ready(&mut self, servers: usize) -> io::Result<Option<()>> {
        if let Some(status) = self.child.try_wait()? {
            return Err(io::Error::other(format!("HAProxy has ended: {status}")));
        }
        // Its socket is there later.
        let Ok(stats) = self.stats() else { return Ok(None) };
        let ready = stats.servers().filter(|row| is_up(row)).count();
        Ok((ready == servers).then_some(()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks its socket.
    fn ask(&self, command: &str) -> io::Result<String> {
        let mut socket = UnixStream::connect(self.path("stats"))?;
        socket.write_all(format!("{command}\n").as_bytes())?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok(text)
    }

    /// The lines of its log that it has dropped: a thread that finds another one writing tries for
    /// a moment, and gives its line up.
    pub fn lost_lines(&self) -> io::Result<usize> {
        let info = self.ask("show info")?;
        let lost = info.lines().find_map(|line| line.strip_prefix("DroppedLogs: "));
        lost.and_then(|lost| lost.parse().ok())
            .ok_or_else(|| io::Error::other("HAProxy does not tell its DroppedLogs"))
    }

    /// Its counters.
    pub fn stats(&self) -> io::Result<Stats> {
        let text = self.ask("show stat")?;
        let mut lines = text.lines();
        let names: Vec<_> =
            lines.next().unwrap_or_default().trim_start_matches("# ").split(',').collect();
        let row = |line: &str| {
            let cells = names.iter().zip(line.split(','));
            cells.map(|(name, cell)| ((*name).to_owned(), cell.to_owned())).collect()
        };
        Ok(Stats { rows: lines.filter(|line| !line.is_empty()).map(row).collect() })
    }

    /// Whether it sends requests to this server, and the server's last check was well.
    pub fn has_up(&self, server: usize) -> io::Result<bool> {
        Ok(self.stats()?.servers().nth(server).is_some_and(is_up))
    }

    /// The requests that it has logged, by status and termination state: errors, retries and 5xx.
    pub fn endings(&self) -> io::Result<BTreeMap<(String, String), usize>> {
        let mut endings = BTreeMap::new();
        for line in fs::read_to_string(self.path("log"))?.lines() {
            // CLIENT [DATE] FRONT BACK/SERVER TIMES STATUS BYTES COOKIE COOKIE STATE ..
            let words: Vec<_> = line.split(' ').collect();
            if let [_, _, "web", _, _, status, _, _, _, state, ..] = words[..] {
                *endings.entry((status.to_owned(), state.to_owned())).or_default() += 1;
            }
        }
        Ok(endings)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_up(row: &HashMap<String, String>) -> bool {
    row.get("status").is_some_and(|status| status == "UP")
        && row.get("check_status").is_some_and(|status| status == "L7OK")
}

fn number(row: &HashMap<String, String>, field: &str) -> u64 {
    row.get(field).and_then(|cell| cell.parse().ok()).unwrap_or_default()
}

impl Stats {
    fn is_named(row: &HashMap<String, String>, name: &str) -> bool {
        row.get("svname").is_some_and(|found| found == name)
    }

    fn servers(&self) -> impl Iterator<Item = &HashMap<String, String>> {
        let others = ["FRONTEND", "BACKEND"];
        self.rows.iter().filter(move |row| !others.iter().any(|name| Self::is_named(row, name)))
    }

    /// A counter of this server, by its place.
    pub fn server(&self, place: usize, field: &str) -> u64 {
        self.servers().nth(place).map_or(0, |row| number(row, field))
    }

    /// A counter, added over the servers.
    pub fn sum(&self, field: &str) -> u64 {
        self.servers().map(|row| number(row, field)).sum()
    }

    /// A counter of what clients see.
    pub fn front(&self, field: &str) -> u64 {
        self.rows
            .iter()
            .find(|row| Self::is_named(row, "FRONTEND"))
            .map_or(0, |row| number(row, field))
    }

    /// The 5xx that HAProxy has made itself.
    pub fn own_errors(&self) -> u64 {
        self.front("hrsp_5xx").saturating_sub(self.sum("hrsp_5xx"))
    }
}
