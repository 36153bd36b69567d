//! What can be wrong with one table of a file: each key by itself.

use super::CONFIG;
use super::file::{Fault, Table};
use crate::Args;
use crate::cli;
use crate::shell::NAME;
use clap::builder::Resettable;
use clap::{Arg, ArgAction, Command, CommandFactory};

/// The option of a key.
pub(super) fn find<'a>(known: &'a [Arg], key: &str) -> Option<&'a Arg> {
    known.iter().find(|arg| arg.get_long() == Some(key))
}

/// Everything that is wrong with the keys of a table, of which these are known.
pub(super) fn table(table: &Table, known: Vec<Arg>) -> Vec<Fault> {
    let wrong = table.entries.iter().filter_map(|entry| {
        let text = match find(&known, &entry.key) {
            None => unknown(&entry.key, &known),
            Some(arg) => {
                let is_one = !matches!(arg.get_action(), ArgAction::Append);
                if is_one && entry.is_list {
                    format!("{} takes one value, not a list", entry.key)
                } else {
                    wrong_value(arg, &entry.values)?
                }
            }
        };
        Some(Fault { line: entry.line, text })
    });
    wrong.collect()
}

/// What is wrong with the place of a site, which needs one.
pub(super) fn site(site: &Table) -> Option<Fault> {
    let has = |key| site.entries.iter().any(|entry| entry.key == key);
    let text = "a [[site]] needs a prefix, a host, or both (the keys above the first [[site]] are \
                for the main site)";
    (!has("prefix") && !has("host")).then(|| Fault { line: site.line, text: text.to_owned() })
}

/// A command of these options alone. The environment does not matter.
fn alone(arguments: impl Iterator<Item = Arg>) -> Command {
    let command = Command::new("server").no_binary_name(true).disable_help_flag(true);
    command.args(arguments.map(|arg| arg.env(Resettable::Reset)))
}

fn unknown(key: &str, known: &[Arg]) -> String {
    let command = Args::command();
    match command.get_arguments().find(|arg| arg.get_long() == Some(key)) {
        None => {}
        Some(arg) if arg.get_env().is_none() || key == CONFIG => {
            return format!("{key} is for the command line alone");
        }
        Some(_) => {
            return format!(
                "a [[site]] has no {key} of its own (set it above the first [[site]], for all)"
            );
        }
    }
    // Clap knows which option is meant, if it is given as one.
    let typed = [format!("--{}", key.replace('_', "-"))];
    let error = alone(known.iter().cloned()).try_get_matches_from(typed).err();
    let meant = error.as_ref().and_then(cli::suggestion).map(|meant| meant.trim_matches('-'));
    // With underscores it is one but for these.
    let spelt = key.replace('_', "-");
    let meant = meant.or(find(known, &spelt).and_then(Arg::get_long));
    let todo = match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("see {} --help", *NAME),
    };
    format!("there is no option {key} ({todo})")
}

fn wrong_value(arg: &Arg, values: &[String]) -> Option<String> {
    let long = arg.get_long()?;
    // A flag has a value in a file.
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.clone().action(ArgAction::Set).num_args(1).value_name("BOOL"),
        _ => arg.clone(),
    };
    let typed = values.iter().map(|value| format!("--{long}={value}"));
    let error = alone([arg].into_iter()).try_get_matches_from(typed).err()?;
    Some(cli::one_line(&error))
}
