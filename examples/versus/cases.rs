//! The cases of the comparison, and the folder that all servers serve.

use std::fs;
use std::io;
use std::path::Path;

/// The number of files of the case `files`.
pub const MANY: usize = 10_000;

/// The number of idle connections of the case `idle`.
pub const IDLE: usize = 5000;

/// The number of connections of the case at half load.
pub const PACED: usize = 16;

/// One workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its title in reports.
    pub title: &'static str,
    /// What is requested.
    pub target: Target,
    /// The number of active connections.
    pub connections: usize,
    /// Each request uses a new connection.
    pub closes: bool,
    /// Every server writes an access log.
    pub logs: bool,
    /// The number of connections that have been served once and are idle.
    pub idle: usize,
    /// The number of workers or threads of each server.
    pub workers: usize,
    /// Requests start at fixed times, at half of the slowest server's rate.
    pub paced: bool,
}

/// What is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One path, and the length of its content.
    One(&'static str, usize),
    /// A path that does not exist.
    Missing,
    /// Each of [`MANY`] files of 1 KiB, in scattered order.
    Many,
}

const SMALL: Target = Target::One("/small.html", 1024);

const PLAIN: Case = Case {
    name: "keep-alive",
    title: "1 KiB, keep-alive, 64 connections",
    target: SMALL,
    connections: 64,
    closes: false,
    logs: false,
    idle: 0,
    workers: 2,
    paced: false,
};

/// All cases, in the order in which they run.
pub const ALL: [Case; 11] = [
    PLAIN,
    Case {
        name: "close",
        title: "1 KiB, a connection per request, 64 at a time",
        closes: true,
        ..PLAIN
    },
    Case {
        name: "100k",
        title: "100 KiB, keep-alive, 16 connections",
        target: Target::One("/medium.bin", 100 * 1024),
        connections: 16,
        ..PLAIN
    },
    Case {
        name: "10m",
        title: "10 MiB, keep-alive, 8 connections",
        target: Target::One("/large.bin", 10 * 1024 * 1024),
        connections: 8,
        ..PLAIN
    },
    Case {
        name: "404",
        title: "a missing file, keep-alive, 64 connections",
        target: Target::Missing,
        ..PLAIN
    },
    Case {
        name: "index",
        title: "a directory with a 1 KiB index, keep-alive, 64 connections",
        target: Target::One("/folder/", 1024),
        ..PLAIN
    },
    Case {
        name: "files",
        title: "10,000 files of 1 KiB, keep-alive, 64 connections",
        target: Target::Many,
        ..PLAIN
    },
    Case {
        name: "log",
        title: "1 KiB, keep-alive, 64 connections, access log on",
        logs: true,
        ..PLAIN
    },
    Case {
        name: "idle",
        title: "1 KiB, 64 connections beside 5,000 idle ones",
        idle: IDLE,
        ..PLAIN
    },
    Case {
        name: "one-worker",
        title: "1 KiB, keep-alive, 64 connections, 1 worker",
        workers: 1,
        ..PLAIN
    },
    Case {
        name: "half-load",
        title: "1 KiB, 16 connections, at half of the slowest server's rate",
        connections: PACED,
        paced: true,
        ..PLAIN
    },
];

impl Target {
    /// One of its paths, and the expected bytes. `None` for a 404.
    pub fn example(self) -> (String, Option<Vec<u8>>) {
        match self {
            Self::One(path, length) => (path.to_owned(), Some(content(length))),
            Self::Missing => ("/missing.html".to_owned(), None),
            Self::Many => (many_path(MANY / 2), Some(content(1024))),
        }
    }

    /// The length of the content, if it is known.
    pub fn length(self) -> usize {
        match self {
            Self::One(_, length) => length,
            Self::Missing | Self::Many => 1024,
        }
    }
}

/// The path of one of many files; a folder has a hundred.
pub fn many_path(number: usize) -> String {
    format!("/many/{:02}/{:02}.html", number / 100, number % 100)
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"0123456789abcdefghijklmnopqrstu\n"[at % 32]).collect()
}

/// Creates the folder that all servers serve.
pub fn make_site(root: &Path) -> io::Result<()> {
    for folder in ["folder", "many"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("small.html"), content(1024))?;
    fs::write(root.join("medium.bin"), content(100 * 1024))?;
    fs::write(root.join("large.bin"), content(10 * 1024 * 1024))?;
    fs::write(root.join("folder/index.html"), content(1024))?;
    for number in 0..MANY {
        if number % 100 == 0 {
            fs::create_dir_all(root.join(format!("many/{:02}", number / 100)))?;
        }
        fs::write(root.join(&many_path(number)[1..]), content(1024))?;
    }
    Ok(())
}
