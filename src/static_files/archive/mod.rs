//! A directory as an archive: a tar or a zip of stored files, made while it is sent.

mod tree;
mod tar;
mod zip;
mod walk;
mod desk;
mod making;

pub use desk::ArchiveLimits;
pub(super) use desk::Desk;

use super::StaticFiles;
use crate::config;
use crate::files::root::NotServed;
use crate::handler::{Body, Response, Stream};
use crate::http::conditional::{Precondition, Validators};
use crate::http::range::{Part, Selection, select};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::DecodedPath;
use crate::memory::{Claim, MemoryUse};
use making::Making;
use percent_encoding::percent_encode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tree::Tree;
use walk::NoTree;

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// It has nothing of its files but headers in front of each, so it can begin at any byte.
    Tar,
    /// Its end has checksums of all files. To begin in the middle, the server would have to read
    /// all that comes before, and a client that asks for the last byte would cost it the whole. So
    /// it has no ranges.
    Zip,
}

/// What the query says about an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Known(Format),
    /// The word may be for a script of the directory's index.
    Unknown,
}

impl Format {
    const ALL: [Self; 2] = [Self::Tar, Self::Zip];

    fn extension(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Zip => "zip",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/x-tar",
            Self::Zip => "application/zip",
        }
    }

    fn length_of(self, tree: &Tree) -> Option<u64> {
        let length = || match self {
            Self::Tar => tar::length_of_all(tree),
            Self::Zip => zip::length_of_all(tree),
        };
        *tree.lengths[usize::from(self == Self::Zip)].get_or_init(length)
    }
}

/// The name of an archive of a root that is not mounted anywhere. The root's own name is nobody's
/// business.
const ROOT: &[u8] = b"files";

/// What a client reads that has written something else.
const FORMATS: &str = "Ask for ?archive=tar or ?archive=zip.";

impl StaticFiles {
    /// The archive that a request is for, if this site makes archives.
    pub(super) fn archive_wanted(&self, request: &Request<'_>) -> Option<Wanted> {
        if !self.options.archive || !self.options.listing {
            return None;
        }
        let mut pairs = request.target.query?.split(|&byte| byte == b'&');
        let written = pairs.find_map(|pair| pair.strip_prefix(b"archive="))?;
        let format = Format::ALL.into_iter().find(|of| of.extension().as_bytes() == written);
        Some(format.map_or(Wanted::Unknown, Wanted::Known))
    }

    /// The answer to a request for an archive in a format that there is not.
    pub(super) fn unknown_format(&self, path: &DecodedPath) -> Response {
        self.error(path, Status::BAD_REQUEST, FORMATS)
    }

    /// Answers with the directory at `path` in this format.
    ///
    /// A walk finds the names, sizes and times of all that is in it. So its length is announced
    /// before anything is read, and HEAD reads no file.
    pub(super) fn archive(
        &self,
        request: &Request<'_>,
        path: &DecodedPath,
        format: Format,
    ) -> Result<Response, NotServed> {
        let prefix = path.prefix().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let top = match path.segments().last().unwrap_or(prefix) {
            b"" => ROOT,
            name => name,
        };
        let wanted = |name: &[u8]| self.options.hidden || !name.starts_with(b".");
        let too_much = |explanation: &str| Ok(self.error(path, Status::FORBIDDEN, explanation));
        let named = (path.as_bytes(), top);
        let tree = match self.desk.tree(self.files.root(), named, since(request), wanted) {
            Ok(tree) => tree,
            Err(NoTree::TooMuch(explanation)) => return too_much(&explanation),
            Err(NoTree::NotServed(reason)) => return Err(reason),
        };
        let Some(length) = format.length_of(&tree) else {
            return too_much("This directory holds too much for an archive.");
        };
        self.send_archive(request, top, format, &tree, length)
    }

