//! Where a request ends (RFC 9112, section 6.3), according to the field lines of its head.

use super::Version;
use super::fault::Fault;

/// Where a message ends, and whether its sender waits for an interim response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// The body that follows the head.
    pub body: BodyLength,
    /// The client waits for `100 (Continue)` before it sends the body.
    pub expects_continue: bool,
}

/// How a request gives the length of its body (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// In bytes; 0 if no field gives a length.
    Known(u64),
    /// By the chunked transfer coding.
    Chunked,
}

/// The fields that frame a message, collected line by line.
///
/// All other fields are ignored, and so is a line that only resembles a framing field, for example
/// with white space before the colon. The parser refuses such a line, and the refusal closes the
/// connection, so that both agree on the end of every request that is served.
#[derive(Debug, Clone, Default)]
pub struct FramingFields {
    length: Option<u64>,
    coding: Option<TransferCoding>,
    expects_continue: bool,
    fault: Option<Fault>,
}

/// The meaning of `Transfer-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransferCoding {
    Chunked,
    /// `chunked` comes last, after a coding that this server does not know.
    Unknown,
    /// `chunked` does not come last, or comes twice: the end of the body is unknown.
    Endless,
}

impl FramingFields {
    /// Adds one field line, without its line end.
    pub fn add_line(&mut self, line: &[u8]) {
        // Nearly all lines are other fields: the first byte tells most of them apart.
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

    /// The framing of a message in this version.
    ///
    /// # Errors
    ///
    /// If a field is malformed, or if the fields leave the end of the body in doubt.
    pub fn framing(&self, version: Version) -> Result<Framing, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let body = match self.coding {
            None => BodyLength::Known(self.length.unwrap_or(0)),
            // Both fields together, or a coding in HTTP/1.0, are means of request smuggling
            // (RFC 9112, section 6.1).
            Some(_) if self.length.is_some() || version == Version::Http10 => {
                return Err(Fault::Framing);
            }
            Some(TransferCoding::Chunked) => BodyLength::Chunked,
            Some(TransferCoding::Unknown) => return Err(Fault::Coding),
            Some(TransferCoding::Endless) => return Err(Fault::Framing),
        };
        // The expectation of an HTTP/1.0 client is ignored (RFC 9110, section 10.1.1).
        let expects_continue = self.expects_continue && version == Version::Http11;
        Ok(Framing { body, expects_continue })
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let length = decimal(value).ok_or(Fault::Framing)?;
        let before = self.length.replace(length);
        refuse_if(before.is_some_and(|before| before != length), Fault::Framing)
    }

    fn add_coding(&mut self, value: &[u8]) -> Result<(), Fault> {
        // Empty elements are ignored, as in every list: other recipients find one coding in
        // `, chunked`, too. The order of the codings matters, so it is checked strictly.
        let mut chunked = elements(value).map(|name| name.eq_ignore_ascii_case(b"chunked"));
        let coding = match (chunked.next_back(), chunked.next()) {
            (Some(true), None) => TransferCoding::Chunked,
            (Some(true), Some(false)) if !chunked.any(|again| again) => TransferCoding::Unknown,
            // Unless `chunked` is the final coding, the body has no end; and it is applied once.
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

/// The value of a line that starts with `name` and its colon, without white space around it.
fn value<'b>(line: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn refuse_if(wrong: bool, fault: Fault) -> Result<(), Fault> {
    if wrong { Err(fault) } else { Ok(()) }
}

/// The non-empty elements of a list of tokens (RFC 9110, section 5.6.1.2).
pub(super) fn elements(list: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// A number that consists of digits only and fits in 64 bits.
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
    fn framing_fields_give_the_length_of_the_body_or_are_refused() {
        use BodyLength::{Chunked, Known};
        let rows = [
            ("", Ok(Known(0))),
            ("Content-Length: 5\r\n", Ok(Known(5))),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Ok(Known(5))),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(Fault::Framing)),
            ("Content-Length: 5, 5\r\n", Err(Fault::Framing)),
            ("Content-Length: +5\r\n", Err(Fault::Framing)),
            ("Content-Length:\r\n", Err(Fault::Framing)),
            ("Content-Length: 18446744073709551615\r\n", Ok(Known(u64::MAX))),
            ("Content-Length: 18446744073709551616\r\n", Err(Fault::Framing)),
            ("Content-Length: 18446744073709551621\r\n", Err(Fault::Framing)),
            ("Content-Length:5\r\n", Ok(Known(5))),
            ("Content-Length: \t5\t \r\n", Ok(Known(5))),
            ("Content-Length: 005\r\nCONTENT-LENGTH: 5\r\n", Ok(Known(5))),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 50\r\n",
                Err(Fault::Framing),
            ),
            ("Content-Length: 5\r\nContent-Length:\r\n", Err(Fault::Framing)),
            ("Content-Length: 5\r\nContent-Length: 5, 5\r\n", Err(Fault::Framing)),
            ("Content-Length: 5,\r\n", Err(Fault::Framing)),
            ("Content-Length: 5 5\r\n", Err(Fault::Framing)),
            ("Content-Length: 5;a\r\n", Err(Fault::Framing)),
            ("Content-Length: 5.0\r\n", Err(Fault::Framing)),
            ("Content-Length: 1e3\r\n", Err(Fault::Framing)),
            ("Content-Length: 1_0\r\n", Err(Fault::Framing)),
            ("Content-Length: \"5\"\r\n", Err(Fault::Framing)),
            ("Content-Length: \u{665}\r\n", Err(Fault::Framing)),
            ("Content-Length: \u{a0}5\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: Chunked\r\n", Ok(Chunked)),
            ("Transfer-Encoding: , chunked\r\n", Ok(Chunked)),
            ("Transfer-Encoding: chunked,\r\n", Ok(Chunked)),
            ("Transfer-Encoding: ,\t,chunked ,,\r\n", Ok(Chunked)),
            ("Transfer-Encoding:\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: ,\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: xchunked\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunkedx\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: \"chunked\"\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chun\u{212a}ed\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: \u{a0}chunked\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: identity\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunked, identity\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: identity, chunked\r\n", Err(Fault::Coding)),
            ("Transfer-Encoding: chunked, gzip, chunked\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding:\r\n chunked\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Err(Fault::Framing)),
            ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", Err(Fault::Framing)),
            ("Content-Length: x\r\nTransfer-Encoding: chunked\r\n", Err(Fault::Framing)),
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
    fn expectations_other_than_100_continue_are_refused() {
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

    /// The parser refuses such lines.
    #[test]
    fn lines_that_resemble_framing_fields_frame_nothing() {
        for line in [
            "Content-Length : 5",
            "Content-Length\t: 5",
            " Content-Length: 5",
            "\tTransfer-Encoding: chunked",
            "Transfer-Encoding : chunked",
            "Transfer_Encoding: chunked",
            "Content-Lengths: 5",
            "Content-Length",
            "\u{feff}Content-Length: 5",
            "",
        ] {
            let got = framing(Version::Http11, &format!("{line}\r\n"));
            assert_eq!(got.map(|framing| framing.body), Ok(BodyLength::Known(0)), "{line:?}");
        }
    }
}
