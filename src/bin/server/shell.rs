//! What shells and packagers ask the program for: completions, a manual page, the version.

use crate::{Args, cli};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;

/// The package's version, the commit that it was built from, and its optional features. Who builds
/// it names the commit in the variable `GIT_COMMIT`, since a package has no repository to ask.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("GIT_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map_or(String::new(), |commit| format!("\ncommit {commit}"));
    let features = [("cli", true), ("http", cfg!(feature = "http"))];
    let features: Vec<&str> =
        features.iter().filter(|(_, is_on)| *is_on).map(|(of, _)| *of).collect();
    format!("{}{commit}\nfeatures {}", env!("CARGO_PKG_VERSION"), features.join(" "))
});

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Shell")]
pub(crate) struct ShellArgs {
    /// Print completions for a shell, and exit
    #[arg(long, value_name = "SHELL")]
    completions: Option<Shell>,
    /// Print the manual page, and exit: server --man | man -l -
    #[arg(long)]
    man: bool,
}

impl ShellArgs {
    /// Prints what is asked for, if something is.
    pub(crate) fn answer(&self) -> Option<ExitCode> {
        let name = name();
        let mut text = Vec::new();
        if let Some(shell) = self.completions {
            clap_complete::generate(shell, &mut Args::command(), name, &mut text);
        } else if self.man {
            if let Err(error) = write_page(name, &mut text) {
                return Some(cli::failure("server", &format!("cannot make the page: {error}")));
            }
        } else {
            return None;
        }
        // If the reader has gone, nobody needs the text.
        let _ = io::stdout().write_all(&text);
        Some(ExitCode::SUCCESS)
    }
}

/// The manual page. What is behind the options there is laid out for terminals, in lines.
fn write_page(name: String, text: &mut Vec<u8>) -> io::Result<()> {
    let page = Man::new(Args::command().name(name.clone()).display_name(name).after_help(""));
    page.render(text)?;
    let escape = |line: &str| line.replace('\\', "\\e").replace('-', "\\-");
    for paragraph in crate::EXAMPLES.split("\n\n") {
        let mut lines = paragraph.lines().peekable();
        match lines.next_if(|line| line.starts_with("Examples:")) {
            Some(_) => writeln!(text, ".SH EXAMPLES")?,
            None => writeln!(text, ".SH SIGNALS AND EXIT CODES")?,
        }
        for line in lines {
            match line.trim().split_once("  ") {
                Some((typed, meaning)) => {
                    writeln!(text, ".TP\n\\fB{}\\fR\n{}", escape(typed), escape(meaning.trim()))?;
                }
                // Its meaning is in the next line.
                None if line.starts_with("  server") => {
                    writeln!(text, ".TP\n\\fB{}\\fR", escape(line.trim()))?;
                }
                None => writeln!(text, "{}", escape(line.trim()))?,
            }
        }
    }
    Ok(())
}

/// The name under which the program is called: packages install it under another one.
fn name() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "server".to_owned())
}
