//! Tests of parsing heads.

use super::super::framing::BodyLength;
use super::super::head::{HeadLimits, HeadScanner, Scan};
use super::*;
use proptest::prelude::*;

fn parse(head: &str) -> Result<(Method, Version), Fault> {
    let mut slots = FieldSlots::default();
    Request::parse(head.as_bytes(), &mut slots).map(|r| (r.method, r.version))
}

#[test]
fn request_lines_are_parsed_or_refused() {
    use Method::{Get, Head};
    use Version::{Http10, Http11};
    let rows = [
        ("GET testfile HTTP/1.0\r\n\r\n", Ok((Get, Http10))),
        ("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", Ok((Head, Http11))),
        ("GET / HTTP/1.0\n\n", Ok((Get, Http10))),
        ("GET / HTTP/1.7\r\nHost: h\r\n\r\n", Ok((Get, Http11))),
        ("GET / HTTP/2.0\r\n\r\n", Err(Fault::Version)),
        ("GET / HTTP/0.9\r\n\r\n", Err(Fault::Version)),
        ("GET  / HTTP/1.0\r\n\r\n", Err(Fault::RequestLine)),
        ("GET / a HTTP/1.0\r\n\r\n", Err(Fault::RequestLine)),
        ("GET / http/1.0\r\n\r\n", Err(Fault::RequestLine)),
        ("get / HTTP/1.0\r\n\r\n", Ok((Method::Other, Http10))),
        ("BREW / HTTP/1.0\r\n\r\n", Ok((Method::Other, Http10))),
        ("GET testfile HTTP/1.1\r\nHost: h\r\n\r\n", Err(Fault::Target)),
    ];
    for (head, expected) in rows {
        assert_eq!(parse(head), expected, "{head:?}");
    }
}

#[test]
fn version_and_connection_field_determine_persistence() {
    use Version::{Http10, Http11};
    let rows = [
        (Http11, "Host: h\r\n", true),
        (Http11, "Host: h\r\nconnection: close\r\n", false),
        (Http11, "Host: h\r\nConnection: keep-alive\r\nConnection: close\r\n", false),
        (Http11, "Host: h\r\nConnection: , close\r\n", false),
        (Http11, "Host: h\r\nConnection: ,\r\n", true),
        (Http10, "Connection: ,keep-alive,\r\n", true),
        (Http10, "", false),
        (Http10, "Connection: foo, Keep-Alive\r\n", true),
        (Http10, "Connection: keep-alive, close\r\n", false),
    ];
    for (version, fields, expected) in rows {
        let head = format!("GET / {}\r\n{fields}\r\n", version.as_str());
        let mut slots = FieldSlots::default();
        let got = Request::parse(head.as_bytes(), &mut slots).map(|of| of.persistent);
        assert_eq!(got, Ok(expected), "{version:?} {fields:?}");
    }
}

#[test]
fn the_bytes_behind_connect_are_not_requests() {
    let head = b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let mut slots = FieldSlots::default();
    let request = Request::parse(head, &mut slots).expect("a good head");
    assert!(!request.persistent);
}

#[test]
fn an_http09_request_has_no_fields_and_does_not_persist() {
    let head = b"GET /a\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello";
    let mut slots = FieldSlots::default();
    let request = Request::parse(head, &mut slots).expect("a good head");
    assert_eq!((request.version, request.fields().count()), (Version::Http09, 0));
    assert!(!request.persistent);
}

#[test]
fn a_head_that_ends_early_or_late_is_refused() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\n\r\n";
    for end in 0..head.len() {
        assert!(parse(&head[..end]).is_err(), "{end}");
    }
    for behind in ["\r\n", "\n", "A: b\r\n\r\n", "GET / HTTP/1.1\r\n", "x"] {
        assert_eq!(parse(&format!("{head}{behind}")), Err(Fault::HeaderField), "{behind:?}");
    }
}

#[test]
fn http11_needs_exactly_one_valid_host() {
    let rows = [
        ("", Err(Fault::Host)),
        ("Host: h\r\nHost: h\r\n", Err(Fault::Host)),
        ("Host: a b\r\n", Err(Fault::Host)),
        ("Host: h\r\n", Ok((Method::Get, Version::Http11))),
        ("Host:\r\n", Ok((Method::Get, Version::Http11))),
    ];
    for (fields, expected) in rows {
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), expected, "{fields:?}");
    }
}

#[test]
fn malformed_fields_are_refused() {
    let many = "A: b\r\n".repeat(config::HEADER_FIELDS + 1);
    let rows = [
        ("Host : h\r\n", Fault::HeaderField),
        ("Host: h\r\n folded\r\n", Fault::HeaderField),
        ("Host: h\r\n\tfolded\r\n", Fault::HeaderField),
        (" Host: h\r\n", Fault::HeaderField),
        ("\tHost: h\r\n", Fault::HeaderField),
        ("Host\t: h\r\n", Fault::HeaderField),
        ("Host: h\r\nContent-Length : 5\r\n", Fault::HeaderField),
        ("Host: h\r\nContent-Length: 5\r\n 0\r\n", Fault::HeaderField),
        ("Host: h\r\nTransfer-Encoding:\r\n chunked\r\n", Fault::HeaderField),
        ("Host: h\r\nTransfer-Encoding:\n\tchunked\r\n", Fault::HeaderField),
        ("Host: h\r\n\u{feff}A: b\r\n", Fault::HeaderField),
        ("Host: h\r\nA: b\x7f\r\n", Fault::HeaderField),
        ("Host: h\r\nA: \x0bb\r\n", Fault::HeaderField),
        ("Host: h\r\nA: b\r\r\n", Fault::HeaderField),
        ("Host: h\r\nA:\rB: c\r\n", Fault::HeaderField),
        ("Host: h\r\nA\0: b\r\n", Fault::HeaderField),
        ("Host: h\r\nA\n: b\r\n", Fault::HeaderField),
        ("Host: h\r\nno colon\r\n", Fault::HeaderField),
        ("Host: h\r\n: empty\r\n", Fault::HeaderField),
        ("Host: h\r\nA: b\0c\r\n", Fault::HeaderField),
        ("Host: h\r\nA: b\rc\r\n", Fault::HeaderField),
        ("Host: h\r\nA\u{e9}: b\r\n", Fault::HeaderField),
        (many.as_str(), Fault::HeadTooLarge),
    ];
    for (fields, expected) in rows {
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(parse(&head), Err(expected), "{fields:?}");
    }
}

