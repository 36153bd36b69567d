//! The handler that serves the files beneath a root directory.

mod options;
mod representation;
mod archive;
mod immediate;
mod listing;

pub use archive::ArchiveLimits;
pub use options::{SiteError, SiteOptions};

use crate::config;
use crate::files::cache::{CacheLimits, CachedFile, Files, Lookup};
use crate::files::media_type::extension;
use crate::files::root::{Found, NotServed, Root};
use crate::handler::redirect_to_slash;
use crate::handler::{Body, Error, Handler, Immediate, Response};
use crate::http::coding::Coding;
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::{DecodedPath, Target};
use crate::memory::Memory;
use archive::{Desk, Wanted};
use bytes::Bytes;
use listing::Listings;
use representation::whole_body;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The methods that files support.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Serves the files beneath one directory.
///
/// It needs the feature `files`.
///
/// ```
/// use cws::{CacheLimits, Config, Server, SiteOptions, StaticFiles};
///
/// let mut options = SiteOptions::default();
/// options.listing = false;
/// options.cache_control = Some("max-age=3600".to_owned());
/// options.add_field("Referrer-Policy", "no-referrer")?;
/// let files = StaticFiles::new("src")?
///     .with_options(options)
///     .with_cache(Some(CacheLimits { bytes: 16 << 20, ..CacheLimits::default() }));
/// let server = Server::start(Config::default(), files)?;
/// # server.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct StaticFiles {
    files: Files,
    options: SiteOptions,
    listings: Listings,
    desk: Desk,
    /// The header fields of every response.
    common: Bytes,
    /// The header fields of every listing, which include `common`.
    of_listings: Bytes,
    not_found: NotFound,
}

/// The 404 pages, serialised once: clients that guess names request them very often.
#[derive(Debug)]
struct NotFound {
    fields: Bytes,
    /// One for each of [`PARENTS`].
    contents: [Bytes; PARENTS.len()],
}

/// References to the parent of a path: the root has none, then those of a directory and of a file.
/// A client resolves them against the address that it has asked for, so nothing of a path is in a
/// page.
const PARENTS: [Option<&str>; 3] = [None, Some("../"), Some("./")];

