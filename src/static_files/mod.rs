//! The handler that serves the files beneath a root.

mod options;
mod representation;
mod listing;

pub use options::{Site, SiteError};

use crate::config;
use crate::files::cache::{CacheLimits, Entry, Files, Lookup};
use crate::files::media_type::extension;
use crate::files::root::{Found, NotServed, Root};
use crate::handler::{Body, Error, Handler, Response};
use crate::http::coding::Coding;
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::{DecodedPath, Target};
use crate::memory::Memory;
use crate::routes::redirect_to_slash;
use bytes::Bytes;
use listing::Listings;
use representation::whole_body;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What files answer to.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Serves the files beneath one directory.
#[derive(Debug)]
pub struct StaticFiles {
    files: Files,
    site: Site,
    listings: Listings,
    /// The fields that every response of the site gets.
    common: Bytes,
    /// The fields that every listing gets, the common ones among them.
    of_listings: Bytes,
    not_found: Prepared,
}

/// A response that is the same each time, its fields and its content.
#[derive(Debug)]
struct Prepared {
    fields: Bytes,
    content: Bytes,
}

impl Prepared {
    /// The page for what is not there, which is what clients that guess names get again and again.
    fn not_found(common: &[u8]) -> Self {
        let page = Response::error(Status::NOT_FOUND, "There is no such file on this server.");
        let (mut fields, _, body) = page.into_parts();
        fields.extend_from_slice(common);
        let content = if let Body::Bytes(content) = body { content } else { Bytes::new() };
        Self { fields: fields.into(), content }
    }
}

impl StaticFiles {
    /// Serves the files beneath `root` as the default [`Site`] has it, and holds some of them
    /// within the default [`CacheLimits`].
    pub fn new(root: &Path) -> io::Result<Self> {
        let files = Files::new(Root::open(root)?, Some(CacheLimits::default()));
        let listings = Listings::new(Memory::new(config::LISTING_BYTES), config::processors());
        let site = Site::default();
        let (common, of_listings) = (site.common_fields(), site.listing_fields(&listing::GUARDS));
        let not_found = Prepared::not_found(&common);
        Ok(Self { files, site, listings, common, of_listings, not_found })
    }

    /// Serves them in another manner.
    pub fn with_site(mut self, site: Site) -> Self {
        self.common = site.common_fields();
        self.of_listings = site.listing_fields(&listing::GUARDS);
        self.not_found = Prepared::not_found(&self.common);
        self.site = site;
        self
    }

    /// Holds files within other limits, or none at all.
    pub fn with_cache(mut self, limits: Option<CacheLimits>) -> Self {
        self.files = self.files.with_cache(limits);
        self
    }

    /// Holds the entries of directories within this budget, instead of one of
    /// [`config::LISTING_BYTES`] of their own.
    pub fn with_memory(mut self, memory: Memory) -> Self {
        self.listings = self.listings.with_memory(memory);
        self
    }

