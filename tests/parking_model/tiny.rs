//! A scenario with one connection and one event: small enough to try every order.

use super::socket::{Interest, Socket};
use super::table::{Parked, Parking};
use crate::kernel::Numbers;
use crate::poller::ReadyKeys;
use crate::primitives::TcpListener;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
use shuttle::thread;

/// The event, which the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Byte,
    Nudge,
    /// The peer takes the byte that fills the connection.
    Room,
}

struct Connection {
    socket: Socket,
    event: Event,
    is_nudged: Arc<AtomicBool>,
}

impl Parked for Connection {
    fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

impl Connection {
    /// True if the event has come.
    fn has_event(&self) -> bool {
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

/// Checks for the event, and parks the connection if it has not come. Returns true if it has.
fn check_or_park(parking: &Parking<Connection>, connection: Box<Connection>) -> bool {
    if connection.has_event() {
        return true;
    }
    let interest = connection.interest();
    assert!(parking.park(connection, interest).is_ok());
    false
}

/// A worker checks and parks while the event occurs and an acceptor waits.
pub fn run(event: Event) {
    let listener = TcpListener::new(&Numbers::new());
    let peer = listener.address().connect(1);
    let socket = Socket::new(listener.accept().expect("connected"));
    let key = socket.key();
    let is_nudged = Arc::new(AtomicBool::new(false));
    let connection = Box::new(Connection { socket, event, is_nudged: Arc::clone(&is_nudged) });
    let parking = Arc::new(Parking::new(2).expect("a poller"));
    // It was parked before, so the poller reports readability already.
    assert!(parking.park(connection, Interest::Readable).is_ok());
    let connection = parking.take(key).expect("it is there");
    if event == Event::Room {
        connection.socket.write(&[std::io::IoSlice::new(b"1")]).expect("there is room for one");
    }
    let is_done = Arc::new(AtomicBool::new(false));

    let (worker_parking, worker_done) = (Arc::clone(&parking), Arc::clone(&is_done));
    thread::spawn(move || {
        if check_or_park(&worker_parking, connection) {
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
        parking.wait(&mut ready, None).expect("a poller");
        for connection in ready.iter().filter_map(|key| parking.take(key)) {
            if check_or_park(&parking, connection) {
                return;
            }
        }
    }
}