/// The place in [`PARENTS`] of the reference for `path`.
fn parent_of(path: &DecodedPath) -> usize {
    match (path.as_bytes().is_empty(), path.is_directory()) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

impl NotFound {
    fn new(common: &[u8]) -> Self {
        let page = |parent| {
            let explanation = "There is no such file on this server.";
            Response::error_beneath(parent, Status::NOT_FOUND, explanation).into_parts()
        };
        let (mut fields, ..) = page(None);
        fields.extend_from_slice(common);
        let contents = PARENTS.map(|parent| match page(parent) {
            (_, _, Body::Bytes(content)) => content,
            _ => Bytes::new(),
        });
        Self { fields: fields.into(), contents }
    }
}

impl StaticFiles {
    /// Serves the files beneath `root` with the default [`SiteOptions`], and caches some of them
    /// within the default [`CacheLimits`].
    pub fn new(root: impl AsRef<Path>) -> io::Result<Self> {
        let files = Files::new(Root::open(root.as_ref())?, Some(CacheLimits::default()));
        let (memory, workers) = (Memory::new(config::LISTING_BYTES), num_cpus::get());
        let listings = Listings::new(memory.clone(), workers);
        let desk = Desk::new(memory, ArchiveLimits::new(workers));
        let options = SiteOptions::default();
        let (common, of_listings) =
            (options.common_fields(), options.listing_fields(&listing::GUARDS));
        let not_found = NotFound::new(&common);
        Ok(Self { files, options, listings, desk, common, of_listings, not_found })
    }

    /// Sets how the files are served.
    pub fn with_options(mut self, options: SiteOptions) -> Self {
        self.common = options.common_fields();
        self.of_listings = options.listing_fields(&listing::GUARDS);
        self.not_found = NotFound::new(&self.common);
        self.options = options;
        self
    }

    /// Caches files within other limits. `None` turns the cache off.
    pub fn with_cache(mut self, limits: Option<CacheLimits>) -> Self {
        self.files = self.files.with_cache(limits);
        self
    }

    /// Takes the memory for listings and archives from `memory`, instead of from a budget of their
    /// own of [`config::LISTING_BYTES`].
    pub fn with_memory(mut self, memory: Memory) -> Self {
        self.desk = self.desk.with_memory(memory.clone());
        self.listings = self.listings.with_memory(memory);
        self
    }

    /// Lets at most half of `workers`, but always one, read directories, make archives or wait for
    /// a disk, each. The default is half of the number of processors.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.listings = self.listings.with_workers(workers);
        self.desk = self.desk.with_limits(ArchiveLimits::new(workers));
        self.files = self.files.with_workers(workers);
        self
    }

    /// Shares the limits on archives with others that have them. Call it after
    /// [`with_workers`](Self::with_workers).
    pub fn with_archive_limits(mut self, limits: &ArchiveLimits) -> Self {
        self.desk = self.desk.with_limits(limits.clone());
        self
    }

    /// Follows symbolic links out of the root. Then whoever can create a link decides what is
    /// served.
    pub fn following_links(mut self) -> Self {
        self.files = self.files.map_root(Root::following_links);
        self
    }

    /// Serves names that begin with a dot, or hides them.
    pub fn with_hidden(mut self, hidden: bool) -> Self {
        self.options.hidden = hidden;
        self
    }

    /// Answers `?archive=tar` and `?archive=zip` at a directory with all that is beneath it, or
    /// does not: see [`SiteOptions::archive`].
    pub fn with_archive(mut self, archive: bool) -> Self {
        self.options.archive = archive;
        self
    }

    /// The path of a configured error page that does not exist, if there is one.
    pub fn missing_error_page(&self) -> Option<&str> {
        let is_there = |page: &&String| {
            let path = DecodedPath::decode(page.as_bytes()).ok();
            path.is_some_and(|path| matches!(self.files.root().find(&path), Ok(Found::File(..))))
        };
        self.options.error_pages.values().find(|page| !is_there(page)).map(String::as_str)
    }

    fn answer(&self, request: &Request<'_>) -> Response {
        let path = &request.target.path;
        match request.method {
            Method::Get | Method::Head => self
                .find(request)
                .or_else(|reason| self.fall_back(request, reason))
                .unwrap_or_else(|reason| self.refusal(&request.target, reason)),
            Method::Options => self.options_response(),
            _ => {
                let explanation = "Files support only GET, HEAD and OPTIONS.";
                self.error(path, Status::METHOD_NOT_ALLOWED, explanation)
                    .with_known_field("Allow", ALLOW)
            }
        }
    }

    fn options_response(&self) -> Response {
        self.complete(self.options.options_response(ALLOW))
    }

    /// True for a path that is served as if it did not exist.
    fn hides(&self, path: &DecodedPath) -> bool {
        !self.options.hidden && path.segments().any(|segment| segment.starts_with(b"."))
    }

    fn find(&self, request: &Request<'_>) -> Result<Response, NotServed> {
        let path = &request.target.path;
        if self.hides(path) {
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

    /// Answers with the archive of a directory, with its index, or with its listing.
    fn directory(&self, request: &Request<'_>, path: &DecodedPath) -> Result<Response, NotServed> {
        let wanted = self.archive_wanted(request);
        if let Some(Wanted::Known(format)) = wanted {
            return self.archive(request, path, format);
        }
        if let Some(index) = self.index(path)? {
            return Ok(self.negotiated(request, &index));
        }
        if let Found::File(..) = self.files.root().find(path)? {
            return Err(NotServed::NotFound);
        }
        if !self.options.listing {
            return Err(NotServed::Forbidden);
        }
        match wanted {
            Some(_) => Ok(self.unknown_format(path)),
            None => self.listing(request, path),
        }
    }

    /// The first of the index names that exists in a directory.
    fn index(&self, path: &DecodedPath) -> Result<Option<Arc<CachedFile>>, NotServed> {
        self.files.find_index(path, &self.options.index)
    }

    /// In a single-page application, the top index answers every unknown path.
    fn fall_back(&self, request: &Request<'_>, reason: NotServed) -> Result<Response, NotServed> {
        let path = &request.target.path;
        let name = path.segments().last().unwrap_or_default();
        let is_hidden = path.segments().any(|segment| segment.starts_with(b"."));
        let is_page = matches!(reason, NotServed::NotFound) && extension(name).is_none();
        if !self.options.spa || !is_page || is_hidden {
            return Err(reason);
        }
        let top = DecodedPath::decode(b"/").map_err(|_| NotServed::NotFound)?;
        let index = self.index(&top)?.ok_or(reason)?;
        Ok(self.negotiated(request, &index))
    }

    fn refusal(&self, target: &Target<'_>, reason: NotServed) -> Response {
        let (shown, path) = (target.raw.escape_ascii(), &target.path);
        match reason {
            NotServed::NotFound => {
                self.error_page(Status::NOT_FOUND).unwrap_or_else(|| self.not_found(path))
            }
            NotServed::Forbidden => {
                self.error(path, Status::FORBIDDEN, "This server may not serve this file.")
            }
            NotServed::Unsized => {
                let explanation = "The size of this file is unknown until it is read, and the file \
                                   is too long to be read first.";
                self.error(path, Status::FORBIDDEN, explanation)
            }
            NotServed::Pending(wait) => Response::deferred(wait),
            NotServed::Busy => {
                log::debug!(
                    "cannot serve {shown} now: the memory or the permits are in use (answered 503)"
                );
                let explanation = "The server is busy with other files. Try again shortly.";
                self.error(path, Status::SERVICE_UNAVAILABLE, explanation).with_retry_after()
            }
            NotServed::Exhausted(error) => {
                log::warn!("cannot open {shown}: {error} (answered 503)");
                let explanation = "The server is out of resources. Try again shortly.";
                self.error(path, Status::SERVICE_UNAVAILABLE, explanation).with_retry_after()
            }
            NotServed::Failed(error) => {
                log::error!("cannot read {shown}: {error} (answered 500)");
                self.error(path, Status::INTERNAL_SERVER_ERROR, "The file could not be read.")
            }
        }
    }

    /// The built-in page for a name that does not exist.
    fn not_found(&self, path: &DecodedPath) -> Response {
        let NotFound { fields, contents } = &self.not_found;
        let content = contents[parent_of(path)].clone();
        Response::prepared(Status::NOT_FOUND, fields).with_body(Body::Bytes(content))
    }

    /// The configured error page for a status, or a page with `explanation`.
    fn error(&self, path: &DecodedPath, status: Status, explanation: &str) -> Response {
        let parent = PARENTS[parent_of(path)];
        let explained = || self.complete(Response::error_beneath(parent, status, explanation));
        self.error_page(status).unwrap_or_else(explained)
    }

    /// The configured error page for a status, if there is one.
    fn error_page(&self, status: Status) -> Option<Response> {
        let page = self.options.error_pages.get(&status.code())?;
        let path = DecodedPath::decode(page.as_bytes()).ok()?;
        let Ok(Lookup::File(entry)) = self.files.find(&path) else {
            log::debug!("cannot read the error page {page} (sending the built-in page)");
            return None;
        };
        let media_type = &self.describe(&entry, entry.loaded(), Coding::Identity).media_type;
        let page = self.response(status).with_known_field("Content-Type", media_type);
        Some(page.with_body(whole_body(entry.loaded().content())))
    }

    /// A response that has the common fields.
    fn response(&self, status: Status) -> Response {
        Response::prepared(status, &self.common)
    }

    /// Adds the common fields.
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

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }

    fn give_way(&self) {
        self.files.give_way();
    }

    fn tend(&self) {
        self.files.tend();
        self.listings.tend();
        self.desk.tend();
    }

    fn common_fields(&self) -> Bytes {
        self.common.clone()
    }
}
