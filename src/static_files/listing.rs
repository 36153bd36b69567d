//! The page of a directory: a table for people, JSON for programs.

use super::SEGMENT;
use crate::files::root::{Entries, Entry};
use crate::handler::{Body, Response, escape_html};
use crate::http::coding::elements;
use crate::http::request::Request;
use crate::http::status::Status;
use crate::http::target::DecodedPath;
use percent_encoding::percent_encode;
use serde_json::json;
use std::cmp::Ordering;
use std::fmt::Write;
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
    fn compare(&self, one: &Entry, other: &Entry) -> Ordering {
        let by_key = match self.key {
            Key::Name => Ordering::Equal,
            Key::Size => one.size.cmp(&other.size),
            Key::Time => one.modified.cmp(&other.modified),
        };
        let order = by_key.then_with(|| one.name.cmp(&other.name));
        let order = if self.descending { order.reverse() } else { order };
        other.is_directory.cmp(&one.is_directory).then(order)
    }
}

/// The listing of the directory at `path`, in the form and order that the client asks for.
pub(super) fn response(request: &Request<'_>, path: &DecodedPath, found: &Entries) -> Response {
    let view = View::of(request);
    let mut entries: Vec<&Entry> = found.entries.iter().collect();
    entries.sort_unstable_by(|one, other| view.compare(one, other));
    let (media_type, page) = if view.json {
        ("application/json", json_page(path, &entries, found.truncated))
    } else {
        ("text/html; charset=utf-8", html_page(path, view, &entries, found.truncated))
    };
    Response::new(Status::OK)
        .with_field("Content-Type", media_type)
        .with_field("Vary", "Accept")
        .with_body(Body::Bytes(page.into()))
}

fn json_page(path: &DecodedPath, entries: &[&Entry], truncated: bool) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!({
                "name": String::from_utf8_lossy(&entry.name),
                "href": href(entry),
                "type": if entry.is_directory { "directory" } else { "file" },
                "size": entry.size,
                "modified": entry.modified.map(timestamp),
            })
        })
        .collect();
    let shown = format!("/{}", String::from_utf8_lossy(path.as_bytes()));
    json!({ "path": shown, "entries": entries, "truncated": truncated }).to_string()
}

fn html_page(path: &DecodedPath, view: View, entries: &[&Entry], truncated: bool) -> String {
    let shown = escape_html(&format!("/{}", String::from_utf8_lossy(path.as_bytes())));
    let mut page = String::with_capacity(2048 + entries.len() * 192);
    page.push_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    put(
        &mut page,
        format_args!("<title>Index of {shown}</title>\n<style>\n{STYLE}</style></head>\n"),
    );
    put(&mut page, format_args!("<body><h1>Index of {}</h1>\n", breadcrumb(path)));
    page.push_str("<table><thead><tr>");
    for (key, word, heading) in COLUMNS {
        let (order, aria) = match (key == view.key, view.descending) {
            (true, false) => ("desc", " aria-sort=\"ascending\""),
            (true, true) => ("asc", " aria-sort=\"descending\""),
            (false, _) => ("asc", ""),
        };
        let class = if key == Key::Name { "" } else { " class=\"n\"" };
        let link = format!("<a href=\"?sort={word}&amp;order={order}\">{heading}</a>");
        put(&mut page, format_args!("<th scope=\"col\"{class}{aria}>{link}</th>"));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    if !path.as_bytes().is_empty() {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for entry in entries {
        let slash = if entry.is_directory { "/" } else { "" };
        let name = escape_html(&String::from_utf8_lossy(&entry.name));
        let size = if entry.is_directory { "&ndash;".to_owned() } else { human_size(entry.size) };
        let time = entry.modified.map(human_time).unwrap_or_default();
        put(
            &mut page,
            format_args!(
                "<tr><td><a href=\"{}\"><bdi>{name}</bdi>{slash}</a></td>\
                 <td class=\"n\">{size}</td><td class=\"n\">{time}</td></tr>\n",
                escape_html(&href(entry))
            ),
        );
    }
    let count = entries.len();
    let plural = match count {
        _ if truncated => "entries; there are more, which are not shown",
        1 => "entry",
        _ => "entries",
    };
    put(
        &mut page,
        format_args!("</tbody></table>\n<footer>{count} {plural}; times are UTC</footer>"),
    );
    page.push_str("</body></html>\n");
    page
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
fn href(entry: &Entry) -> String {
    let slash = if entry.is_directory { "/" } else { "" };
    format!("./{}{slash}", percent_encode(&entry.name, SEGMENT))
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
fn human_time(time: SystemTime) -> String {
    let text = timestamp(time);
    text.get(..16).unwrap_or_default().replace('T', " ")
}

/// RFC 3339, in UTC, in whole seconds.
fn timestamp(time: SystemTime) -> String {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // The format ends with the year 9999.
    let seconds = since_epoch.as_secs().min(253_402_300_799);
    let seconds = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(seconds).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], is_directory: bool, size: u64) -> Entry {
        Entry { name: name.to_vec(), is_directory, size, modified: Some(SystemTime::UNIX_EPOCH) }
    }

    #[test]
    fn folders_come_first_in_any_order() {
        let entries = [entry(b"b", false, 1), entry(b"a", false, 2), entry(b"z", true, 0)];
        let order = |key, descending| {
            let view = View { key, descending, json: false };
            let mut sorted = entries.to_vec();
            sorted.sort_by(|one, other| view.compare(one, other));
            sorted.iter().map(|entry| entry.name[0] as char).collect::<String>()
        };
        assert_eq!(order(Key::Name, false), "zab");
        assert_eq!(order(Key::Name, true), "zba");
        assert_eq!(order(Key::Size, false), "zba");
        assert_eq!(order(Key::Size, true), "zab");
    }

    #[test]
    fn no_name_becomes_markup() {
        let path = DecodedPath::decode(b"/<b>/%22").expect("a path");
        let nasty = [entry(b"<script>\"'&\n\xff", false, 5), entry(b"javascript:x", false, 5)];
        let view = View { key: Key::Name, descending: false, json: false };
        let nasty = [&nasty[0], &nasty[1]];
        let page = html_page(&path, view, &nasty, false);
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
        assert!(page.contains("href=\"./%3Cscript%3E%22%27&amp;%0A%FF\""), "{page}");
        assert!(page.contains("href=\"./javascript%3Ax\""), "{page}");
        let parsed: serde_json::Value =
            serde_json::from_str(&json_page(&path, &nasty, false)).expect("JSON");
        assert_eq!(parsed["entries"][0]["href"], "./%3Cscript%3E%22%27&%0A%FF");
    }

    #[test]
    fn sizes_and_times() {
        let rows = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (10 << 20, "10 MiB")];
        for (bytes, shown) in rows {
            assert_eq!(human_size(bytes), shown);
        }
        assert!(human_size(u64::MAX).ends_with(" TiB"));
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        assert_eq!(human_time(time), "1994-11-06 08:49");
        assert_eq!(timestamp(time), "1994-11-06T08:49:37Z");
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(300_000_000_000);
        assert_eq!(timestamp(far), "9999-12-31T23:59:59Z");
    }
}
