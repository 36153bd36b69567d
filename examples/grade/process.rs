//! The server's process, if it runs on this machine: found by its listening socket, and watched.

use crate::observed::{Held, numbers_in, parent};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The server's processes, without those that they start later.
#[derive(Debug, Clone)]
pub struct Process {
    first: Vec<u32>,
}

impl Process {
    /// A process that is known, with its descendants.
    pub fn known(id: u32) -> Option<Self> {
        Held::by(&[id]).map(|_| Self { first: vec![id] })
    }

    /// The processes that listen on this address of this machine.
    pub fn that_listens(address: SocketAddr) -> Option<Self> {
        if !is_local(address) {
            return None;
        }
        let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .flat_map(|table| listeners(&table, address.port()))
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        let holds = |process: &u32| {
            let links = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            let mut targets = links.filter_map(|link| fs::read_link(link.path()).ok());
            targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
        };
        let found: Vec<u32> = numbers_in("/proc").filter(holds).collect();
        // Children of those that are found are their descendants.
        let is_first = |id: &&u32| parent(**id).is_none_or(|parent| !found.contains(&parent));
        let first: Vec<u32> = found.iter().filter(is_first).copied().collect();
        (!first.is_empty()).then_some(Self { first })
    }

    pub fn ids(&self) -> &[u32] {
        &self.first
    }

    /// What it holds now. `None` if it has ended.
    pub fn held(&self) -> Option<Held> {
        Held::by(&self.first)
    }

    /// Its working directory.
    pub fn folder(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/cwd", self.first.first()?)).ok()
    }
}

/// Whether an address is one of this machine: a socket can be bound to it.
fn is_local(address: SocketAddr) -> bool {
    std::net::TcpListener::bind((address.ip(), 0)).is_ok()
}

/// The inodes of the sockets that listen on this port.
fn listeners(table: &str, port: u16) -> Vec<String> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_wanted = |row: &Vec<&str>| {
        let local = row.get(1).and_then(|local| local.rsplit_once(':'));
        row.get(3) == Some(&LISTEN)
            && local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok()) == Some(port)
    };
    rows.filter(is_wanted).filter_map(|row| row.get(9).map(|&inode| inode.to_owned())).collect()
}
