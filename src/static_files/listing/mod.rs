//! Directory listings as responses.

mod view;
mod markup;
#[cfg(feature = "markdown")]
mod markdown;
mod readme;
mod cache;
mod page;

pub(super) use cache::Listings;
pub(super) use markup::GUARDS;

use super::StaticFiles;
use crate::files::root::NotServed;
use crate::handler::{Body, Response, Stream};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::DecodedPath;
use page::Page;
use view::View;

impl StaticFiles {
    /// Answers with the listing of the directory at `path`, in the format and order that the client
    /// asks for.
    ///
    /// The page is made in pieces while it is sent. So a slow reader keeps only the entries in
    /// memory, which all readers share. The length is known in advance, so the response has a
    /// Content-Length, even in HTTP/1.0, and the connection stays open. HEAD gets the length only
    /// if the listing is cached; it makes no worker read a directory (RFC 9110, section 8.6).
    pub(super) fn listing(
        &self,
        request: &Request<'_>,
        path: &DecodedPath,
    ) -> Result<Response, NotServed> {
        let view = View::of(request, self.options.archive);
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
                let wanted = |name: &[u8]| self.options.hidden || !name.starts_with(b".");
                let readme = self.options.readme;
                self.listings.make_ready(root, path, directory, view, wanted, readme)?
            }
        };
        let page = Page::new(listing, view);
        Ok(response.with_body(Body::Stream(Stream::new(page.length(), page))))
    }
}
