//! Where a response ends: each case whole, byte by byte, with more bytes after it, and in random
//! splits.

use cws::client::Fault;
use cws::internals::{MAX_HEAD, ResponseFraming};
use proptest::prelude::*;

type End = Result<Option<u16>, Fault>;

/// Feeds the pieces and then the close. Returns the bytes that belong to the response, and its
/// outcome.
fn follow<'a>(head_only: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, End) {
    let mut framing = ResponseFraming::new(head_only);
    let mut taken = Vec::new();
    for piece in pieces {
        let count = framing.feed(piece);
        taken.extend_from_slice(&piece[..count]);
        if let Some(verdict) = framing.verdict() {
            assert_eq!(verdict.map(Some), framing.finish());
        } else {
            assert_eq!(count, piece.len(), "before the end every byte belongs to the response");
        }
    }
    (taken, framing.finish())
}

#[track_caller]
fn check_as(head_only: bool, bytes: &[u8], taken: usize, end: End) {
    let expected = (bytes[..taken].to_vec(), end);
    assert_eq!(follow(head_only, [bytes]), expected, "whole");
    assert_eq!(follow(head_only, bytes.chunks(1)), expected, "byte by byte");
}

/// A response with an end of its own: following bytes do not belong to it.
#[track_caller]
fn ends(bytes: &[u8], status: u16) {
    check_as(false, bytes, bytes.len(), Ok(Some(status)));
    for next in [bytes, b"\r\n", b"x", b"\0"] {
        check_as(false, &[bytes, next].concat(), bytes.len(), Ok(Some(status)));
    }
}

/// A response that ends when the peer closes: all following bytes belong to it.
#[track_caller]
fn lasts(bytes: &[u8], status: Option<u16>) {
    for next in [bytes, b"", b"\r\n\r\n", b"0\r\n\r\n"] {
        let all = [bytes, next].concat();
        check_as(false, &all, all.len(), Ok(status));
    }
}

/// Bytes that are not a valid response from the byte after the first `taken` on.
#[track_caller]
fn breaks(bytes: &[u8], taken: usize, fault: Fault) {
    check_as(false, bytes, taken, Err(fault));
}

/// A complete head with an invalid length.
#[track_caller]
fn bad_length(bytes: &[u8]) {
    breaks(bytes, bytes.len(), Fault::BadLength);
    check_as(false, &[bytes, b"body"].concat(), bytes.len(), Err(Fault::BadLength));
}

#[test]
fn a_length_ends_the_body() {
    ends(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200);
    ends(b"HTTP/1.1 404 Not Found\r\ncontent-length:3  \r\nX: y\r\n\r\n\0\r\n", 404);
    ends(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200);
    ends(b"HTTP/1.0 200\nContent-Length: 2\n\nhi", 200);
    ends(b"HTTP/1.0 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 02\r\n\r\nhi", 200);
    ends(b"HTTP/1.0 200 OK\r\nContent-Length : 2\r\nA: b\r\n c\r\n\r\nhi", 200);
}

