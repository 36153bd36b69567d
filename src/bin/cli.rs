//! What every command does when it cannot go on: one line on standard error, and an exit code.
//!
//! It is a module of each binary, and of the lab, whose programs are commands too; none of it is
//! part of the library.

use std::io::{self, Write};
use std::process::ExitCode;

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
