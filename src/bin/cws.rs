//! `cws`: the command `server`, under a name that no other program has.
//!
//! Cargo installs programs and no links. A second copy of the server would take as long to compile
//! as the first, so this one becomes the program `server` that is beside it. Packages install the
//! server itself under this name.

#[allow(dead_code, reason = "it has no options of its own")]
mod cli;

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let name = cli::called("cws");
    let server = match env::current_exe() {
        Ok(own) => own.with_file_name("server"),
        Err(error) => {
            return cli::failure(
                &name,
                &format!("cannot find the folder of this program: {error}"),
            );
        }
    };
    let error = Command::new(&server).arg0(&name).args(env::args_os().skip(1)).exec();
    let todo = "install both in one folder, or the server itself under this name";
    cli::failure(&name, &format!("cannot start {}: {error} ({todo})", server.display()))
}
