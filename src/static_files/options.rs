//! Options for serving files: which are shown, which header fields are added, which error pages are
//! used.

use crate::files::media_type::MediaTypes;
use crate::handler::{OWN_FIELDS, Response};
use crate::http::response::is_valid_field;
use crate::http::status::Status;
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;

/// How [`super::StaticFiles`] serves files.
///
/// It needs the feature `files`.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// Serve names that begin with a dot.
    pub hidden: bool,
    /// List directories that have no index.
    pub listing: bool,
    /// Show the text of a directory's README below its listing: of `README.md`, `README.txt` or
    /// `README`, the first that there is. Case does not matter, and of names that differ in case
    /// alone the first in byte order counts. With the feature `markdown`, Markdown becomes HTML,
    /// without its own HTML and its images, and with links to `http`, `https`, `mailto` and
    /// relative references alone. The first 64 KiB are shown, with a link to the file.
    pub readme: bool,
    /// Answer `?archive=tar` and `?archive=zip` at a directory with all files beneath it, stored,
    /// and link to both from its listing. Needs `listing`; a directory that has an index has an
    /// archive, too. An archive has what would be served, and nothing else: links to files stand
    /// for the files, links to directories are left out. At most half of the workers, but always
    /// one, make archives at a time. The length is announced. A tar resumes (`Range` with
    /// `If-Range`), a zip does not. More than 100,000 files and directories, 20,000 in one
    /// directory, or 64 directories within one another get 403, and more than 32 archives at a time
    /// 503.
    pub archive: bool,
    /// Index names. The first one that exists in a directory is served for it.
    pub index: Vec<String>,
    /// Serve `file.br`, `file.zst` or `file.gz` for `file` to clients that accept the coding.
    pub precompressed: bool,
    /// Serve the top index for unknown paths without an extension (single-page applications).
    pub spa: bool,
    /// The `Cache-Control` field of files.
    pub cache_control: Option<String>,
    /// Let scripts of other origins read the responses (CORS).
    pub cors: bool,
    /// Media types by extension.
    pub media_types: MediaTypes,
    /// Error pages: paths beneath the root, by status code.
    pub error_pages: HashMap<u16, String>,
    /// Header fields of every response.
    fields: Vec<(String, String)>,
}

impl Default for SiteOptions {
    /// Listings and precompressed forms on; index names `index.html`, then `index.htm`; no fields
    /// added.
    fn default() -> Self {
        Self {
            hidden: false,
            listing: true,
            readme: false,
            archive: false,
            index: ["index.html", "index.htm"].map(str::to_owned).to_vec(),
            precompressed: true,
            spa: false,
            cache_control: None,
            cors: false,
            media_types: MediaTypes::default(),
            error_pages: HashMap::new(),
            fields: Vec::new(),
        }
    }
}

/// Why [`SiteOptions::add_field`] refuses a field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SiteError {
    /// The name or the value is malformed.
    Malformed(String),
    /// The server sets this field itself.
    Reserved(String),
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(field) => {
                write!(f, "{field:?} is not a header field (write Name: value)")
            }
            Self::Reserved(name) => write!(f, "the server sets {name} itself (leave it out)"),
        }
    }
}

impl std::error::Error for SiteError {}

/// Fields that describe the content of one response, or redirect it.
const DESCRIPTIVE: &[&str] = &[
    "Accept-Ranges",
    "Allow",
    "Content-Encoding",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
];

/// Response fields that scripts of other origins may read, in addition to those that CORS always
/// allows.
const EXPOSED: &str = "Accept-Ranges, Content-Encoding, Content-Range, ETag";

/// Request fields that scripts of other origins may set.
const ALLOWED: &str = "Authorization, If-Match, If-Modified-Since, If-None-Match, If-Range, \
                       If-Unmodified-Since, Range";

impl SiteOptions {
    /// Adds a header field to every response.
    ///
    /// # Errors
    ///
    /// [`SiteError`], if the field is malformed or one that the server sets.
    pub fn add_field(&mut self, name: &str, value: &str) -> Result<(), SiteError> {
        if !is_valid_field(name, value.as_bytes()) {
            return Err(SiteError::Malformed(format!("{name}: {value}")));
        }
        if DESCRIPTIVE.iter().chain(OWN_FIELDS).any(|reserved| reserved.eq_ignore_ascii_case(name))
        {
            return Err(SiteError::Reserved(name.to_owned()));
        }
        self.fields.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// True if `add_field` was called for this field.
    fn sets(&self, name: &str) -> bool {
        self.fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    /// The header fields of every listing, each with its line end: the common ones, and those of
    /// `guards` that `add_field` does not override.
    pub(super) fn listing_fields(&self, guards: &[(&str, &str)]) -> Bytes {
        let guards = guards.iter().filter(|(name, _)| !self.sets(name));
        let response = guards.fold(Response::new(Status::OK), |response, (name, value)| {
            response.with_known_field(name, value)
        });
        Bytes::from([response.fields(), &self.common_fields()].concat())
    }

    /// The header fields of every response, each with its line end.
    pub(super) fn common_fields(&self) -> Bytes {
        let mut response = Response::new(Status::OK);
        let sets = |name| self.sets(name);
        // The server always sends a media type. Browsers that guess it can be made to run text as a
        // script.
        if !sets("X-Content-Type-Options") {
            response = response.with_known_field("X-Content-Type-Options", "nosniff");
        }
        if self.cors && !sets("Access-Control-Allow-Origin") {
            response = response
                .with_known_field("Access-Control-Allow-Origin", "*")
                .with_known_field("Access-Control-Expose-Headers", EXPOSED);
        }
        for (name, value) in &self.fields {
            response = response.with_known_field(name, value);
        }
        Bytes::copy_from_slice(response.fields())
    }

    /// The response to OPTIONS, including CORS preflight requests.
    pub(super) fn options_response(&self, allow: &str) -> Response {
        let response = Response::new(Status::NO_CONTENT).with_known_field("Allow", allow);
        if !self.cors {
            return response;
        }
        response
            .with_known_field("Access-Control-Allow-Methods", allow)
            .with_known_field("Access-Control-Allow-Headers", ALLOWED)
            .with_known_field("Access-Control-Max-Age", "86400")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_and_reserved_fields_are_refused() {
        let mut site = SiteOptions::default();
        assert_eq!(site.add_field("X-A", "b"), Ok(()));
        assert!(matches!(site.add_field("X-A", "b\r\nX-B: c"), Err(SiteError::Malformed(_))));
        assert!(matches!(site.add_field("X A", "b"), Err(SiteError::Malformed(_))));
        assert!(matches!(site.add_field("content-Length", "5"), Err(SiteError::Reserved(_))));
    }
}