    /// Has at most half of so many workers read directories, or wait for a disk, instead of half as
    /// many as there are processors; one may in any case.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.listings = self.listings.with_workers(workers);
        self.files = self.files.with_workers(workers);
        self
    }

    /// Follows links that lead out of the root: whoever can make a link decides what is served.
    pub fn following_links(mut self) -> Self {
        self.files = self.files.map_root(Root::following_links);
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
            path.is_some_and(|path| matches!(self.files.root().find(&path), Ok(Found::File(..))))
        };
        self.site.error_pages.values().find(|page| !is_there(page)).map(String::as_str)
    }

    fn answer(&self, request: &Request<'_>) -> Response {
        match request.method {
            Method::Get | Method::Head => self
                .find(request)
                .or_else(|reason| self.fall_back(request, reason))
                .unwrap_or_else(|reason| self.refusal(&request.target, reason)),
            Method::Options => self.complete(self.site.options_response(ALLOW)),
            _ => {
                let explanation = "Files answer to GET, HEAD and OPTIONS alone.";
                self.error(Status::METHOD_NOT_ALLOWED, explanation).with_known_field("Allow", ALLOW)
            }
        }
    }

    fn find(&self, request: &Request<'_>) -> Result<Response, NotServed> {
        let path = &request.target.path;
        if !self.site.hidden && path.segments().any(|segment| segment.starts_with(b".")) {
            return Err(NotServed::NotFound);
        }
        if path.is_directory() {
            return self.directory(request, path);
        }
        match self.files.find(path)? {
            Lookup::File(entry) => Ok(self.negotiated(request, &entry)),
            Lookup::Directory => Ok(self.complete(redirect_to_slash(&request.target))),
        }
    }

    /// The index of a directory, or its listing.
    fn directory(&self, request: &Request<'_>, path: &DecodedPath) -> Result<Response, NotServed> {
        if let Some(index) = self.index(path)? {
            return Ok(self.negotiated(request, &index));
        }
        if let Found::File(..) = self.files.root().find(path)? {
            return Err(NotServed::NotFound);
        }
        if !self.site.listing {
            return Err(NotServed::Forbidden);
        }
        self.listing(request, path)
    }

    /// The first index that a directory has.
    fn index(&self, path: &DecodedPath) -> Result<Option<Arc<Entry>>, NotServed> {
        self.files.find_index(path, &self.site.index)
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
        let index = self.index(&top)?.ok_or(reason)?;
        Ok(self.negotiated(request, &index))
    }

    fn refusal(&self, target: &Target<'_>, reason: NotServed) -> Response {
        let shown = target.raw.escape_ascii();
        match reason {
            NotServed::NotFound => self.own_page(Status::NOT_FOUND).unwrap_or_else(|| {
                let Prepared { fields, content } = &self.not_found;
                Response::prepared(Status::NOT_FOUND, fields)
                    .with_body(Body::Bytes(content.clone()))
            }),
            NotServed::Forbidden => {
                self.error(Status::FORBIDDEN, "This server may not serve what you asked for.")
            }
            NotServed::Unsized => {
                let explanation = "The size of this file is not known before it is read, and it \
                                   is too long to be read first.";
                self.error(Status::FORBIDDEN, explanation)
            }
            NotServed::Pending(wait) => Response::deferred(wait),
            NotServed::Busy => {
                log::debug!("cannot serve {shown} now: no room for more");
                self.busy("The server is busy with other files. Try again shortly.")
            }
            NotServed::Exhausted(error) => {
                log::warn!("cannot open {shown}: {error}");
                self.busy("The server is out of resources. Try again shortly.")
            }
            NotServed::Failed(error) => {
                log::error!("cannot read {shown}: {error}");
                self.error(Status::INTERNAL_SERVER_ERROR, "The file could not be read.")
            }
        }
    }

    fn busy(&self, explanation: &str) -> Response {
        self.error(Status::SERVICE_UNAVAILABLE, explanation).with_known_field("Retry-After", "1")
    }

    /// The site's own page for a status, or the one that explains it.
    fn error(&self, status: Status, explanation: &str) -> Response {
        let explained = || self.complete(Response::error(status, explanation));
        self.own_page(status).unwrap_or_else(explained)
    }

    /// The site's own page for a status, if it has one.
    fn own_page(&self, status: Status) -> Option<Response> {
        let page = self.site.error_pages.get(&status.code())?;
        let path = DecodedPath::decode(page.as_bytes()).ok()?;
        let Ok(Lookup::File(entry)) = self.files.find(&path) else {
            log::debug!("the error page {page} is missing");
            return None;
        };
        let media_type = &self.describe(&entry, entry.held(), Coding::Identity).media_type;
        let page = self.response(status).with_known_field("Content-Type", media_type);
        Some(page.with_body(whole_body(entry.held().content())))
    }

    /// A response to which only its own fields have to be added.
    fn response(&self, status: Status) -> Response {
        Response::prepared(status, &self.common)
    }

    /// Adds what every response of the site gets.
    fn complete(&self, response: Response) -> Response {
        response.with_prepared(&self.common)
    }
}

impl Handler for StaticFiles {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        Ok(self.answer(request))
    }

    fn give_way(&self) {
        self.files.give_way();
    }

    fn tend(&self) {
        self.files.tend();
        self.listings.tend();
    }

    fn common_fields(&self) -> Bytes {
        self.common.clone()
    }
}
