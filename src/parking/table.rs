//! The table of parked connections, and the poller that watches them.

use super::primitives::{AtomicUsize, CHUNK, Listener, OnceLock};
use super::slot::Slot;
use super::socket::{Interest, Socket};
use crate::notes::note;
use crate::poller::{Poller, Readiness, ReadyKeys, Watched};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A value that can be parked.
pub trait Parked {
    /// Its socket.
    fn socket(&mut self) -> &mut Socket;
}

/// Wakes the thread that waits in [`Parking::wait`].
#[derive(Debug, Clone)]
pub struct Waker(Arc<Poller>);

impl Waker {
    /// Ends the current wait, or the next one.
    pub fn wake(&self) {
        if let Err(error) = self.0.wake() {
            note!(Error, "cannot wake the acceptor: {error}");
        }
    }
}

/// A chunk of slots, allocated when one of them is needed first.
type Chunk<T> = OnceLock<Box<[Slot<T>]>>;

/// The table of parked connections and its poller.
#[derive(Debug)]
pub struct Parking<T> {
    poller: Arc<Poller>,
    chunks: Box<[Chunk<T>]>,
    /// One more than the highest slot ever used.
    used: AtomicUsize,
}

impl<T: Parked> Parking<T> {
    /// A table for descriptors below `descriptors`.
    pub fn new(descriptors: usize) -> io::Result<Self> {
        let chunks = (0..descriptors.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Ok(Self { poller: Arc::new(Poller::new()?), chunks, used: AtomicUsize::new(0) })
    }

    /// A handle that wakes the waiting thread.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.poller))
    }

    /// Reports `listener` from now on, in every wait while connections are waiting.
    pub fn watch_listener(&self, listener: Listener) -> io::Result<Watched<Listener>> {
        let key = listener.as_raw_fd() as usize;
        Watched::new(listener, key, Readiness::Readable, &self.poller)
    }

    /// Takes over a connection until its peer is ready. Returns it if it cannot be watched.
    pub fn park(
        &self,
        mut connection: Box<T>,
        interest: Interest,
    ) -> Result<(), (Box<T>, io::Error)> {
        let key = connection.socket().key();
        let Some(slot) = self.make_slot(key) else {
            let error = io::Error::other(
                "the number of its descriptor exceeds the limit that was in force at start",
            );
            return Err((connection, error));
        };
        if !connection.socket().is_watched() {
            self.used.fetch_max(key + 1, Relaxed);
        }
        slot.put(connection, |connection, notes| {
            connection.socket().arm(&self.poller, interest, notes)
        })
    }

    /// Wakes the connection parked under `key`: the poller reports it once, as soon as there is
    /// something to read or room to write. If no connection is parked there, the next one that
    /// parks there is reported. If the number now belongs to another connection, that one is
    /// reported for nothing, and parks again.
    pub fn nudge(&self, key: usize) {
        // No connection is parked above the limit.
        let Some(slot) = self.make_slot(key) else { return };
        // Watch for both: with no room to write, the connection must still be reported for what it
        // was parked for.
        let watch =
            |connection: &mut T| connection.socket().watch(&self.poller, Some(Readiness::Either));
        if let Err(error) = slot.nudge(watch) {
            note!(
                Error,
                "cannot wake the connection of descriptor {key}: {error} (it waits until its \
                 deadline)"
            );
        }
    }

    /// Waits for events, at most for `timeout`, if there is one, and until the alarm.
    pub fn wait(&self, ready: &mut ReadyKeys, timeout: Option<Duration>) -> io::Result<()> {
        self.poller.wait(ready, timeout)
    }

    /// Ends the current wait, or the next one, after this time. It replaces an earlier alarm.
    pub fn set_alarm(&self, after: Duration) -> io::Result<()> {
        self.poller.set_alarm(after)
    }

    /// Takes out the connection for an event, if it is still there.
    pub fn take(&self, key: usize) -> Option<Box<T>> {
        self.take_unless(key, |_| false)
    }

    /// The same, unless the connection `stays`. The caller then owes it what the event asks for:
    /// nothing reports the event again.
    pub fn take_unless(&self, key: usize, stays: impl FnOnce(&mut T) -> bool) -> Option<Box<T>> {
        self.slot(key)?.take_unless(stays)
    }

    /// Takes out every connection that is `wanted`, and passes it to `taken`.
    pub fn take_all(&self, mut wanted: impl FnMut(&T) -> bool, mut taken: impl FnMut(Box<T>)) {
        for key in 0..self.used.load(Relaxed) {
            let Some(slot) = self.slot(key) else { continue };
            if let Some(connection) = slot.take_if(&mut wanted) {
                taken(connection);
            }
        }
    }

    /// Calls `look` with the key of each parked connection and the connection.
    pub fn for_each(&self, mut look: impl FnMut(usize, &T)) {
        for key in 0..self.used.load(Relaxed) {
            self.slot(key).and_then(|slot| slot.look(|connection| look(key, connection)));
        }
    }

    /// Looks at the connection parked under `key`.
    pub fn look<R>(&self, key: usize, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.slot(key)?.look(look)
    }

    /// Takes out the connection parked under `key`, if it is `wanted`.
    pub fn take_if(&self, key: usize, wanted: impl Fn(&T) -> bool) -> Option<Box<T>> {
        self.slot(key)?.take_if(wanted)
    }

    /// The slot of `key`, allocated if needed. `None` above the limit at start.
    fn make_slot(&self, key: usize) -> Option<&Slot<T>> {
        let chunk =
            self.chunks.get(key / CHUNK)?.get_or_init(|| (0..CHUNK).map(|_| Slot::new()).collect());
        Some(&chunk[key % CHUNK])
    }

    fn slot(&self, key: usize) -> Option<&Slot<T>> {
        self.chunks.get(key / CHUNK)?.get().map(|chunk| &chunk[key % CHUNK])
    }
}
