//! Parses a request target into a path that cannot leave its root.

use super::Version;
use super::fault::Fault;
use core::net::Ipv6Addr;
use percent_encoding::percent_decode;
use std::num::NonZeroU16;

/// The bytes to percent-encode in a path segment (RFC 3986, section 3.3), and quotes and colons.
#[cfg(any(feature = "admin", feature = "files", feature = "http"))]
pub const SEGMENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// A decoded path below a root. No segment is empty, `.` or `..`, or contains `/` or NUL.
///
/// Dot segments are removed (RFC 3986, section 5.2.4) after percent-decoding, so that `%2e%2e`
/// means the same as `..`. A path that leads above the root stops there. An encoded slash is
/// refused, because no segment can contain one. Names are bytes and need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedPath {
    /// The segments joined by `/`, without one at either end.
    joined: Vec<u8>,
    /// Where the handler's part of the path starts. The segments before it are the prefix that the
    /// handler is mounted under.
    start: usize,
    directory: bool,
}

impl DecodedPath {
    /// Decodes the path of a target, without its authority and query.
    #[doc(hidden)]
    pub fn decode(raw: &[u8]) -> Result<Self, Fault> {
        let mut joined = Vec::with_capacity(raw.len());
        let mut directory = true;
        for segment in raw.split(|&byte| byte == b'/') {
            let start = joined.len();
            if start > 0 {
                joined.push(b'/');
            }
            let name = joined.len();
            decode_segment(segment, &mut joined)?;
            directory = matches!(&joined[name..], b"" | b"." | b"..");
            match &joined[name..] {
                b"" | b"." => joined.truncate(start),
                b".." => {
                    joined.truncate(start);
                    let parent = joined.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                    joined.truncate(parent);
                }
                _ => {}
            }
        }
        Ok(Self { joined, start: 0, directory })
    }

    /// The segments joined by `/`, without a slash at either end; empty for the root itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.joined[self.start..]
    }

    /// The prefix that the handler is mounted under, without a slash at either end; empty if the
    /// handler is not mounted under a prefix.
    pub fn prefix(&self) -> &[u8] {
        let prefix = &self.joined[..self.start];
        prefix.strip_suffix(b"/").unwrap_or(prefix)
    }

    /// The path for a handler that is mounted under the first `segments` segments of this one. They
    /// become part of the [`prefix`](Self::prefix).
    pub fn beneath(&self, segments: usize) -> Self {
        let mut left = segments;
        let is_end = |&byte: &u8| {
            left -= usize::from(byte == b'/');
            left == 0
        };
        let start = match segments {
            0 => 0,
            _ => self.as_bytes().iter().position(is_end).map_or(usize::MAX, |slash| slash + 1),
        };
        let start = self.start.saturating_add(start).min(self.joined.len());
        Self { joined: self.joined.clone(), start, directory: self.directory }
    }

    /// The path of the entry `name` in this directory.
    #[doc(hidden)]
    pub fn child(&self, name: &str) -> Self {
        let mut joined = self.joined.clone();
        if !self.as_bytes().is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name.as_bytes());
        Self { joined, start: self.start, directory: false }
    }

    /// True if it is the path `wanted`, which is not percent-encoded and begins with a slash.
    #[doc(hidden)]
    pub fn is(&self, wanted: &str) -> bool {
        wanted.strip_prefix('/').is_some_and(|wanted| {
            let joined = wanted.strip_suffix('/').unwrap_or(wanted);
            let is_directory = wanted.is_empty() || wanted.len() > joined.len();
            self.as_bytes() == joined.as_bytes() && self.directory == is_directory
        })
    }

    /// The segments from the root down.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.as_bytes().split(|&byte| byte == b'/').filter(|segment| !segment.is_empty())
    }

    /// True if the target names a directory: it ends in a slash or a dot segment.
    pub fn is_directory(&self) -> bool {
        self.directory
    }
}

/// Appends one percent-decoded segment. Malformed percent-encodings, NUL and `/` are refused.
fn decode_segment(segment: &[u8], into: &mut Vec<u8>) -> Result<(), Fault> {
    if !segment.iter().any(|byte| matches!(byte, 0 | b'%')) {
        into.extend_from_slice(segment);
        return Ok(());
    }
    // `percent_decode` keeps a malformed percent-encoding; here it is an error.
    if !segment.split(|&byte| byte == b'%').skip(1).all(starts_with_two_digits) {
        return Err(Fault::Target);
    }
    let start = into.len();
    into.extend(percent_decode(segment));
    match into[start..].iter().any(|byte| matches!(byte, 0 | b'/')) {
        true => Err(Fault::Target),
        false => Ok(()),
    }
}

fn starts_with_two_digits(bytes: &[u8]) -> bool {
    matches!(bytes, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// The target of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'b> {
    /// The target as it was sent.
    pub raw: &'b [u8],
    /// The decoded path; the root for the asterisk and authority forms.
    pub path: DecodedPath,
    /// The query, without its `?`.
    pub query: Option<&'b [u8]>,
    /// The form of the target.
    pub form: Form,
}

/// The forms of a target (RFC 9112, section 3.2), and a relative one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `*`, for OPTIONS only.
    Asterisk,
    /// `host:port`, for CONNECT only.
    Authority,
    /// `path`, without a leading slash, as some early clients send it: before HTTP/1.1 only.
    Relative,
}

