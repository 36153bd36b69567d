//! Directories as responses: what a client wants to see, and who reads the directory for it.

mod view;
mod markup;
mod held;
mod page;

pub(super) use held::Listings;
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
                let wanted = |name: &[u8]| self.options.hidden || !name.starts_with(b".");
                self.listings.make_ready(root, path, directory, view, wanted)?
            }
        };
        let page = Page::new(listing, view);
        Ok(response.with_body(Body::Stream(Stream::new(page.length(), page))))
    }
}
