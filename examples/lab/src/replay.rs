//! Replays an access log: its requests, at the times at which they started.
//!
//! A log has its requests in the order in which they ended. They are sorted by their starts within
//! a buffer of limited size, so that a log of any length needs little memory. Where a log gives the
//! second of a start alone, the request gets a random time within that second.

use crate::access_log::{self, Entry, Unusable};
use crate::load::{Feed, Message};
use crossbeam_channel::bounded;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The longest line that is read; the server's own limit for a request line is far below.
const LINE_MOST: usize = 64 * 1024;

/// The most requests that are held to sort them.
const HELD_MOST: usize = 100_000;

/// The most bytes of paths that are held to sort them.
const BYTES_MOST: usize = 32 << 20;

/// The requests that are ready before they are due.
const AHEAD: usize = 1024;

/// A log, and what of it is sent.
#[derive(Debug, Clone)]
pub struct Log {
    /// The file.
    pub path: PathBuf,
    /// Only requests with these methods are sent.
    pub methods: Vec<String>,
    /// The factor by which the log's time passes faster.
    pub speed: f64,
    /// Only requests that start before this, in the time of the load.
    pub length: Duration,
    /// Only so many.
    pub most: u64,
    /// Seed of the random times within a second.
    pub seed: u64,
}

/// What a log contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The number of requests that are sent.
    pub requests: u64,
    /// The time of the last one, from the first one on, in the time of the load.
    pub length: Duration,
    /// The number of requests with other methods.
    pub other_methods: u64,
    /// The number of lines that are not used, and the first of them, by the reason.
    pub unusable: BTreeMap<Unusable, (u64, u64)>,
    /// The number of lines that are too long.
    pub too_long: u64,
    /// Requests that the buffer was too small to bring into order: they start too late.
    pub misplaced: u64,
}

/// Why a log cannot be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// It has no request that can be sent.
    Empty(PathBuf, Survey),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => {
                write!(f, "cannot read {}: {error} (check the name)", path.display())
            }
            Self::Empty(path, survey) => {
                write!(f, "{} has no request to send", path.display())?;
                survey.exceptions().iter().try_for_each(|text| write!(f, "; {text}"))
            }
        }
    }
}

impl std::error::Error for ReplayError {}

impl Survey {
    /// What is left out or changed, a sentence each.
    pub fn exceptions(&self) -> Vec<String> {
        let mut texts: Vec<String> = self
            .unusable
            .iter()
            .map(|(why, (count, first))| match count {
                1 => format!("line {first} is left out: {why}"),
                _ => format!("{count} lines are left out, the first is line {first}: {why}"),
            })
            .collect();
        if self.too_long > 0 {
            texts.push(format!(
                "{} lines are left out: they are longer than {LINE_MOST} bytes",
                self.too_long
            ));
        }
        if self.other_methods > 0 {
            texts.push(format!(
                "{} requests are left out: they have other methods",
                self.other_methods
            ));
        }
        if self.misplaced > 0 {
            texts.push(format!(
                "{} requests start too late: they are more than {HELD_MOST} lines out of place",
                self.misplaced
            ));
        }
        texts
    }
}

impl Log {
    /// Reads the whole log once, to know what a replay will do.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has no request to send.
    pub fn survey(&self) -> Result<Survey, ReplayError> {
        let wrong = |error| ReplayError::Read(self.path.clone(), error);
        let mut requests = self.requests().map_err(wrong)?;
        let mut last = Duration::ZERO;
        let mut count = 0;
        while let Some((start, _)) = requests.next().map_err(wrong)? {
            (last, count) = (start, count + 1);
        }
        let survey = Survey { requests: count, length: last, ..requests.survey };
        match survey.requests {
            0 => Err(ReplayError::Empty(self.path.clone(), survey)),
            _ => Ok(survey),
        }
    }

