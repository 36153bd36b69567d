//! The README of a directory as HTML, for the end of its listing.

#[cfg(feature = "markdown")]
use super::markdown::from_markdown;
use crate::config;
use crate::files::entries::Entries;
use crate::files::root::{Found, NotServed, Root};
use crate::html;
use crate::http::target::{DecodedPath, SEGMENT};
use crate::memory::{Claim, Memory, MemoryUse};
use percent_encoding::utf8_percent_encode;
use std::fs::File;
use std::io::{self, Read};

/// The names, without regard to case; the first one that a directory has counts.
const NAMES: [&str; 3] = ["README.md", "README.txt", "README"];

/// The HTML of a README, and the claim on its memory.
#[derive(Debug)]
pub(super) struct Readme {
    html: Box<[u8]>,
    #[allow(dead_code, reason = "its drop releases the memory")]
    claim: Claim,
}

impl PartialEq for Readme {
    fn eq(&self, other: &Self) -> bool {
        self.html == other.html
    }
}

impl Readme {
    /// The README among the entries of the directory at `path`, if there is one that may be served.
    /// This waits for a disk.
    pub(super) fn of(
        root: &Root,
        path: &DecodedPath,
        entries: &Entries,
        memory: &Memory,
    ) -> Result<Option<Self>, NotServed> {
        let Some(name) = name_in(entries) else { return Ok(None) };
        let text = match root.find_in(path, name) {
            Ok(Found::File(file, _)) => start_of(&file).map_err(NotServed::from_read),
            Ok(Found::Directory) => return Ok(None),
            Err(reason) => Err(reason),
        };
        let (text, is_cut) = match text {
            Ok(text) => text,
            Err(reason) => {
                log::warn!("cannot read {name:?} for a listing, which goes without: {reason:?}");
                return Ok(None);
            }
        };
        let html = article(name, &String::from_utf8_lossy(&text), is_cut).into_bytes();
        let claim = memory.claim(MemoryUse::Listings, html.len() as u64);
        Ok(Some(Self { html: html.into(), claim: claim.ok_or(NotServed::Busy)? }))
    }

    /// An article.
    pub(super) fn html(&self) -> &[u8] {
        &self.html
    }
}

/// The name of the README that counts.
fn name_in(entries: &Entries) -> Option<&str> {
    let files = entries.as_slice().iter().filter(|entry| !entry.is_directory);
    let names = files.filter_map(|entry| {
        let name = entries.name(entry);
        let rank = NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some((rank, std::str::from_utf8(name).ok()?))
    });
    names.min().map(|(_, name)| name)
}

/// The first bytes of a file, and whether it has more. Text that is cut ends with a line if it can,
/// and with a character in any case.
fn start_of(file: &File) -> io::Result<(Vec<u8>, bool)> {
    let mut text = Vec::new();
    file.take(config::README_BYTES as u64 + 1).read_to_end(&mut text)?;
    if text.len() <= config::README_BYTES {
        return Ok((text, false));
    }
    let is_inside = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let within = (0..=config::README_BYTES).rev().find(|&at| !is_inside(text[at]));
    let line = text[..config::README_BYTES].iter().rposition(|&byte| byte == b'\n');
    text.truncate(line.map_or(within.unwrap_or_default(), |at| at + 1));
    Ok((text, true))
}

fn article(name: &str, text: &str, is_cut: bool) -> String {
    let is_markdown = name.to_ascii_lowercase().ends_with(".md");
    let content = is_markdown.then(|| from_markdown(text)).flatten();
    let content = content.unwrap_or_else(|| from_text(text));
    let (href, shown) = (utf8_percent_encode(name, SEGMENT), html::escape(name));
    let link = format!("<a href=\"./{href}\">{shown}</a>");
    let more = if is_cut { format!("<p>There is more in {link}.</p>\n") } else { String::new() };
    format!("<article>\n<p>{link}</p>\n{content}{more}</article>\n")
}

/// Without the feature, Markdown is shown as text.
#[cfg(not(feature = "markdown"))]
fn from_markdown(_text: &str) -> Option<String> {
    None
}

fn from_text(text: &str) -> String {
    let mut content = "<pre class=\"t\">".to_owned();
    for line in text.lines() {
        for (at, part) in line.split('\t').enumerate() {
            content.push_str(if at > 0 { "\t" } else { "" });
            content.push_str(&html::escape(part));
        }
        content.push('\n');
    }
    content + "</pre>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_it_is() {
        let text = "a <b>\n\t*c*\r\n\u{7}javascript:alert(1)";
        let page = article("README", text, false);
        let html = "<pre class=\"t\">a &lt;b&gt;\n\t*c*\n\\u{7}javascript:alert(1)\n</pre>";
        assert!(page.contains(html) && !page.contains("There is more"), "{page}");
    }

    #[test]
    fn what_is_long_is_bounded() {
        // A table whose rows are short of cells, and a reference that is used often.
        let table =
            format!("|{}\n|{}\n{}", "a|".repeat(500), "-|".repeat(500), "|\n".repeat(30_000));
        let uses = format!("[a]: /{}\n\n{}", "b".repeat(20_000), "[a] ".repeat(10_000));
        let quotes = ">".repeat(config::README_BYTES);
        let plain = "\"".repeat(config::README_BYTES);
        for text in [table, uses, quotes, plain] {
            for name in ["README", "README.md"] {
                let page = article(name, &text[..text.len().min(config::README_BYTES)], false);
                assert!(page.len() <= config::README_HTML + 1024, "{} bytes", page.len());
            }
        }
        let mut file = tempfile::tempfile().expect("a temporary file");
        let rows = [
            (vec![b'a'; config::README_BYTES], config::README_BYTES, false),
            (vec![b'a'; config::README_BYTES + 1], config::README_BYTES, true),
            ("\u{e9}".repeat(config::README_BYTES).into(), config::README_BYTES, true),
            (["b", &"\u{e9}".repeat(99_999)].concat().into(), config::README_BYTES - 1, true),
            ([&b"line\n"[..], &[b'a'; 99_999]].concat(), 5, true),
            (vec![0x80; config::README_BYTES + 1], 0, true),
        ];
        for (content, length, is_cut) in rows {
            use std::io::{Seek, Write};
            file.set_len(0).and_then(|()| file.rewind()).expect("a file");
            file.write_all(&content).and_then(|()| file.rewind()).expect("written");
            let (text, cut) = start_of(&file).expect("read");
            assert_eq!((text.len(), cut), (length, is_cut));
        }
        assert!(article("README.md", "a", true).contains("<p>There is more in <a href"));
    }

    #[test]
    fn markdown_comes_first_and_case_does_not_matter() {
        let memory = Memory::new(1 << 20);
        let rows: [(&[&str], Option<&str>); 6] = [
            (&["a", "README", "README.txt", "readme.md"], Some("readme.md")),
            (&["readme.txt", "README"], Some("readme.txt")),
            (&["Readme", "readme", "README"], Some("README")),
            (&["README.html", "README.mdx", "READ", "xREADME"], None),
            (&["readme"], Some("readme")),
            (&[], None),
        ];
        for (names, expected) in rows {
            let mut entries = Entries::within(&memory, 0).expect("room");
            entries.push(b"README.md", true, 0, None).expect("room");
            for name in names {
                entries.push(name.as_bytes(), false, 1, None).expect("room");
            }
            entries.finish();
            assert_eq!(name_in(&entries), expected, "{names:?}");
        }
    }
}
