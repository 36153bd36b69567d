//! Who is let in: the number of open connections, and whether the server is about to stop.

use crate::parking::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The count of open connections and its bound.
#[derive(Debug)]
pub struct Admission {
    most: usize,
    open: AtomicUsize,
    draining: AtomicBool,
    cut: AtomicBool,
    waker: Waker,
}

/// One connection's place; dropping it makes room for another.
#[derive(Debug)]
pub struct Place(Arc<Admission>);

impl Admission {
    /// Room for `most` connections; `waker` wakes the acceptor when it can go on.
    pub fn new(most: usize, waker: Waker) -> Arc<Self> {
        let [draining, cut] = [false; 2].map(AtomicBool::new);
        Arc::new(Self { most, open: AtomicUsize::new(0), draining, cut, waker })
    }

    /// A place, if there is one. Only the acceptor calls this, so the bound is exact.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        if !self.has_room() {
            return None;
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        Some(Place(Arc::clone(self)))
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// True where [`Admission::enter`] would find a place.
    pub fn has_room(&self) -> bool {
        self.open() < self.most
    }

    /// From now on responses close their connections, and the acceptor winds up.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// True once [`Admission::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// From now on queued requests are dropped: the drain deadline has passed.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// True once [`Admission::cut`] was called.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

impl Drop for Place {
    /// The acceptor waits for a place when there was none, and for the last one when it drains.
    fn drop(&mut self) {
        let before = self.0.open.fetch_sub(1, Ordering::SeqCst);
        if before == self.0.most || (before == 1 && self.0.is_draining()) {
            self.0.waker.wake();
        }
    }
}