#[test]
fn all_fields_are_found_however_many_there_are() {
    let of = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(count));
    for count in [0, 1, FEW_FIELDS, FEW_FIELDS + 1, config::HEADER_FIELDS] {
        let (head, mut slots) = (of(count), FieldSlots::default());
        let request = Request::parse(head.as_bytes(), &mut slots).expect("valid");
        assert_eq!(request.fields_named("a").count(), count);
        assert_eq!(request.fields().count(), count);
    }
    let (head, mut slots) = (of(config::HEADER_FIELDS + 1), FieldSlots::default());
    let refused = Request::parse(head.as_bytes(), &mut slots).map(|request| request.method);
    assert_eq!(refused, Err(Fault::HeadTooLarge));
}

#[test]
fn field_names_are_case_insensitive() {
    let mut slots = FieldSlots::default();
    let head = b"GET / HTTP/1.0\r\nAccept:  a \r\nACCEPT: b\r\n\r\n";
    let request = Request::parse(head, &mut slots).expect("a good head");
    assert_eq!(request.field("accept"), Some(&b"a"[..]));
    assert_eq!(request.fields_named("Accept").count(), 2);
    assert_eq!(request.field("host"), None);
}

/// A piece of a valid or invalid request.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"GET ".to_vec()),
        Just(b"/a%2e".to_vec()),
        Just(b" HTTP/1.1\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}

/// A field line that frames a message, or that a lenient recipient takes for one that does.
fn framing_line() -> impl Strategy<Value = String> {
    let start = prop::sample::select(vec!["", "", "", "", " ", "\t", "\r", "X-"]);
    let name = prop::sample::select(vec![
        "Content-Length",
        "CONTENT-LENGTH",
        "Transfer-Encoding",
        "transfer-encoding",
        "Transfer_Encoding",
        "Expect",
        "A",
    ]);
    let colon = prop::sample::select(vec![": ", ": ", ": ", ":", ":\t", " :", ":\r\n ", "=", ""]);
    let value = prop::sample::select(vec![
        "5",
        "5",
        "05",
        "6",
        "5, 5",
        "+5",
        "",
        "chunked",
        "chunked",
        "Chunked,",
        "gzip, chunked",
        "chunked\x0b",
        "\u{e9}",
        "100-continue",
    ]);
    let end =
        prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", " \r\n", "\r", "\r\r\n", "\0\r\n"]);
    (start, name, colon, value, end).prop_map(|parts| {
        let (start, name, colon, value, end) = parts;
        [start, name, colon, value, end].concat()
    })
}

proptest! {
    /// The acceptor delimits a message by what the scanner finds, and a worker serves what the
    /// parser finds. A difference between the two is a means of request smuggling.
    #[test]
    fn scanner_and_parser_find_the_same_framing_fields(
        version in prop::sample::select(vec!["HTTP/1.1", "HTTP/1.0", "HTTP/1.7"]),
        lines in prop::collection::vec(framing_line(), 0..4),
    ) {
        let head = format!("POST / {version}\r\nHost: a\r\n{}\r\n", lines.concat());
        let limits = HeadLimits { head: 1 << 16, target: 100, http09: true };
        let mut scanner = HeadScanner::default();
        let end = match scanner.scan(head.as_bytes(), limits) {
            Scan::Complete(end) => end,
            Scan::Partial | Scan::Refused(_) => return Ok(()),
        };
        let mut slots = FieldSlots::default();
        let request = Request::parse(&head.as_bytes()[..end], &mut slots);
        let (Ok(framing), Ok(request)) = (scanner.framing(), request) else { return Ok(()) };
        let lengths: Vec<&[u8]> = request.fields_named("Content-Length").collect();
        let codings: Vec<&[u8]> = request.fields_named("Transfer-Encoding").collect();
        match framing.body {
            BodyLength::Chunked => {
                prop_assert!(lengths.is_empty() && codings.len() == 1);
                prop_assert!(request.version == Version::Http11);
            }
            BodyLength::Known(length) => {
                prop_assert!(codings.is_empty());
                prop_assert_eq!(length == 0, lengths.is_empty());
                let is_it = |value: &&[u8]| matches!(
                    (length, *value), (5, b"5" | b"05") | (6, b"6")
                );
                prop_assert!(lengths.iter().all(is_it));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_request_or_a_fault(pieces in prop::collection::vec(piece(), 0..12)) {
        let head = pieces.concat();
        let mut slots = FieldSlots::default();
        match Request::parse(&head, &mut slots) {
            Ok(request) => {
                let hosts = request.fields_named("host").count();
                prop_assert!(hosts == 1 || request.version < Version::Http11);
                prop_assert!(request.target.path.segments().all(|name| name != b".."));
            }
            Err(fault) => prop_assert!(fault.status().class() >= 4),
        }
    }
}
