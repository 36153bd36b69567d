//! The table of parked connections, and the poller that watches them.

use super::primitives::{AtomicUsize, CHUNK, OnceLock, TcpListener};
use super::slot::Slot;
use super::socket::{Interest, Socket};
use crate::poller::{Poller, Readiness, ReadyKeys, Watched};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What can be parked.
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
            log::error!("cannot wake the acceptor: {error}");
        }
    }
}

/// Slots that are there once one of them was needed.
type Chunk<T> = OnceLock<Box<[Slot<T>]>>;

/// The table and the poller.
#[derive(Debug)]
pub struct Parking<T> {
    poller: Arc<Poller>,
    chunks: Box<[Chunk<T>]>,
    /// One more than the largest slot ever used.
    used: AtomicUsize,
}

impl<T: Parked> Parking<T> {
    /// A table for descriptors below `descriptors`.
    pub fn new(descriptors: usize) -> io::Result<Self> {
        let chunks = (0..descriptors.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Ok(Self { poller: Arc::new(Poller::new()?), chunks, used: AtomicUsize::new(0) })
    }

    /// A handle that ends waits.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.poller))
    }

    /// Reports `listener` from now on.
    pub fn watch_listener(&self, listener: TcpListener) -> io::Result<Watched<TcpListener>> {
        let key = listener.as_raw_fd() as usize;
        Watched::new(listener, key, Readiness::Readable, &self.poller)
    }

    /// Takes over a connection until its peer is ready; gives it back if it cannot be watched.
    pub fn park(&self, mut guest: Box<T>, interest: Interest) -> Result<(), (Box<T>, io::Error)> {
        let key = guest.socket().key();
        let Some(slot) = self.make_slot(key) else {
            let error = io::Error::other("its descriptor is above the limit known at start");
            return Err((guest, error));
        };
        if !guest.socket().is_watched() {
            self.used.fetch_max(key + 1, Relaxed);
        }
        slot.put(guest, |guest, notes| guest.socket().arm(&self.poller, interest, notes))
    }

    /// Ends the wait of the connection parked under `key`: it is reported as soon as there is
    /// anything to read or room to write, once. If nobody is parked there at this moment, whoever
    /// parks there next is reported so. One that is nudged by mistake, because the descriptor's
    /// number has changed hands, parks again as after any other event that tells it nothing.
    pub fn nudge(&self, key: usize) {
        // Nobody can be parked above the limit.
        let Some(slot) = self.make_slot(key) else { return };
        // What it was parked for must not be lost where there is no room.
        let watch = |guest: &mut T| guest.socket().watch(&self.poller, Some(Readiness::Either));
        if let Err(error) = slot.nudge(watch) {
            log::error!(
                "cannot wake the connection of descriptor {key}: {error} (it waits until its \
                 deadline)"
            );
        }
    }

    /// Waits for events, at most `timeout`.
    pub fn wait(&self, ready: &mut ReadyKeys, timeout: Duration) -> io::Result<()> {
        self.poller.wait(ready, timeout)
    }

    /// Takes out the connection of an event, if it is still there.
    pub fn take(&self, key: usize) -> Option<Box<T>> {
        self.slot(key)?.take()
    }

    /// Takes out every connection that `wanted` picks.
    pub fn take_all(&self, mut wanted: impl FnMut(&T) -> bool, mut taken: impl FnMut(Box<T>)) {
        for key in 0..self.used.load(Relaxed) {
            let Some(slot) = self.slot(key) else { continue };
            if let Some(guest) = slot.take_if(&mut wanted) {
                taken(guest);
            }
        }
    }

    /// Looks at every connection that is parked; each comes with its key.
    pub fn for_each(&self, mut look: impl FnMut(usize, &T)) {
        for key in 0..self.used.load(Relaxed) {
            self.slot(key).and_then(|slot| slot.look(|guest| look(key, guest)));
        }
    }

    /// Takes out the connection of a key, if it is there and `wanted` picks it.
    pub fn take_if(&self, key: usize, wanted: impl Fn(&T) -> bool) -> Option<Box<T>> {
        self.slot(key)?.take_if(wanted)
    }

    /// The slot, allocated if need be; none above the limit known at start.
    fn make_slot(&self, key: usize) -> Option<&Slot<T>> {
        let chunk =
            self.chunks.get(key / CHUNK)?.get_or_init(|| (0..CHUNK).map(|_| Slot::new()).collect());
        Some(&chunk[key % CHUNK])
    }

    fn slot(&self, key: usize) -> Option<&Slot<T>> {
        self.chunks.get(key / CHUNK)?.get().map(|chunk| &chunk[key % CHUNK])
    }
}
