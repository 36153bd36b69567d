//! Child processes: how they start and end.

use super::usage::{Usage, family};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The live process groups, to terminate all of them at once.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The time that a server has to stop before it is killed.
const FAREWELL: Duration = Duration::from_secs(2);

/// A process in its own group. Dropping this terminates the group.
#[derive(Debug)]
pub struct Started {
    child: Child,
}

impl Started {
    /// Starts a command. Its output goes to `log`.
    pub fn new(mut command: Command, log: &Path) -> io::Result<Self> {
        let log = appended(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Self::spawn(command)
    }

    /// Starts a command that this process talks to. Its error messages go to `log`.
    pub fn with_pipes(mut command: Command, log: &Path) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(appended(log)?);
        Self::spawn(command)
    }

    /// The one place in which processes start.
    fn spawn(mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        // Hold the lock until the group is recorded, so that `end_all` cannot miss it.
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        groups.push(child.id());
        Ok(Self { child })
    }

    /// Sends a line to the process, and returns the line that it sends back.
    pub fn ask(&mut self, line: &str) -> io::Result<String> {
        let (Some(to), Some(from)) = (&mut self.child.stdin, &mut self.child.stdout) else {
            return Err(io::Error::other("it has no pipes"));
        };
        writeln!(to, "{line}")?;
        let mut answer = String::new();
        BufReader::new(from).read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }

    /// Closes the pipe to the process, if it has one, and waits until it has ended.
    pub fn finish(mut self) -> io::Result<()> {
        self.child.wait().map(|_| ())
    }

    /// Interrupts the group, as Ctrl-C does, and waits until the process has ended.
    pub fn interrupt(self) -> io::Result<()> {
        signal(self.child.id(), Signal::INT);
        self.finish()
    }

    /// True while the first process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process and its descendants.
    pub fn family(&self) -> Vec<u32> {
        family(self.child.id())
    }

    /// The resources used so far by the process and its descendants.
    pub fn usage(&self) -> Usage {
        Usage::of(&self.family())
    }
}

fn appended(log: &Path) -> io::Result<fs::File> {
    fs::File::options().create(true).append(true).open(log)
}

impl Drop for Started {
    fn drop(&mut self) {
        let group = self.child.id();
        signal(group, Signal::TERM);
        let deadline = Instant::now() + FAREWELL;
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Kill the processes that are left in the group.
        signal(group, Signal::KILL);
        let _ = self.child.wait();
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != group);
    }
}

/// Terminates all groups at once. No process can be started after it.
pub fn end_all() {
    let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    for group in groups.iter() {
        signal(*group, Signal::KILL);
    }
    // Keep the lock: the process exits now.
    std::mem::forget(groups);
}

fn signal(group: u32, signal: Signal) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // A group that has already ended needs no signal.
        let _ = kill_process_group(group, signal);
    }
}
