//! The page of a directory: a table for people, JSON for programs.

use super::held::Listing;
use super::{COLUMNS, Key, View};
use crate::config;
use crate::files::entries::Entry;
use crate::html;
use crate::http::target::DecodedPath;
use crate::http::target::SEGMENT;
use bytes::Bytes;
use percent_encoding::percent_encode;
use serde_json::json;
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const STYLE: &str = include_str!("page.css");

/// A page, and how far it was made.
#[derive(Debug)]
pub(super) struct Page {
    listing: Arc<Listing>,
    view: View,
    next: Part,
}

/// What of a page comes next.
#[derive(Debug, Clone, Copy)]
enum Part {
    Start,
    Row(usize),
    Nothing,
}

impl Iterator for Page {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = String::with_capacity(config::LISTING_PIECE + 1024);
        // Writing into a `String` cannot fail.
        while piece.len() < config::LISTING_PIECE && self.put_next(&mut piece) == Ok(true) {}
        (!piece.is_empty()).then(|| piece.into())
    }
}

impl Page {
    /// The page of a listing that was prepared for this view.
    pub(super) fn new(listing: Arc<Listing>, view: View) -> Self {
        Self { listing, view, next: Part::Start }
    }

    /// The bytes of all of it.
    pub(super) fn length(&self) -> u64 {
        self.listing.length(self.view)
    }

    /// Makes the next part; false where there is none.
    fn put_next(&mut self, page: &mut String) -> Result<bool, fmt::Error> {
        let Self { listing, view, next } = self;
        match *next {
            Part::Start => {
                put_start(page, listing.path(), *view)?;
                *next = Part::Row(0);
            }
            Part::Row(place) => match listing.entry(place, *view) {
                Some(entry) => {
                    put_row(page, listing, entry, place, *view)?;
                    *next = Part::Row(place + 1);
                }
                None => {
                    put_end(page, listing, *view)?;
                    *next = Part::Nothing;
                }
            },
            Part::Nothing => return Ok(false),
        }
        Ok(true)
    }
}

/// What comes before the first row.
pub(super) fn put_start(page: &mut impl Write, path: &DecodedPath, view: View) -> fmt::Result {
    if view.json { page.write_str("{\"entries\":[") } else { put_html_start(page, path, view) }
}

/// The row in the given place. All rows together are of one length, whatever their order.
pub(super) fn put_row(
    page: &mut impl Write,
    listing: &Listing,
    entry: &Entry,
    place: usize,
    view: View,
) -> fmt::Result {
    let name = listing.entries().name(entry);
    if view.json {
        page.write_str(if place > 0 { "," } else { "" })?;
        put_json_row(page, entry, name)
    } else {
        put_html_row(page, entry, name)
    }
}

/// What comes behind the last row.
pub(super) fn put_end(page: &mut impl Write, listing: &Listing, view: View) -> fmt::Result {
    let (count, truncated) = (listing.entries().as_slice().len(), listing.entries().truncated);
    if view.json {
        let path = json!(format!("/{}", String::from_utf8_lossy(listing.path().as_bytes())));
        write!(page, "],\"path\":{path},\"truncated\":{truncated}}}")
    } else {
        put_html_end(page, count, truncated)
    }
}

fn put_json_row(page: &mut impl Write, entry: &Entry, name: &[u8]) -> fmt::Result {
    let (slash, kind) = if entry.is_directory { ("/", "directory") } else { ("", "file") };
    let shown = json!(String::from_utf8_lossy(name));
    // Nothing in a reference or in a time needs an escape in JSON.
    write!(page, "{{\"href\":\"./{}{slash}\",\"modified\":", percent_encode(name, SEGMENT))?;
    match entry.modified {
        Some(nanos) => write!(page, "\"{}\"", timestamp(nanos))?,
        None => page.write_str("null")?,
    }
    write!(page, ",\"name\":{shown},\"size\":{},\"type\":\"{kind}\"}}", entry.size)
}

fn put_html_start(page: &mut impl Write, path: &DecodedPath, view: View) -> fmt::Result {
    let shown = html::escape(&format!("/{}", String::from_utf8_lossy(path.as_bytes())));
    page.write_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n")?;
    page.write_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n")?;
    write!(page, "<title>Index of {shown}</title>\n<style>{STYLE}</style></head>\n")?;
    writeln!(page, "<body><h1>Index of {}</h1>", breadcrumb(path))?;
    page.write_str("<table><thead><tr>")?;
    for (key, word, heading) in COLUMNS {
        let (order, aria) = match (key == view.key, view.descending) {
            (true, false) => ("desc", " aria-sort=\"ascending\""),
            (true, true) => ("asc", " aria-sort=\"descending\""),
            (false, _) => ("asc", ""),
        };
        let class = if key == Key::Name { "" } else { " class=\"n\"" };
        write!(
            page,
            "<th scope=\"col\"{class}{aria}>\
             <a href=\"?sort={word}&amp;order={order}\">{heading}</a></th>"
        )?;
    }
    page.write_str("</tr></thead>\n<tbody>\n")?;
    if !path.as_bytes().is_empty() {
        page.write_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n")?;
    }
    Ok(())
}

