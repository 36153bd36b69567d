//! A process confines itself: Landlock, a filter of system calls, and no new privileges.

// Each kind of processor has other numbers for its system calls. Those of these are known, here and
// to `seccompiler`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod calls;
mod landlock;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")),
    path = "seccomp_elsewhere.rs"
)]
mod seccomp;

use self::landlock::Right;
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// What is in force in this process.
static IN_FORCE: OnceLock<Confinement> = OnceLock::new();

/// What a process may still do once it has confined itself. What is not named here is denied, to
/// all code of the process.
///
/// Enter it when everything is open that cannot be opened afterwards: listeners, log files,
/// databases. `Server::start_on` makes its threads after that, so that
/// they are all confined. Nothing ends a confinement but the end of the process.
///
/// - *Files* (Linux 5.13, Landlock): nothing is opened but beneath the paths given here.
/// - *Network* (Linux 6.7, Landlock, and the filter): no port is bound, and nothing is connected
///   to. Listeners that are open go on accepting.
/// - *System calls* (seccomp, on x86-64, AArch64 and RISC-V of 64 bits): those of
///   [`Sandbox::calls`] are allowed. Others fail with `EPERM`: the handler that makes one gets an
///   error, and its worker lives on. No program is executed, no process started, no memory made
///   executable.
/// - *Privileges*: no program that is executed could gain any (`no_new_privs`).
///
/// It needs the feature `sandbox`, and Linux.
///
/// ```no_run
/// use cws::{Config, Listener, Sandbox, Server, StaticFiles};
///
/// let listeners = Listener::bind(&["127.0.0.1:8080".parse()?])?;
/// let files = StaticFiles::new("public")?;
/// let confinement = Sandbox::new().reading("public").enter();
/// println!("{confinement}");
/// let server = Server::start_on(listeners, Config::default(), files)?;
/// # server.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is confined before it is entered"]
pub struct Sandbox {
    rules: Vec<(PathBuf, Right)>,
    calls: Vec<i64>,
}

/// What confines this process, and what does not, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confinement {
    /// The version of the kernel's Landlock, or why it is not in force.
    pub landlock: Result<i32, String>,
    /// The number of system calls that are allowed, or why there is no filter.
    pub seccomp: Result<usize, String>,
}

impl Sandbox {
    /// Nothing is allowed but what a server needs whose handler opens nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Files at this path and beneath it may be read, and directories listed.
    pub fn reading(self, path: impl Into<PathBuf>) -> Self {
        self.with(path, Right::Read)
    }

    /// Files at this path and beneath it may be made and written to, and not read.
    pub fn appending(self, path: impl Into<PathBuf>) -> Self {
        self.with(path, Right::Append)
    }

    /// Files at this path and beneath it may be read, made, written to, renamed and removed. The
    /// calls for some of these are not in the table: see [`Sandbox::allowing`].
    pub fn writing(self, path: impl Into<PathBuf>) -> Self {
        self.with(path, Right::Write)
    }

    /// Files beneath this directory may be removed, such as UNIX sockets at the end.
    pub fn removing(self, path: impl Into<PathBuf>) -> Self {
        self.with(path, Right::Remove)
    }

    /// These system calls are allowed, too, whatever their arguments are: numbers as in
    /// `libc::SYS_fsync`.
    ///
    /// Run every path of a handler under the filter before you ship it. Some calls cannot fail by
    /// their manual, such as `getuid` and `getppid`, which a server does not make. Under the filter
    /// they return `EPERM` all the same. Some crates panic then: the request gets 500, and its
    /// worker starts anew. Others take the error for a value. `strace -f -e status=failed` shows
    /// which calls were denied.
    pub fn allowing(mut self, calls: impl IntoIterator<Item = i64>) -> Self {
        self.calls.extend(calls);
        self
    }

    /// The system calls that are allowed to every server, by name, with the reason for each.
    pub fn calls() -> impl Iterator<Item = (&'static str, &'static str)> {
        seccomp::calls()
    }

    /// Confines this process as far as the kernel can. The filter of system calls is for all of
    /// its threads. Landlock is for this thread and those that it starts from now on, and for all
    /// from Linux 7.0 on.
    ///
    /// Who needs all of it looks at [`Confinement::missing`].
    pub fn enter(self) -> Confinement {
        // Landlock first: its own system calls are not in the table.
        let landlock = landlock::restrict(&self.rules);
        let seccomp = seccomp::filter(&self.calls);
        let confinement = Confinement { landlock, seccomp };
        IN_FORCE.get_or_init(|| confinement.clone());
        confinement
    }

    fn with(mut self, path: impl Into<PathBuf>, right: Right) -> Self {
        self.rules.push((path.into(), right));
        self
    }
}

impl Confinement {
    /// What this process has confined itself with, if it has.
    pub fn in_force() -> Option<&'static Self> {
        IN_FORCE.get()
    }

    /// What is not in force, and why. `None` if all is.
    pub fn missing(&self) -> Option<String> {
        let landlock = self.landlock.as_ref().err().map(|why| format!("no Landlock: {why}"));
        let seccomp = self.seccomp.as_ref().err().map(|why| format!("no seccomp filter: {why}"));
        let missing: Vec<String> = landlock.into_iter().chain(seccomp).collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.landlock {
            Ok(version) => write!(f, "Landlock (version {version}), ")?,
            Err(why) => write!(f, "no Landlock: {why}; ")?,
        }
        match &self.seccomp {
            Ok(count) => write!(f, "{count} system calls allowed"),
            Err(why) => write!(f, "no seccomp filter: {why}"),
        }
    }
}
