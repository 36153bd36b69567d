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
        let mut host = None;
        let mut length = None;
        let mut chunked = None;
        let mut connection = ConnectionOptions::default();
        let mut expects_continue = false;
        for field in fields {
            let value = field.value.trim_ascii();
            match field.name.len() {
                4 if field.name.eq_ignore_ascii_case("host") => {
                    if host.replace(value).is_some() || !is_authority(value) {
                        return Err(Fault::Host);
                    }
                }
                6 if field.name.eq_ignore_ascii_case("expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Fault::Expectation);
                    }
                    // A 1.0 client cannot have meant it (RFC 9110, section 10.1.1).
                    expects_continue = version == Version::Http11;
                }
                10 if field.name.eq_ignore_ascii_case("connection") => connection.add(value),
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    let value = decimal(value).ok_or(Fault::Framing)?;
                    if length.replace(value).is_some_and(|before| before != value) {
                        return Err(Fault::Framing);
                    }
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    if chunked.replace(value).is_some() {
                        return Err(Fault::Framing);
                    }
                }
                _ => {}
            }
        }
        if version == Version::Http11 && host.is_none() {
            return Err(Fault::Host);
        }
        let body = match (chunked, length) {
            (None, length) => BodyLength::Known(length.unwrap_or(0)),
            // Both at once, or a coding in 1.0, is how requests are smuggled (section 6.1).
            (Some(_), Some(_)) => return Err(Fault::Framing),
            (Some(_), None) if version == Version::Http10 => return Err(Fault::Framing),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => BodyLength::Chunked,
            (Some(coding), None) if coding.to_ascii_lowercase().ends_with(b"chunked") => {
                return Err(Fault::Coding);
            }
            (Some(_), None) => return Err(Fault::Framing),
        };
        Ok(Self {
            persistent: connection.persistent(version),
            body,
            expects_continue,
        })
    }
}

#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
}

impl ConnectionOptions {
    fn add(&mut self, list: &[u8]) {
        for option in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
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

    fn framing(version: Version, fields: &[(&str, &str)]) -> Result<Framing, Fault> {
        let fields: Vec<Header<'_>> = fields
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        Framing::of(version, &fields)
    }

    #[test]
    fn lengths_and_persistence() {
        use BodyLength::{Chunked, Known};
        use Version::{Http10, Http11};
        type Row<'a> = (
            Version,
            &'a [(&'a str, &'a str)],
            Result<(bool, BodyLength), Fault>,
        );
        let host = ("Host", "h");
        let rows: &[Row] = &[
            (Http11, &[host], Ok((true, Known(0)))),
            (Http10, &[], Ok((false, Known(0)))),
            (
                Http10,
                &[("Connection", "foo, Keep-Alive")],
                Ok((true, Known(0))),
            ),
            (
                Http11,
                &[host, ("connection", "close")],
                Ok((false, Known(0))),
            ),
            (
                Http11,
                &[host, ("Connection", "keep-alive"), ("Connection", "close")],
                Ok((false, Known(0))),
            ),
            (
                Http11,
                &[host, ("Content-Length", "5")],
                Ok((true, Known(5))),
            ),
            (
                Http11,
                &[host, ("Content-Length", "5"), ("Content-Length", "5")],
                Ok((true, Known(5))),
            ),
            (
                Http11,
                &[host, ("Content-Length", "5"), ("Content-Length", "6")],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[host, ("Content-Length", "5, 5")],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[host, ("Content-Length", "+5")],
                Err(Fault::Framing),
            ),
            (Http11, &[host, ("Content-Length", "")], Err(Fault::Framing)),
            (
                Http11,
                &[host, ("Content-Length", "18446744073709551616")],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[host, ("Transfer-Encoding", "Chunked")],
                Ok((true, Chunked)),
            ),
            (
                Http11,
                &[host, ("Transfer-Encoding", "gzip, chunked")],
                Err(Fault::Coding),
            ),
            (
                Http11,
                &[host, ("Transfer-Encoding", "chunked, gzip")],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[
                    host,
                    ("Transfer-Encoding", "chunked"),
                    ("Transfer-Encoding", "chunked"),
                ],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[
                    host,
                    ("Transfer-Encoding", "chunked"),
                    ("Content-Length", "5"),
                ],
                Err(Fault::Framing),
            ),
            (
                Http10,
                &[("Transfer-Encoding", "chunked")],
                Err(Fault::Framing),
            ),
            (Http11, &[], Err(Fault::Host)),
            (Http11, &[host, host], Err(Fault::Host)),
            (Http11, &[("Host", "a b")], Err(Fault::Host)),
            (
                Http11,
                &[host, ("Expect", "magic")],
                Err(Fault::Expectation),
            ),
        ];
        for (version, fields, expected) in rows {
            let got = framing(*version, fields).map(|f| (f.persistent, f.body));
            assert_eq!(got, *expected, "{version:?} {fields:?}");
        }
    }
}
