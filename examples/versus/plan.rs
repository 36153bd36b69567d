//! What a run does: its cases, its servers, and how long it takes.

use super::Args;
use super::cases::{self, Case, Target};
use super::link::Link;
use super::peers::{Contender, contenders, find_program};
use super::running::suits;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What a turn takes beside the load.
const AROUND: f64 = 0.15;

/// What a server takes for a case beside its turns: its start, the count of its system calls, and
/// its end.
const ONCE: f64 = 1.3;

/// The first load.
const WARM_UP: f64 = 1.1;

/// A run.
#[derive(Debug)]
pub struct Plan {
    /// The cases, in their order.
    pub cases: Vec<Case>,
    /// The servers, in the order of their turns.
    pub contenders: Vec<Contender>,
    /// What was wanted and is not installed.
    pub missing: Vec<&'static str>,
    /// In each round, every server has a turn.
    pub rounds: u32,
    /// The duration of a turn.
    pub seconds: u32,
    /// Between the load generators and the servers, if it is not the loopback interface. This
    /// thread and all that it starts are at the clients' end.
    pub link: Option<Link>,
    /// Servers do not warm up.
    pub is_quick: bool,
}

impl Plan {
    /// The run that the arguments describe.
    pub fn new(args: &Args) -> Result<Self, String> {
        let mut cases = chosen_cases(args)?;
        let server = find_server(args)?;
        let (contenders, mut missing) = contenders(&server, &args.binary, &args.servers)?;
        if find_program("haproxy").is_none() && cases.iter().any(|case| case.is_proxied) {
            cases.retain(|case| !case.is_proxied);
            missing.push("haproxy");
        }
        let (rounds, seconds) = if args.quick { (1, 1) } else { (args.rounds, args.seconds) };
        // Last: from here on, this thread cannot reach other machines.
        let link = args.link.map(Link::open).transpose()?;
        let is_quick = args.quick;
        Ok(Self { cases, contenders, missing, rounds, seconds, link, is_quick })
    }

    /// Whether a case needs the many files.
    pub fn has_many(&self) -> bool {
        self.cases.iter().any(|case| case.target == Target::Many)
    }

    /// About how long it takes.
    pub fn length(&self) -> Duration {
        let pairs = self
            .cases
            .iter()
            .flat_map(|case| self.contenders.iter().filter(|contender| suits(contender, case)));
        let each = f64::from(self.rounds) * (f64::from(self.seconds) + AROUND) + ONCE;
        let each = if self.is_quick { each } else { each + WARM_UP };
        Duration::from_secs_f64(pairs.count() as f64 * each)
    }

    /// Says what comes, and what is missing.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "cases: {}, servers: {}, rounds of {} s: {}; about {}",
            self.cases.len(),
            self.contenders.len(),
            self.seconds,
            self.rounds,
            humantime::format_duration(Duration::from_secs(self.length().as_secs()))
        )];
        let path = self.link.as_ref().map_or("loopback".to_owned(), Link::to_string);
        lines.push(format!("requests and responses go over {path}"));
        if !self.missing.is_empty() {
            lines.push(format!("skipped, because not installed: {}", self.missing.join(", ")));
        }
        lines
    }
}

fn chosen_cases(args: &Args) -> Result<Vec<Case>, String> {
    let known = cases::ALL.map(|case| case.name);
    if let Some(unknown) = args.cases.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("unknown case {unknown} (choose from {})", known.join(", ")));
    }
    let wanted = |case: &Case| args.cases.is_empty() || args.cases.iter().any(|n| n == case.name);
    let most = if args.quick && args.cases.is_empty() { 1 } else { usize::MAX };
    Ok(cases::ALL.into_iter().filter(wanted).take(most).collect())
}

/// The server to measure: the given one, or the one beside this program, which is rebuilt if cargo
/// started this program.
fn find_server(args: &Args) -> Result<PathBuf, String> {
    if let Some(server) = &args.server {
        return Ok(server.clone());
    }
    let this = std::env::current_exe()
        .map_err(|error| format!("cannot find this program's own file: {error}"))?;
    let target = this.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--bin", "server"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        if target.file_name().is_some_and(|name| name == "release") {
            command.arg("--release");
        }
        if !command.status().is_ok_and(|status| status.success()) {
            return Err("cannot build the server to measure (choose one with --server)".to_owned());
        }
    }
    let server = target.join("server");
    let how = "run cargo build --release, or choose one with --server";
    if !server.is_file() {
        return Err(format!("{} does not exist ({how})", server.display()));
    }
    Ok(server)
}
