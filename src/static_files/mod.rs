//! The handler that serves the files beneath a root.

mod options;
mod representation;
mod listing;

pub use options::{Site, SiteError};

use crate::config;
use crate::files::media_type::extension;
use crate::files::root::{Found, NotServed, Root};
use crate::handler::{Handler, Response};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::{DecodedPath, Target};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use representation::Representation;
use std::io;
use std::path::Path;

/// What need not be escaped in a path segment (RFC 3986, section 3.3), quotes and colons aside.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// A query passes as it is, but for bytes that cannot stand in a field.
const QUERY: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// What files answer to.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Serves the files beneath one directory.
#[derive(Debug)]
pub struct StaticFiles {
    root: Root,
    site: Site,
}

impl StaticFiles {
    /// Serves the files beneath `root` as the default [`Site`] has it.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { root: Root::open(root)?, site: Site::default() })
    }

    /// Serves them in another manner.
    pub fn with_site(mut self, site: Site) -> Self {
        self.site = site;
        self
    }

    /// Follows links that lead out of the root: whoever can make a link decides what is served.
    pub fn following_links(mut self) -> Self {
        self.root = self.root.following_links();
        self
    }

    /// Serves, or does not, names that begin with a dot.
    pub fn with_hidden(mut self, hidden: bool) -> Self {
        self.site.hidden = hidden;
        self
    }

    /// Names an error page of the site that is not there, if one is not.
    pub fn missing_error_page(&self) -> Option<&str> {
        let is_there = |page: &&String| {
            let path = DecodedPath::decode(page.as_bytes()).ok();
            path.is_some_and(|path| matches!(self.root.find(&path), Ok(Found::File(..))))
        };
        self.site.error_pages.values().find(|page| !is_there(page)).map(String::as_str)
    }

    fn answer(&self, request: &Request<'_>) -> Response {
        match request.method {
            Method::Get | Method::Head => self
                .find(request)
                .or_else(|reason| self.fall_back(request, reason))
                .unwrap_or_else(|reason| self.refusal(&request.target, &reason)),
            Method::Options => self.site.options_response(ALLOW),
            _ => {
                let explanation = "Files answer to GET, HEAD and OPTIONS alone.";
                self.error(Status::METHOD_NOT_ALLOWED, explanation).with_field("Allow", ALLOW)
            }
        }
    }

    fn find(&self, request: &Request<'_>) -> Result<Response, NotServed> {
        let path = &request.target.path;
        if !self.site.hidden && path.segments().any(|segment| segment.starts_with(b".")) {
            return Err(NotServed::NotFound);
        }
        match (self.root.find(path)?, path.is_directory()) {
            (Found::File(file, metadata), false) => {
                let plain = Representation::new(file, &metadata);
                self.negotiated(request, path, plain)
            }
            (Found::File(..), true) => Err(NotServed::NotFound),
            (Found::Directory, false) => Ok(redirect_to_slash(&request.target)),
            (Found::Directory, true) => self.directory(request, path),
        }
    }

    /// The index of a directory, or its listing.
    fn directory(&self, request: &Request<'_>, path: &DecodedPath) -> Result<Response, NotServed> {
        if let Some(index) = self.index(request, path)? {
            return Ok(index);
        }
        if !self.site.listing {
            return Err(NotServed::Forbidden);
        }
        let wanted = |name: &[u8]| self.site.hidden || !name.starts_with(b".");
        let entries = self.root.list(path, config::LISTING_ENTRIES, wanted)?;
        Ok(listing::response(request, path, &entries))
    }

    /// The first index that a directory has.
    fn index(
        &self,
        request: &Request<'_>,
        path: &DecodedPath,
    ) -> Result<Option<Response>, NotServed> {
        for name in &self.site.index {
            match self.root.find_in(path, name) {
                Ok(Found::File(file, metadata)) => {
                    let plain = Representation::new(file, &metadata);
                    return self.negotiated(request, &path.child(name), plain).map(Some);
                }
                Ok(Found::Directory) | Err(NotServed::NotFound) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }

    /// In a single-page application every unknown page is the one page.
    fn fall_back(&self, request: &Request<'_>, reason: NotServed) -> Result<Response, NotServed> {
        let path = &request.target.path;
        let name = path.segments().last().unwrap_or_default();
        let is_hidden = path.segments().any(|segment| segment.starts_with(b"."));
        let is_page = matches!(reason, NotServed::NotFound) && extension(name).is_none();
        if !self.site.spa || !is_page || is_hidden {
            return Err(reason);
        }
        let top = DecodedPath::decode(b"/").map_err(|_| NotServed::NotFound)?;
        self.index(request, &top)?.ok_or(reason)
    }

    fn refusal(&self, target: &Target<'_>, reason: &NotServed) -> Response {
        let shown = target.raw.escape_ascii();
        match reason {
            NotServed::NotFound => {
                self.error(Status::NOT_FOUND, "There is no such file on this server.")
            }
            NotServed::Forbidden => {
                self.error(Status::FORBIDDEN, "This server may not serve what you asked for.")
            }
            NotServed::Exhausted(error) => {
                log::warn!("cannot open {shown}: {error}");
                let explanation = "The server is out of resources. Try again shortly.";
                self.error(Status::SERVICE_UNAVAILABLE, explanation).with_field("Retry-After", "1")
            }
            NotServed::Failed(error) => {
                log::error!("cannot read {shown}: {error}");
                self.error(Status::INTERNAL_SERVER_ERROR, "The file could not be read.")
            }
        }
    }

    /// The site's own page for a status, or the one that explains it.
    fn error(&self, status: Status, explanation: &str) -> Response {
        let own = self.site.error_pages.get(&status.code()).and_then(|page| {
            let path = DecodedPath::decode(page.as_bytes()).ok()?;
            match self.root.find(&path) {
                Ok(Found::File(file, metadata)) => {
                    let name = path.segments().last().unwrap_or_default().to_vec();
                    let chosen = Representation::new(file, &metadata);
                    let media_type = self.site.media_types.of(&name, || chosen.start());
                    let body = chosen.into_content().ok()?.whole();
                    let page = Response::new(status).with_field("Content-Type", &media_type);
                    Some(page.with_body(body))
                }
                _ => {
                    log::debug!("the error page {page} is missing");
                    None
                }
            }
        });
        own.unwrap_or_else(|| Response::error(status, explanation))
    }
}

impl Handler for StaticFiles {
    fn handle(&self, request: &Request<'_>) -> Response {
        let response = self.answer(request);
        self.site.add_fields(response)
    }
}

/// A directory is named with a slash, so that relative links in it lead to the right place.
fn redirect_to_slash(target: &Target<'_>) -> Response {
    // Relative, so that it holds behind a proxy that serves this under another path; made from the
    // decoded name, so that it cannot lead to another host.
    let mut location = String::from("./");
    if let Some(name) = target.path.segments().last() {
        location.extend(percent_encode(name, SEGMENT));
        location.push('/');
    }
    if let Some(query) = target.query {
        location.push('?');
        location.extend(percent_encode(query, QUERY));
    }
    Response::error(Status::MOVED_PERMANENTLY, "This is a directory; its name ends in a slash.")
        .with_field("Location", &location)
}
