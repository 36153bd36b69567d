//! The exam: the checks in their order, what is known of the server, and the marks.

use crate::observed::Held;
use crate::options::Args;
use crate::process::Process;
use crate::talk::{Heard, ask};
use crate::{checks, confinement, crowd, hostile, large::Large, silent};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// What every client asks for.
pub const FILE: &str = "testfile";

/// The checks at the start that ask for nothing.
const READ_FIRST: usize = 4;

/// The number of clients that is enough to occupy a pool of unknown size.
const MANY: usize = 64;

/// The number of requests that a check may leave behind.
const LEFT_BEHIND: usize = 200;

/// The most time for the requests before one, whatever a single one takes.
const QUEUE_MOST: Duration = Duration::from_secs(10);

/// One check: what it is worth, and what it says.
pub struct Check {
    pub id: &'static str,
    pub name: &'static str,
    pub points: u32,
    pub did: &'static str,
    pub expected: &'static str,
    pub mend: &'static str,
    pub run: fn(&mut Exam) -> Came,
}

/// The result of a check: the share of its points, `None` if it is not judged, and what came.
pub struct Came {
    pub share: Option<f64>,
    pub what: String,
}

/// A check with its result.
pub struct Mark {
    pub check: &'static Check,
    pub came: Came,
    /// False if the server has stopped before.
    pub is_done: bool,
}

/// All checks, in the order in which they are done. Those that may stop a server come late.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    let parts = [&checks::BASICS[..], &crowd::CHECKS, &silent::CHECKS, &confinement::CHECKS];
    parts.into_iter().flatten().chain(&hostile::CHECKS).chain(&checks::LAST)
}

/// What is known of the server while it is judged.
pub struct Exam {
    pub args: Args,
    pub server: SocketAddr,
    pub process: Option<Process>,
    /// The folder that it serves, if it is known.
    pub root: Option<PathBuf>,
    pub large: Option<Large>,
    /// What it answers to the two forms of the request.
    pub heard: [Heard; 2],
    /// The form of the request that it answers.
    pub request: Vec<u8>,
    /// It answers the path without a slash alone.
    pub is_slashless: bool,
    /// What is in the file.
    pub body: Vec<u8>,
    /// The time of one request.
    pub single: Duration,
    /// What it holds after many clients at once.
    pub rest: Option<Held>,
    /// The most that it holds later.
    pub most: Option<Held>,
    /// The check since which it does not answer.
    pub silent_since: Option<&'static str>,
    /// Findings that cost no points.
    pub notes: Vec<String>,
}

impl Came {
    pub fn part(share: f64, what: impl Into<String>) -> Self {
        Self { share: Some(share), what: what.into() }
    }

    pub fn all(what: impl Into<String>) -> Self {
        Self::part(1.0, what)
    }

    pub fn none(what: impl Into<String>) -> Self {
        Self::part(0.0, what)
    }

    pub fn whether(holds: bool, what: impl Into<String>) -> Self {
        if holds { Self::all(what) } else { Self::none(what) }
    }

    pub fn unjudged(what: impl Into<String>) -> Self {
        Self { share: None, what: what.into() }
    }
}

impl Mark {
    /// Whole points, rounded down; `None` if it is not judged.
    pub fn points(&self) -> Option<u32> {
        let share = self.came.share?;
        Some((share * f64::from(self.check.points) + 1e-6).floor() as u32)
    }

    pub fn is_lost(&self) -> bool {
        self.points().is_some_and(|points| points < self.check.points)
    }
}

