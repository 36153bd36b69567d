//! One connection that is parked while something happens: small enough to try every order.

use super::socket::{Interest, Socket};
use super::table::{Parked, Parking};
use crate::kernel::Numbers;
use crate::poller::ReadyKeys;
use crate::primitives::TcpListener;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
use shuttle::thread;
use std::time::Duration;

/// What happens while it is parked, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Byte,
    Nudge,
    /// Its peer takes what has filled it.
    Room,
}

struct Guest {
    socket: Socket,
    event: Event,
    is_nudged: Arc<AtomicBool>,
}

impl Parked for Guest {
    fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

impl Guest {
    /// What it waits for has come.
    fn has_it(&self) -> bool {
        match self.event {
            Event::Byte => self.socket.read(&mut [0]).is_ok(),
            Event::Nudge => self.is_nudged.load(SeqCst),
            Event::Room => self.socket.write(&[std::io::IoSlice::new(b"2")]).is_ok(),
        }
    }

    fn interest(&self) -> Interest {
        match self.event {
            Event::Byte => Interest::News,
            Event::Nudge => Interest::Nudge,
            Event::Room => Interest::Writable,
        }
    }
}

/// Looks, and parks if there is nothing; true if there is.
fn look(parking: &Parking<Guest>, guest: Box<Guest>) -> bool {
    if guest.has_it() {
        return true;
    }
    let interest = guest.interest();
    assert!(parking.park(guest, interest).is_ok());
    false
}

/// A worker looks and parks while `event` happens and an acceptor waits.
pub fn run(event: Event) {
    let listener = TcpListener::new(&Numbers::new());
    let peer = listener.address().connect(1);
    let socket = Socket::new(listener.accept().expect("connected"));
    let key = socket.key();
    let is_nudged = Arc::new(AtomicBool::new(false));
    let guest = Box::new(Guest { socket, event, is_nudged: Arc::clone(&is_nudged) });
    let parking = Arc::new(Parking::new(2).expect("a poller"));
    // It has been parked before, so the poller reports bytes already.
    assert!(parking.park(guest, Interest::Readable).is_ok());
    let guest = parking.take(key).expect("it is there");
    if event == Event::Room {
        guest.socket.write(&[std::io::IoSlice::new(b"1")]).expect("there is room for one");
    }
    let is_done = Arc::new(AtomicBool::new(false));

    let (worker_parking, worker_done) = (Arc::clone(&parking), Arc::clone(&is_done));
    thread::spawn(move || {
        if look(&worker_parking, guest) {
            worker_done.store(true, SeqCst);
            worker_parking.waker().wake();
        }
    });
    let other_parking = Arc::clone(&parking);
    thread::spawn(move || match event {
        Event::Byte => peer.send(1),
        Event::Nudge => {
            is_nudged.store(true, SeqCst);
            other_parking.nudge(key);
        }
        Event::Room => assert!(peer.receive()),
    });
    let mut ready = ReadyKeys::with_capacity(8);
    while !is_done.load(SeqCst) {
        parking.wait(&mut ready, Duration::MAX).expect("a poller");
        for guest in ready.iter().filter_map(|key| parking.take(key)) {
            if look(&parking, guest) {
                return;
            }
        }
    }
}
