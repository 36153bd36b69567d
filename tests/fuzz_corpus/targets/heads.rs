//! Request heads: their end, their fields, and their target.

use super::ways_to_cut;
use cws::http::Version;
use cws::http::framing::{BodyLength, Framing};
use cws::http::head::{HeadLimits, HeadScanner, Scan};
use cws::http::request::{FieldSlots, Request};
use cws::http::target::{DecodedPath, Form, Target, is_authority};
use cws::{Method, config};

const LARGE: HeadLimits =
    HeadLimits { head: config::HEAD_BYTES, target: config::TARGET_BYTES, http09: true };
const SMALL: HeadLimits = HeadLimits { head: 64, target: 16, http09: false };

/// The outcome, and the version if it was parsed.
fn scan<'b>(
    bytes: impl IntoIterator<Item = &'b [u8]>,
    limits: HeadLimits,
) -> (Scan, Option<Version>) {
    let mut scanner = HeadScanner::default();
    let mut outcome = Scan::Partial;
    for so_far in bytes {
        outcome = scanner.scan(so_far, limits);
        if outcome != Scan::Partial {
            break;
        }
    }
    (outcome, scanner.version())
}

/// The end of a head depends only on its bytes, and a complete head can be parsed or refused.
pub fn head(bytes: &[u8]) {
    let ways = ways_to_cut(bytes);
    for limits in [LARGE, SMALL, HeadLimits { http09: false, ..LARGE }] {
        let (outcome, version) = scan([bytes], limits);
        for ends in &ways {
            let in_pieces = scan(ends.iter().map(|&end| &bytes[..end]), limits);
            assert_eq!(in_pieces, (outcome, version), "cut at {ends:?}, {limits:?}");
        }
        match outcome {
            Scan::Partial => assert!(bytes.len() <= limits.head),
            Scan::Refused(fault) => {
                assert!(matches!(fault.status().class(), 4 | 5));
                let more = [bytes, b"\r\n\r\n"].concat();
                assert_eq!(scan([&more[..]], limits).0, outcome, "whatever follows");
            }
            Scan::Complete(end) => {
                let whole = &bytes[..end];
                assert!(end <= limits.head);
                assert_eq!(scan([whole], limits).0, outcome, "whatever follows");
                let before = scan([&bytes[..end - 1]], limits).0;
                assert_eq!(before, Scan::Partial, "its last byte makes it whole");
                check_lines(whole, version.expect("a whole head has a version"));
                let mut slots = FieldSlots::default();
                match Request::parse(whole, &mut slots) {
                    Ok(request) => assert_eq!(Some(request.version), version),
                    Err(fault) => assert!(matches!(fault.status().class(), 4 | 5)),
                }
            }
        }
    }
}

/// Checks the bytes of a complete head, and that its only empty line is at the end.
fn check_lines(head: &[u8], version: Version) {
    let lines: Vec<&[u8]> = head.split(|&byte| byte == b'\n').collect();
    let lines: Vec<&[u8]> =
        lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let empty = lines.iter().position(|line| line.is_empty());
    // After the last line feed there is nothing, and before it the empty line.
    let expected = lines.len() - if version == Version::Http09 { 1 } else { 2 };
    assert_eq!(empty, Some(expected));
    for (number, line) in lines.iter().enumerate() {
        let is_good = |&byte: &u8| (byte >= b' ' && byte != 0x7f) || (byte == b'\t' && number > 0);
        assert!(line.iter().all(is_good), "line {number}");
    }
}

/// Any bytes are a valid request or a fault.
pub fn request(bytes: &[u8]) {
    let mut slots = FieldSlots::default();
    let request = match Request::parse(bytes, &mut slots) {
        Ok(request) => request,
        Err(fault) => return assert!(matches!(fault.status().class(), 4 | 5)),
    };
    check_path(&request.target.path);
    assert!(!request.target.raw.iter().any(|byte| b" #".contains(byte)));
    let hosts: Vec<&[u8]> = request.fields_named("Host").collect();
    assert!(hosts.len() == 1 || (hosts.is_empty() && request.version != Version::Http11));
    assert!(hosts.iter().all(|host| is_authority(host)));
    let mut scanner = HeadScanner::default();
    let is_head = scanner.scan(bytes, LARGE) == Scan::Complete(bytes.len());
    // The scanner and the parser must see the same message.
    if is_head
        && request.version != Version::Http09
        && let Ok(framing) = scanner.framing()
    {
        assert_eq!(framing, framing_of(&request));
    }
    // httparse accepts only targets in UTF-8; targets here may have any bytes.
    let is_text = std::str::from_utf8(request.target.raw).is_ok();
    if is_head && is_text && request.version != Version::Http09 {
        check_against_httparse(bytes, &request);
    }
}

