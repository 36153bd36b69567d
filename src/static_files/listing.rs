//! The page of a directory: a table for people, JSON for programs.

use super::SEGMENT;
use crate::config;
use crate::files::root::{Entries, Entry};
use crate::handler::{Body, Response, Stream, escape_html};
use crate::http::coding::elements;
use crate::http::request::Request;
use crate::http::status::Status;
use crate::http::target::DecodedPath;
use bytes::Bytes;
use percent_encoding::percent_encode;
use serde_json::json;
use std::cmp::Ordering;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const STYLE: &str = include_str!("listing.css");

/// What the entries are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Name,
    Size,
    Time,
}

/// The columns: key, word in the query, heading.
const COLUMNS: [(Key, &str, &str); 3] =
    [(Key::Name, "name", "Name"), (Key::Size, "size", "Size"), (Key::Time, "time", "Modified")];

/// What the query of a listing asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct View {
    key: Key,
    descending: bool,
    json: bool,
}

impl View {
    /// `sort=name|size|time`, `order=asc|desc`, `format=json`; anything else is ignored.
    fn of(request: &Request<'_>) -> Self {
        let (mut of_json, mut of_html) = (0, 0);
        for (name, quality) in request.fields_named("Accept").flat_map(elements) {
            match &name[..] {
                b"application/json" => of_json = quality,
                b"text/html" | b"text/*" | b"*/*" => of_html = of_html.max(quality),
                _ => {}
            }
        }
        let json = of_json > of_html;
        let mut view = Self { key: Key::Name, descending: false, json };
        for pair in request.target.query.unwrap_or_default().split(|&byte| byte == b'&') {
            match pair {
                b"order=asc" => view.descending = false,
                b"order=desc" => view.descending = true,
                b"format=json" => view.json = true,
                b"format=html" => view.json = false,
                pair => {
                    let word = pair.strip_prefix(b"sort=");
                    let column = COLUMNS.iter().find(|(_, name, _)| word == Some(name.as_bytes()));
                    view.key = column.map_or(view.key, |&(key, ..)| key);
                }
            }
        }
        view
    }

    /// Folders first, then by the key, then by name.
    fn compare(
        self,
        (name, one): (&[u8], &Entry),
        (other_name, other): (&[u8], &Entry),
    ) -> Ordering {
        let by_key = match self.key {
            Key::Name => Ordering::Equal,
            Key::Size => one.size.cmp(&other.size),
            Key::Time => one.modified.cmp(&other.modified),
        };
        let order = by_key.then_with(|| name.cmp(other_name));
        let order = if self.descending { order.reverse() } else { order };
        other.is_directory.cmp(&one.is_directory).then(order)
    }
}

/// The listing of the directory at `path`, in the form and order that the client asks for.
///
/// The page is made in pieces while it is sent, so that what waits for a slow reader is the
/// entries, and not the several times longer page. It is made once before, to tell its length: so
/// it is framed as any other content is, for HEAD and for HTTP/1.0 too, and its connection lives.
pub(super) fn response(request: &Request<'_>, path: &DecodedPath, mut found: Entries) -> Response {
    let view = View::of(request);
    found.sort_by(|one, other| view.compare(one, other));
    let media_type = if view.json { "application/json" } else { "text/html; charset=utf-8" };
    let page = Page { path: path.clone(), view, found: Arc::new(found), next: Part::Start };
    Response::new(Status::OK)
        .with_field("Content-Type", media_type)
        .with_field("Vary", "Accept")
        .with_body(Body::Stream(Stream::new(page.length(), page)))
}

/// A page, and how far it was made.
#[derive(Debug, Clone)]
struct Page {
    path: DecodedPath,
    view: View,
    found: Arc<Entries>,
    next: Part,
}

/// What of a page comes next.
#[derive(Debug, Clone, Copy)]
enum Part {
    Start,
    Row(usize),
    End,
    Nothing,
}

