//! Where connections wait for their peers: a poller and a table of parked connections.
//!
//! A parked connection belongs to the table, in the slot of its descriptor's number, and the
//! poller watches its socket once. Whoever finds the event takes the connection out again.
//! Workers park directly; nothing is sent back to the acceptor. The poller reports what comes, once
//! (edge-triggered), whether the connection is parked or not: an event that finds its slot empty
//! leaves a note there, and who parks with such a note, or wants to know of what is there already,
//! arms the interest anew, which checks readiness. So no wakeup is lost, and a connection that has
//! been served goes back without a system call. An event for a slot that has changed hands is
//! harmless: sockets do not block, and a read that finds nothing parks again. Who waits for
//! something else than its peer is nudged, by any thread: a nudge arms the interest in anything,
//! or leaves a note as well.

use crate::poller::{Poller, Readiness, ReadyKeys, Trigger, Watched};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

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
    /// A call of [`Parking::nudge`]. Errors and hang-ups are reported all the same.
    #[allow(dead_code, reason = "for connections that wait for something else than their peer")]
    Nudge,
}

impl Interest {
    fn readiness(self) -> Option<Readiness> {
        match self {
            Self::Readable | Self::News => Some(Readiness::Readable),
            Self::Writable => Some(Readiness::Writable),
            Self::Nudge => None,
        }
    }
}

/// What can be parked.
pub trait Parked {
    /// Its socket.
    fn socket(&mut self) -> &mut Socket;
    /// The moment at which it has waited too long.
    fn deadline(&self) -> Instant;
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

