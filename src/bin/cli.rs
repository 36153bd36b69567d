//! Error reports of all commands: one line on standard error, and an exit code.
//!
//! Each binary and the lab (whose programs are commands) include this module. It is not part of the
//! library.

use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code for a wrong option or argument.
const USAGE: u8 = 2;

/// Prints help and version unchanged, and any parse error as one line.
pub fn usage(command: &str, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // If the reader has gone, nobody needs the help text.
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
    // If standard error is closed, there is nowhere to report it.
    let _ = writeln!(io::stderr(), "{line}");
}
