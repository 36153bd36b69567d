//! Error reports of all commands: one line on standard error, and an exit code.
//!
//! Each binary and the lab (whose programs are commands) include this module. It is not part of the
//! library.

use clap::error::{ContextKind, ContextValue};
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code for a wrong option or argument.
const USAGE: u8 = 2;

/// Prints help and version unchanged, and any parse error as one line. If the wrong value came from
/// the environment, `variable` is its name.
pub fn usage(command: &str, error: &clap::Error, variable: Option<&str>) -> ExitCode {
    if !error.use_stderr() {
        // If the reader has gone, nobody needs the help text.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let first = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let line = first.collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    let from = variable.map_or(String::new(), |name| format!("{name}: "));
    let known = match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(known)) => format!("did you mean {known}? "),
        _ => String::new(),
    };
    say(&format!("{command}: {from}{line} ({known}see {command} --help)"));
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
