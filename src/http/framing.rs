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
                self.expects_continue = true;
                refuse_if(
                    !value.eq_ignore_ascii_case(b"100-continue"),
                    Fault::Expectation,
                )
            }
            10 if is("connection") => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            14 if is("content-length") => {
                let length = decimal(value).ok_or(Fault::Framing)?;
                let before = self.length.replace(length);
                refuse_if(
                    before.is_some_and(|before| before != length),
                    Fault::Framing,
                )
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
        let coding = coding.to_ascii_lowercase();
        match coding.strip_suffix(b"chunked") {
            Some(b"") => Ok(BodyLength::Chunked),
            Some(_) => Err(Fault::Coding),
            // Without chunks at its end, the body has none.
            None => Err(Fault::Framing),
        }
    }
}

fn refuse_if(wrong: bool, fault: Fault) -> Result<(), Fault> {
    if wrong { Err(fault) } else { Ok(()) }
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
