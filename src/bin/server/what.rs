//! What is served and on which port: the arguments that need no option.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct WhatArgs {
    /// Directory to serve, port to listen on, or both in either order; a number is a port, so write
    /// ./8080 for a directory of this name
    #[arg(value_name = "DIR|PORT", num_args = 0..=2)]
    given: Vec<OsString>,
    /// Of the options `root` and `port`, those that were given without their names.
    #[arg(skip)]
    unnamed: Vec<(&'static str, OsString)>,
    /// Directory to serve [default: .]
    #[arg(short = 'd', long, env = "CWS_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Port to listen on; 0 chooses a free port [default: 8080]
    #[arg(short, long, env = "CWS_PORT", value_name = "PORT", value_parser = port)]
    port: Option<u16>,
}

impl WhatArgs {
    /// Takes the arguments without a name for what they are. An error if something is given twice
    /// on the command line; the environment gives way.
    pub(crate) fn settle(
        &mut self,
        matches: &ArgMatches,
        command: &mut Command,
    ) -> Result<(), clap::Error> {
        let is_typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let (mut has_root, mut has_port) = (is_typed("root"), is_typed("port"));
        for given in self.given.drain(..) {
            let is_port = is_number(&given);
            let has = if is_port { &mut has_port } else { &mut has_root };
            if std::mem::replace(has, true) {
                let what = if is_port { "a second port" } else { "a second directory" };
                let given = given.display();
                let text = format!("{given} is {what}: give one directory and one port at most\n");
                return Err(command.error(ErrorKind::ArgumentConflict, text));
            }
            if is_port {
                let number = port(&given.to_string_lossy()).map_err(|reason| {
                    let text = format!("invalid port {}: {reason}\n", given.display());
                    command.error(ErrorKind::ValueValidation, text)
                })?;
                self.port = Some(number);
                self.unnamed.push(("port", given));
            } else {
                self.root = Some(given.clone().into());
                self.unnamed.push(("root", given));
            }
        }
        Ok(())
    }

    /// The value of an option that was given without its name.
    pub(crate) fn unnamed(&self, id: &str) -> Option<OsString> {
        self.unnamed.iter().find(|(of, _)| *of == id).map(|(_, value)| value.clone())
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new("."))
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }
}

fn is_number(argument: &OsStr) -> bool {
    let bytes = argument.as_encoded_bytes();
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number from 0 to 65535".to_owned())
}