impl Iterator for Page {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = String::with_capacity(config::LISTING_PIECE + 1024);
        while piece.len() < config::LISTING_PIECE && self.put_next(&mut piece) {}
        (!piece.is_empty()).then(|| piece.into())
    }
}

impl Page {
    /// The bytes of all of it.
    fn length(&self) -> u64 {
        let mut page = self.clone();
        let mut part = String::new();
        let mut length = 0;
        while page.put_next(&mut part) {
            length += part.len() as u64;
            part.clear();
        }
        length
    }

    /// Makes the next part; false where there is none.
    fn put_next(&mut self, page: &mut String) -> bool {
        let entries = self.found.as_slice();
        let row_or_end = |at| if at < entries.len() { Part::Row(at) } else { Part::End };
        match self.next {
            Part::Start => {
                if self.view.json {
                    page.push_str("{\"entries\":[");
                } else {
                    put_html_start(page, &self.path, self.view);
                }
                self.next = row_or_end(0);
            }
            Part::Row(at) => {
                let (entry, name) = (&entries[at], self.found.name(&entries[at]));
                if self.view.json {
                    page.push_str(if at > 0 { "," } else { "" });
                    put_json_row(page, entry, name);
                } else {
                    put_html_row(page, entry, name);
                }
                self.next = row_or_end(at + 1);
            }
            Part::End => {
                let (count, truncated) = (entries.len(), self.found.truncated);
                if self.view.json {
                    let path = json!(format!("/{}", String::from_utf8_lossy(self.path.as_bytes())));
                    put(page, format_args!("],\"path\":{path},\"truncated\":{truncated}}}"));
                } else {
                    put_html_end(page, count, truncated);
                }
                self.next = Part::Nothing;
            }
            Part::Nothing => return false,
        }
        true
    }
}

fn put_json_row(page: &mut String, entry: &Entry, name: &[u8]) {
    let row = json!({
        "name": String::from_utf8_lossy(name),
        "href": href(entry, name),
        "type": if entry.is_directory { "directory" } else { "file" },
        "size": entry.size,
        "modified": entry.modified.map(timestamp),
    });
    put(page, format_args!("{row}"));
}

