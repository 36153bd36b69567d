//! Directories as responses: what a client wants to see, and who reads the directory for it.

mod held;
mod page;

pub(super) use held::Listings;

use super::StaticFiles;
use crate::files::root::NotServed;
use crate::handler::{Body, Response, Stream};
use crate::http::coding::elements;
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::DecodedPath;
use page::Page;

/// Fields of listings alone: the page asks nobody for anything and is nobody's frame, and a name
/// that leads elsewhere tells nobody where it stood. The hash is that of the style.
pub(super) const GUARDS: [(&str, &str); 3] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'sha256-ErL/eOBhoRVAdoW+Pe9Uqt98idE6uetZh7kZXv15Gms='; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
];

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

    fn media_type(self) -> &'static str {
        if self.json { "application/json" } else { "text/html; charset=utf-8" }
    }
}

impl StaticFiles {
    /// The listing of the directory at `path`, in the form and order that the client asks for.
    ///
    /// The page is made in pieces while it is sent, so that what waits for a slow reader is the
    /// entries, which all readers share. Its length is known before: so it is framed as any other
    /// content is, for HTTP/1.0 too, and its connection lives. HEAD gets the length if somebody has
    /// asked already, and makes nobody read a directory (RFC 9110, section 8.6).
    pub(super) fn listing(
        &self,
        request: &Request<'_>,
        path: &DecodedPath,
    ) -> Result<Response, NotServed> {
        let view = View::of(request);
        let root = self.files.root();
        let directory = root.open_directory(path)?;
        let response = Response::prepared(Status::OK, &self.of_listings)
            .with_known_field("Content-Type", view.media_type())
            .with_known_field("Vary", "Accept");
        let ready = self.listings.ready(path, directory.stamp(), view);
        let listing = match ready {
            Some(listing) => listing,
            None if request.method == Method::Head => return Ok(response.without_length()),
            None => {
                let wanted = |name: &[u8]| self.site.hidden || !name.starts_with(b".");
                self.listings.make_ready(root, path, directory, view, wanted)?
            }
        };
        let page = Page::new(listing, view);
        Ok(response.with_body(Body::Stream(Stream::new(page.length(), page))))
    }
}
