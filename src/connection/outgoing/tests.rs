//! Tests of the writing of responses: turns, pieces, parts.

use super::*;
use crate::connection::sending::tests::{file_of, pair};
use crate::handler::{FileSlice, Stream};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const WORKER: Thread = Thread::Worker(1);

#[test]
fn senders_take_turns_after_a_piece() {
    let (file, content) = file_of(config::SEND_REST as usize + 2 * config::SEND_PIECE);
    let (socket, _reader) = pair();
    let length = content.len() as u64;
    let slice = FileSlice { file, offset: 0, length };
    let mut outgoing = Outgoing::new(b"head".to_vec(), Body::File(slice), false, false);
    let progress = outgoing
        .write(&socket, WORKER, &mut Allowance::Unlimited, || false)
        .expect("room for a head");
    assert!(matches!(progress, Progress::Yielded | Progress::Blocked), "{progress:?}");
    assert!(outgoing.body.length() < Some(length), "the head takes no turn of its own");
    assert!(outgoing.body.length() >= Some(length - config::SEND_PIECE as u64), "one piece");
}

#[test]
fn a_piece_is_what_goes_out_in_a_turn() {
    let (least, most) = (config::SEND_PIECE, config::SEND_PIECE_MOST);
    for (sent, turns, expected) in [
        (least, 1.0, least),
        (least, 0.5, 2 * least),
        (least, 0.01, most),
        (least, 0.0, most),
        (most, 2.0, most / 2),
        (most, 100.0, least),
        // A limit let it send little.
        (least / 4, 0.125, 2 * least),
    ] {
        let piece = next_piece(sent, config::SEND_TURN.mul_f64(turns));
        assert_eq!(piece, expected, "{sent} bytes in {turns} turns");
    }
}

#[test]
fn a_worker_sends_the_rest_of_a_file_in_one_turn() {
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let _reader = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
    let (writer, _) = listener.accept().expect("connected");
    writer.set_nonblocking(true).expect("a socket");
    let socket = Socket::new(writer);
    let (file, content) = file_of(4 * config::SEND_PIECE);
    let length = content.len() as u64;
    assert!(length <= config::SEND_REST);
    let send = |thread| {
        let slice = FileSlice { file: Arc::clone(&file), offset: 0, length };
        let mut outgoing = Outgoing::new(b"head".to_vec(), Body::File(slice), false, false);
        outgoing.write(&socket, thread, &mut Allowance::Unlimited, || false).expect("a peer")
    };
    assert_eq!(send(Thread::Acceptor), Progress::Yielded);
    assert_ne!(send(WORKER), Progress::Yielded);
}

#[test]
fn a_stream_is_made_as_it_is_sent() {
    let made = Arc::new(AtomicUsize::new(0));
    let pieces = |made: &Arc<AtomicUsize>| {
        let made = Arc::clone(made);
        (0..1000).map(move |_| {
            made.fetch_add(1, Relaxed);
            bytes::Bytes::from(vec![b'x'; 1000])
        })
    };
    let (socket, mut reader) = pair();
    let stream = Stream::new(999_999, pieces(&made));
    let mut outgoing = Outgoing::new(b"head".to_vec(), Body::Stream(stream), false, false);
    assert_eq!(
        outgoing.write(&socket, WORKER, &mut Allowance::Unlimited, || false).expect("room"),
        Progress::Yielded
    );
    assert!(made.load(Relaxed) <= 3, "one with the head, one for the turn, and the next");
    let mut received = Vec::new();
    loop {
        let progress =
            outgoing.write(&socket, WORKER, &mut Allowance::Unlimited, || true).expect("a reader");
        if progress == Progress::Done {
            break;
        }
        assert!(made.load(Relaxed) < 1000, "a peer that does not read holds it up");
        let mut buffer = vec![0; config::SEND_PIECE];
        let read = reader.read(&mut buffer).expect("connected");
        received.extend_from_slice(&buffer[..read]);
    }
    drop(socket);
    reader.read_to_end(&mut received).expect("a clean end");
    assert_eq!(received.len(), 4 + 999_999, "what was announced, and no more");

    let (socket, _reader) = pair();
    let short = Stream::new(5000, pieces(&made).take(2));
    let mut outgoing = Outgoing::new(b"head".to_vec(), Body::Stream(short), false, false);
    assert!(matches!(
        outgoing.write(&socket, WORKER, &mut Allowance::Unlimited, || true),
        Err(Failure::Content(_))
    ));
    assert_eq!(outgoing.content_sent(), 2000);
}

#[test]
fn parts_follow_one_another() {
    let (file, content) = file_of(1000);
    let (socket, mut reader) = pair();
    let slice = |offset, length| Body::File(FileSlice { file: Arc::clone(&file), offset, length });
    let bytes = |text: &'static str| Body::Bytes(text.into());
    let inner = Body::Sequence([bytes("b"), Body::Empty, slice(500, 3)].into());
    let body = Body::Sequence([slice(10, 5), bytes(""), inner, bytes("end")].into());
    let length = body.length().expect("known");
    let mut outgoing = Outgoing::new(b"head".to_vec(), body, false, false);
    assert_eq!(
        outgoing.write(&socket, WORKER, &mut Allowance::Unlimited, || true).expect("room"),
        Progress::Done
    );
    assert_eq!(outgoing.sent(), 4 + length);
    drop(socket);
    let mut received = Vec::new();
    reader.read_to_end(&mut received).expect("a clean end");
    let expected = [b"head", &content[10..15], b"b", &content[500..503], b"end"].concat();
    assert_eq!(received, expected);
}
