//! The content of a listing, made in pieces while it is sent.

use super::cache::Listing;
use super::markup::{put_end, put_row, put_script, put_start};
use super::view::View;
use crate::config;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// A page of a listing that is being made.
#[derive(Debug)]
pub(super) struct Page {
    listing: Arc<Listing>,
    view: View,
    next: PageSection,
}

/// The section of a page that is made next.
#[derive(Debug, Clone, Copy)]
enum PageSection {
    Start,
    Row(usize),
    /// From this byte on.
    Readme(usize),
    Nothing,
}

/// Bytes of a page: a README can be cut within a character.
struct Piece(Vec<u8>);

impl fmt::Write for Piece {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl Iterator for Page {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Piece(Vec::with_capacity(config::LISTING_PIECE + 1024));
        // Writing into memory cannot fail.
        while piece.0.len() < config::LISTING_PIECE && self.put_next(&mut piece) == Ok(true) {}
        (!piece.0.is_empty()).then(|| piece.0.into())
    }
}

impl Page {
    /// A page of a listing that was prepared for this view.
    pub(super) fn new(listing: Arc<Listing>, view: View) -> Self {
        Self { listing, view, next: PageSection::Start }
    }

    /// The length of the whole page in bytes.
    pub(super) fn length(&self) -> u64 {
        self.listing.length(self.view)
    }

    /// Appends the next section. Returns false if there is none.
    fn put_next(&mut self, page: &mut Piece) -> Result<bool, fmt::Error> {
        let Self { listing, view, next } = self;
        match *next {
            PageSection::Start => {
                put_start(page, listing.path(), *view)?;
                *next = PageSection::Row(0);
            }
            PageSection::Row(place) => match listing.entry(place, *view) {
                Some(entry) => {
                    put_row(page, listing.entries(), entry, place, *view)?;
                    *next = PageSection::Row(place + 1);
                }
                None => {
                    put_end(page, listing.path(), listing.entries(), *view)?;
                    *next = PageSection::Readme(0);
                }
            },
            PageSection::Readme(at) => match listing.readme(*view).get(at..) {
                Some(rest) if !rest.is_empty() => {
                    let length = rest.len().min(config::LISTING_PIECE);
                    page.0.extend_from_slice(&rest[..length]);
                    *next = PageSection::Readme(at + length);
                }
                _ => {
                    put_script(page, *view)?;
                    *next = PageSection::Nothing;
                }
            },
            PageSection::Nothing => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::entries::Entries;
    use crate::http::target::DecodedPath;
    use crate::memory::Memory;
    use crate::static_files::listing::view::{COLUMNS, SortKey};
    use serde_json::json;

    type Row<'a> = (&'a [u8], bool, u64);

    fn listing(path: &str, rows: &[Row<'_>]) -> Arc<Listing> {
        let mut entries = Entries::within(&Memory::new(1 << 30), 0).expect("room");
        for (at, &(name, is_directory, size)) in rows.iter().enumerate() {
            let modified = Some(-(at as i64)).filter(|_| size > 0);
            entries.push(name, is_directory, size, modified.map(i64::abs)).expect("room");
        }
        entries.finish();
        let path = DecodedPath::decode(path.as_bytes()).expect("a path");
        Arc::new(Listing::new(&path, entries, None))
    }

    fn views() -> impl Iterator<Item = View> {
        let keys = COLUMNS.into_iter().map(|(key, ..)| key);
        keys.flat_map(|key| {
            [(false, false), (false, true), (true, false), (true, true)]
                .map(|(descending, json)| View { key, descending, json, archives: descending })
        })
    }

    fn made(listing: &Arc<Listing>, view: View) -> String {
        listing.prepare(view, &Memory::new(1 << 20)).expect("room");
        let page = Page::new(Arc::clone(listing), view);
        let length = page.length();
        let pieces: Vec<Bytes> = page.collect();
        assert!(pieces.iter().all(|piece| piece.len() < config::LISTING_PIECE + 8192));
        let whole = pieces.concat();
        assert_eq!(whole.len() as u64, length, "the length in advance is right: {view:?}");
        String::from_utf8(whole).expect("UTF-8")
    }

    fn page(path: &str, json: bool, rows: &[Row<'_>]) -> String {
        made(
            &listing(path, rows),
            View { key: SortKey::Name, descending: false, json, archives: true },
        )
    }

    #[test]
    fn directories_come_first_in_any_order() {
        let rows: [Row<'_>; 5] = [
            (b"b", false, 1),
            (b"a", false, 3),
            (b"c", false, 3),
            (b"z", true, 0),
            (b"y", true, 0),
        ];
        let listing = listing("/", &rows);
        for (key, ascending, descending) in [
            (SortKey::Name, "yzabc", "zycba"),
            (SortKey::Size, "yzbac", "zycab"),
            (SortKey::Time, "yzbac", "zycab"),
        ] {
            for (descending, expected) in [(false, ascending), (true, descending)] {
                let page = made(&listing, View { key, descending, json: false, archives: false });
                let names = page.split("<bdi>").skip(1).map(|rest| &rest[..1]);
                assert_eq!(names.collect::<String>(), expected, "{key:?}");
            }
        }
    }

    #[test]
    fn names_are_escaped() {
        let rows: &[Row<'_>] = &[(b"<script>\"'&\n\xff", false, 5), (b"javascript:x", false, 5)];
        let html = page("/<b>/%22", false, rows);
        assert_eq!(html.matches("<script>").count(), 1, "the page's own: {html}");
        assert!(!html.contains("<b>"), "{html}");
        assert!(html.contains("href=\"./%3Cscript%3E%22%27&amp;%0A%FF\""), "{html}");
        assert!(html.contains("href=\"./javascript%3Ax\""), "{html}");
        let parsed: serde_json::Value =
            serde_json::from_str(&page("/<b>/%22", true, rows)).expect("JSON");
        assert_eq!(parsed["entries"][0]["href"], "./%3Cscript%3E%22%27&%0A%FF");
        assert_eq!(parsed["entries"][0]["name"], "<script>\"'&\n\u{fffd}");
        assert_eq!((&parsed["path"], &parsed["truncated"]), (&json!("/<b>/\""), &json!(false)));
    }

    #[test]
    fn pages_are_complete_for_any_number_of_entries_and_any_view() {
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
}