    fn send_archive(
        &self,
        request: &Request<'_>,
        top: &[u8],
        format: Format,
        tree: &Arc<Tree>,
        length: u64,
    ) -> Result<Response, NotServed> {
        #[allow(clippy::disallowed_methods, reason = "compared with dates")]
        let now = SystemTime::now();
        let extension = format.extension();
        let tag = tree.tag(now).map(|tag| format!("{tag}-{extension}-{length:x}"));
        let validators = tag.map_or_else(Validators::in_flux, |tag| Validators::new(&tag, None));
        let with_tag = |response: Response| match &validators.etag {
            Some(tag) => response.with_known_field("ETag", tag),
            None => response,
        };
        match validators.check(request) {
            Precondition::Holds => {}
            Precondition::NotModified => return Ok(with_tag(self.response(Status::NOT_MODIFIED))),
            Precondition::Failed => {
                let explanation = "The archive does not meet the conditions of the request: a file \
                                   in it may have changed.";
                let path = &request.target.path;
                return Ok(self.error(path, Status::PRECONDITION_FAILED, explanation));
            }
        }
        let has_ranges = format == Format::Tar && request.method == Method::Get;
        let range =
            request.field("Range").filter(|_| has_ranges && validators.allow_range(request, now));
        let part = match range.map_or(Selection::Whole, |range| select(range, length)) {
            Selection::Parts(parts) => <[Part; 1]>::try_from(parts).ok().map(|[part]| part),
            // Of several ranges, the whole is all of them.
            Selection::Whole => None,
            Selection::Unsatisfiable => {
                let explanation = "The archive has no such range.";
                let path = &request.target.path;
                let response = self.error(path, Status::RANGE_NOT_SATISFIABLE, explanation);
                return Ok(response
                    .with_known_field("Content-Range", &format!("bytes */{length}"))
                    .with_known_field("Accept-Ranges", "bytes"));
            }
        };
        let response = match part {
            None => self.response(Status::OK),
            Some(Part { first, last }) => self
                .response(Status::PARTIAL_CONTENT)
                .with_known_field("Content-Range", &format!("bytes {first}-{last}/{length}")),
        };
        let ranges = if format == Format::Tar { "bytes" } else { "none" };
        let response = with_tag(response)
            .with_known_field("Content-Type", format.media_type())
            .with_known_field("Content-Disposition", &disposition(top, extension))
            .with_known_field("Accept-Ranges", ranges);
        let (first, length) = part.map_or((0, length), |part| (part.first, part.length()));
        let stream = match request.method {
            Method::Head => Stream::of_pieces(length, std::iter::empty()),
            _ => self.stream_archive(tree, format, first, length)?,
        };
        Ok(response.with_body(Body::Stream(stream)))
    }

    fn stream_archive(
        &self,
        tree: &Arc<Tree>,
        format: Format,
        first: u64,
        length: u64,
    ) -> Result<Stream, NotServed> {
        let place = self.desk.place()?;
        let root = self.files.root().try_clone().map_err(NotServed::Exhausted)?;
        let count = if format == Format::Zip { tree.items().count() } else { 0 };
        let claim = self.claim_checksums(count)?;
        let mut checksums = Vec::new();
        checksums.try_reserve_exact(count).map_err(|_| NotServed::Busy)?;
        let (tree, desk) = (Arc::clone(tree), self.desk.clone());
        let mut making = Making::new((tree, root), (desk, place), format, first, checksums);
        let pieces = std::iter::from_fn(move || {
            // It is given back together with the checksums.
            let _ = &claim;
            making.next()
        });
        Ok(Stream::of_pieces(length, pieces))
    }

    fn claim_checksums(&self, count: usize) -> Result<Claim, NotServed> {
        let bytes = (count * size_of::<u32>()) as u64;
        self.desk.memory().claim(MemoryUse::Listings, bytes).ok_or(NotServed::Busy)
    }
}

/// When the walk for a request may have begun at the earliest. The rest of an archive is of the
/// state of now, so that a client with a part of another state gets to know. For the whole, the
/// walk of another request is good for a second: there are many who ask for the same.
fn since(request: &Request<'_>) -> Instant {
    let arrived = Instant::now().checked_sub(request.waited());
    let before = match request.field("Range") {
        Some(_) => config::ARCHIVE_SHARED,
        None => config::CACHE_FRESH,
    };
    arrived.and_then(|arrived| arrived.checked_sub(before)).unwrap_or_else(Instant::now)
}

/// The name under which a browser saves an archive: in ASCII for old clients, and as it is (RFC
/// 6266, RFC 8187).
fn disposition(top: &[u8], extension: &str) -> String {
    let is_plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-._ ".contains(&byte);
    let plain: String =
        top.iter().map(|byte| if is_plain(byte) { char::from(*byte) } else { '_' }).collect();
    let mut field = format!("attachment; filename=\"{plain}.{extension}\"");
    if !top.iter().all(is_plain) {
        let name = String::from_utf8_lossy(top);
        let name = percent_encode(name.as_bytes(), percent_encoding::NON_ALPHANUMERIC);
        field.push_str(&format!("; filename*=UTF-8''{name}.{extension}"));
    }
    field
}

#[cfg(test)]
mod tests;