    /// Reads the log again, on a thread, and makes its messages. The thread ends with the log, or
    /// when the feed is dropped.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or the system has no thread.
    pub fn feed(
        &self,
        mut message: impl FnMut(&Entry) -> Message + Send + 'static,
    ) -> io::Result<(Feed, JoinHandle<io::Result<()>>)> {
        let mut requests = self.requests()?;
        let (supply, feed) = bounded(AHEAD);
        let read = move || {
            while let Some((start, entry)) = requests.next()? {
                if supply.send((start, Arc::new(message(&entry)))).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("replay".to_owned()).spawn(read)?;
        Ok((Feed::new(feed), thread))
    }

    fn requests(&self) -> io::Result<Requests<BufReader<File>>> {
        Ok(Requests::new(self, BufReader::new(open(&self.path)?)))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    // It is read twice, which a pipe does not allow.
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// The requests of a log in the order of their starts.
struct Requests<R> {
    lines: R,
    line: Vec<u8>,
    number: u64,
    methods: Vec<String>,
    speed: f64,
    length: Duration,
    left: u64,
    random: fastrand::Rng,
    /// Sorted by the start, and by the place in the log if that is equal.
    held: BinaryHeap<Reverse<(Duration, u64, Entry)>>,
    bytes: usize,
    at_end: bool,
    /// The start of the first request.
    origin: Option<Duration>,
    /// The start of the last request.
    last: Duration,
    survey: Survey,
}

impl<R: BufRead> Requests<R> {
    fn new(log: &Log, lines: R) -> Self {
        Self {
            lines,
            line: Vec::new(),
            number: 0,
            methods: log.methods.clone(),
            speed: log.speed,
            length: log.length,
            left: log.most,
            random: fastrand::Rng::with_seed(log.seed),
            held: BinaryHeap::new(),
            bytes: 0,
            at_end: false,
            origin: None,
            last: Duration::ZERO,
            survey: Survey::default(),
        }
    }

    /// The next request, and its start in the time of the load.
    fn next(&mut self) -> io::Result<Option<(Duration, Entry)>> {
        while !self.at_end && self.held.len() < HELD_MOST && self.bytes < BYTES_MOST {
            self.read_line()?;
        }
        let Some(Reverse((start, _, entry))) = self.held.pop() else { return Ok(None) };
        self.bytes -= entry.path.len();
        let origin = *self.origin.get_or_insert(start);
        self.survey.misplaced += u64::from(start < self.last);
        self.last = self.last.max(start);
        let since = (self.last - origin).as_secs_f64() / self.speed;
        let start = Duration::try_from_secs_f64(since).unwrap_or(Duration::MAX);
        let goes_on = self.left > 0 && start < self.length;
        self.left = self.left.saturating_sub(1);
        if !goes_on {
            // No later request is sent either. The rest of the log need not be read.
            self.held.clear();
            self.at_end = true;
        }
        Ok(goes_on.then_some((start, entry)))
    }

    fn read_line(&mut self) -> io::Result<()> {
        self.line.clear();
        let mut limited = io::Read::take(&mut self.lines, LINE_MOST as u64 + 1);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            self.at_end = true;
            return Ok(());
        }
        self.number += 1;
        if self.line.len() > LINE_MOST && !self.line.ends_with(b"\n") {
            self.survey.too_long += 1;
            return self.skip_line();
        }
        let line = self.line.trim_ascii_end();
        if line.is_empty() {
            return Ok(());
        }
        match access_log::parse(line) {
            Ok(entry) if !self.methods.contains(&entry.method) => self.survey.other_methods += 1,
            Ok(entry) => {
                let start = entry.start + entry.precision.mul_f64(self.random.f64());
                self.bytes += entry.path.len();
                self.held.push(Reverse((start, self.number, entry)));
            }
            Err(why) => {
                let (count, _) = self.survey.unusable.entry(why).or_insert((0, self.number));
                *count += 1;
            }
        }
        Ok(())
    }

    /// Skips the rest of a line.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let rest = self.lines.fill_buf()?;
            let end = rest.iter().position(|&byte| byte == b'\n');
            let skipped = end.map_or(rest.len(), |at| at + 1);
            let at_end = end.is_some() || rest.is_empty();
            self.lines.consume(skipped);
            if at_end {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log() -> Log {
        let methods = vec!["GET".to_owned()];
        let (length, most) = (Duration::MAX, u64::MAX);
        Log { path: PathBuf::new(), methods, speed: 1.0, length, most, seed: 1 }
    }

    /// A line of the server's JSON with this start in microseconds.
    fn line(micros: u64, path: &str) -> String {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        let time = humantime::format_rfc3339_micros(time);
        format!("{{\"time\":\"{time}\",\"request\":\"GET {path} HTTP/1.1\"}}\n")
    }

    use std::time::SystemTime;

    fn all(log: &Log, text: &[u8]) -> (Vec<(Duration, String)>, Survey) {
        let mut requests = Requests::new(log, text);
        let mut found = Vec::new();
        while let Some((start, entry)) = requests.next().expect("memory") {
            found.push((start, entry.path));
        }
        (found, requests.survey)
    }

    fn micros(found: &[(Duration, String)]) -> Vec<u128> {
        found.iter().map(|(start, _)| start.as_micros()).collect()
    }

    #[test]
    fn requests_start_at_their_times_from_the_first_one_on() {
        let text = [line(5_000_000, "/b"), line(4_000_000, "/a"), line(5_500_000, "/c")].concat();
        let (found, survey) = all(&log(), text.as_bytes());
        assert_eq!(micros(&found), [0, 1_000_000, 1_500_000]);
        let paths: Vec<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!((paths, survey), (vec!["/a", "/b", "/c"], Survey::default()));
        let double = Log { speed: 2.0, ..log() };
        assert_eq!(micros(&all(&double, text.as_bytes()).0), [0, 500_000, 750_000]);
        let few = Log { most: 2, ..log() };
        assert_eq!(micros(&all(&few, text.as_bytes()).0), [0, 1_000_000]);
        let short = Log { length: Duration::from_millis(1500), ..log() };
        assert_eq!(micros(&all(&short, text.as_bytes()).0), [0, 1_000_000]);
    }

    #[test]
    fn a_second_without_a_fraction_has_its_requests_at_random() {
        let line = "h - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 5\n";
        let (found, _) = all(&log(), line.repeat(1000).as_bytes());
        assert!(found.is_sorted() && found[999].0 < Duration::from_secs(1));
        let half = found.iter().filter(|(start, _)| *start < Duration::from_millis(500)).count();
        // Five standard errors.
        assert!(half.abs_diff(500) < 80, "{half}");
        assert_eq!(found, all(&log(), line.repeat(1000).as_bytes()).0, "the seed decides");
        assert_ne!(found, all(&Log { seed: 2, ..log() }, line.repeat(1000).as_bytes()).0);
    }

    #[test]
    fn lines_that_are_not_used_are_counted() {
        let long = format!("h - - [{}\n", "x".repeat(3 * LINE_MOST));
        let unended = line(4, "/");
        let lines = [
            "server starts\n",
            &line(1, "/"),
            "\n",
            &long,
            "{\"time\":\"never\",\"request\":\"GET / HTTP/1.1\"}\n",
            &line(2, "/").replace("GET", "POST"),
            &line(3, "not/a/path"),
            "server stops\n",
            unended.trim_end(),
        ];
        let (found, survey) = all(&log(), lines.concat().as_bytes());
        assert_eq!(micros(&found), [0, 3]);
        let unusable =
            [(Unusable::Format, (2, 1)), (Unusable::Time, (1, 5)), (Unusable::Request, (1, 7))];
        let expected = Survey {
            other_methods: 1,
            too_long: 1,
            unusable: unusable.into(),
            ..Survey::default()
        };
        assert_eq!(survey, expected);
        let texts = survey.exceptions();
        assert_eq!(texts.len(), 5, "{texts:?}");
        assert!(texts[0].starts_with("2 lines are left out, the first is line 1: not a line of"));
        assert!(texts[1].starts_with("line 5 is left out: its time"), "{texts:?}");
    }

    /// Ten requests that come after 200,000 others, though they started first.
    #[test]
    fn what_the_buffer_cannot_sort_is_counted_and_sent_in_order() {
        let count = 2 * HELD_MOST as u64;
        let mut text = String::new();
        (0..count).for_each(|number| text.push_str(&line(1000 + number, "/")));
        (0..10).for_each(|number| text.push_str(&line(number, "/late")));
        let (found, survey) = all(&log(), text.as_bytes());
        assert!(found.len() as u64 == count + 10 && micros(&found).is_sorted());
        assert_eq!(survey.misplaced, 10);
    }

    #[test]
    fn long_paths_do_not_fill_the_memory() {
        let path = format!("/{}", "x".repeat(60_000));
        let mut text = String::new();
        (0..2000).for_each(|number| text.push_str(&line(number, &path)));
        let mut requests = Requests::new(&log(), text.as_bytes());
        let mut most = 0;
        while requests.next().expect("memory").is_some() {
            most = most.max(requests.held.len());
        }
        assert!(most * path.len() <= BYTES_MOST + 2 * path.len(), "{most}");
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |name: &str| Log { path: folder.path().join(name), ..log() }.survey();
        let error = of("none").expect_err("no file").to_string();
        assert!(error.starts_with("cannot read ") && error.ends_with("(check the name)"));
        assert!(matches!(of("."), Err(ReplayError::Read(..))));
        std::fs::write(folder.path().join("other"), "a\nb\n").expect("a file");
        let error = of("other").expect_err("no requests").to_string();
        assert!(error.contains("no request to send; 2 lines are left out"), "{error}");
    }

    proptest! {
        /// Whatever the order of the lines, starts are in order and none is lost.
        #[test]
        fn starts_are_sorted(starts in prop::collection::vec(0..10_000_000_u64, 1..100)) {
            let text: String = starts.iter().map(|&start| line(start, "/")).collect();
            let (found, survey) = all(&log(), text.as_bytes());
            let mut expected = starts.clone();
            expected.sort_unstable();
            let first = expected[0];
            expected.iter_mut().for_each(|start| *start -= first);
            let got: Vec<u64> = micros(&found).iter().map(|&start| start as u64).collect();
            prop_assert_eq!(got, expected);
            prop_assert_eq!(survey, Survey::default());
        }
    }
}
