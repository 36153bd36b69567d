//! What a client asks to see of a directory: the order of the entries, and the format.

use crate::http::coding::elements;
use crate::http::request::Request;

/// The sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SortKey {
    Name,
    Size,
    Time,
}

/// The columns: key, word in the query, heading.
pub(super) const COLUMNS: [(SortKey, &str, &str); 3] = [
    (SortKey::Name, "name", "Name"),
    (SortKey::Size, "size", "Size"),
    (SortKey::Time, "time", "Modified"),
];

/// The order and format of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) key: SortKey,
    pub(super) descending: bool,
    pub(super) json: bool,
    /// The page has links to archives of the directory.
    pub(super) archives: bool,
}

impl View {
    /// Reads the query and the `Accept` fields, for a site with `archives` or without. The query
    /// may hold `sort=name|size|time`, `order=asc|desc` and `format=html|json`; anything else is
    /// ignored.
    pub(super) fn of(request: &Request<'_>, archives: bool) -> Self {
        let (mut of_json, mut of_html) = (0, 0);
        for (name, quality) in request.fields_named("Accept").flat_map(elements) {
            match &name.to_ascii_lowercase()[..] {
                b"application/json" => of_json = quality,
                b"text/html" | b"text/*" | b"*/*" => of_html = of_html.max(quality),
                _ => {}
            }
        }
        let json = of_json > of_html;
        let mut view = Self { key: SortKey::Name, descending: false, json, archives };
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

    pub(super) fn media_type(self) -> &'static str {
        if self.json { "application/json" } else { "text/html; charset=utf-8" }
    }
}
