//! The text of a listing, as HTML for people or as JSON for programs.

use super::view::{COLUMNS, SortKey, View};
use crate::files::entries::{DirectoryEntry, Entries};
use crate::html;
use crate::http::target::DecodedPath;
use crate::http::target::SEGMENT;
use percent_encoding::percent_encode;
use serde_json::json;
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

/// What error pages have as well, and what only a listing needs.
const STYLE: &str = concat!(include_str!("../../page.css"), include_str!("page.css"));
const SCRIPT: &str = include_str!("page.js");

/// Header fields of HTML and JSON listings. The page loads nothing and may not be framed, and a
/// link out of it sends no referrer. The hashes are those of the style sheet and of the script.
pub(in crate::static_files) const GUARDS: [(&str, &str); 3] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'sha256-jJ1zQalf12/oNR7jbAuubmSbLwMCZVLRIMdnr91pcEg='; \
         script-src 'sha256-KRC89Mhx59PqerHKFUHPz97o8z8AZJDepGi5Wx5Ux5o='; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
];

/// Writes the text before the first row.
pub(super) fn put_start(page: &mut impl Write, path: &DecodedPath, view: View) -> fmt::Result {
    if view.json { page.write_str("{\"entries\":[") } else { put_html_start(page, path, view) }
}

/// Writes one row. The total length of all rows is the same in any order.
pub(super) fn put_row(
    page: &mut impl Write,
    entries: &Entries,
    entry: &DirectoryEntry,
    place: usize,
    view: View,
) -> fmt::Result {
    let name = entries.name(entry);
    if view.json {
        page.write_str(if place > 0 { "," } else { "" })?;
        put_json_row(page, entry, name)
    } else {
        put_html_row(page, entry, name)
    }
}

/// Writes the text after the last row, up to the README.
pub(super) fn put_end(
    page: &mut impl Write,
    path: &DecodedPath,
    entries: &Entries,
    view: View,
) -> fmt::Result {
    let (count, truncated) = (entries.as_slice().len(), entries.truncated);
    if view.json {
        let path = json!(format!("/{}", String::from_utf8_lossy(path.as_bytes())));
        write!(page, "],\"path\":{path},\"truncated\":{truncated}}}")
    } else {
        put_html_end(page, count, truncated)
    }
}

/// Writes the text after the README.
pub(super) fn put_script(page: &mut impl Write, view: View) -> fmt::Result {
    if view.json { Ok(()) } else { writeln!(page, "<script>{SCRIPT}</script></body></html>") }
}

fn put_json_row(page: &mut impl Write, entry: &DirectoryEntry, name: &[u8]) -> fmt::Result {
    let (slash, kind) = if entry.is_directory { ("/", "directory") } else { ("", "file") };
    let shown = json!(String::from_utf8_lossy(name));
    // A percent-encoded reference and a timestamp need no escape in JSON.
    write!(page, "{{\"href\":\"./{}{slash}\",\"modified\":", percent_encode(name, SEGMENT))?;
    match entry.modified {
        Some(nanos) => write!(page, "\"{}\"", timestamp(nanos))?,
        None => page.write_str("null")?,
    }
    write!(page, ",\"name\":{shown},\"size\":")?;
    // The file system's own figure for a directory says nothing of what is in it.
    if entry.is_directory {
        page.write_str("null")?
    } else {
        write!(page, "{}", entry.size)?
    }
    write!(page, ",\"type\":\"{kind}\"}}")
}

fn put_html_start(page: &mut impl Write, path: &DecodedPath, view: View) -> fmt::Result {
    let shown = html::escape(&format!("/{}", String::from_utf8_lossy(path.as_bytes())));
    page.write_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n")?;
    page.write_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n")?;
    write!(page, "<title>Index of {shown}</title>\n<style>{STYLE}</style></head>\n")?;
    writeln!(page, "<body><h1>Index of {}</h1>", breadcrumb(path))?;
    if view.archives {
        let link = |format| format!("<a href=\"?archive={format}\" download>{format}</a>");
        writeln!(page, "<p class=\"g\">All of it: {} {}</p>", link("tar"), link("zip"))?;
    }
    page.write_str(
        "<input type=\"search\" placeholder=\"Filter\" aria-label=\"Filter\" hidden>\n",
    )?;
    page.write_str("<table><thead><tr>")?;
    for (key, word, heading) in COLUMNS {
        let (order, aria) = match (key == view.key, view.descending) {
            (true, false) => ("desc", " aria-sort=\"ascending\""),
            (true, true) => ("asc", " aria-sort=\"descending\""),
            (false, _) => ("asc", ""),
        };
        let class = if key == SortKey::Name { "" } else { " class=\"n\"" };
        write!(
            page,
            "<th scope=\"col\"{class}{aria}>\
             <a href=\"?sort={word}&amp;order={order}\">{heading}</a></th>"
        )?;
    }
    page.write_str("</tr></thead>\n<tbody>\n")?;
    if !path.as_bytes().is_empty() {
        page.write_str(
            "<tr><td class=\"d\"><a href=\"../\">../</a></td><td></td><td></td></tr>\n",
        )?;
    }
    Ok(())
}

