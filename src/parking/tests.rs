//! Tests of parking over real sockets.

use super::{Interest, Parked, Parking, Socket};
use crate::poller::ReadyKeys;
use std::io::{IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

struct TestConnection(Socket);

impl Parked for TestConnection {
    fn socket(&mut self) -> &mut Socket {
        &mut self.0
    }
}

/// A table, a connection to park in it, and the peer.
fn setup() -> (Parking<TestConnection>, Box<TestConnection>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
    let (stream, _) = listener.accept().expect("connected");
    stream.set_nonblocking(true).expect("a socket");
    let parking = Parking::new(4096).expect("a poller");
    (parking, Box::new(TestConnection(Socket::new(stream))), peer)
}

fn park(parking: &Parking<TestConnection>, connection: Box<TestConnection>, interest: Interest) {
    assert!(parking.park(connection, interest).is_ok());
}

/// The connection of the next event within `wait`, if there is one.
fn next(parking: &Parking<TestConnection>, wait: Duration) -> Option<Box<TestConnection>> {
    let mut ready = ReadyKeys::with_capacity(8);
    parking.wait(&mut ready, Some(wait)).expect("a poller");
    let key = ready.iter().next()?;
    parking.take(key)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn readable_reports_bytes_that_are_there_and_news_only_bytes_that_come() {
    let (parking, connection, mut peer) = setup();
    peer.write_all(b"1").expect("connected");
    park(&parking, connection, Interest::Readable);
    let connection = next(&parking, LONG).expect("a byte was there");
    // The byte is still unread.
    park(&parking, connection, Interest::News);
    assert!(next(&parking, Duration::ZERO).is_none());
    peer.write_all(b"2").expect("connected");
    let connection = next(&parking, LONG).expect("another byte came");
    park(&parking, connection, Interest::Readable);
    let connection = next(&parking, LONG).expect("bytes are there");
    // The interest in room replaced that in bytes, so News arms it again.
    park(&parking, connection, Interest::Writable);
    let connection = next(&parking, LONG).expect("there is room");
    park(&parking, connection, Interest::News);
    assert!(next(&parking, LONG).is_some());
}

#[test]
fn an_event_that_finds_the_slot_empty_is_reported_when_the_connection_parks() {
    let (parking, connection, mut peer) = setup();
    peer.write_all(b"1").expect("connected");
    park(&parking, connection, Interest::Readable);
    let connection = next(&parking, LONG).expect("a byte was there");
    assert_eq!(connection.0.read(&mut [0; 8]).expect("a byte"), 1);
    peer.write_all(b"2").expect("connected");
    assert!(next(&parking, LONG).is_none(), "the event finds the slot empty");
    park(&parking, connection, Interest::News);
    assert!(next(&parking, LONG).is_some(), "the event is not lost");
}

/// True if no event is pending.
fn is_quiet(parking: &Parking<TestConnection>) -> bool {
    next(parking, Duration::ZERO).is_none()
}

#[test]
fn a_nudge_is_reported_once_whatever_the_connection_waits_for() {
    for interest in [Interest::Nudge, Interest::Readable, Interest::News] {
        let (parking, connection, mut peer) = setup();
        let key = connection.0.key();
        park(&parking, connection, interest);
        assert!(is_quiet(&parking), "{interest:?}");
        parking.nudge(key);
        let connection = next(&parking, LONG).expect("it was nudged");
        park(&parking, connection, interest);
        assert!(is_quiet(&parking), "{interest:?}: one nudge, one report");
        // Its interest is armed again.
        peer.write_all(b"1").expect("connected");
        if interest == Interest::Nudge {
            assert!(is_quiet(&parking), "it does not wait for bytes");
            parking.nudge(key);
        }
        assert!(next(&parking, LONG).is_some(), "{interest:?}");
    }
}

#[test]
fn a_nudge_that_finds_the_slot_empty_is_reported_when_a_connection_parks() {
    use Interest::{News, Nudge, Readable, Writable};
    for interest in [Nudge, Readable, News, Writable] {
        let (parking, connection, _peer) = setup();
        let key = connection.0.key();
        // The slot was never used.
        parking.nudge(key);
        park(&parking, connection, interest);
        let connection = next(&parking, LONG).expect("a note was left");
        // A late event does not remove the note.
        parking.nudge(key);
        assert!(parking.take(key).is_none());
        park(&parking, connection, interest);
        let connection = next(&parking, LONG).expect("a note was left");
        park(&parking, connection, Nudge);
        assert!(is_quiet(&parking), "{interest:?}: the note is gone");
    }
    let (parking, _guest, _peer) = setup();
    parking.nudge(usize::MAX);
}

#[test]
fn a_connection_that_waits_for_a_nudge_is_reported_for_a_reset_but_not_for_bytes() {
    let (parking, connection, mut peer) = setup();
    peer.write_all(b"1").expect("connected");
    park(&parking, connection, Interest::Nudge);
    assert!(is_quiet(&parking), "bytes that were there");
    peer.write_all(b"2").expect("connected");
    assert!(is_quiet(&parking), "bytes that came");
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(peer);
    let connection = next(&parking, LONG).expect("a reset");
    assert!(connection.0.take_error().is_err());
}

#[test]
fn a_stray_nudge_of_a_connection_without_room_loses_no_event() {
    let (parking, connection, mut peer) = setup();
    let key = connection.0.key();
    while connection.0.write(&[IoSlice::new(&[0; 1 << 16])]).is_ok() {}
    park(&parking, connection, Interest::Readable);
    parking.nudge(key);
    peer.write_all(b"1").expect("connected");
    let connection = next(&parking, LONG).expect("a byte");
    assert_eq!(connection.0.read(&mut [0; 8]).expect("a byte"), 1);
    park(&parking, connection, Interest::News);
    peer.write_all(b"2").expect("connected");
    assert!(next(&parking, LONG).is_some(), "its interest was armed again");
}

/// Whoever waits for a turn is looked at in that turn, so what came before it is not reported. The
/// next interest reports what came and was not read.
#[test]
fn an_event_before_a_turn_is_not_lost() {
    let (parking, connection, mut peer) = setup();
    let key = connection.0.key();
    park(&parking, connection, Interest::Readable);
    peer.write_all(b"1").expect("connected");
    let connection = next(&parking, LONG).expect("a byte");
    assert_eq!(connection.0.read(&mut [0; 8]).expect("a byte"), 1);
    park(&parking, connection, Interest::Turn);
    peer.write_all(b"2").expect("connected");
    let mut ready = ReadyKeys::with_capacity(8);
    parking.wait(&mut ready, Some(LONG)).expect("a poller");
    assert_eq!(ready.iter().collect::<Vec<_>>(), [key]);
    assert!(parking.take_unless(key, |_| true).is_none(), "it stays for its turn");
    let connection = parking.take(key).expect("it stayed");
    park(&parking, connection, Interest::News);
    let connection = next(&parking, LONG).expect("a byte is unread");
    assert_eq!(connection.0.read(&mut [0; 8]).expect("a byte"), 1);
}