impl<'b> Target<'b> {
    /// Parses a target in one of the forms that `method` and `version` allow.
    #[doc(hidden)]
    pub fn parse(raw: &'b [u8], method: &[u8], version: Version) -> Result<Self, Fault> {
        if raw.is_empty() || raw.contains(&b'#') {
            return Err(Fault::Target);
        }
        if method == b"CONNECT" {
            // A host and a port other than 0 (RFC 9110, section 9.3.6).
            let (host, port) = split_authority(raw).ok_or(Fault::Target)?;
            let port = port.and_then(|digits| std::str::from_utf8(digits).ok());
            let port: Option<NonZeroU16> = port.and_then(|digits| digits.parse().ok());
            if host.is_empty() || port.is_none() {
                return Err(Fault::Target);
            }
            return Ok(Self::without_path(raw, Form::Authority));
        }
        if raw == b"*" && method == b"OPTIONS" {
            return Ok(Self::without_path(raw, Form::Asterisk));
        }
        if raw[0] == b'/' {
            return Self::with_path(raw, raw, Form::Origin);
        }
        if let Some(after_scheme) = strip_scheme(raw) {
            let end = after_scheme.iter().position(|b| b"/?".contains(b));
            let (authority, rest) = after_scheme.split_at(end.unwrap_or(after_scheme.len()));
            // A target with an empty host is invalid (RFC 9110, section 4.2.1).
            if split_authority(authority).is_none_or(|(host, _)| host.is_empty()) {
                return Err(Fault::Target);
            }
            return Self::with_path(raw, rest, Form::Absolute);
        }
        match version {
            Version::Http09 | Version::Http10 => Self::with_path(raw, raw, Form::Relative),
            Version::Http11 => Err(Fault::Target),
        }
    }

    fn with_path(raw: &'b [u8], path_and_query: &'b [u8], form: Form) -> Result<Self, Fault> {
        let (path, query) = match path_and_query.iter().position(|&byte| byte == b'?') {
            Some(at) => (&path_and_query[..at], Some(&path_and_query[at + 1..])),
            None => (path_and_query, None),
        };
        Ok(Self { raw, path: DecodedPath::decode(path)?, query, form })
    }

    fn without_path(raw: &'b [u8], form: Form) -> Self {
        let path = DecodedPath { joined: Vec::new(), start: 0, directory: true };
        Self { raw, path, query: None, form }
    }
}

fn strip_scheme(raw: &[u8]) -> Option<&[u8]> {
    let strip = |scheme: &[u8]| {
        let (head, rest) = raw.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    strip(b"http://").or_else(|| strip(b"https://"))
}

/// True for a valid value of `Host` (RFC 9110, section 7.2): a name or an address with an optional
/// port, or nothing.
pub fn is_authority(bytes: &[u8]) -> bool {
    split_authority(bytes).is_some()
}

/// The host, including its brackets, and the digits of the port (RFC 3986, section 3.2); none if
/// the authority is malformed. User information is refused, because a client must not send it
/// (RFC 9110, section 4.2.4).
fn split_authority(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = match bytes {
        [b'[', rest @ ..] => {
            let length = rest.iter().position(|&byte| byte == b']')?;
            if !is_address(&rest[..length]) {
                return None;
            }
            length + 2
        }
        _ => name_length(bytes),
    };
    match bytes.split_at(end) {
        (host, []) => Some((host, None)),
        (host, [b':', digits @ ..]) if digits.len() <= 5 => {
            digits.iter().all(u8::is_ascii_digit).then_some((host, Some(digits)))
        }
        _ => None,
    }
}

/// The length of the `reg-name` at the start.
fn name_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        at += rest.iter().position(|&byte| !is_name_byte(byte)).unwrap_or(rest.len());
        match &bytes[at..] {
            [b'%', digits @ ..] if starts_with_two_digits(digits) => at += 3,
            _ => return at,
        }
    }
}

/// True for `unreserved` and `sub-delims`: the bytes of a name besides percent-encodings. Every
/// request has a name to check, so the bytes are in a table.
fn is_name_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            table[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut others: &[u8] = b"-._~!$&'()*+,;=";
        while let [byte, rest @ ..] = others {
            table[*byte as usize] = true;
            others = rest;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// True for the contents of brackets: an IPv6 address, or one of a later version.
///
/// A zone identifier is refused. It is meaningful only on the machine that assigns it, and is no
/// longer part of a URI (RFC 9844 obsoletes RFC 6874).
fn is_address(inside: &[u8]) -> bool {
    if let [b'v' | b'V', later @ ..] = inside {
        let Some(dot) = later.iter().position(|&byte| byte == b'.') else { return false };
        let (version, address) = (&later[..dot], &later[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&byte| byte == b':' || is_name_byte(byte));
    }
    std::str::from_utf8(inside).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests;
