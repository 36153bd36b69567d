//! What is asked of the servers, and the folder that they serve it from.

use std::fs;
use std::io;
use std::path::Path;

/// Files of the case with many.
pub const MANY: usize = 10_000;

/// Idle connections of the case with many.
pub const IDLE: usize = 5000;

/// Connections of the case at half load.
pub const PACED: usize = 16;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The word that chooses it.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// What is asked for.
    pub target: Target,
    /// Connections that ask.
    pub connections: usize,
    /// Each request has a connection of its own.
    pub closes: bool,
    /// Every server writes an access log.
    pub logs: bool,
    /// Connections that are open, have been served once, and say nothing.
    pub idle: usize,
    /// Workers or threads of every server.
    pub workers: usize,
    /// Requests start at fixed times, at half of the slowest one's rate.
    pub paced: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One path, and the length of what it gives.
    One(&'static str, usize),
    /// A path that is not there.
    Missing,
    /// Each of [`MANY`] files of 1 KiB, in no order.
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
    /// A path of it, and the bytes that it must give; none for a 404.
    pub fn example(self) -> (String, Option<Vec<u8>>) {
        match self {
            Self::One(path, length) => (path.to_owned(), Some(content(length))),
            Self::Missing => ("/missing.html".to_owned(), None),
            Self::Many => (many_path(MANY / 2), Some(content(1024))),
        }
    }

    /// The bytes of one answer's content, as far as that is given.
    pub fn length(self) -> usize {
        match self {
            Self::One(_, length) => length,
            Self::Missing | Self::Many => 1024,
        }
    }
}

/// The path of one of many files: a hundred to a folder.
pub fn many_path(number: usize) -> String {
    format!("/many/{:02}/{:02}.html", number / 100, number % 100)
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"0123456789abcdefghijklmnopqrstu\n"[at % 32]).collect()
}

/// Makes the folder that all serve.
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