fn put_html_row(page: &mut impl Write, entry: &Entry, name: &[u8]) -> fmt::Result {
    let slash = if entry.is_directory { "/" } else { "" };
    page.write_str("<tr><td><a href=\"./")?;
    for part in percent_encode(name, SEGMENT) {
        // What is left of markup in a segment.
        page.write_str(&if part.contains('&') {
            html::escape(part).into()
        } else {
            Cow::from(part)
        })?;
    }
    write!(page, "{slash}\"><bdi>{}</bdi>{slash}</a></td><td class=\"n\">", shown(name))?;
    if entry.is_directory {
        page.write_str("&ndash;")?;
    } else {
        put_human_size(page, entry.size)?;
    }
    page.write_str("</td><td class=\"n\">")?;
    if let Some(nanos) = entry.modified {
        page.write_str(&human_time(nanos))?;
    }
    page.write_str("</td></tr>\n")
}

/// A name as text that cannot become markup; most names are.
fn shown(name: &[u8]) -> Cow<'_, str> {
    let is_plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-._ ".contains(&byte);
    match String::from_utf8_lossy(name) {
        text if text.as_bytes().iter().all(is_plain) => text,
        text => html::escape(&text).into(),
    }
}

fn put_html_end(page: &mut impl Write, count: usize, truncated: bool) -> fmt::Result {
    let plural = match count {
        _ if truncated => "entries; there are more, which are not shown",
        1 => "entry",
        _ => "entries",
    };
    write!(page, "</tbody></table>\n<footer>{count} {plural}; times are UTC</footer>")?;
    page.write_str("</body></html>\n")
}

/// Each directory from the root down as a link to itself.
fn breadcrumb(path: &DecodedPath) -> String {
    let segments: Vec<_> = path.segments().collect();
    let mut crumbs = format!("<a href=\"{}\">/</a>", "../".repeat(segments.len()).as_str());
    if segments.is_empty() {
        crumbs = "<a href=\"./\">/</a>".to_owned();
    }
    for (depth, segment) in segments.iter().enumerate() {
        let up = "../".repeat(segments.len() - depth - 1);
        let link = if up.is_empty() { "./" } else { &up };
        let name = html::escape(&String::from_utf8_lossy(segment));
        // Writing into a `String` cannot fail.
        let _ = write!(crumbs, "<a href=\"{link}\">{name}/</a>");
    }
    crumbs
}

