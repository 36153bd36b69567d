//! Parking over real sockets.

use super::{Interest, Parked, Parking, Socket};
use crate::poller::ReadyKeys;
use std::io::{IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

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
