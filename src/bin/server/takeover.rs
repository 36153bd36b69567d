//! An upgrade without a refused connection: a new process takes the listeners over from the running
//! one (`--takeover`).
//!
//! The running server listens on a UNIX socket. A process that starts with the same path connects,
//! and says `cws-takeover 1 PID`. It gets the listeners by `SCM_RIGHTS` (unix(7)), the one of the
//! path included, starts on them, and says `ready`. The running one answers `go`. On `taken` it
//! accepts no more, closes its copies, and drains. Until then it serves, so a new process that
//! fails at any point changes nothing. Both have the same sockets, so connections that wait in the
//! kernel's queue are accepted by one of them.

use crate::link::{GO, HELLO, LISTENERS_MOST, Link, Offer, READY, TAKEN};
use crate::listeners::{Copied, Passed, Role};
use crate::signals::End;
use crossbeam_channel::{Receiver, Sender};
use cws::Listener;
use log::{info, warn};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, process};

/// How long a process may take to introduce itself, and to answer a line.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a new process may take from the listeners to its start.
const START: Duration = Duration::from_secs(60);

/// How long a new process waits for the listeners: another one may be before it.
const TURN: Duration = Duration::from_secs(2 * START.as_secs());

/// How long the running server gets to accept the last connections of listeners that the new one
/// does not want.
const LAST: Duration = Duration::from_millis(300);

/// The pause when the system refuses a connection.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct TakeoverArgs {
    /// Take the listeners over from the server that runs with the same PATH, and give them to the
    /// next one: an upgrade without a refused connection. PATH is a UNIX socket of this user. If
    /// this server cannot start, the one that runs goes on, and the exit code is 1
    #[arg(long, env = "CWS_TAKEOVER", value_name = "PATH")]
    takeover: Option<PathBuf>,
}

/// A new process that has the listeners of the running one.
#[derive(Debug)]
pub(crate) struct Successor {
    link: Link,
    /// The number of the process that runs.
    process: u32,
    /// The listener of the path.
    door: Option<Listener>,
    /// The interval in which the service manager expects a sign of life, if it told the running
    /// one.
    pub(crate) watchdog: Option<Duration>,
}

/// The socket by which the next process takes over.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Arc<Mutex<State>>,
    /// Dropping it wakes the thread.
    stop: UnixStream,
    thread: JoinHandle<()>,
}

/// Who has the listeners.
#[derive(Debug)]
enum State {
    /// This process.
    Own(Vec<Copied>),
    /// This process, and a new one that is starting.
    Passing(Vec<Copied>),
    /// A new one.
    Left,
    /// Nobody: the server has stopped.
    Closed,
}

impl TakeoverArgs {
    /// Gets the listeners of the running server, if there is one.
    pub(crate) fn join(&self) -> Result<Option<(Successor, Vec<Passed>)>, String> {
        let Some(path) = self.takeover.as_deref() else { return Ok(None) };
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) => return Err(explain(path, &error)),
        };
        let ask = || {
            let mut link = Link::new(stream)?;
            link.say(&format!("{HELLO} {}", process::id()))?;
            let Offer { process, mut passed, watchdog } = link.take(TURN)?;
            let door = passed.extract_if(.., |of| of.role == Role::Takeover).last();
            let door = door.map(|of| of.listener);
            Ok((Successor { link, process, door, watchdog }, passed))
        };
        ask().map(Some).map_err(|error| explain(path, &error))
    }

    /// The path, if there is to be one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.takeover.as_deref()
    }

    /// Listens at the path, if there is to be one.
    pub(crate) fn door(&self) -> Result<Option<Listener>, String> {
        let Some(path) = self.takeover.as_deref() else { return Ok(None) };
        let path = std::path::absolute(path).unwrap_or(path.into());
        Listener::bind_unix(path, 0o600)
            .map(Some)
            .map_err(|error| format!("cannot offer a takeover: {error}"))
    }

    /// Checks that the next process can be given these listeners and the one of the path. Do this
    /// before this process takes over: afterwards an error leaves nobody who serves.
    pub(crate) fn check(&self, copies: &[Copied]) -> Result<(), String> {
        if self.takeover.is_some() && copies.len() >= LISTENERS_MOST {
            return Err(format!("cannot pass {} listeners to another process", copies.len()));
        }
        Ok(())
    }
}

