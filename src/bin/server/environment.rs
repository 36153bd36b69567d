//! Options that come from the environment: whose error it is, and names that no option has.

use clap::Command;
use clap::error::{ContextKind, ContextValue};
use std::env;

/// What the names of all variables begin with.
const PREFIX: &str = "CWS_";

/// The variable from which a wrong value came, if it did not come from the command line.
pub(crate) fn blamed(error: &clap::Error, mut command: Command) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (argument, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    command.build();
    let named = command.get_arguments().find(|known| known.to_string() == argument)?;
    let variable = named.get_env()?;
    // Of a list, the error has the part that is wrong.
    let is_its = env::var_os(variable)?.to_string_lossy().split([',', '\n']).any(|of| of == value);
    let is_typed =
        !value.is_empty() && env::args_os().any(|typed| typed.to_string_lossy().ends_with(value));
    (is_its && !is_typed).then(|| variable.to_string_lossy().into_owned())
}

/// The variables with our prefix that belong to no option: they are probably misspelt.
pub(crate) fn unknown(command: &Command) -> Vec<String> {
    let known: Vec<_> = command.get_arguments().filter_map(|of| of.get_env()).collect();
    let mut unknown: Vec<String> = env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .filter(|name| !known.contains(&name.as_os_str()))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    unknown.sort();
    unknown
}
