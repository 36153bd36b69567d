//! The media type of a file, from its name. If the name has no extension, from its first bytes.

use crate::config::SNIFF_BYTES;
use bytes::Bytes;
use mime_guess::MimeGuess;
use std::borrow::Cow;
use std::collections::HashMap;

/// The type of files of unknown kind.
const OCTETS: &str = "application/octet-stream";

/// Text of no particular kind.
const PLAIN: &str = "text/plain; charset=utf-8";

/// Media types by extension: the configured ones, then the common ones.
#[derive(Debug, Clone, Default)]
pub struct MediaTypes {
    set: HashMap<Vec<u8>, String>,
}

impl MediaTypes {
    /// Sets the media type for an extension. Give the extension without its dot; case does not
    /// matter.
    pub fn set(&mut self, extension: &str, media_type: &str) {
        self.set.insert(extension.to_ascii_lowercase().into_bytes(), media_type.to_owned());
    }

    /// The `Content-Type` of the file called `name`. `start` returns its first bytes and is called
    /// only if the name has no extension.
    pub fn of(&self, name: &[u8], start: impl FnOnce() -> Bytes) -> Cow<'_, str> {
        let Some(extension) = extension(name) else {
            return if is_text(&start()) { PLAIN.into() } else { OCTETS.into() };
        };
        if !self.set.is_empty()
            && let Some(media_type) = self.set.get(&extension.to_ascii_lowercase())
        {
            return media_type.as_str().into();
        }
        let guess = std::str::from_utf8(extension)
            .ok()
            .and_then(|extension| MimeGuess::from_ext(extension).first_raw())
            .unwrap_or(OCTETS);
        let is_text = guess.starts_with("text/")
            || matches!(guess, "application/javascript" | "application/json" | "image/svg+xml");
        if is_text { format!("{guess}; charset=utf-8").into() } else { guess.into() }
    }
}

/// The part of a name behind its last dot. A dot at the start does not count.
pub fn extension(name: &[u8]) -> Option<&[u8]> {
    let at = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0)?;
    Some(&name[at + 1..])
}

/// True for text: UTF-8 without control characters. The last character may be incomplete.
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
    fn the_media_type_comes_from_the_extension_or_from_the_first_bytes() {
        let mut types = MediaTypes::default();
        types.set("Wasm", "application/x-own");
        let of = |name: &str, start: &'static [u8]| {
            types.of(name.as_bytes(), || Bytes::from_static(start)).into_owned()
        };
        assert_eq!(of("a.html", b""), "text/html; charset=utf-8");
        assert_eq!(of("a.PNG", b"text"), "image/png");
        assert_eq!(of("a.css", b""), "text/css; charset=utf-8");
        assert_eq!(of("a.wasm", b""), "application/x-own");
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
