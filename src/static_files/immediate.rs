//! What of a site needs no worker: files that the cache has in memory or open, names that are known
//! not to exist, and redirects.

use super::StaticFiles;
use super::archive::Wanted;
use crate::files::cache::{CachedFile, Known};
use crate::files::loaded::LoadedFile;
use crate::handler::{Immediate, Response, redirect_to_slash};
use crate::http::request::{Method, Request};
use crate::http::target::DecodedPath;
use std::sync::Arc;

impl Immediate for StaticFiles {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        let path = &request.target.path;
        match request.method {
            Method::Get | Method::Head => {}
            Method::Options => return Some(self.options_response()),
            _ => return None,
        }
        if self.hides(path) {
            return self.absence(path);
        }
        if path.is_directory() {
            if matches!(self.archive_wanted(request), Some(Wanted::Known(_))) {
                return None;
            }
            let index = self.files.known_index(path, self.options.index.first()?)?;
            return self.representation(request, &index);
        }
        match self.files.known(path)? {
            Known::File(entry) => self.representation(request, &entry),
            Known::Missing => self.absence(path),
            Known::Directory => Some(self.complete(redirect_to_slash(&request.target))),
        }
    }
}

impl StaticFiles {
    fn representation(&self, request: &Request<'_>, entry: &Arc<CachedFile>) -> Option<Response> {
        // The response can be an error, for which there may be a page on the disk.
        if request.is_conditional() && !self.options.error_pages.is_empty() {
            return None;
        }
        // Parts of an open file are read, and its start tells what its type is.
        let is_read = |loaded: &LoadedFile| {
            entry.loaded().is_open() && !loaded.is_described()
                || entry.holds_descriptors() && request.field("Range").is_some()
        };
        if is_read(entry.loaded()) {
            return None;
        }
        let form = |coding| match self.files.known_form(entry, coding) {
            Some(Some(form)) if is_read(&form) => Err(()),
            known => known.ok_or(()),
        };
        self.chosen(request, entry, form).ok()?
    }

    /// The answer to a name that does not exist, if it needs no file.
    fn absence(&self, path: &DecodedPath) -> Option<Response> {
        let is_plain = !self.options.spa && self.options.error_pages.is_empty();
        is_plain.then(|| self.not_found(path))
    }
}
