//! All options together: from the command line, the environment and a file.
//!
//! No option is defined twice. A key of the file is the long name of an option. Its values become
//! clap's default values of the option, so that the environment and the command line take
//! precedence, and clap's parsers check them.

mod file;
mod check;
mod blame;
mod outside;
mod print;

pub(crate) use file::Fault;

use crate::Args;
use crate::shell::NAME;
use crate::sites::Section;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use file::{Document, Table};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, io};

/// What tells that a `[[site]]` has changed.
const SITES: &str = "[[site]]";

/// The name of the option for the file, which the file itself cannot have.
const CONFIG: &str = "config";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct SettingsArgs {
    /// Read options from this TOML file: the keys are the long names of the options, and
    /// tables named `site` are further sites. The environment and the command line take
    /// precedence. SIGHUP reads it again
    #[arg(long, env = "CWS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the options and the file, print every error with its line, and exit: 0 if there is
    /// none, 1 otherwise
    #[arg(long)]
    check: bool,
    /// Print the options in force as a file for --config, and exit
    #[arg(long)]
    print_config: bool,
}

impl SettingsArgs {
    /// The folder of the file, which is read again from there: an editor may have written a new one
    /// of the same name.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let file = std::path::absolute(self.config.as_ref()?).ok()?;
        file.parent().map(Into::into)
    }
}

/// The options in force.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) args: Arc<Args>,
    matches: ArgMatches,
    document: Document,
}

/// Why there are none.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The command line or the environment is wrong, or asks for the help text.
    Usage(Box<clap::Error>),
    /// The file is wrong, or options that do not go together.
    Faults(Vec<String>),
}

impl Settings {
    /// Reads the command line, the environment and the file, and checks them.
    pub(crate) fn load() -> Result<Self, Refusal> {
        Self::load_from(&env::args_os().collect::<Vec<_>>())
    }

    fn load_from(typed: &[OsString]) -> Result<Self, Refusal> {
        // A wrong command line is told before a wrong file.
        let settings = Self::merge(typed, Document::default()).map_err(usage)?;
        let Some(path) = settings.args.settings.config.clone() else { return Ok(settings) };
        let document = file::read(&path).map_err(|error| {
            let todo = match error.kind() {
                io::ErrorKind::NotFound => "create it, or choose another file with --config",
                io::ErrorKind::InvalidData => "save it as UTF-8",
                _ => "make it a readable file, or choose another one with --config",
            };
            Refusal::Faults(vec![format!("cannot read {}: {error} ({todo})", path.display())])
        })?;
        let mut faults = document.faults.clone();
        faults.extend(check::table(&document.top, keys(&Args::command())));
        for site in &document.sites {
            faults.extend(check::table(site, keys(&Section::command())));
            faults.extend(check::site(site));
        }
        if faults.is_empty() {
            faults = blame::faults(&document, |document| Self::merge(typed, document));
        }
        if faults.is_empty() {
            return Self::merge(typed, document).map_err(usage);
        }
        Err(Refusal::Faults(told(faults, Some(&path))))
    }

    /// The options of a command line, of the environment, and of a file whose values are correct.
    fn merge(typed: &[OsString], document: Document) -> Result<Self, clap::Error> {
        let mut command = with_defaults(Args::command(), &document.top);
        let matches = command.try_get_matches_from_mut(typed)?;
        let mut args = Args::from_arg_matches(&matches)?;
        args.what.settle(&matches, &mut command)?;
        for site in &document.sites {
            args.sites.push(section(site, &matches)?);
        }
        Ok(Self { args: Arc::new(args), matches, document })
    }

    /// Does what `--check` or `--print-config` asks for, if one of them is given.
    pub(crate) fn answer(&self) -> Option<ExitCode> {
        let SettingsArgs { check, print_config, .. } = self.args.settings;
        if print_config {
            return Some(print::all(self));
        }
        if !check {
            return None;
        }
        let mut faults: Vec<Fault> = outside::faults(&self.args)
            .into_iter()
            .map(|(key, text)| Fault { line: self.line_of(key), text })
            .collect();
        faults.extend(crate::problem(&self.args).map(|text| Fault { line: 0, text }));
        if !faults.is_empty() {
            return Some(crate::cli::failures(&NAME, &told(faults, self.file())));
        }
        crate::serving::announce("the options are correct");
        Some(ExitCode::SUCCESS)
    }