impl Exam {
    /// Asks for the file in both forms, and finds out what can be known.
    ///
    /// # Errors
    ///
    /// If the server answers, but has no such file.
    pub fn begin(args: Args, server: SocketAddr) -> Result<Self, String> {
        let [slash, slashless] = [format!("/{FILE}"), FILE.to_owned()];
        let forms = [
            format!(
                "GET {slash} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\n\r\n",
                args.host, args.port
            ),
            format!("GET {slashless} HTTP/1.0\r\n\r\n"),
        ];
        let patience = args.patience + args.delay.unwrap_or_default();
        let mut single = args.delay.unwrap_or_default();
        let heard = forms.each_ref().map(|form| {
            let begun = Instant::now();
            let heard = ask(server, form.as_bytes(), patience);
            if heard.is_ok() {
                single = begun.elapsed();
            }
            heard
        });
        if heard.iter().all(|heard| heard.status() == Some(404)) {
            return Err(format!("the server has no {FILE} (start it in a folder that has one)"));
        }
        let works = heard.iter().position(|heard| heard.is_ok());
        let body = match works.map(|form| &heard[form]) {
            Some(Heard::Reply(reply)) => reply.body.clone(),
            _ => Vec::new(),
        };
        let process = match args.pid {
            Some(id) => Process::known(id),
            None => Process::that_listens(server),
        };
        let folder = args.root.clone().or_else(|| process.as_ref()?.folder());
        let root = folder.and_then(|folder| folder.canonicalize().ok()).filter(|folder| {
            let file = std::fs::read(folder.join(FILE));
            args.root.is_some() || file.is_ok_and(|content| content == body && !body.is_empty())
        });
        let body = match &root {
            Some(root) => std::fs::read(root.join(FILE)).unwrap_or(body),
            None => body,
        };
        let large = Large::find(&args)?;
        Ok(Self {
            request: forms[works.unwrap_or_default()].clone().into_bytes(),
            is_slashless: works == Some(1),
            silent_since: works.is_none().then_some("the first request"),
            rest: None,
            most: None,
            notes: Vec::new(),
            args,
            server,
            process,
            root,
            large,
            heard,
            body,
            single,
        })
    }

    /// Does all checks.
    pub fn judge(&mut self) -> Vec<Mark> {
        let mut marks = Vec::new();
        let only = self.args.only.clone();
        let is_wanted = |check: &&Check| only.is_empty() || only.iter().any(|id| id == check.id);
        for check in checks().filter(is_wanted) {
            // The first checks only read what came at the beginning.
            let is_done = self.silent_since.is_none()
                || checks::BASICS[..READ_FIRST].iter().any(|first| first.id == check.id);
            let came = if is_done { (check.run)(self) } else { self.not_done() };
            if self.silent_since.is_none() && !self.serves_again() {
                self.silent_since = Some(check.name);
                self.wait_for_its_end();
            }
            marks.push(Mark { check, came, is_done });
        }
        marks
    }

    /// Waits for the end of a process that answers no more, if it ends within the patience: its
    /// sockets close first.
    fn wait_for_its_end(&self) {
        let deadline = Instant::now() + self.args.patience;
        while Instant::now() < deadline
            && self.process.as_ref().is_some_and(|it| it.held().is_some())
        {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn not_done(&self) -> Came {
        let since = self.silent_since.unwrap_or_default();
        let has_ended = self.process.as_ref().is_some_and(|process| process.held().is_none());
        let why = if has_ended { "its process has ended" } else { "it does not answer" };
        Came::none(format!("not done: {why} since \"{since}\""))
    }

    /// How long an answer may take with this many requests in front of it.
    pub fn patience(&self, requests: usize) -> Duration {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        self.args.patience + self.single.saturating_mul(requests).min(QUEUE_MOST)
    }

    /// Asks for the file.
    pub fn ask(&self, requests: usize) -> Heard {
        ask(self.server, &self.request, self.patience(requests))
    }

    /// Whether it comes within the patience, after what a check has left behind.
    fn serves_again(&self) -> bool {
        self.ask(LEFT_BEHIND).is_ok()
    }

    /// The number of clients that occupy all workers of a pool.
    pub fn occupying(&self) -> usize {
        self.args.workers.map_or(MANY, |workers| workers + 4)
    }

    /// Looks at the process while clients are connected.
    pub fn look(&mut self) {
        let now = self.process.as_ref().and_then(Process::held);
        self.most = self.most.zip(now).map(|(most, now)| most.most(now)).or(self.most).or(now);
    }
}
