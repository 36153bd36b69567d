//! Where a request's message ends (RFC 9112, section 6.3), from the lines of its head.

use super::Version;
use super::fault::Fault;

/// Where a message ends, and what its sender waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
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

/// The fields that frame a message, as far as their lines have come.
///
/// It looks at no other field. A line whose name is not spelled to the letter is none of these
/// fields here; the parser refuses such a line, and its answer ends the connection.
#[derive(Debug, Clone, Default)]
pub struct FramingFields {
    length: Option<u64>,
    coding: Option<TransferCoding>,
    expects_continue: bool,
    fault: Option<Fault>,
}

/// What `Transfer-Encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransferCoding {
    Chunked,
    /// It ends in `chunked`, and has a coding before it that this server does not know.
    Unknown,
    /// It does not tell where the body ends.
    Endless,
}

impl FramingFields {
    /// Looks at one field line, without its line end.
    pub fn add_line(&mut self, line: &[u8]) {
        // Nearly all lines are of other fields.
        let result = match line.first().map(|first| first | 0x20) {
            Some(b'c') => value(line, b"content-length:").map(|value| self.add_length(value)),
            Some(b't') => value(line, b"transfer-encoding:").map(|value| self.add_coding(value)),
            Some(b'e') => value(line, b"expect:").map(|value| self.add_expectation(value)),
            _ => None,
        };
        if let Some(Err(fault)) = result {
            self.fault.get_or_insert(fault);
        }
    }

    /// What the lines come to for a message of this version; every ambiguity is refused.
    pub fn framing(&self, version: Version) -> Result<Framing, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let body = match self.coding {
            None => BodyLength::Known(self.length.unwrap_or(0)),
            // Both at once, or a coding in 1.0, is how requests are smuggled (RFC 9112,
            // section 6.1).
            Some(_) if self.length.is_some() || version == Version::Http10 => {
                return Err(Fault::Framing);
            }
            Some(TransferCoding::Chunked) => BodyLength::Chunked,
            Some(TransferCoding::Unknown) => return Err(Fault::Coding),
            Some(TransferCoding::Endless) => return Err(Fault::Framing),
        };
        // A 1.0 client cannot have meant it (RFC 9110, section 10.1.1).
        let expects_continue = self.expects_continue && version == Version::Http11;
        Ok(Framing { body, expects_continue })
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let length = decimal(value).ok_or(Fault::Framing)?;
        let before = self.length.replace(length);
        refuse_if(before.is_some_and(|before| before != length), Fault::Framing)
    }

    fn add_coding(&mut self, value: &[u8]) -> Result<(), Fault> {
        // Empty elements say nothing, here as in every list: whoever keeps to the rule finds one
        // coding in `, chunked`. Their order has a meaning, so it is strict.
        let mut chunked = elements(value).map(|name| name.eq_ignore_ascii_case(b"chunked"));
        let coding = match (chunked.next_back(), chunked.next()) {
            (Some(true), None) => TransferCoding::Chunked,
            (Some(true), Some(false)) if !chunked.any(|again| again) => TransferCoding::Unknown,
            // Without chunks at its end, the body has none; and none is chunked twice.
            _ => TransferCoding::Endless,
        };
        refuse_if(self.coding.replace(coding).is_some(), Fault::Framing)
    }

    fn add_expectation(&mut self, value: &[u8]) -> Result<(), Fault> {
        let met = |expectation: &[u8]| expectation.eq_ignore_ascii_case(b"100-continue");
        self.expects_continue |= elements(value).any(met);
        refuse_if(!elements(value).all(met), Fault::Expectation)
    }
}

/// The value of a line that begins with `name`, colon included, without white space around it.
fn value<'b>(line: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn refuse_if(wrong: bool, fault: Fault) -> Result<(), Fault> {
    if wrong { Err(fault) } else { Ok(()) }
}

/// The elements of a list that are not empty (RFC 9110, section 5.6.1.2), of tokens alone.
pub(super) fn elements(list: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
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
        let mut found = FramingFields::default();
        for line in fields.split_terminator("\r\n") {
            found.add_line(line.as_bytes());
        }
        found.framing(version)
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
    fn expectations() {
        use Version::{Http10, Http11};
        let rows = [
            (Http11, "Expect: magic\r\n", Err(Fault::Expectation)),
            (Http11, "Expect: 100-Continue\r\n", Ok(true)),
            (Http11, "EXPECT:100-continue\r\n", Ok(true)),
            (Http11, "Expect: , 100-continue,\r\n", Ok(true)),
            (Http11, "Expect: 100-continue, magic\r\n", Err(Fault::Expectation)),
            (Http11, "Expect:\r\n", Ok(false)),
            (Http11, "Expect: ,\r\n", Ok(false)),
            (Http10, "Expect: 100-continue\r\n", Ok(false)),
        ];
        for (version, fields, expected) in rows {
            let got = framing(version, fields).map(|framing| framing.expects_continue);
            assert_eq!(got, expected, "{version:?} {fields:?}");
        }
    }

    /// What only looks like a framing field frames nothing; the parser refuses such lines.
    #[test]
    fn names_are_spelled_to_the_letter() {
        for line in
            ["Content-Length : 5", " Content-Length: 5", "Content-Lengths: 5", "Content-Length"]
        {
            let got = framing(Version::Http11, &format!("{line}\r\n"));
            assert_eq!(got.map(|framing| framing.body), Ok(BodyLength::Known(0)), "{line:?}");
        }
    }
}
