//! What shells and packagers ask the program for: completions, a manual page, the version.

use crate::{Args, cli};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::LazyLock;

/// The name of the command, as it is called.
pub(crate) static NAME: LazyLock<String> = LazyLock::new(|| cli::called("server"));

/// What follows the options in the help text.
pub(crate) static EXAMPLES: LazyLock<String> =
    LazyLock::new(|| cli::examples(crate::EXAMPLES, "server", &NAME));

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
    /// Print the manual page, and exit; to read it: --man | man -l -
    #[arg(long)]
    man: bool,
}

impl ShellArgs {
    /// Prints what is asked for, if something is.
    pub(crate) fn answer(&self) -> Option<ExitCode> {
        let name = NAME.as_str();
        let mut text = Vec::new();
        if let Some(shell) = self.completions {
            clap_complete::generate(shell, &mut Args::command(), name, &mut text);
        } else if self.man {
            if let Err(error) = write_page(name, &mut text) {
                return Some(cli::failure(name, &format!("cannot make the page: {error}")));
            }
        } else {
            return None;
        }
        // If the reader has gone, nobody needs the text.
        let _ = io::stdout().write_all(&text);
        Some(ExitCode::SUCCESS)
    }
}

/// What the manual page says beyond the options, in the language of roff.
const DESCRIPTION: &str = r"Serves the files of a directory over HTTP/1.x with a fixed number of
worker threads. A slow or idle client occupies none of them. Without options, it serves the current
directory to this machine alone.
.PP
Each option can also be set by its environment variable, and by a key of the same name in the file
of \fB\-\-config\fR. The command line takes precedence over the environment, and both over the file.
On Linux the server confines itself when it listens (\fB\-\-sandbox\fR).";

/// The manual page. What is behind the options is laid out for terminals, in lines.
fn write_page(name: &'static str, text: &mut Vec<u8>) -> io::Result<()> {
    let page = Man::new(Args::command().name(name).display_name(name));
    page.render_title(text)?;
    page.render_name_section(text)?;
    writeln!(text, ".SH SYNOPSIS\n\\fB{name}\\fR [\\fIOPTIONS\\fR] [\\fIDIR\\fR] [\\fIPORT\\fR]")?;
    writeln!(text, ".SH DESCRIPTION\n{DESCRIPTION}")?;
    let mut options = Vec::new();
    page.render_options_section(&mut options)?;
    for line in String::from_utf8_lossy(&options).lines() {
        // The groups of options are parts of one section.
        match line.strip_prefix(".SH ").filter(|heading| *heading != "OPTIONS") {
            Some(heading) => writeln!(text, ".SS {heading}")?,
            None => writeln!(text, "{line}")?,
        }
    }
    let escape = |line: &str| line.replace('\\', "\\e").replace('-', "\\-");
    for line in EXAMPLES.lines() {
        match line.strip_prefix("  ").map(|example| example.split_once("  ")) {
            Some(Some(("", meaning))) => write_meaning(text, &escape(meaning.trim()))?,
            Some(Some((typed, meaning))) => {
                writeln!(text, ".PP\n\\fB{}\\fR", escape(typed))?;
                write_meaning(text, &escape(meaning.trim()))?;
            }
            // Its meaning is in the next line.
            Some(None) => writeln!(text, ".PP\n\\fB{}\\fR", escape(line.trim()))?,
            None if line == "Examples:" => writeln!(text, ".SH EXAMPLES")?,
            None if line.is_empty() => writeln!(text, ".SH SIGNALS")?,
            None => match line.strip_prefix("Exit code: ") {
                Some(codes) => writeln!(text, ".SH EXIT STATUS\n{}", escape(codes))?,
                None => writeln!(text, "{}", escape(line))?,
            },
        }
    }
    Ok(())
}

/// What an example does, indented below it.
fn write_meaning(text: &mut Vec<u8>, meaning: &str) -> io::Result<()> {
    writeln!(text, ".RS 4\n{meaning}\n.RE")
}
