//! A real HAProxy with a configuration of the test's, and what it counts.

use super::{installed, machine, wait_for};
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;

/// A running HAProxy. Dropping it kills it.
pub struct HaProxy {
    child: Child,
    folder: tempfile::TempDir,
    /// Where its front listens.
    pub address: SocketAddr,
}

/// A row of its statistics: a front, a server or a back.
pub type Row = HashMap<String, String>;

/// The number in a cell; 0 if it is empty.
pub fn number(row: &Row, field: &str) -> u64 {
    row.get(field).and_then(|cell| cell.parse().ok()).unwrap_or_default()
}

impl HaProxy {
    /// Starts it with a front on a free port, and `back` as the lines of the back. `None` if it is
    /// not installed.
    pub fn start(back: &str) -> Option<Self> {
        let mut command = installed("haproxy")?;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        let stats = folder.path().join("stats");
        let configuration = format!(
            "global
 stats socket {} mode 600 level admin
 maxconn 4000
defaults
 mode http
 timeout connect 5s
 timeout client 60s
 timeout server 60s
 timeout queue 60s
 timeout check 2s
frontend web
 bind fd@0
 default_backend servers
backend servers
{back}",
            stats.display()
        );
        fs::write(&file, configuration).unwrap();
        // It gets the socket as its standard input, and listens on it itself.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        command.arg("-db").arg("-f").arg(&file).stdin(OwnedFd::from(socket));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        machine::count_as_own(child.id());
        let mut proxy = Self { child, folder, address };
        wait_for("HAProxy to start", || {
            let log = fs::read_to_string(proxy.folder.path().join("log")).unwrap();
            assert!(proxy.child.try_wait().unwrap().is_none(), "HAProxy has ended: {log}");
            proxy.folder.path().join("stats").exists().then_some(())
        });
        Some(proxy)
    }

    /// Asks its socket.
    pub fn ask(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.folder.path().join("stats")).unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text
    }

    /// The rows of its statistics.
    pub fn stats(&self) -> Vec<Row> {
        let text = self.ask("show stat");
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(',').collect();
        let row = |line: &str| {
            let cells = names.iter().zip(line.split(','));
            cells.map(|(name, cell)| ((*name).to_owned(), cell.to_owned())).collect()
        };
        lines.filter(|line| !line.is_empty()).map(row).collect()
    }

    /// The rows of the servers, in order.
    pub fn servers(&self) -> Vec<Row> {
        let mut rows = self.stats();
        rows.retain(|row| row["svname"] != "FRONTEND" && row["svname"] != "BACKEND");
        rows
    }

    /// The 5xx that it has made itself.
    pub fn own_errors(&self) -> u64 {
        let rows = self.stats();
        let front = rows.iter().find(|row| row["svname"] == "FRONTEND").unwrap();
        let servers: u64 = self.servers().iter().map(|row| number(row, "hrsp_5xx")).sum();
        number(front, "hrsp_5xx").saturating_sub(servers)
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
