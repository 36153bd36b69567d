//! What both commands share: one-line errors, exit codes, signals, a log that waits for nobody.

mod log_writer;
mod logger;
mod whole_lines;

pub use log_writer::{LogSink, LogWriter};
pub use logger::Logging;

use crossbeam_channel::{Receiver, bounded};
use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::thread;

/// Exit code for a wrong option or argument.
const USAGE: u8 = 2;

/// Prints help and version as they are, and any other outcome of parsing as one line.
pub fn usage(command: &str, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that has gone wants no help.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let first = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let line = first.collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    say(&format!("{command}: {line} (see {command} --help)"));
    ExitCode::from(USAGE)
}

/// Prints why a command failed.
pub fn failure(command: &str, reason: &str) -> ExitCode {
    say(&format!("{command}: {reason}"));
    ExitCode::FAILURE
}

fn say(line: &str) {
    // Where standard error is closed, there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Waits for SIGINT and SIGTERM: the receiver gets the first one, and the second one ends the
/// process at once, with the shell's code for it. SIGHUP calls `hung_up`, and ends nothing.
pub fn signals(hung_up: impl Fn() + Send + 'static) -> io::Result<Receiver<()>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (first, received) = bounded(1);
    // Little else in this thread: it must get to the second signal whatever else hangs.
    let watch = move || {
        let mut arrived = signals.forever().filter(|&signal| {
            if signal == SIGHUP {
                hung_up();
            }
            signal != SIGHUP
        });
        if arrived.next().is_some() {
            let _ = first.send(());
        }
        if let Some(signal) = arrived.next() {
            process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(received)
}
