//! Where connections wait for their peers: a poller and a table of parked connections.
//!
//! A parked connection belongs to the table, in the slot of its descriptor's number, and the
//! poller watches its socket once. Whoever finds the event takes the connection out again.
//! Workers park directly; nothing is sent back to the acceptor. The poller reports what comes, once
//! (edge-triggered), whether the connection is parked or not: an event that finds its slot empty
//! leaves a note there, and who parks with such a note, or wants to know of what is there already,
//! arms the interest anew, which checks readiness. So no wakeup is lost, and a connection that has
//! been served goes back without a system call. An event for a slot that has changed hands is
//! harmless: sockets do not block, and a read that finds nothing parks again.

use crate::poller::{Poller, Readiness, ReadyKeys, Trigger, Watched};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Slots that are allocated together, when the first of them is needed.
const CHUNK: usize = 256;

/// What a parked connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes from the peer, or its end.
    Readable,
    /// The same, but those alone that come from now on. That costs nothing where the last interest
    /// was alike, so it is for those who have read all, or will look again in time.
    News,
    /// Room for bytes to the peer. A socket that has room is reported at once, which makes this
    /// also the way to hand a connection on without waiting.
    Writable,
}

impl Interest {
    fn readiness(self) -> Readiness {
        match self {
            Self::Readable | Self::News => Readiness::Readable,
            Self::Writable => Readiness::Writable,
        }
    }
}

/// What can be parked.
pub trait Parked {
    /// Its socket.
    fn socket(&mut self) -> &mut Socket;
}

/// A connection's non-blocking stream; once parked, it is known to the poller until it is dropped.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    poller: Option<Arc<Poller>>,
    /// The poller reports what can be read.
    reports_news: bool,
}