    /// The line of an option in the file, if its value comes from there; else 0.
    fn line_of(&self, key: &str) -> usize {
        match source(&self.matches, &key.replace('-', "_")) {
            Some(ValueSource::DefaultValue) => self.document.top.line_of(key),
            _ => 0,
        }
    }

    /// The file from which options come.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.args.settings.config.as_deref()
    }

    /// The options that have other values in `other`, by their names.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let known = keys(&Args::command());
        let differs = |arg: &&Arg| {
            let id = arg.get_id().as_str();
            texts(&self.matches, id) != texts(&other.matches, id)
        };
        let names = known.iter().filter(differs).filter_map(Arg::get_long);
        let sites = (self.document.sites != other.document.sites).then_some(SITES);
        names.chain(sites).map(str::to_owned).collect()
    }
}

/// True for an option that each site can have.
pub(crate) fn is_of_sites(name: &str) -> bool {
    name == SITES || check::find(&keys(&Section::command()), name).is_some()
}

/// Faults in the order of their lines, each with its place.
fn told(mut faults: Vec<Fault>, file: Option<&Path>) -> Vec<String> {
    faults.sort_by_key(|fault| fault.line);
    let tell = |Fault { line, text }| match (line, file) {
        (1.., Some(file)) => format!("{}:{line}: {text}", file.display()),
        _ => text,
    };
    faults.into_iter().map(tell).collect()
}

fn usage(error: clap::Error) -> Refusal {
    Refusal::Usage(Box::new(error))
}

/// The options that can be keys: those with a variable, since these have a value that lasts.
fn keys(command: &Command) -> Vec<Arg> {
    let of_site = command.get_name() == Section::NAME;
    let is_key = |arg: &&Arg| {
        arg.get_long().is_some_and(|long| long != CONFIG) && (of_site || arg.get_env().is_some())
    };
    command.get_arguments().filter(is_key).cloned().collect()
}

/// Makes the values of a table the default values of their options.
fn with_defaults(command: Command, table: &Table) -> Command {
    let known = keys(&command);
    table.entries.iter().fold(command, |command, entry| {
        let Some(arg) = check::find(&known, &entry.key) else { return command };
        let values: Vec<OsString> = entry.values.iter().map(OsString::from).collect();
        command.mut_arg(arg.get_id(), |arg| {
            arg.default_values(values.into_iter().map(clap::builder::OsStr::from))
        })
    })
}

/// The options of one `[[site]]`. What it leaves out is as for the main site.
fn section(site: &Table, top: &ArgMatches) -> Result<Section, clap::Error> {
    let mut command = Section::command();
    for arg in keys(&command) {
        let id = arg.get_id().as_str();
        let is_own = site.entries.iter().any(|entry| Some(&entry.key[..]) == arg.get_long());
        if !is_own && Section::INHERITED_NOT.iter().all(|own| *own != id) {
            let values = texts(top, id).into_iter().map(clap::builder::OsStr::from);
            command = command.mut_arg(arg.get_id(), |arg| arg.default_values(values));
        }
        command = command.mut_arg(arg.get_id(), |arg| arg.env(clap::builder::Resettable::Reset));
    }
    let matches = with_defaults(command, site).try_get_matches_from([""])?;
    let mut section = Section::from_arg_matches(&matches)?;
    section.line = site.line;
    Ok(section)
}

/// The values of an option as texts; none if it has none.
fn texts(matches: &ArgMatches, id: &str) -> Vec<OsString> {
    match matches.try_get_raw(id) {
        Ok(Some(values)) => values.map(OsString::from).collect(),
        _ => Vec::new(),
    }
}

/// Where the value of an option comes from.
fn source(matches: &ArgMatches, id: &str) -> Option<ValueSource> {
    matches.try_contains_id(id).ok().filter(|is_there| *is_there)?;
    matches.value_source(id)
}