#[test]
fn some_statuses_have_no_body_in_spite_of_their_fields() {
    ends(b"HTTP/1.0 204 No Content\r\nContent-Length: 5\r\n\r\n", 204);
    ends(b"HTTP/1.0 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304);
    ends(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204);
}

#[test]
fn the_response_to_head_has_no_body() {
    let head = b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n";
    check_as(true, head, head.len(), Ok(Some(200)));
    check_as(true, &[head, &b"body"[..]].concat(), head.len(), Ok(Some(200)));
    let both = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    check_as(true, both, both.len(), Ok(Some(200)));
}

#[test]
fn interim_responses_belong_to_the_response() {
    ends(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        200,
    );
    let alone = b"HTTP/1.1 100 Continue\r\n\r\n";
    breaks(alone, alone.len(), Fault::HeadCut(0));
    let odd = [alone, &b"what?"[..]].concat();
    breaks(&odd, alone.len(), Fault::HeadMalformed("invalid HTTP version"));
}

#[test]
fn without_a_length_the_close_ends_the_body() {
    lasts(b"HTTP/1.0 200 OK\r\n\r\n", Some(200));
    lasts(b"HTTP/1.0 500 Oops\r\nServer: x\r\n\r\nsorry", Some(500));
    lasts(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Some(200));
    lasts(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\nab", Some(200));
}

#[test]
fn bytes_that_are_not_http_last_until_the_close() {
    lasts(b"hello", None);
    lasts(b"\r\nHTTP/1.0 200 OK\r\n\r\n", None);
    lasts(b"http/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", None);
    lasts(b"HTTPS", None);
    check_as(false, b"HTT", 3, Ok(None));
}

#[test]
fn an_early_close_is_a_fault() {
    breaks(b"", 0, Fault::NoAnswer);
    breaks(b"HTTP/", 5, Fault::HeadCut(5));
    breaks(b"HTTP/1.0 200 OK\r\n", 17, Fault::HeadCut(17));
    let short = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhell";
    breaks(short, short.len(), Fault::BodyCut { received: 4, length: 5 });
    let none = b"HTTP/1.0 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n";
    breaks(none, none.len(), Fault::BodyCut { received: 0, length: u64::MAX });
}

#[test]
fn a_length_that_is_not_one_number_is_a_fault() {
    for value in
        ["", "-1", "+1", "1 2", "0x1", "1.0", "five", "1,2", "1,", "1\r\nContent-Length: 2"]
    {
        bad_length(format!("HTTP/1.0 200 OK\r\nContent-Length: {value}\r\n\r\n").as_bytes());
    }
    bad_length(b"HTTP/1.0 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n");
    bad_length(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n");
}

#[test]
fn a_malformed_head_is_a_fault() {
    let fields = "A: b\r\n".repeat(1000);
    for (head, error) in [
        ("HTTP/2.0 200 OK\r\n\r\n", "invalid HTTP version"),
        ("HTTP/x\r\n\r\n", "invalid HTTP version"),
        ("HTTP/1.0 2x0 OK\r\n\r\n", "invalid response status"),
        ("HTTP/1.0 200 OK\r\nno colon\r\n\r\n", "invalid header name"),
        (&format!("HTTP/1.0 200 OK\r\n{fields}\r\n"), "too many headers"),
    ] {
        breaks(head.as_bytes(), head.len(), Fault::HeadMalformed(error));
    }
}

#[test]
fn a_head_that_is_too_long_is_a_fault() {
    let frame = "HTTP/1.0 204 No Content\r\nX: \r\n\r\n".len();
    let head = |length: usize| {
        format!("HTTP/1.0 204 No Content\r\nX: {}\r\n\r\n", "x".repeat(length - frame))
    };
    ends(head(MAX_HEAD).as_bytes(), 204);
    breaks(head(MAX_HEAD + 1).as_bytes(), MAX_HEAD, Fault::HeadTooLong);
    // An endless sequence of interim responses has the same limit.
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_HEAD);
    breaks(interim.as_bytes(), MAX_HEAD, Fault::HeadTooLong);
}

/// Random bytes that are often a response, or nearly one.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        Just(b"HTTP/1.0 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 204 No Content\n".to_vec()),
        Just(b"HTTP/".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Server: x\r\n".to_vec()),
        Just(b" folded\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\n".to_vec()),
        (0..40_u32).prop_map(|n| format!("Content-Length: {n}\r\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..30),
    ];
    let tail = prop::collection::vec(fragment, 0..8).prop_map(|parts| parts.concat());
    let start = prop_oneof![
        4 => Just(&b"HTTP/1.0 200 OK\r\n"[..]),
        2 => (0..40_u32).prop_map(|n| {
            let head: &'static [u8] = match n % 3 {
                0 => b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n",
                1 => b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 No\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
            };
            head
        }),
        1 => Just(&b""[..]),
    ];
    (start, tail).prop_map(|(start, tail)| [start, &tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn the_outcome_does_not_depend_on_the_split(
        bytes in wire(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        head_only in any::<bool>(),
    ) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let whole = follow(head_only, [&bytes[..]]);
        prop_assert!(bytes.starts_with(&whole.0));
        prop_assert_eq!(&follow(head_only, pieces), &whole);
        prop_assert_eq!(follow(head_only, bytes.chunks(1)), whole);
    }
}

/// The response to an HTTP/1.1 request: bytes taken, outcome, persistence, last head.
fn of_http11(bytes: &[u8], piece: usize) -> (usize, End, bool, Vec<u8>) {
    let mut framing = ResponseFraming::http11();
    let taken = bytes.chunks(piece).map(|piece| framing.feed(piece)).sum();
    (taken, framing.finish(), framing.is_persistent(), framing.head().to_vec())
}

#[test]
fn chunks_are_parsed_if_the_request_was_http_1_1() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    type Row = (&'static str, usize, End, bool);
    let rows: &[Row] = &[
        ("5\r\nhello\r\n0\r\n\r\n", 15, Ok(Some(200)), true),
        ("5\r\nhello\r\n0\r\nT: v\r\n\r\nHTTP/1.1 ", 21, Ok(Some(200)), true),
        ("5\r\nhel", 6, Err(Fault::ChunksCut), false),
        ("", 0, Err(Fault::ChunksCut), false),
        ("5\r\nhelloX", 8, Err(Fault::BadChunks), false),
        ("what\r\n", 0, Err(Fault::BadChunks), false),
    ];
    for &(body, taken, end, persistent) in rows {
        let bytes = [head, body].concat();
        let expected = (head.len() + taken, end, persistent, head.as_bytes().to_vec());
        for piece in [1, 2, 7, bytes.len()] {
            assert_eq!(of_http11(bytes.as_bytes(), piece), expected, "{body:?} by {piece}");
        }
    }
    // Empty list elements are ignored, also on a line of their own.
    for list in [", chunked", "chunked ,,", "gzip,,\tchunked,", "chunked\r\nTransfer-Encoding:"] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {list}\r\n\r\n");
        let (taken, end, persistent, _) = of_http11([&head, "0\r\n\r\n"].concat().as_bytes(), 7);
        assert_eq!((taken, end, persistent), (head.len() + 5, Ok(Some(200)), true), "{list:?}");
    }
    // A body whose last coding is not chunked ends at the close.
    let coded = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nxyz";
    assert_eq!(of_http11(coded, 9).1, Ok(Some(200)));
    assert!(!of_http11(coded, 9).2);
}

#[test]
fn the_head_says_whether_the_connection_persists() {
    let rows = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", true),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\nx", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", true),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx", false),
        ("HTTP/1.1 200 OK\r\n\r\nx", false),
    ];
    for (response, expected) in rows {
        for piece in [1, response.len()] {
            assert_eq!(of_http11(response.as_bytes(), piece).2, expected, "{response:?}");
        }
    }
}

#[test]
fn one_framing_parses_all_responses_of_a_connection() {
    let mut framing = ResponseFraming::http11();
    let responses = [
        (
            "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            "ab",
        ),
        ("", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"),
    ];
    for (interim, head, body) in responses {
        let bytes = [interim, head, body].concat();
        assert_eq!(framing.feed(bytes.as_bytes()), bytes.len());
        assert!(framing.is_persistent());
        assert_eq!(framing.head(), head.as_bytes(), "only the last head");
        framing.restart();
        assert_eq!(framing.finish(), Err(Fault::NoAnswer));
    }
}
