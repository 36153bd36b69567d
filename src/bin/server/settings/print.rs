//! The options in force, as a file.

use super::{Settings, keys, source, texts};
use crate::Args;
use crate::shell::NAME;
use crate::{cli, serving};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, CommandFactory};
use std::ffi::OsString;
use std::fmt::Write;
use std::process::ExitCode;
use toml_writer::ToTomlValue;

/// Prints all options that have a value, each with where it comes from.
pub(super) fn all(settings: &Settings) -> ExitCode {
    match write(settings) {
        Ok(text) => {
            serving::announce(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(reason) => cli::failure(&NAME, &reason),
    }
}

fn write(settings: &Settings) -> Result<String, String> {
    let mut text = String::new();
    for arg in keys(&Args::command()) {
        let (Some(long), id) = (arg.get_long(), arg.get_id().as_str()) else { continue };
        // The directory and the port need no option.
        let (values, from) = match settings.args.what.unnamed(id) {
            Some(value) => (vec![value], "command line"),
            None => (texts(&settings.matches, id), from(settings, &arg)),
        };
        if !values.is_empty() {
            let _ = writeln!(text, "{long} = {} # {from}", value(&arg, &values)?);
        }
    }
    for site in &settings.document.sites {
        let _ = writeln!(text, "\n[[site]]");
        for entry in &site.entries {
            let value = match &entry.values[..] {
                [value] if !entry.is_list => value.to_toml_value(),
                values => list(values),
            };
            let _ = writeln!(text, "{} = {value}", entry.key);
        }
    }
    Ok(text)
}

fn from(settings: &Settings, arg: &Arg) -> &'static str {
    let in_file =
        || settings.document.top.entries.iter().any(|of| Some(&of.key[..]) == arg.get_long());
    match source(&settings.matches, arg.get_id().as_str()) {
        Some(ValueSource::CommandLine) => "command line",
        Some(ValueSource::EnvVariable) => "environment",
        _ if in_file() => "file",
        _ => "default",
    }
}

/// The values of an option in TOML.
fn value(arg: &Arg, values: &[OsString]) -> Result<String, String> {
    let texts: Vec<&str> = values.iter().filter_map(|value| value.to_str()).collect();
    if texts.len() < values.len() {
        let long = arg.get_long().unwrap_or_default();
        return Err(format!("cannot print {long} in TOML: it is not UTF-8"));
    }
    let text = texts.first().copied().unwrap_or_default();
    Ok(match arg.get_action() {
        ArgAction::Append => list(&texts),
        // What counts as true in the environment.
        ArgAction::SetTrue => {
            let no = ["", "0", "n", "no", "f", "false", "off"];
            (!no.contains(&text.to_ascii_lowercase().as_str())).to_string()
        }
        _ => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => text.to_owned(),
            _ => text.to_toml_value(),
        },
    })
}

fn list<T: ToTomlValue>(texts: &[T]) -> String {
    let texts: Vec<String> = texts.iter().map(ToTomlValue::to_toml_value).collect();
    format!("[{}]", texts.join(", "))
}