impl Socket {
    /// Wraps a stream that does not block.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, poller: None, reports_news: false }
    }

    /// Reads what is there.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(into)
    }

    /// Writes what there is room for.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.stream).write_vectored(slices)
    }

    /// Tells the peer at once what has come, where the system would wait for an answer to tell it
    /// with: it may be waiting to send more.
    #[cold]
    pub fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::net::sockopt::set_tcp_quickack(&self.stream, true) {
            log::debug!("cannot acknowledge: {error}");
        }
    }

    /// Ends this side; the peer may go on sending.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// The error that is pending, if one is: the peer's reset, or a failed connect.
    pub fn take_error(&self) -> io::Result<()> {
        self.stream.take_error()?.map_or(Ok(()), Err)
    }

    /// Has the poller report; `missed` says that a report came while nobody was there to take it.
    fn arm(&mut self, poller: &Arc<Poller>, interest: Interest, missed: bool) -> io::Result<()> {
        if interest == Interest::News && self.reports_news && !missed {
            return Ok(());
        }
        self.reports_news = interest != Interest::Writable;
        let (key, readiness) = (self.stream.as_raw_fd() as usize, interest.readiness());
        if self.poller.is_some() {
            return poller.modify(&self.stream, key, Some(readiness), Trigger::Edge);
        }
        poller.add(&self.stream, key, readiness, Trigger::Edge)?;
        self.poller = Some(Arc::clone(poller));
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Socket {
    /// The poller must forget a descriptor before its number can be given to another.
    fn drop(&mut self) {
        if let Some(poller) = &self.poller
            && let Err(error) = poller.delete(&self.stream)
        {
            log::debug!("cannot stop watching a connection: {error}");
        }
    }
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

type Slot<T> = Mutex<Bay<T>>;

/// Room for one connection.
#[derive(Debug)]
struct Bay<T> {
    guest: Option<Box<T>>,
    /// An event came while it was empty.
    missed: bool,
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
        let key = guest.socket().stream.as_raw_fd() as usize;
        let Some(chunk) = self.chunks.get(key / CHUNK) else {
            let error = io::Error::other("its descriptor is above the limit known at start");
            return Err((guest, error));
        };
        let fresh = guest.socket().poller.is_none();
        let chunk = chunk.get_or_init(|| {
            (0..CHUNK).map(|_| Mutex::new(Bay { guest: None, missed: false })).collect()
        });
        if fresh {
            self.used.fetch_max(key + 1, Relaxed);
        }
        // The event may be found before this returns: the finder then waits for the slot's lock,
        // which is held across one system call at the most, which does not block.
        let mut slot = lock(&chunk[key % CHUNK]);
        debug_assert!(slot.guest.is_none(), "a descriptor has one owner");
        let missed = std::mem::take(&mut slot.missed);
        match guest.socket().arm(&self.poller, interest, missed) {
            Ok(()) => {
                slot.guest = Some(guest);
                Ok(())
            }
            Err(error) => {
                drop(slot);
                Err((guest, error))
            }
        }
    }

    /// Waits for events, at most `timeout`.
    pub fn wait(&self, ready: &mut ReadyKeys, timeout: Duration) -> io::Result<()> {
        self.poller.wait(ready, timeout)
    }

    /// Takes out the connection of an event, if it is still there.
    pub fn take(&self, key: usize) -> Option<Box<T>> {
        let mut slot = lock(self.slot(key)?);
        let guest = slot.guest.take();
        slot.missed = guest.is_none();
        guest
    }

    /// Takes out every connection that `wanted` picks.
    pub fn take_all(&self, mut wanted: impl FnMut(&T) -> bool, mut taken: impl FnMut(Box<T>)) {
        for key in 0..self.used.load(Relaxed) {
            let Some(slot) = self.slot(key) else { continue };
            let found = lock(slot).guest.take_if(|guest| wanted(guest));
            if let Some(guest) = found {
                taken(guest);
            }
        }
    }

    /// Looks at every connection that is parked; each comes with its key.
    pub fn for_each(&self, mut look: impl FnMut(usize, &T)) {
        for key in 0..self.used.load(Relaxed) {
            let Some(slot) = self.slot(key) else { continue };
            if let Some(guest) = lock(slot).guest.as_deref() {
                look(key, guest);
            }
        }
    }

    /// Takes out the connection of a key, if it is there and `wanted` picks it.
    pub fn take_if(&self, key: usize, wanted: impl Fn(&T) -> bool) -> Option<Box<T>> {
        lock(self.slot(key)?).guest.take_if(|guest| wanted(guest))
    }

    fn slot(&self, key: usize) -> Option<&Slot<T>> {
        self.chunks.get(key / CHUNK)?.get().map(|chunk| &chunk[key % CHUNK])
    }
}

/// A slot's value is whole at every moment, so a panic elsewhere cannot have spoiled it.
fn lock<T>(slot: &Slot<T>) -> MutexGuard<'_, Bay<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Guest(Socket);

    impl Parked for Guest {
        fn socket(&mut self) -> &mut Socket {
            &mut self.0
        }
    }

    /// A table, a guest of it, and its peer.
    fn lot() -> (Parking<Guest>, Box<Guest>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (stream, _) = listener.accept().expect("connected");
        stream.set_nonblocking(true).expect("a socket");
        let parking = Parking::new(4096).expect("a poller");
        (parking, Box::new(Guest(Socket::new(stream))), peer)
    }

    fn park(parking: &Parking<Guest>, guest: Box<Guest>, interest: Interest) {
        assert!(parking.park(guest, interest).is_ok());
    }

    /// The guest whose event comes within a while, if one does.
    fn next(parking: &Parking<Guest>, wait: Duration) -> Option<Box<Guest>> {
        let mut ready = ReadyKeys::with_capacity(8);
        parking.wait(&mut ready, wait).expect("a poller");
        let key = ready.iter().next()?;
        parking.take(key)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_is_there_is_reported_when_it_is_asked_for_and_news_alone_otherwise() {
        let (parking, guest, mut peer) = lot();
        peer.write_all(b"1").expect("connected");
        park(&parking, guest, Interest::Readable);
        let guest = next(&parking, LONG).expect("it was there");
        // Nobody has read it.
        park(&parking, guest, Interest::News);
        assert!(next(&parking, Duration::ZERO).is_none());
        peer.write_all(b"2").expect("connected");
        let guest = next(&parking, LONG).expect("it is new");
        park(&parking, guest, Interest::Readable);
        let guest = next(&parking, LONG).expect("it was asked for");
        // Reports of room are not reports of news.
        park(&parking, guest, Interest::Writable);
        let guest = next(&parking, LONG).expect("there is room");
        park(&parking, guest, Interest::News);
        assert!(next(&parking, LONG).is_some());
    }

    #[test]
    fn what_came_while_nobody_was_parked_is_reported() {
        let (parking, guest, mut peer) = lot();
        peer.write_all(b"1").expect("connected");
        park(&parking, guest, Interest::Readable);
        let guest = next(&parking, LONG).expect("it was there");
        assert_eq!(guest.0.read(&mut [0; 8]).expect("a byte"), 1);
        peer.write_all(b"2").expect("connected");
        assert!(next(&parking, LONG).is_none(), "the event finds nobody");
        park(&parking, guest, Interest::News);
        assert!(next(&parking, LONG).is_some(), "but it is not lost");
    }
}