/// A size in binary units, with one decimal below ten of them.
fn put_human_size(page: &mut impl Write, bytes: u64) -> fmt::Result {
    if bytes < 1024 {
        return write!(page, "{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter().peekable();
    while let Some(unit) = units.next() {
        if size < 1024.0 || units.peek().is_none() {
            let decimals = usize::from(size < 10.0);
            return write!(page, "{size:.decimals$} {unit}");
        }
        size /= 1024.0;
    }
    Ok(())
}

/// `2026-11-23 06:50`, in UTC.
fn human_time(nanos: i64) -> String {
    let text = timestamp(nanos);
    text.get(..16).unwrap_or_default().replace('T', " ")
}

/// RFC 3339, in UTC, in whole seconds.
fn timestamp(nanos: i64) -> String {
    let since_epoch = Duration::from_nanos(u64::try_from(nanos).unwrap_or_default());
    let seconds = SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs());
    humantime::format_rfc3339_seconds(seconds).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::entries::Entries;
    use crate::memory::Memory;

    type Row<'a> = (&'a [u8], bool, u64);

    fn listing(path: &str, rows: &[Row<'_>]) -> Arc<Listing> {
        let mut entries = Entries::within(&Memory::new(1 << 30), 0).expect("room");
        for (at, &(name, is_directory, size)) in rows.iter().enumerate() {
            let modified = Some(-(at as i64)).filter(|_| size > 0);
            entries.push(name, is_directory, size, modified.map(i64::abs)).expect("room");
        }
        entries.finish();
        let path = DecodedPath::decode(path.as_bytes()).expect("a path");
        Arc::new(Listing::new(&path, entries))
    }

    fn views() -> impl Iterator<Item = View> {
        let keys = COLUMNS.into_iter().map(|(key, ..)| key);
        keys.flat_map(|key| {
            [(false, false), (false, true), (true, false), (true, true)]
                .map(|(descending, json)| View { key, descending, json })
        })
    }

    fn made(listing: &Arc<Listing>, view: View) -> String {
        listing.prepare(view, &Memory::new(1 << 20)).expect("room");
        let page = Page::new(Arc::clone(listing), view);
        let length = page.length();
        let pieces: Vec<Bytes> = page.collect();
        assert!(pieces.iter().all(|piece| piece.len() < config::LISTING_PIECE + 8192));
        let whole = pieces.concat();
        assert_eq!(whole.len() as u64, length, "the length is told before: {view:?}");
        String::from_utf8(whole).expect("UTF-8")
    }

    fn page(path: &str, json: bool, rows: &[Row<'_>]) -> String {
        made(&listing(path, rows), View { key: Key::Name, descending: false, json })
    }

    #[test]
    fn folders_come_first_in_any_order() {
        let rows: [Row<'_>; 5] = [
            (b"b", false, 1),
            (b"a", false, 3),
            (b"c", false, 3),
            (b"z", true, 0),
            (b"y", true, 0),
        ];
        let listing = listing("/", &rows);
        for (key, ascending, descending) in [
            (Key::Name, "yzabc", "zycba"),
            (Key::Size, "yzbac", "zycab"),
            (Key::Time, "yzbac", "zycab"),
        ] {
            for (descending, expected) in [(false, ascending), (true, descending)] {
                let page = made(&listing, View { key, descending, json: false });
                let names = page.split("<bdi>").skip(1).map(|rest| &rest[..1]);
                assert_eq!(names.collect::<String>(), expected, "{key:?}");
            }
        }
    }

    #[test]
    fn no_name_becomes_markup() {
        let rows: &[Row<'_>] = &[(b"<script>\"'&\n\xff", false, 5), (b"javascript:x", false, 5)];
        let html = page("/<b>/%22", false, rows);
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
        assert!(html.contains("href=\"./%3Cscript%3E%22%27&amp;%0A%FF\""), "{html}");
        assert!(html.contains("href=\"./javascript%3Ax\""), "{html}");
        let parsed: serde_json::Value =
            serde_json::from_str(&page("/<b>/%22", true, rows)).expect("JSON");
        assert_eq!(parsed["entries"][0]["href"], "./%3Cscript%3E%22%27&%0A%FF");
        assert_eq!(parsed["entries"][0]["name"], "<script>\"'&\n\u{fffd}");
        assert_eq!((&parsed["path"], &parsed["truncated"]), (&json!("/<b>/\""), &json!(false)));
    }

    #[test]
    fn pages_of_any_number_of_entries_are_whole_in_any_view() {
        for count in [0, 1, 2, 3000] {
            let names: Vec<_> = (0..count).map(|number| format!("<name{number}&>")).collect();
            let size = |at: usize| (at as u64).pow(5) % 1_000_003;
            let rows: Vec<Row<'_>> = (names.iter().enumerate())
                .map(|(at, name)| (name.as_bytes(), at % 7 == 3, size(at)))
                .collect();
            let listing = listing("/a/b", &rows);
            for view in views() {
                let page = made(&listing, view);
                if view.json {
                    let parsed: serde_json::Value = serde_json::from_str(&page).expect("JSON");
                    assert_eq!(parsed["entries"].as_array().map(Vec::len), Some(count));
                } else {
                    assert!(page.ends_with("</html>\n"));
                    assert_eq!(page.matches("<bdi>").count(), count);
                }
            }
        }
    }

    #[test]
    fn the_policy_of_listings_knows_their_style() {
        use base64::Engine;
        use sha2::Digest;
        let hash = base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(STYLE));
        let policy = super::super::GUARDS[0].1;
        assert!(policy.contains(&format!("'sha256-{hash}'")), "it is {hash} now: {policy}");
        assert!(page("/", false, &[]).contains(&format!("<style>{STYLE}</style>")));
    }

    #[test]
    fn sizes_and_times() {
        let human_size = |bytes| {
            let mut text = String::new();
            put_human_size(&mut text, bytes).expect("a string");
            text
        };
        let rows = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (10 << 20, "10 MiB")];
        for (bytes, shown) in rows {
            assert_eq!(human_size(bytes), shown);
        }
        assert!(human_size(u64::MAX).ends_with(" TiB"));
        let time = 784_111_777_900_000_000;
        assert_eq!(human_time(time), "1994-11-06 08:49");
        assert_eq!(timestamp(time), "1994-11-06T08:49:37Z");
        assert_eq!(timestamp(i64::MAX), "2262-04-11T23:47:16Z");
        assert_eq!(timestamp(-1), "1970-01-01T00:00:00Z");
    }
}