fn put_html_row(page: &mut impl Write, entry: &DirectoryEntry, name: &[u8]) -> fmt::Result {
    let slash = if entry.is_directory { "/" } else { "" };
    write!(page, "<tr data-e><td class=\"{}\"><a href=\"./", kind(entry, name))?;
    for part in percent_encode(name, SEGMENT) {
        // Percent-encoding leaves `&` as it is.
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
        let text = timestamp(nanos);
        write!(page, "<time datetime=\"{text}\">{}</time>", human_time(&text))?;
    }
    page.write_str("</td></tr>\n")
}

/// The class of an entry, which the style sheet marks.
fn kind(entry: &DirectoryEntry, name: &[u8]) -> &'static str {
    const ARCHIVES: [&str; 10] =
        ["7z", "bz2", "deb", "gz", "rar", "rpm", "tar", "xz", "zip", "zst"];
    if entry.is_directory {
        return "d";
    }
    let extension = name.iter().rposition(|&byte| byte == b'.').map(|at| &name[at + 1..]);
    let extension = extension.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    if ARCHIVES.iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        return "z";
    }
    match mime_guess::from_ext(extension).first_raw().and_then(|of| of.split('/').next()) {
        Some("image") => "i",
        Some("video") => "v",
        Some("audio") => "a",
        _ => "f",
    }
}

/// Escapes a name for HTML. Most names need no escape.
fn shown(name: &[u8]) -> Cow<'_, str> {
    let is_plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-._ ".contains(&byte);
    match String::from_utf8_lossy(name) {
        text if text.as_bytes().iter().all(is_plain) => text,
        text => html::escape(&text).into(),
    }
}

fn put_html_end(page: &mut impl Write, count: usize, truncated: bool) -> fmt::Result {
    let plural = match count {
        _ if truncated => "entries; the directory has more, which are not shown",
        1 => "entry",
        _ => "entries",
    };
    page.write_str("</tbody></table>\n")?;
    writeln!(page, "<footer><span>{count} {plural}</span>; <i>times are UTC</i></footer>")
}

/// Links to each directory from the root down to this one.
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

/// Writes a size in binary units, with one decimal below ten units.
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

/// A time like `2026-11-23 06:50`, in UTC, from one in RFC 3339 format.
fn human_time(timestamp: &str) -> String {
    timestamp.get(..16).unwrap_or_default().replace('T', " ")
}

/// A time in RFC 3339 format, in UTC and whole seconds.
fn timestamp(nanos: i64) -> String {
    let since_epoch = Duration::from_nanos(u64::try_from(nanos).unwrap_or_default());
    let seconds = SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs());
    humantime::format_rfc3339_seconds(seconds).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_security_policy_has_the_hashes_of_the_style_sheet_and_the_script() {
        use base64::Engine;
        use sha2::Digest;
        let policy = GUARDS[0].1;
        for (directive, text) in [("style-src", STYLE), ("script-src", SCRIPT)] {
            let hash = base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(text));
            let wanted = format!("{directive} 'sha256-{hash}';");
            assert!(policy.contains(&wanted), "it must have {wanted}: {policy}");
        }
        let path = DecodedPath::decode(b"/").expect("a path");
        let view = View { key: SortKey::Name, descending: false, json: false, archives: false };
        let mut page = String::new();
        put_html_start(&mut page, &path, view).expect("a string");
        assert!(page.contains(&format!("<style>{STYLE}</style>")));
        assert!(STYLE.starts_with(html::STYLE), "it looks like an error page");
        put_script(&mut page, view).expect("a string");
        assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
    }

    #[test]
    fn sizes_and_times_are_shown_for_people() {
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
        assert_eq!(human_time(&timestamp(time)), "1994-11-06 08:49");
        assert_eq!(timestamp(time), "1994-11-06T08:49:37Z");
        assert_eq!(timestamp(i64::MAX), "2262-04-11T23:47:16Z");
        assert_eq!(timestamp(-1), "1970-01-01T00:00:00Z");
    }
}