    /// The key of its reports, for [`Parking::nudge`]: its descriptor's number.
    pub fn key(&self) -> usize {
        self.stream.as_raw_fd() as usize
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

    /// Has the poller report what it is parked for, and at once what `notes` tell of.
    fn arm(&mut self, poller: &Arc<Poller>, interest: Interest, notes: Notes) -> io::Result<()> {
        if interest == Interest::News && self.reports_news && notes == Notes::default() {
            return Ok(());
        }
        let readiness = if notes.nudged { Some(Readiness::Either) } else { interest.readiness() };
        self.watch(poller, readiness)
    }

    /// Has the poller report this readiness and no other, and look whether it is there.
    fn watch(&mut self, poller: &Arc<Poller>, readiness: Option<Readiness>) -> io::Result<()> {
        self.reports_news = readiness == Some(Readiness::Readable);
        if self.poller.is_some() {
            return poller.modify(&self.stream, self.key(), readiness, Trigger::Edge);
        }
        poller.add(&self.stream, self.key(), readiness, Trigger::Edge)?;
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
    /// For who parks here next; there are none while somebody is here.
    notes: Notes,
}

/// What came while a slot was empty.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Notes {
    /// An event, of what is still there or not.
    missed: bool,
    /// A nudge, which is reported whatever is there.
    nudged: bool,
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
        if guest.socket().poller.is_none() {
            self.used.fetch_max(key + 1, Relaxed);
        }
        // The event may be found before this returns: the finder then waits for the slot's lock,
        // which is held across one system call at the most, which does not block.
        let mut slot = lock(slot);
        debug_assert!(slot.guest.is_none(), "a descriptor has one owner");
        let notes = std::mem::take(&mut slot.notes);
        match guest.socket().arm(&self.poller, interest, notes) {
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

    /// Ends the wait of the connection parked under `key`: it is reported as soon as there is
    /// anything to read or room to write, once. If nobody is parked there at this moment, whoever
    /// parks there next is reported so. One that is nudged by mistake, because the descriptor's
    /// number has changed hands, parks again as after any other event that tells it nothing.
    #[allow(dead_code, reason = "for connections that wait for something else than their peer")]
    pub fn nudge(&self, key: usize) {
        // Nobody can be parked above the limit.
        let Some(slot) = self.make_slot(key) else { return };
        let mut slot = lock(slot);
        let Some(guest) = &mut slot.guest else {
            slot.notes.nudged = true;
            return;
        };
        // What it was parked for must not be lost where there is no room.
        if let Err(error) = guest.socket().watch(&self.poller, Some(Readiness::Either)) {
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
        let mut slot = lock(self.slot(key)?);
        let guest = slot.guest.take();
        slot.notes.missed = guest.is_none();
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

    /// Looks at every connection that is parked.
    pub fn for_each(&self, mut look: impl FnMut(&T)) {
        for key in 0..self.used.load(Relaxed) {
            let Some(slot) = self.slot(key) else { continue };
            if let Some(guest) = lock(slot).guest.as_deref() {
                look(guest);
            }
        }
    }

    /// Takes out the connection with the earliest deadline among those that `wanted` picks.
    pub fn take_earliest(&self, wanted: impl Fn(&T) -> bool) -> Option<Box<T>> {
        let mut earliest: Option<(Instant, usize)> = None;
        for key in 0..self.used.load(Relaxed) {
            let Some(slot) = self.slot(key) else { continue };
            let slot = lock(slot);
            if let Some(guest) = slot.guest.as_deref()
                && wanted(guest)
                && earliest.is_none_or(|(deadline, _)| guest.deadline() < deadline)
            {
                earliest = Some((guest.deadline(), key));
            }
        }
        let (_, key) = earliest?;
        lock(self.slot(key)?).guest.take_if(|guest| wanted(guest))
    }

    /// The slot, allocated if need be; none above the limit known at start.
    fn make_slot(&self, key: usize) -> Option<&Slot<T>> {
        let chunk = self.chunks.get(key / CHUNK)?.get_or_init(|| {
            let empty = || Mutex::new(Bay { guest: None, notes: Notes::default() });
            (0..CHUNK).map(|_| empty()).collect()
        });
        Some(&chunk[key % CHUNK])
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

        fn deadline(&self) -> Instant {
            Instant::now()
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

    /// Nothing more is reported.
    fn is_quiet(parking: &Parking<Guest>) -> bool {
        next(parking, Duration::ZERO).is_none()
    }

    #[test]
    fn a_nudge_ends_a_wait_of_any_kind_once() {
        for interest in [Interest::Nudge, Interest::Readable, Interest::News] {
            let (parking, guest, mut peer) = lot();
            let key = guest.0.key();
            park(&parking, guest, interest);
            assert!(is_quiet(&parking), "{interest:?}");
            parking.nudge(key);
            let guest = next(&parking, LONG).expect("it was nudged");
            park(&parking, guest, interest);
            assert!(is_quiet(&parking), "{interest:?}: one nudge, one report");
            // What it is parked for is armed again.
            peer.write_all(b"1").expect("connected");
            if interest == Interest::Nudge {
                assert!(is_quiet(&parking), "it waits for nobody's bytes");
                parking.nudge(key);
            }
            assert!(next(&parking, LONG).is_some(), "{interest:?}");
        }
    }

    #[test]
    fn a_nudge_that_finds_nobody_is_left_for_the_next_one() {
        use Interest::{News, Nudge, Readable, Writable};
        for interest in [Nudge, Readable, News, Writable] {
            let (parking, guest, _peer) = lot();
            let key = guest.0.key();
            // Nobody has ever been there.
            parking.nudge(key);
            park(&parking, guest, interest);
            let guest = next(&parking, LONG).expect("a note was left");
            // A report that comes too late does not take the note away.
            parking.nudge(key);
            assert!(parking.take(key).is_none());
            park(&parking, guest, interest);
            let guest = next(&parking, LONG).expect("a note was left");
            park(&parking, guest, Nudge);
            assert!(is_quiet(&parking), "{interest:?}: the note is gone");
        }
        let (parking, _guest, _peer) = lot();
        parking.nudge(usize::MAX);
    }

    #[test]
    fn who_waits_for_a_nudge_hears_of_a_reset_and_of_nothing_else() {
        let (parking, guest, mut peer) = lot();
        peer.write_all(b"1").expect("connected");
        park(&parking, guest, Interest::Nudge);
        assert!(is_quiet(&parking), "bytes that were there");
        peer.write_all(b"2").expect("connected");
        assert!(is_quiet(&parking), "bytes that came");
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("a socket");
        drop(peer);
        let guest = next(&parking, LONG).expect("a reset");
        assert!(guest.0.take_error().is_err());
    }

    #[test]
    fn a_nudge_of_another_who_has_no_room_costs_it_no_report() {
        let (parking, guest, mut peer) = lot();
        let key = guest.0.key();
        while guest.0.write(&[IoSlice::new(&[0; 1 << 16])]).is_ok() {}
        park(&parking, guest, Interest::Readable);
        parking.nudge(key);
        peer.write_all(b"1").expect("connected");
        let guest = next(&parking, LONG).expect("a byte");
        assert_eq!(guest.0.read(&mut [0; 8]).expect("a byte"), 1);
        park(&parking, guest, Interest::News);
        peer.write_all(b"2").expect("connected");
        assert!(next(&parking, LONG).is_some(), "its interest was armed again");
    }
}
