//! The media type of a file, from its name and, where the name says nothing, a look at its start.

use crate::config::SNIFF_BYTES;
use bytes::Bytes;
use mime_guess::MimeGuess;

/// What a file is when nothing says otherwise.
const OCTETS: &str = "application/octet-stream";

/// Text of no particular kind.
const PLAIN: &str = "text/plain; charset=utf-8";

/// The `Content-Type` of the file called `name`; `start` gives its first bytes if they are needed.
pub fn media_type(name: &[u8], start: impl FnOnce() -> Bytes) -> (&'static str, &'static str) {
    let extension = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0);
    let Some(at) = extension else {
        return (if is_text(&start()) { PLAIN } else { OCTETS }, "");
    };
    let guess = std::str::from_utf8(&name[at + 1..])
        .ok()
        .and_then(|extension| MimeGuess::from_ext(extension).first_raw())
        .unwrap_or(OCTETS);
    let is_text = guess.starts_with("text/")
        || matches!(guess, "application/javascript" | "application/json" | "image/svg+xml");
    (guess, if is_text { "; charset=utf-8" } else { "" })
}

/// True for bytes that a person can read: UTF-8 (the last character may be cut) without controls.
fn is_text(start: &[u8]) -> bool {
    let start = &start[..start.len().min(SNIFF_BYTES)];
    let valid = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && !start.is_empty(),
    };
    let control = |byte: &u8| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127);
    valid && !start.iter().any(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_name_and_by_look() {
        let of = |name: &str, start: &'static [u8]| {
            let (media_type, charset) = media_type(name.as_bytes(), || Bytes::from_static(start));
            format!("{media_type}{charset}")
        };
        assert_eq!(of("a.html", b""), "text/html; charset=utf-8");
        assert_eq!(of("a.PNG", b"text"), "image/png");
        assert_eq!(of("a.css", b""), "text/css; charset=utf-8");
        assert_eq!(of("a.nosuchtype", b"text"), OCTETS);
        assert_eq!(of("testfile", b"Hello\n"), PLAIN);
        assert_eq!(of("testfile", b""), PLAIN);
        assert_eq!(of("testfile", b"\x7fELF\x02\x01"), OCTETS);
        assert_eq!(of("testfile", "h\u{e9}".as_bytes()), PLAIN);
        assert_eq!(of("testfile", b"h\xc3"), PLAIN);
        assert_eq!(of("testfile", b"h\xff!"), OCTETS);
        assert_eq!(of(".profile", b"text"), PLAIN);
    }
}
