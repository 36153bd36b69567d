//! A model as a server in a process of its own, so that its memory and its CPU time are its own.

use crate::model::Model;
use crate::observed::{Held, cpu_time};
use crate::options::Args;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server. Dropping this ends it, with its children.
pub struct Served {
    child: Child,
    pub address: SocketAddr,
}

impl Served {
    /// Starts this program again, to serve the files in `root`.
    pub fn start(model: Model, args: &Args, root: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve", model.option(), "0", "--for-parent", "--root"]).arg(root);
        command.args(["--workers", &args.workers.to_string()]);
        command.arg("--delay").arg(humantime::format_duration(args.delay).to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.and_then(|address| address.trim_end_matches('/').parse().ok());
        match address {
            Some(address) => Ok(Self { child, address }),
            None => {
                let _ = child.kill();
                let status = child.wait()?;
                Err(format!("cannot start {}: it ended with {status}", model.name()).into())
            }
        }
    }

    /// What it and its children hold now.
    pub fn held(&self) -> Option<Held> {
        Held::by(&[self.child.id()])
    }

    /// The CPU time that it and its children have used so far.
    pub fn cpu_time(&self) -> Duration {
        cpu_time(&[self.child.id()])
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
