//! The exam: the checks in their order, what is known of the server, and the marks.

use crate::observed::Held;
use crate::options::Args;
use crate::process::Process;
use crate::talk::{Heard, ask};
use crate::{checks, confinement, crowd, hostile, large::Large, silent};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What every client asks for.
pub const FILE: &str = "testfile";

/// The number of clients that is enough to occupy a pool of unknown size.
const MANY: usize = 64;

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

/// The result of a check: points, `None` if it is not judged, and what came.
pub struct Came {
    pub points: Option<u32>,
    pub what: String,
}

/// A check with its result.
pub struct Mark {
    pub check: &'static Check,
    pub came: Came,
}

/// All checks, in the order in which they are done. Those that may stop a server come late.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    let parts = [&checks::BASICS[..], &crowd::CHECKS, &silent::CHECKS, &hostile::CHECKS];
    parts.into_iter().flatten().chain(&confinement::CHECKS).chain(&checks::LAST)
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
    pub fn all(check_points: u32, what: impl Into<String>) -> Self {
        Self { points: Some(check_points), what: what.into() }
    }

    pub fn none(what: impl Into<String>) -> Self {
        Self::all(0, what)
    }

    pub fn unjudged(what: impl Into<String>) -> Self {
        Self { points: None, what: what.into() }
    }

    /// All points or none.
    pub fn whether(holds: bool, points: u32, what: impl Into<String>) -> Self {
        Self::all(if holds { points } else { 0 }, what)
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
            if heard.status() == Some(200) {
                single = begun.elapsed();
            }
            heard
        });
        if heard.iter().all(|heard| heard.status() == Some(404)) {
            return Err(format!("the server has no {FILE} (start it in a folder that has one)"));
        }
        let works = heard.iter().position(|heard| heard.status() == Some(200));
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
        for check in checks() {
            let came = match self.silent_since {
                // The first checks tell what came.
                Some(since) if !checks::BASICS[..4].iter().any(|basic| basic.id == check.id) => {
                    Came::none(format!("not done: it has not answered since {since}"))
                }
                _ => (check.run)(self),
            };
            if self.silent_since.is_none() && !self.serves_again() {
                self.silent_since = Some(check.name);
            }
            marks.push(Mark { check, came });
        }
        marks
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
        self.ask(40).status() == Some(200)
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