fn put_html_start(page: &mut String, path: &DecodedPath, view: View) {
    let shown = escape_html(&format!("/{}", String::from_utf8_lossy(path.as_bytes())));
    page.push_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    put(page, format_args!("<title>Index of {shown}</title>\n<style>\n{STYLE}</style></head>\n"));
    put(page, format_args!("<body><h1>Index of {}</h1>\n", breadcrumb(path)));
    page.push_str("<table><thead><tr>");
    for (key, word, heading) in COLUMNS {
        let (order, aria) = match (key == view.key, view.descending) {
            (true, false) => ("desc", " aria-sort=\"ascending\""),
            (true, true) => ("asc", " aria-sort=\"descending\""),
            (false, _) => ("asc", ""),
        };
        let class = if key == Key::Name { "" } else { " class=\"n\"" };
        let link = format!("<a href=\"?sort={word}&amp;order={order}\">{heading}</a>");
        put(page, format_args!("<th scope=\"col\"{class}{aria}>{link}</th>"));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    if !path.as_bytes().is_empty() {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
}

fn put_html_row(page: &mut String, entry: &Entry, name: &[u8]) {
    let slash = if entry.is_directory { "/" } else { "" };
    let shown = escape_html(&String::from_utf8_lossy(name));
    let size = if entry.is_directory { "&ndash;".to_owned() } else { human_size(entry.size) };
    let time = entry.modified.map(human_time).unwrap_or_default();
    put(
        page,
        format_args!(
            "<tr><td><a href=\"{}\"><bdi>{shown}</bdi>{slash}</a></td>\
             <td class=\"n\">{size}</td><td class=\"n\">{time}</td></tr>\n",
            escape_html(&href(entry, name))
        ),
    );
}

fn put_html_end(page: &mut String, count: usize, truncated: bool) {
    let plural = match count {
        _ if truncated => "entries; there are more, which are not shown",
        1 => "entry",
        _ => "entries",
    };
    put(page, format_args!("</tbody></table>\n<footer>{count} {plural}; times are UTC</footer>"));
    page.push_str("</body></html>\n");
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a `String` cannot fail.
    let _ = page.write_fmt(text);
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
        let name = escape_html(&String::from_utf8_lossy(segment));
        put(&mut crumbs, format_args!("<a href=\"{link}\">{name}/</a>"));
    }
    crumbs
}

/// A reference to an entry from its directory; `./` keeps a colon from looking like a scheme.
fn href(entry: &Entry, name: &[u8]) -> String {
    let slash = if entry.is_directory { "/" } else { "" };
    format!("./{}{slash}", percent_encode(name, SEGMENT))
}

/// A size in binary units, with one decimal below ten of them.
fn human_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 || unit == "TiB" {
            let whole = unit == "B" || size >= 10.0;
            return if whole { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    String::new()
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

    fn entries(rows: &[(&[u8], bool, u64)]) -> Entries {
        let mut found = Entries::default();
        for &(name, is_directory, size) in rows {
            found.push(name, is_directory, size, Some(0));
        }
        found
    }

    #[test]
    fn folders_come_first_in_any_order() {
        let order = |key, descending| {
            let view = View { key, descending, json: false };
            let mut found = entries(&[(b"b", false, 1), (b"a", false, 2), (b"z", true, 0)]);
            found.sort_by(|one, other| view.compare(one, other));
            let names = found.as_slice().iter().map(|entry| found.name(entry)[0] as char);
            names.collect::<String>()
        };
        assert_eq!(order(Key::Name, false), "zab");
        assert_eq!(order(Key::Name, true), "zba");
        assert_eq!(order(Key::Size, false), "zba");
        assert_eq!(order(Key::Size, true), "zab");
    }

    fn page(path: &str, json: bool, found: Entries) -> String {
        let path = DecodedPath::decode(path.as_bytes()).expect("a path");
        let view = View { key: Key::Name, descending: false, json };
        let page = Page { path, view, found: Arc::new(found), next: Part::Start };
        let length = page.length();
        let pieces: Vec<Bytes> = page.collect();
        assert!(pieces.iter().all(|piece| piece.len() < config::LISTING_PIECE + 8192));
        let whole = pieces.concat();
        assert_eq!(whole.len() as u64, length, "the length is told before");
        String::from_utf8(whole).expect("UTF-8")
    }

    #[test]
    fn no_name_becomes_markup() {
        let rows: &[(&[u8], bool, u64)] =
            &[(b"<script>\"'&\n\xff", false, 5), (b"javascript:x", false, 5)];
        let html = page("/<b>/%22", false, entries(rows));
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
        assert!(html.contains("href=\"./%3Cscript%3E%22%27&amp;%0A%FF\""), "{html}");
        assert!(html.contains("href=\"./javascript%3Ax\""), "{html}");
        let parsed: serde_json::Value =
            serde_json::from_str(&page("/<b>/%22", true, entries(rows))).expect("JSON");
        assert_eq!(parsed["entries"][0]["href"], "./%3Cscript%3E%22%27&%0A%FF");
        assert_eq!((&parsed["path"], &parsed["truncated"]), (&json!("/<b>/\""), &json!(false)));
    }

    #[test]
    fn pages_of_any_number_of_entries_are_whole() {
        for count in [0, 1, 2, 5000] {
            let mut found = Entries::default();
            for number in 0..count {
                found.push(format!("name{number:05}").as_bytes(), false, 1, None);
            }
            let html = page("/", false, found.clone());
            assert!(html.ends_with("</html>\n"));
            assert_eq!(html.matches("<bdi>").count(), count);
            let parsed: serde_json::Value =
                serde_json::from_str(&page("/", true, found)).expect("JSON");
            assert_eq!(parsed["entries"].as_array().map(Vec::len), Some(count));
        }
    }

    #[test]
    fn sizes_and_times() {
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
