//! The trace of a load: one line per request with the client's and the server's times.

use crate::csv::{Csv, WriteError};
use crate::load::Outcome;
use std::path::Path;
use std::time::Duration;

/// The columns. Times are in seconds from the start of the load. Missing values are empty.
const HEADINGS: [&str; 15] = [
    "run",
    "intended",
    "lateness",
    "connection_wait",
    "begun",
    "connected",
    "first_byte",
    "ended",
    "latency",
    "answer",
    "tries",
    "bytes",
    "server_queue",
    "server_delay",
    "server_send",
];

/// A trace that is being written.
#[derive(Debug)]
pub struct Trace {
    csv: Csv,
}

impl Trace {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// If it cannot be created or written.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        Ok(Self { csv: Csv::create(path, &HEADINGS)? })
    }

    /// Adds the requests of a named run.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn add<'a>(
        &mut self,
        run: &str,
        outcomes: impl IntoIterator<Item = &'a Outcome>,
    ) -> Result<(), WriteError> {
        outcomes.into_iter().try_for_each(|outcome| self.csv.row(&cells(run, outcome)))
    }

    /// Writes the buffered rest to the file.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn finish(self) -> Result<(), WriteError> {
        self.csv.finish()
    }
}

fn cells(run: &str, outcome: &Outcome) -> [String; HEADINGS.len()] {
    let seconds = |time: Duration| format!("{:.6}", time.as_secs_f64());
    let maybe = |time: Option<Duration>| time.map(seconds).unwrap_or_default();
    [
        run.to_owned(),
        seconds(outcome.intended),
        seconds(outcome.lateness),
        seconds(outcome.connection_wait),
        maybe(outcome.begun),
        maybe(outcome.connected),
        maybe(outcome.first_byte),
        seconds(outcome.ended),
        seconds(outcome.latency()),
        outcome.answer.to_string(),
        outcome.tries.to_string(),
        outcome.bytes.to_string(),
        maybe(outcome.server.queue_wait),
        maybe(outcome.server.handle),
        maybe(outcome.server.response_head),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Answer, ServerTiming};

    #[test]
    fn a_line_has_the_times_of_client_and_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.csv");
        let millis = Duration::from_millis;
        let outcome = Outcome {
            intended: millis(1000),
            lateness: Duration::from_micros(50),
            connection_wait: Duration::from_micros(70),
            begun: Some(millis(1001)),
            connected: Some(millis(1002)),
            first_byte: Some(millis(1010)),
            ended: millis(1011),
            answer: Answer::Status(200),
            tries: 1,
            bytes: 123,
            server: ServerTiming {
                queue_wait: Some(millis(3)),
                handle: Some(millis(5)),
                response_head: None,
            },
            message: 0,
        };
        let vain = Outcome { begun: None, connected: None, first_byte: None, ..outcome };
        let vain = Outcome { answer: Answer::TimedOut, server: ServerTiming::default(), ..vain };
        let mut trace = Trace::create(&path).expect("a file");
        trace.add("rho .5", &[outcome, vain]).expect("two lines");
        trace.finish().expect("an end");
        let text = std::fs::read_to_string(&path).expect("the file");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], HEADINGS.join(","));
        let of = "rho .5,1.000000,0.000050,0.000070,1.001000,1.002000,1.010000,1.011000,0.011000,\
                  status 200,1,123,0.003000,0.005000,";
        assert_eq!(lines[1], of);
        let of = "rho .5,1.000000,0.000050,0.000070,,,,1.011000,0.011000,out of patience,1,123,,,";
        assert_eq!(lines[2..], [of]);
    }
}