/// The elements of all fields with this name, in lower case, by the grammar of RFC 9110 (5.6.1).
fn list(request: &Request<'_>, name: &str) -> Vec<Vec<u8>> {
    let lines: Vec<&[u8]> = request.fields_named(name).collect();
    let elements = lines.join(&b',').to_ascii_lowercase();
    let elements = elements.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The framing by a slow, independent implementation. Panics if it is ambiguous.
fn framing_of(request: &Request<'_>) -> Framing {
    let codings = request.fields_named("Transfer-Encoding").count();
    let lengths: Vec<&[u8]> = request.fields_named("Content-Length").collect();
    let number = |digits: &[u8]| String::from_utf8_lossy(digits).parse::<u64>().expect("digits");
    let is_1_1 = request.version == Version::Http11;
    let body = if codings > 0 {
        assert!(codings == 1 && is_1_1 && lengths.is_empty(), "framing in doubt");
        assert_eq!(list(request, "Transfer-Encoding"), [b"chunked"]);
        BodyLength::Chunked
    } else {
        assert!(lengths.iter().all(|digits| !digits.starts_with(b"+")));
        assert!(lengths.windows(2).all(|pair| number(pair[0]) == number(pair[1])));
        BodyLength::Known(lengths.first().map_or(0, |digits| number(digits)))
    };
    let expectations = list(request, "Expect");
    assert!(expectations.iter().all(|expectation| expectation == b"100-continue"));
    Framing { body, expects_continue: is_1_1 && !expectations.is_empty() }
}

/// Another parser must see the same request in the same bytes: differences allow request smuggling.
fn check_against_httparse(bytes: &[u8], request: &Request<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; config::HEADER_FIELDS];
    let mut other = httparse::Request::new(&mut fields);
    match other.parse(bytes) {
        Ok(status) => assert!(status.is_complete()),
        // httparse supports only these two minor versions.
        Err(httparse::Error::Version) => {
            let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
            assert!(!line.ends_with(b"HTTP/1.0\r") && !line.ends_with(b"HTTP/1.1\r"));
            return;
        }
        Err(error) => panic!("httparse refuses it: {error}"),
    }
    assert_eq!(other.path.map(str::as_bytes), Some(request.target.raw));
    assert_eq!(other.method, Some(request.method_name()));
    assert_eq!(other.version == Some(1), request.version == Version::Http11);
    for field in other.headers.iter() {
        let same = |value: &[u8]| value == field.value.trim_ascii();
        assert!(request.fields_named(field.name).any(same), "{}", field.name);
    }
}

/// No target leads outside the root.
pub fn target(bytes: &[u8]) {
    assert_eq!(is_authority(bytes), authority(bytes).is_some(), "authority");
    let decoded = DecodedPath::decode(bytes).ok();
    let segments = decoded.as_ref().map(|path| path.segments().map(<[u8]>::to_vec).collect());
    assert_eq!(segments, segments_of(bytes), "by the RFC");
    for method in [Method::Get, Method::Options, Method::Connect] {
        let name = format!("{method:?}").to_ascii_uppercase();
        for version in [Version::Http09, Version::Http10, Version::Http11] {
            if let Ok(target) = Target::parse(bytes, name.as_bytes(), version) {
                check_target(bytes, &target, method, version);
            }
        }
    }
}

fn check_target(bytes: &[u8], target: &Target<'_>, method: Method, version: Version) {
    assert_eq!(target.raw, bytes);
    check_path(&target.path);
    if let Some(query) = target.query {
        assert!(bytes.ends_with(query) && bytes[..bytes.len() - query.len()].ends_with(b"?"));
    }
    let has_path = !target.path.as_bytes().is_empty();
    match target.form {
        Form::Origin => assert!(bytes.starts_with(b"/")),
        Form::Absolute => {
            let scheme = bytes.windows(3).position(|bytes| bytes == b"://").expect("a scheme");
            let rest = &bytes[scheme + 3..];
            let authority_bytes = rest.split(|byte| b"/?".contains(byte)).next().unwrap_or(rest);
            let (host, _) = authority(authority_bytes).expect("an authority");
            assert!(!host.is_empty());
        }
        Form::Asterisk => assert!(bytes == b"*" && method == Method::Options && !has_path),
        Form::Authority => {
            let (host, port) = authority(bytes).expect("an authority");
            assert!(method == Method::Connect && !host.is_empty() && !has_path);
            let port = String::from_utf8_lossy(port.expect("a port")).parse::<u16>();
            assert!(port.is_ok_and(|port| port > 0));
        }
        Form::Relative => assert!(version != Version::Http11 && !bytes.starts_with(b"/")),
    }
}

