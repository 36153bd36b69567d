//! What the service manager is told: the messages of `sd_notify`(3), if `NOTIFY_SOCKET` is set.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use cws::{Figures, Observer, Snapshot};
use sd_notify::NotifyState;
use socket2::{Domain, SockAddr, Socket, Type};
use std::convert::Infallible;
use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, io, process, thread};

/// The longest time between two looks at the server, for the line of its state.
const LOOK: Duration = Duration::from_secs(5);

/// The longest time between two rounds of an acceptor that is not stuck. It comes round four times
/// a second by itself; the rest is for a machine that is busy.
const ROUND: Duration = Duration::from_secs(2);

/// How long a message may wait for a service manager that reads none. Its sender has other work to
/// do, such as to wait for the signal that stops the server.
const SEND: Duration = Duration::from_millis(500);

/// How many times as long as the longest service so far a pool may stand still. See
/// [`Seen::judge`].
const PATIENCE: u32 = 10;

/// True from READY until the server stops. At other times a service manager that hears READY would
/// take it for something else than the end of a reload.
static IS_READY: AtomicBool = AtomicBool::new(false);

/// The socket of the service manager.
static MANAGER: OnceLock<Socket> = OnceLock::new();

/// Tells the service manager of one server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Notifier {
    // The thread ends when the sender is dropped.
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// The interval in which the service manager expects a sign of life, if it does.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
}

/// Sends messages, and logs a failure: the server serves without a service manager, too.
fn tell(messages: &[NotifyState<'_>]) {
    if let Err(error) = send(messages) {
        warn(&error);
    }
}

fn warn(error: &io::Error) {
    log::warn!("cannot tell the service manager of the state (NOTIFY_SOCKET): {error}");
}

/// Connects to the service manager, if there is one. A process that has confined itself cannot.
pub(crate) fn connect() {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return };
    match connected(name.into_vec()) {
        Ok(socket) => {
            MANAGER.get_or_init(|| socket);
        }
        Err(error) => warn(&error),
    }
}

fn connected(mut name: Vec<u8>) -> io::Result<Socket> {
    // How sd_notify(3) and unix(7) write an abstract name.
    if let Some(at @ b'@') = name.first_mut() {
        *at = 0;
    }
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_write_timeout(Some(SEND))?;
    socket.connect(&SockAddr::unix(std::ffi::OsString::from_vec(name))?)?;
    Ok(socket)
}

/// Sends messages. `sd_notify::notify` would wait without a limit while the queue of the service
/// manager is full, and knows no abstract names.
fn send(messages: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(socket) = MANAGER.get() else { return Ok(()) };
    let mut text = String::new();
    for message in messages {
        // Writing into a `String` cannot fail.
        let _ = writeln!(text, "{message}");
    }
    socket.send(text.as_bytes())?;
    Ok(())
}

/// Says that the server stops.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Says that `reload` begins, runs it, and says that it is done. While the server starts or stops,
/// it says nothing of it.
pub(crate) fn reloading(reload: impl FnOnce()) {
    if !IS_READY.load(SeqCst) {
        return reload();
    }
    let begin = NotifyState::monotonic_usec_now();
    match begin {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
    reload();
    // A stop that began meanwhile has been told.
    if IS_READY.load(SeqCst) {
        tell(&[NotifyState::Ready]);
    }
}

impl Notifier {
    /// Says that the server is ready, and from now on how it is. With `watchdog`, gives a sign of
    /// life twice in each such interval as long as the server makes progress.
    pub(crate) fn start(observer: Observer, watchdog: Option<Duration>) -> io::Result<Self> {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self { stop: None, thread: None });
        }
        tell(&[
            NotifyState::Ready,
            NotifyState::MainPid(process::id()),
            NotifyState::Status("ready"),
        ]);
        IS_READY.store(true, SeqCst);
        let (stop, stopped) = bounded(0);
        let watch = move || watch(&observer, watchdog, &stopped);
        let thread = thread::Builder::new().name("notify".to_owned()).spawn(watch)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        IS_READY.store(false, SeqCst);
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that tells the service manager panicked");
        }
    }
}

