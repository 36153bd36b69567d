//! The cases of the comparison.

use super::site::{ASSETS, Asset, MANY, content, many_path};
use std::time::Duration;

/// The number of idle connections of the case `idle`.
const IDLE: usize = 5000;

/// The downloads that small requests are measured beside.
pub const LARGE: Target = Target::One("/large.bin", 10 << 20);

/// One workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its title in reports.
    pub title: &'static str,
    /// What is requested.
    pub target: Target,
    /// The number of active connections.
    pub connections: usize,
    /// When requests start.
    pub pace: Pace,
    /// Each request uses a new connection.
    pub closes: bool,
    /// Every server writes an access log.
    pub logs: bool,
    /// The number of connections that have been served once and are idle.
    pub idle: usize,
    /// The number of workers or threads of each server.
    pub workers: usize,
    /// HAProxy forwards the requests to the server.
    pub is_proxied: bool,
    /// How long each request takes. Only this project's server can simulate it.
    pub delay: Option<Duration>,
}

/// When requests start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each connection sends a request when it has its response: a closed loop.
    Closed,
    /// At fixed times, so many a second over all connections.
    Fixed(f64),
    /// At fixed times, beside so many connections that download [`LARGE`] in a closed loop.
    Beside(f64, usize),
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
    /// The files of a web application in turn, by clients that accept codings.
    Assets,
}

const SMALL: Target = Target::One("/small.html", 1024);

const PLAIN: Case = Case {
    name: "keep-alive",
    title: "1 KiB, keep-alive, 64 connections",
    target: SMALL,
    connections: 64,
    pace: Pace::Closed,
    closes: false,
    logs: false,
    idle: 0,
    workers: 2,
    is_proxied: false,
    delay: None,
};

/// A closed loop for one target.
const fn closed(
    name: &'static str,
    title: &'static str,
    target: Target,
    connections: usize,
) -> Case {
    Case { name, title, target, connections, ..PLAIN }
}

/// A file of 10 MiB in a closed loop.
const fn download(name: &'static str, title: &'static str, connections: usize) -> Case {
    closed(name, title, LARGE, connections)
}

/// Small requests at a pace.
const fn paced(name: &'static str, title: &'static str, connections: usize, pace: Pace) -> Case {
    Case { name, title, connections, pace, ..PLAIN }
}

/// All cases, in the order in which they run.
pub const ALL: [Case; 23] = [
    PLAIN,
    closed("one-connection", "1 KiB, keep-alive, 1 connection", SMALL, 1),
    closed("four-connections", "1 KiB, keep-alive, 4 connections", SMALL, 4),
    paced("paced-20k", "1 KiB, 20,000/s on 16 connections", 16, Pace::Fixed(20_000.0)),
    paced("paced-5k", "1 KiB, 5,000/s on 4 connections", 4, Pace::Fixed(5000.0)),
    Case {
        name: "one-worker",
        title: "1 KiB, keep-alive, 64 connections, 1 worker",
        workers: 1,
        ..PLAIN
    },
    Case {
        name: "close",
        title: "1 KiB, a connection per request, 64 at a time",
        closes: true,
        ..PLAIN
    },
    Case {
        name: "close-paced",
        title: "1 KiB, a connection per request, 4,000/s",
        closes: true,
        pace: Pace::Fixed(4000.0),
        ..PLAIN
    },
    closed("404", "a missing file, keep-alive, 64 connections", Target::Missing, 64),
    closed(
        "index",
        "a directory with a 1 KiB index, keep-alive, 64 connections",
        Target::One("/folder/", 1024),
        64,
    ),
    closed("files", "10,000 files of 1 KiB, keep-alive, 64 connections", Target::Many, 64),
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
    closed(
        "100k",
        "100 KiB, keep-alive, 16 connections",
        Target::One("/medium.bin", 100 << 10),
        16,
    ),
    closed("1m", "1 MiB, keep-alive, 16 connections", Target::One("/mega.bin", 1 << 20), 16),
    download("10m-1", "10 MiB, keep-alive, 1 connection", 1),
    download("10m-8", "10 MiB, keep-alive, 8 connections", 8),
    download("10m-64", "10 MiB, keep-alive, 64 connections", 64),
    paced(
        "beside-10m",
        "1 KiB, 2,000/s on 8 connections, beside 4 downloads of 10 MiB",
        8,
        Pace::Beside(2000.0, 4),
    ),
    closed("static-64", "20 files of a web application, 64 connections", Target::Assets, 64),
    closed("static-512", "20 files of a web application, 512 connections", Target::Assets, 512),
    Case {
        name: "haproxy",
        title: "1 KiB, 64 connections to HAProxy in front of the server",
        is_proxied: true,
        ..PLAIN
    },
    Case {
        name: "delay",
        title: "each request takes 5 ms, 4 workers, 64 connections",
        workers: 4,
        delay: Some(Duration::from_millis(5)),
        ..PLAIN
    },
];

impl Case {
    /// The most requests a second that the workers can serve, if each takes a given time.
    pub fn capacity(&self) -> Option<f64> {
        self.delay.map(|delay| self.workers as f64 / delay.as_secs_f64())
    }

    /// How long the requests that are under way when a turn ends can keep the workers. Their
    /// clients have gone, but a server cannot tell whether they still read.
    pub fn backlog(&self) -> Duration {
        let waiting = self.connections as f64;
        Duration::from_secs_f64(self.capacity().map_or(0.0, |capacity| waiting / capacity))
    }

    /// Whether a program without files can take part: it sends the same bytes each time.
    pub fn suits_the_ceiling(&self) -> bool {
        let is_plain = matches!(self.target, Target::One(..) | Target::Many | Target::Missing);
        let is_alone = !matches!(self.pace, Pace::Beside(..));
        is_plain && is_alone && !self.logs && !self.is_proxied && self.delay.is_none()
    }
}

impl Target {
    /// One of its paths.
    pub fn example(self) -> String {
        match self {
            Self::One(path, _) => path.to_owned(),
            Self::Missing => "/missing.html".to_owned(),
            Self::Many => many_path(MANY / 2),
            Self::Assets => ASSETS[0].path(),
        }
    }

    /// The bytes that [`example`](Self::example) has in this coding. `None` if there are none.
    pub fn expected(self, coding: &str) -> Option<Vec<u8>> {
        match (self, coding) {
            (Self::Assets, _) => ASSETS[0].bytes(coding),
            (_, "") => Some(content(self.length())),
            _ => None,
        }
    }

    /// The header fields that clients add to each request.
    pub fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // HttpArena adds weights. Without them, h2o 2.2 sends compressed forms, too.
            Self::Assets => &[("Accept-Encoding", "br, gzip")],
            _ => &[],
        }
    }

    /// All paths, in the order in which they are requested, if there are several.
    pub fn paths(self) -> Vec<String> {
        match self {
            Self::One(..) | Self::Missing => Vec::new(),
            // Consecutive ones are far apart: 7919 is a prime that does not divide the number.
            Self::Many => (1..=MANY).map(|n| many_path(n * 7919 % MANY)).collect(),
            Self::Assets => ASSETS.iter().map(Asset::path).collect(),
        }
    }

    /// The length of the content, if it is known.
    pub fn length(self) -> usize {
        match self {
            Self::One(_, length) => length,
            Self::Missing | Self::Many | Self::Assets => 1024,
        }
    }
}
