//! Where a request's body ends and whether the connection goes on after its response.

use super::Version;
use super::fault::Fault;
use super::target::is_authority;
use httparse::Header;

/// What the header fields say of the message itself, read in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// The client wants the connection kept (RFC 9112, section 9.3).
    pub persistent: bool,
    /// The body that follows the head.
    pub body: BodyLength,
    /// The client waits for `100 (Continue)` before it sends the body.
    pub expects_continue: bool,
}

/// How the length of a request's body is told (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes; 0 where no field says otherwise.
    Known(u64),
    /// By its chunks.
    Chunked,
}

impl Framing {
    /// Reads the fields that frame a message; refuses every ambiguity.
    pub fn of(version: Version, fields: &[Header<'_>]) -> Result<Self, Fault> {
        let mut found = Found::default();
        for field in fields {
            found.add(field.name, field.value.trim_ascii())?;
        }
        if version == Version::Http11 && !found.host {
            return Err(Fault::Host);
        }
        Ok(Self {
            persistent: !found.close && (version == Version::Http11 || found.keep_alive),
            body: found.body_length(version)?,
            // A 1.0 client cannot have meant it (RFC 9110, section 10.1.1).
            expects_continue: found.expects_continue && version == Version::Http11,
        })
    }
}

/// The fields that matter here, as far as they have been read.
#[derive(Default)]
struct Found<'b> {
    host: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    length: Option<u64>,
    coding: Option<&'b [u8]>,
}

impl<'b> Found<'b> {
    fn add(&mut self, name: &str, value: &'b [u8]) -> Result<(), Fault> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("host") => {
                let repeated = std::mem::replace(&mut self.host, true);
                refuse_if(repeated || !is_authority(value), Fault::Host)
            }
            6 if is("expect") => {
                let met = |expectation: &[u8]| expectation.eq_ignore_ascii_case(b"100-continue");
                self.expects_continue |= elements(value).any(met);
                refuse_if(!elements(value).all(met), Fault::Expectation)
            }
            10 if is("connection") => {
                for option in elements(value) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            14 if is("content-length") => {
                let length = decimal(value).ok_or(Fault::Framing)?;
                let before = self.length.replace(length);
                refuse_if(before.is_some_and(|before| before != length), Fault::Framing)
            }
            17 if is("transfer-encoding") => {
                refuse_if(self.coding.replace(value).is_some(), Fault::Framing)
            }
            _ => Ok(()),
        }
    }

    fn body_length(&self, version: Version) -> Result<BodyLength, Fault> {
        let Some(coding) = self.coding else {
            return Ok(BodyLength::Known(self.length.unwrap_or(0)));
        };
        // Both at once, or a coding in 1.0, is how requests are smuggled (RFC 9112, section 6.1).
        if self.length.is_some() || version == Version::Http10 {
            return Err(Fault::Framing);
        }
        // Empty elements say nothing, here as in every list: whoever keeps to the rule finds one
        // coding in `, chunked`. Their order has a meaning, so it is strict.
        let mut chunked = elements(coding).map(|name| name.eq_ignore_ascii_case(b"chunked"));
        match (chunked.next_back(), chunked.next()) {
            (Some(true), None) => Ok(BodyLength::Chunked),
            (Some(true), Some(false)) if !chunked.any(|again| again) => Err(Fault::Coding),
            // Without chunks at its end, the body has none; and none is chunked twice.
            _ => Err(Fault::Framing),
        }
    }
}

fn refuse_if(wrong: bool, fault: Fault) -> Result<(), Fault> {
    if wrong { Err(fault) } else { Ok(()) }
}

/// The elements of a list that are not empty (RFC 9110, section 5.6.1.2), of tokens alone.
fn elements(list: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Digits and nothing else, within 64 bits.
fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(version: Version, fields: &str) -> Result<Framing, Fault> {
        let fields = format!("{fields}\r\n");
        let mut slots = [httparse::EMPTY_HEADER; 8];
        match httparse::parse_headers(fields.as_bytes(), &mut slots) {
            Ok(httparse::Status::Complete((_, fields))) => Framing::of(version, fields),
            other => panic!("well-formed fields: {other:?}"),
        }
    }

    #[test]
    fn lengths() {
        use BodyLength::{Chunked, Known};
        let rows = [
            ("", Ok(Known(0))),
            ("Content-Length: 5\r\n", Ok(Known(5))),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Ok(Known(5))),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(Fault::Framing)),
            ("Content-Length: 5, 5\r\n", Err(Fault::Framing)),
            ("Content-Length: +5\r\n", Err(Fault::Framing)),
            ("Content-Length:\r\n", Err(Fault::Framing)),
            ("Content-Length: 18446744073709551616\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: Chunked\r\n", Ok(Chunked)),
            ("Transfer-Encoding: , chunked\r\n", Ok(Chunked)),
            ("Transfer-Encoding: chunked,\r\n", Ok(Chunked)),
            ("Transfer-Encoding: ,\t,chunked ,,\r\n", Ok(Chunked)),
            ("Transfer-Encoding:\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: ,\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: xchunked\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunked;a=b\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: , chunked\r\nContent-Length: 5\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: ,\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(Fault::Coding)),
            ("Transfer-Encoding: gzip,, chunked,\r\n", Err(Fault::Coding)),
            ("Transfer-Encoding: chunked, gzip\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(Fault::Framing)),
        ];
        for (fields, expected) in rows {
            let fields = format!("Host: h\r\n{fields}");
            let got = framing(Version::Http11, &fields).map(|framing| framing.body);
            assert_eq!(got, expected, "{fields:?}");
        }
        let in_1_0 = framing(Version::Http10, "Transfer-Encoding: chunked\r\n");
        assert_eq!(in_1_0, Err(Fault::Framing));
    }

    #[test]
    fn persistence() {
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
            let got = framing(version, fields).map(|framing| framing.persistent);
            assert_eq!(got, Ok(expected), "{version:?} {fields:?}");
        }
    }

    #[test]
    fn hosts_and_expectations() {
        use Version::{Http10, Http11};
        let rows = [
            (Http11, "", Err(Fault::Host)),
            (Http11, "Host: h\r\nHost: h\r\n", Err(Fault::Host)),
            (Http11, "Host: a b\r\n", Err(Fault::Host)),
            (Http11, "Host: h\r\nExpect: magic\r\n", Err(Fault::Expectation)),
            (Http11, "Host: h\r\nExpect: 100-Continue\r\n", Ok(true)),
            (Http11, "Host: h\r\nExpect: , 100-continue,\r\n", Ok(true)),
            (Http11, "Host: h\r\nExpect: 100-continue, magic\r\n", Err(Fault::Expectation)),
            (Http11, "Host: h\r\nExpect:\r\n", Ok(false)),
            (Http11, "Host: h\r\nExpect: ,\r\n", Ok(false)),
            (Http10, "Expect: 100-continue\r\n", Ok(false)),
        ];
        for (version, fields, expected) in rows {
            let got = framing(version, fields).map(|framing| framing.expects_continue);
            assert_eq!(got, expected, "{version:?} {fields:?}");
        }
    }
}