fn watch(observer: &Observer, watchdog: Option<Duration>, stopped: &Receiver<Infallible>) {
    // Half of the interval is what sd_watchdog_enabled(3) recommends.
    let pause = watchdog.map_or(LOOK, |interval| (interval / 2).min(LOOK));
    let mut before = observer.snapshot();
    let mut came_round = (observer.rounds(), Instant::now());
    let mut said = String::new();
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
        let after = observer.snapshot();
        if came_round.0 != observer.rounds() {
            came_round = (observer.rounds(), Instant::now());
        }
        if let Some(interval) = watchdog {
            match Seen::now(came_round.1.elapsed(), &after).judge(interval) {
                Verdict::Alive => tell(&[NotifyState::Watchdog]),
                Verdict::AcceptorStuck => log::error!(
                    "the acceptor is stuck: no sign of life for the service manager (is there code \
                     in the immediate part of a handler that blocks?)"
                ),
                Verdict::PoolStuck => log::error!(
                    "the workers are stuck in their services: no sign of life for the service \
                     manager"
                ),
            }
        }
        let status = Figures::between(&before, &after).condition().to_string();
        if status != said {
            tell(&[NotifyState::Status(&status)]);
            said = status;
        }
        before = after;
    }
}

/// What shows whether a server makes progress.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// For how long the acceptor has not come round.
    away: Duration,
    /// The requests that wait.
    waiting: usize,
    /// For how long no worker has begun or ended anything.
    still: Duration,
    /// The longest service so far, if one has ended.
    longest: Option<Duration>,
}

/// Whether a server makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It does, or there is nothing to do.
    Alive,
    /// The acceptor did not come round.
    AcceptorStuck,
    /// Requests wait, and no worker has begun or ended anything for very long.
    PoolStuck,
}

impl Seen {
    fn now(away: Duration, snapshot: &Snapshot) -> Self {
        Self {
            away,
            waiting: snapshot.queue.waiting,
            still: snapshot.workers.iter().map(|of| of.lasting).min().unwrap_or_default(),
            longest: snapshot.service.quantile(1.0),
        }
    }

    /// The verdict, if the service manager allows `interval` without progress.
    ///
    /// The acceptor never blocks except in its wait, which ends a few times a second. So one that
    /// does not come round for longer is stuck.
    ///
    /// A worker may be in a service for as long as its handler takes, and all of them may be. So
    /// neither a full queue nor a pool that ends nothing for a while is a failure: a restart would
    /// lose the work of all of them, and the queue would be as full afterwards. What a restart does
    /// cure is a pool whose workers wait for one another for ever. Only time tells that from long
    /// services, and only the services so far say how long is long. So a pool is stuck if requests
    /// wait, and no worker has moved for the interval and for ten times the longest service so far.
    /// Before the first service has ended, nothing can be said.
    fn judge(&self, interval: Duration) -> Verdict {
        let is_long = |longest: Duration| self.still > interval.max(longest * PATIENCE);
        if self.away > ROUND {
            Verdict::AcceptorStuck
        } else if self.waiting > 0 && self.longest.is_some_and(is_long) {
            Verdict::PoolStuck
        } else {
            Verdict::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn seen(waiting: usize, still: u64, longest: Option<u64>) -> Seen {
        let longest = longest.map(Duration::from_millis);
        Seen { away: Duration::ZERO, waiting, still: Duration::from_secs(still), longest }
    }

    #[test]
    fn an_acceptor_that_does_not_come_round_is_stuck() {
        let seen = |millis| Seen { away: Duration::from_millis(millis), ..seen(9, 0, Some(1)) };
        assert_eq!(seen(250).judge(INTERVAL), Verdict::Alive);
        assert_eq!(seen(2001).judge(INTERVAL), Verdict::AcceptorStuck);
    }

    #[test]
    fn a_pool_is_stuck_only_long_after_its_services_should_have_ended() {
        let rows = [
            (seen(3, 11, Some(10)), Verdict::PoolStuck),
            (seen(3, 9, Some(10)), Verdict::Alive), // The interval has not passed.
            (seen(3, 29, Some(3000)), Verdict::Alive), // Ten services have not.
            (seen(3, 31, Some(3000)), Verdict::PoolStuck),
            (seen(0, 600, Some(10)), Verdict::Alive), // Nobody waits.
            (seen(3, 600, None), Verdict::Alive),     // How long a service takes is unknown.
            (seen(1024, 0, Some(10)), Verdict::Alive), // Saturated, and busy.
        ];
        for (now, verdict) in rows {
            assert_eq!(now.judge(INTERVAL), verdict, "{now:?}");
        }
    }
}