/// Opens the gate for the next process.
pub(crate) fn open_gate(
    door: Option<Listener>,
    mut copies: Vec<Copied>,
    watchdog: Option<Duration>,
    ends: Sender<End>,
) -> Result<Option<Gate>, String> {
    let Some(door) = door else { return Ok(None) };
    let open = || {
        copies.push(Copied::of(Role::Takeover, &door)?);
        let (stop, stopped) = UnixStream::pair()?;
        let state = Arc::new(Mutex::new(State::Own(copies)));
        let keeper = Keeper { door, state: Arc::clone(&state), stopped, watchdog, ends };
        let thread = thread::Builder::new().name("takeover".to_owned());
        let thread = thread.spawn(move || keeper.run())?;
        Ok(Gate { state, stop, thread })
    };
    open().map(Some).map_err(|error: io::Error| format!("cannot offer a takeover: {error}"))
}

/// True if nobody listens at a path.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn explain(path: &Path, error: &io::Error) -> String {
    let what = match error.kind() {
        ErrorKind::TimedOut => "it does not answer".to_owned(),
        ErrorKind::UnexpectedEof => "it has closed the connection".to_owned(),
        _ => error.to_string(),
    };
    format!(
        "cannot take over from the server at {}: {what} (see its log; try again, or stop it)",
        path.display()
    )
}

impl Successor {
    /// Tells the running server that this one serves, and has the listeners from now on. Those that
    /// are `unwanted` are closed. Returns the listener of the path. A signal that has come before
    /// leaves them all where they are.
    pub(crate) fn take_over(
        mut self,
        ends: &Receiver<End>,
        unwanted: Vec<Listener>,
    ) -> Result<Option<Listener>, String> {
        if ends.try_recv().is_ok() {
            return Err("a signal came before this server took over".to_owned());
        }
        let link = &mut self.link;
        let told = link.say(READY).and_then(|()| link.expect(GO, ANSWER));
        let told = told.map(|()| close_all(unwanted)).and_then(|()| {
            // If it has closed the link, the reason is still to be read: this one may be too late.
            let _ = link.say(TAKEN);
            link.wait_for_end(ANSWER)
        });
        match told {
            Ok(()) => info!("took over from process {}", self.process),
            // A server that keeps its listeners says why.
            Err(error) if has_gone(&error) => {
                info!("the server before this one has ended: its listeners are this one's");
            }
            Err(error) => {
                return Err(format!("cannot take over from the running server: {error}"));
            }
        }
        if self.door.is_none() {
            warn!(
                "the server before this one has kept the path: nobody can take over from this one"
            );
        }
        Ok(self.door.map(Listener::with_file))
    }
}

/// Ends listeners that no option names any more. The running server still accepts what has begun.
fn close_all(unwanted: Vec<Listener>) {
    if unwanted.is_empty() {
        return;
    }
    for listener in unwanted {
        info!("no longer listening on {listener}: no option names it");
        listener.with_file().close();
    }
    thread::sleep(LAST);
}

/// True if the other process is no more.
fn has_gone(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset)
}

impl Gate {
    /// Lets nobody in any more: the server stops. Returns true if a new process has the listeners
    /// at the moment, and continues with them. Otherwise the path is removed.
    pub(crate) fn close(self) -> bool {
        let mut state = lock(&self.state);
        let is_own = matches!(*state, State::Own(_));
        *state = if is_own { State::Closed } else { State::Left };
        drop(state);
        drop(self.stop);
        // Otherwise the thread may still wait for the new process.
        if is_own && self.thread.join().is_err() {
            log::error!("the thread for takeovers panicked");
        }
        !is_own
    }
}

/// The thread that passes the listeners on.
struct Keeper {
    door: Listener,
    state: Arc<Mutex<State>>,
    stopped: UnixStream,
    watchdog: Option<Duration>,
    ends: Sender<End>,
}

