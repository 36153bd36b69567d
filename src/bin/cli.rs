//! Error reports of all commands: one line on standard error, and an exit code.
//!
//! Each binary includes this module. It is not part of the library.

use clap::error::{ContextKind, ContextValue};
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code for a wrong option or argument.
const USAGE: u8 = 2;

/// The name under which the command is called: packages choose another one than its `own`.
pub fn called(own: &str) -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_name().and_then(|name| name.to_str());
    let is_plain = |name: &&str| {
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        name.len() <= 64 && !name.starts_with('-') && name.bytes().all(is_usual)
    };
    name.filter(is_plain).unwrap_or(own).to_owned()
}

/// Examples with the name under which the command is called. They are in lines that begin with two
/// spaces, and end at the next two.
pub fn examples(text: &str, own: &str, called: &str) -> String {
    let line = |line: &str| {
        let Some(rest) = line.strip_prefix("  ") else { return line.to_owned() };
        let width = rest.find("  ").unwrap_or(rest.len());
        let (typed, meaning) = rest.split_at(width);
        let words = typed.split(' ').map(|word| if word == own { called } else { word });
        let typed = words.collect::<Vec<_>>().join(" ");
        format!("  {typed:width$}{meaning}")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Prints help and version unchanged, and any parse error as one line. If the wrong value came from
/// the environment, `variable` is its name.
pub fn usage(command: &str, error: &clap::Error, variable: Option<&str>) -> ExitCode {
    if !error.use_stderr() {
        // If the reader has gone, nobody needs the help text.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let line = one_line(error);
    let from = variable.map_or(String::new(), |name| format!("{name}: "));
    let known = suggestion(error).map_or(String::new(), |known| format!("did you mean {known}? "));
    say(&format!("{command}: {from}{line} ({known}see {command} --help)"));
    ExitCode::from(USAGE)
}

/// What is wrong, as one line.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let line = first.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// The option that was probably meant.
pub fn suggestion(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(known) => Some(known),
        _ => None,
    }
}

/// Prints why a command failed.
pub fn failure(command: &str, reason: &str) -> ExitCode {
    say(&format!("{command}: {reason}"));
    ExitCode::FAILURE
}

/// Prints everything that is wrong, each with its place.
#[allow(dead_code, reason = "only one of the commands reads a file")]
pub fn failures(command: &str, reasons: &[String]) -> ExitCode {
    reasons.iter().for_each(|reason| say(&format!("{command}: {reason}")));
    ExitCode::FAILURE
}

fn say(line: &str) {
    // If standard error is closed, there is nowhere to report it.
    let _ = writeln!(io::stderr(), "{line}");
}