fn check_path(path: &DecodedPath) {
    let joined = path.as_bytes();
    for segment in path.segments() {
        assert!(!matches!(segment, b"" | b"." | b".."), "a segment that changes the path");
        assert!(!segment.contains(&b'/') && !segment.contains(&0));
    }
    assert_eq!(path.segments().collect::<Vec<_>>().join(&b'/'), joined);
    // A decoded path stays the same if it is encoded and decoded again.
    let encode = |segment: &[u8]| segment.iter().map(|byte| format!("%{byte:02x}")).collect();
    let encoded: Vec<String> = path.segments().map(encode).collect();
    let again = DecodedPath::decode(encoded.join("/").as_bytes()).expect("well encoded");
    assert_eq!(again.as_bytes(), joined);
}

/// The segments of a path by RFC 3986, section 5.2.4.
fn segments_of(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut stack = Vec::new();
    for segment in path.split(|&byte| byte == b'/') {
        let mut parts = segment.split(|&byte| byte == b'%');
        let mut name = parts.next().unwrap_or_default().to_vec();
        for part in parts {
            let (digits, rest) = part.split_at_checked(2)?;
            let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
            name.push(u8::from_str_radix(text, 16).ok()?);
            name.extend_from_slice(rest);
        }
        if name.iter().any(|byte| b"/\0".contains(byte)) {
            return None;
        }
        match &name[..] {
            b"" | b"." => {}
            b".." => drop(stack.pop()),
            _ => stack.push(name),
        }
    }
    Some(stack)
}

/// Host and port by RFC 3986, section 3.2, by a slow, independent implementation.
fn authority(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let behind_host = bytes.iter().rposition(|&byte| byte == b']').map_or(0, |end| end + 1);
    let colon = bytes[behind_host..].iter().position(|&byte| byte == b':');
    let (host, port) = match colon {
        Some(at) => (&bytes[..behind_host + at], Some(&bytes[behind_host + at + 1..])),
        None => (bytes, None),
    };
    let good_port = port.is_none_or(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    let good_host = match host {
        [b'[', inside @ .., b']'] => is_later_address(inside) || is_ipv6(inside),
        _ => is_name(host),
    };
    (good_port && good_host).then_some((host, port))
}

fn is_name(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) if [high, low].iter().all(|b| b.is_ascii_hexdigit()) => {
                tail
            }
            (b'%', _) => return false,
            (byte, tail) if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => {
                tail
            }
            _ => return false,
        };
    }
    true
}

fn is_later_address(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((version, address)) = text.strip_prefix('v').and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    let is_hex = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
    let plain = address.replace(':', "");
    is_hex && !address.is_empty() && !plain.contains('%') && is_name(plain.as_bytes())
}

/// Eight groups; `::` stands for one or more, and an IPv4 address at the end for two.
fn is_ipv6(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (left, right) = match text.split_once("::") {
        Some((left, right)) => (left, Some(right)),
        None => (&*text, None),
    };
    let groups = |half: &str, may_end_in_ipv4: bool| -> Option<usize> {
        let groups: Vec<&str> = if half.is_empty() { vec![] } else { half.split(':').collect() };
        let mut count = 0;
        for (at, group) in groups.iter().enumerate() {
            let is_hex = group.bytes().all(|byte| byte.is_ascii_hexdigit());
            count += match group.len() {
                1..=4 if is_hex => 1,
                _ if may_end_in_ipv4 && at + 1 == groups.len() && is_ipv4(group) => 2,
                _ => return None,
            };
        }
        Some(count)
    };
    match right {
        None => groups(left, true) == Some(8),
        Some(right) => {
            let both = groups(left, false).zip(groups(right, true));
            both.is_some_and(|(left, right)| left + right <= 7)
        }
    }
}

fn is_ipv4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    // Each number has one form: `01` and `+1` are not octets.
    let is_octet = |part: &&str| part.parse::<u8>().is_ok_and(|octet| octet.to_string() == *part);
    parts.len() == 4 && parts.iter().all(is_octet)
}
