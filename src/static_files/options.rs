//! How a site is served: what is shown, what is added, what replaces an error.

use crate::files::media_type::MediaTypes;
use crate::handler::{OWN_FIELDS, Response};
use crate::http::response::is_valid_field;
use crate::http::status::Status;
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;

/// The manner in which [`super::StaticFiles`] serves.
#[derive(Debug, Clone)]
pub struct Site {
    /// Names that begin with a dot are served.
    pub hidden: bool,
    /// Directories without an index are listed.
    pub listing: bool,
    /// Names that stand for their directory, the first that exists.
    pub index: Vec<String>,
    /// `file.br`, `file.zst` and `file.gz` stand for `file`.
    pub precompressed: bool,
    /// Unknown paths without an extension get the top index.
    pub spa: bool,
    /// The value of `Cache-Control` on files.
    pub cache_control: Option<String>,
    /// Scripts of other origins may read what is served.
    pub cors: bool,
    /// Media types by extension.
    pub media_types: MediaTypes,
    /// Paths beneath the root of pages for statuses.
    pub error_pages: HashMap<u16, String>,
    /// Fields that every response gets.
    fields: Vec<(String, String)>,
}

impl Default for Site {
    /// Listings on, precompressed neighbours on, `index.html` then `index.htm`, nothing added.
    fn default() -> Self {
        Self {
            hidden: false,
            listing: true,
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

/// Why a field cannot be added to every response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SiteError {
    /// It is no field.
    Malformed(String),
    /// The server alone knows its value.
    Reserved(String),
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(field) => write!(f, "{field:?} is no header field (write Name: value)"),
            Self::Reserved(name) => write!(f, "{name} is the server's own to set (leave it out)"),
        }
    }
}

impl std::error::Error for SiteError {}

/// Fields that describe one response's content or redirect it.
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

/// Fields of a response that scripts of other origins may see, beside the harmless ones.
const EXPOSED: &str = "Accept-Ranges, Content-Encoding, Content-Range, ETag";

/// Fields of a request that they may set.
const ALLOWED: &str = "Authorization, If-Match, If-Modified-Since, If-None-Match, If-Range, \
                       If-Unmodified-Since, Range";

impl Site {
    /// Adds a field to every response of the site.
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

    /// True where the site has a say about this field itself.
    fn sets(&self, name: &str) -> bool {
        self.fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    /// The fields that every listing gets, each with its line end: the common ones, and those of
    /// `guards` that the site does not set itself.
    pub(super) fn listing_fields(&self, guards: &[(&str, &str)]) -> Bytes {
        let guards = guards.iter().filter(|(name, _)| !self.sets(name));
        let response = guards.fold(Response::new(Status::OK), |response, (name, value)| {
            response.with_known_field(name, value)
        });
        Bytes::from([response.fields(), &self.common_fields()].concat())
    }

    /// The fields that every response of the site gets, each with its line end.
    pub(super) fn common_fields(&self) -> Bytes {
        let mut response = Response::new(Status::OK);
        let sets = |name| self.sets(name);
        // Types are told, not guessed; browsers that guess can be made to run text.
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

    /// The answer to OPTIONS, preflights of scripts included.
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
    fn fields_that_cannot_be_added() {
        let mut site = Site::default();
        assert_eq!(site.add_field("X-A", "b"), Ok(()));
        assert!(matches!(site.add_field("X-A", "b\r\nX-B: c"), Err(SiteError::Malformed(_))));
        assert!(matches!(site.add_field("X A", "b"), Err(SiteError::Malformed(_))));
        assert!(matches!(site.add_field("content-Length", "5"), Err(SiteError::Reserved(_))));
    }
}