impl Keeper {
    fn run(self) {
        while self.wait() {
            let socket = match rustix::net::accept(&self.door) {
                Ok(socket) => socket,
                Err(error) => {
                    if error != rustix::io::Errno::AGAIN {
                        thread::sleep(PAUSE);
                    }
                    continue;
                }
            };
            match self.pass_on(socket) {
                Ok(Some(heir)) => {
                    self.door.hand_over();
                    let _ = self.ends.send(End::TakenOver(heir));
                    return;
                }
                Ok(None) => {}
                Err(error) => warn!("no takeover: {error} (this server goes on)"),
            }
        }
        match *lock(&self.state) {
            State::Closed => self.door.close(),
            // The path is the new process's.
            State::Left | State::Own(_) | State::Passing(_) => self.door.hand_over(),
        }
    }

    /// Waits for a process. False if the server stops.
    fn wait(&self) -> bool {
        loop {
            let mut looked_at =
                [PollFd::new(&self.door, PollFlags::IN), PollFd::new(&self.stopped, PollFlags::IN)];
            match poll(&mut looked_at, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => warn!("cannot wait for takeovers: {error}"),
                Ok(_) => {}
            }
            return looked_at[1].revents().is_empty();
        }
    }

    /// Passes the listeners to a process. Returns its number if they are its own now.
    fn pass_on(&self, socket: OwnedFd) -> io::Result<Option<u32>> {
        let mut link = Link::new(UnixStream::from(socket))?;
        // Somebody who only looks whether the server lives.
        let hello = match link.hear(ANSWER) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            hello => hello?,
        };
        let process = hello.strip_prefix(HELLO).and_then(|rest| rest.strip_prefix(' '));
        let heir = process.and_then(|process| process.parse().ok());
        let Some(heir) = heir else {
            link.refuse(&format!("the running server speaks {HELLO:?}"));
            let hello = hello.escape_debug();
            return Err(io::Error::other(format!("a process says {hello:?}")));
        };
        if !self.begin(&mut link)? {
            link.refuse("the running server is stopping");
            return Ok(None);
        }
        info!("process {heir} starts with the listeners of this one");
        let agreed = link.expect(READY, START).and_then(|()| link.say(GO));
        match agreed.and_then(|()| link.expect(TAKEN, ANSWER)) {
            Ok(()) => {
                let before = std::mem::replace(&mut *lock(&self.state), State::Left);
                // Otherwise the server is stopping already, and leaves its listeners.
                Ok(matches!(before, State::Passing(_)).then_some(heir))
            }
            Err(error) => {
                let mut state = lock(&self.state);
                if let State::Passing(copies) = &mut *state {
                    copies.iter().for_each(reopen);
                    *state = State::Own(std::mem::take(copies));
                }
                drop(state);
                link.refuse(match error.kind() {
                    ErrorKind::TimedOut => "it took too long to start",
                    _ => "it did not take over",
                });
                let what = match error.kind() {
                    ErrorKind::UnexpectedEof => "has ended".to_owned(),
                    ErrorKind::TimedOut => "took too long".to_owned(),
                    _ => format!("failed: {error}"),
                };
                Err(io::Error::other(format!("process {heir} {what} before it took over")))
            }
        }
    }

    /// Sends the listeners. False if the server is stopping.
    fn begin(&self, link: &mut Link) -> io::Result<bool> {
        let mut state = lock(&self.state);
        let State::Own(copies) = &mut *state else { return Ok(false) };
        link.pass(copies, self.watchdog)?;
        *state = State::Passing(std::mem::take(copies));
        Ok(true)
    }
}

/// Lets connections begin again: a new process that did not want this listener may have closed it
/// for both (see [`close_all`]) before it failed. A UNIX socket cannot be opened again.
fn reopen(copied: &Copied) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&copied.socket).detach_filter()
        && error.kind() != ErrorKind::NotFound
    {
        warn!("cannot open a listener again: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = copied;
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
