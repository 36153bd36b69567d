//! What the server gives up once it listens: its user's privileges, and all that it does not need.

use crate::Args;
use crate::listeners::Listeners;
use crate::user::{self, Identity};
use log::{info, warn};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What to do about a place that was not named at the start.
pub(crate) const TODO: &str = "a confined server opens only what its start named: restart it";

#[derive(Debug, clap::Args)]
pub(crate) struct ConfineArgs {
    /// Confine the server once it listens, so that it opens nothing outside of its directories and
    /// its log's folder, binds and connects to nothing, and executes nothing: auto (as far as the
    /// kernel can), strict (do not start if it cannot) or off
    #[arg(long, env = "CWS_SANDBOX", value_name = "WHEN", default_value = "auto",
          value_parser = wanted)]
    sandbox: Wanted,
    /// Become this user, a name or a number, once the server listens; only root can. Without a
    /// GROUP, all groups of the user come with it. The log is opened as this user
    #[arg(long, env = "CWS_USER", value_name = "NAME[:GROUP]", value_parser = user::parse)]
    user: Option<Identity>,
}

/// Whether the server confines itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// As far as the kernel can.
    Auto,
    /// Completely, or it does not start.
    Strict,
    Off,
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "auto" => Ok(Wanted::Auto),
        "strict" => Ok(Wanted::Strict),
        "off" => Ok(Wanted::Off),
        _ => Err("it must be auto, strict or off".to_owned()),
    }
}

/// The paths that a server uses after its start.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    reads: Vec<PathBuf>,
    appends: Vec<PathBuf>,
    /// Directories with UNIX sockets, whose files the server removes at the end.
    removes: Vec<PathBuf>,
}

/// What the start lines say of it.
#[derive(Debug)]
pub(crate) struct Confined(Option<Line>);

#[derive(Debug)]
enum Line {
    Whole(String),
    Partial(String),
}

impl ConfineArgs {
    /// Opens something as the user that the process will be, so that it is this user's own.
    pub(crate) fn as_user<T>(&self, open: impl FnOnce() -> T) -> Result<T, String> {
        match &self.user {
            Some(user) => user.acting(open),
            None => Ok(open()),
        }
    }

    /// Gives up what is not needed any more: everything is open. Call this before the first thread
    /// starts.
    pub(crate) fn enter(&self, args: &Args, listeners: &Listeners) -> Result<Confined, String> {
        let sockets = sockets(args, listeners);
        if let Some(user) = &self.user {
            own(user, &sockets);
            user.become_for_ever()?;
            check_root(user, args.what.root())?;
        }
        if self.sandbox == Wanted::Off {
            return Ok(Confined(None));
        }
        let places = Places::of(args, &sockets);
        let (line, missing) = confine(&places);
        match missing {
            Some(missing) if self.sandbox == Wanted::Strict => Err(format!(
                "cannot confine the server: {missing} (take a kernel that has it, or start with \
                 --sandbox auto)"
            )),
            Some(_) => Ok(Confined(Some(Line::Partial(line)))),
            None => Ok(Confined(Some(Line::Whole(line)))),
        }
    }
}

impl Confined {
    /// Logs what is in force.
    pub(crate) fn tell(&self) {
        match &self.0 {
            Some(Line::Whole(line)) => info!("confined: {line}"),
            Some(Line::Partial(line)) => warn!("confined in part: {line}"),
            None => info!("not confined (--sandbox off)"),
        }
    }
}

/// The UNIX sockets whose files are this server's.
fn sockets(args: &Args, listeners: &Listeners) -> Vec<PathBuf> {
    let Listeners { http, admin, agent, unwanted } = listeners;
    let all = http.iter().chain(admin).chain(agent).chain(unwanted);
    let paths = all.filter(|of| !of.is_kept_elsewhere()).filter_map(|of| of.path());
    let paths = paths.chain(args.takeover.path()).map(std::path::absolute);
    // An abstract name is no path, and has no file.
    paths.flatten().filter(|path| path.exists()).collect()
}

/// Gives the sockets to the user: it is the user's processes that are to connect.
fn own(user: &Identity, sockets: &[PathBuf]) {
    for path in sockets {
        if let Err(error) = user.own(path) {
            warn!("cannot give {} to {user}: {error}", path.display());
        }
    }
}

/// The root is open. But each file in it is opened as the new user.
fn check_root(user: &Identity, root: &Path) -> Result<(), String> {
    match rustix::fs::access(root, rustix::fs::Access::EXEC_OK) {
        Ok(()) => Ok(()),
        Err(error) => Err(format!(
            "cannot serve {} as {user}: {} (have this user read it)",
            root.display(),
            io::Error::from(error)
        )),
    }
}

impl Places {
    fn of(args: &Args, sockets: &[PathBuf]) -> Self {
        let roots = args.roots().into_iter().map(|(root, follows)| place(&root, follows).into());
        let mut places = Self::default();
        // Figures of this process and of the machine, for the admin page.
        let figures = ["/proc/self", "/proc/stat"];
        // What the C library's allocator asks for.
        let machine = ["/sys/devices/system/cpu/online", "/proc/sys/vm/overcommit_memory"];
        places.reads.extend(roots);
        places.reads.extend(args.settings.folder());
        places.reads.extend(figures.into_iter().chain(machine).map(Into::into));
        places.appends.extend(args.access_log_file.as_deref().and_then(log_place));
        places.removes.extend(sockets.iter().filter_map(|path| path.parent()).map(Into::into));
        for list in [&mut places.reads, &mut places.appends, &mut places.removes] {
            // What this user does not reach needs no permission.
            list.retain(|path| path.exists());
            list.dedup();
        }
        places
    }
}

/// The directory beneath which a site reads.
pub(crate) fn place(root: &Path, follows: bool) -> &Path {
    if follows { Path::new("/") } else { root }
}

/// What is written to when the log is reopened: its folder, where a new file appears, or the file
/// itself if it is no regular one: `/dev` is full of others. `None` if it has no place, as a pipe
/// has not: the kernel lets all open it again.
fn log_place(log: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(log).ok()?;
    match fs::metadata(&real).is_ok_and(|of| of.is_file()) {
        true => real.parent().map(Into::into),
        false => Some(real),
    }
}

/// Confines this process. Returns what is in force, and what is not.
#[cfg(target_os = "linux")]
fn confine(places: &Places) -> (String, Option<String>) {
    let mut sandbox = cws::Sandbox::new();
    for path in &places.reads {
        sandbox = sandbox.reading(path);
    }
    for path in &places.appends {
        sandbox = sandbox.appending(path);
    }
    for path in &places.removes {
        sandbox = sandbox.removing(path);
    }
    let confinement = sandbox.enter();
    (confinement.to_string(), confinement.missing())
}

/// True if the kernel denies this process what its start did not name.
pub(crate) fn is_confined() -> bool {
    #[cfg(target_os = "linux")]
    return cws::Confinement::in_force().is_some_and(|of| of.landlock.is_ok());
    #[cfg(not(target_os = "linux"))]
    false
}

/// Other systems have other means.
#[cfg(not(target_os = "linux"))]
fn confine(_places: &Places) -> (String, Option<String>) {
    let missing = "this is not Linux".to_owned();
    (missing.clone(), Some(missing))
}
