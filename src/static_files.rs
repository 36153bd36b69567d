//! The handler that serves the files beneath a root.

use crate::config;
use crate::files::media_type::media_type;
use crate::files::root::{Found, NotServed, Root};
use crate::handler::{Body, FileSlice, Handler, Response};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::Target;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

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

/// The name that stands for its directory.
const INDEX: &str = "index.html";

/// Serves the files beneath one directory to GET and HEAD.
#[derive(Debug)]
pub struct StaticFiles {
    root: Root,
    hidden: bool,
}

impl StaticFiles {
    /// Serves the files beneath `root`, names that begin with a dot aside.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { root: Root::open(root)?, hidden: false })
    }

    /// Also serves, or not, names that begin with a dot.
    pub fn with_hidden(mut self, hidden: bool) -> Self {
        self.hidden = hidden;
        self
    }

    fn find(&self, target: &Target<'_>) -> Result<Response, NotServed> {
        let path = &target.path;
        if !self.hidden && path.segments().any(|segment| segment.starts_with(b".")) {
            return Err(NotServed::NotFound);
        }
        let name = path.segments().last().unwrap_or_default();
        match (self.root.find(path)?, path.is_directory()) {
            (Found::File(file, metadata), false) => file_response(name, file, &metadata),
            (Found::File(..), true) => Err(NotServed::NotFound),
            (Found::Directory, false) => Ok(redirect_to_slash(target)),
            (Found::Directory, true) => match self.root.find_in(path, INDEX) {
                Ok(Found::File(file, metadata)) => file_response(INDEX.as_bytes(), file, &metadata),
                Ok(Found::Directory) | Err(NotServed::NotFound) => Err(NotServed::Forbidden),
                Err(other) => Err(other),
            },
        }
    }
}

impl Handler for StaticFiles {
    fn handle(&self, request: &Request<'_>) -> Response {
        if !matches!(request.method, Method::Get | Method::Head) {
            let explanation = "Files answer to GET and HEAD alone.";
            return Response::error(Status::METHOD_NOT_ALLOWED, explanation)
                .with_field("Allow", "GET, HEAD");
        }
        self.find(&request.target).unwrap_or_else(|reason| refusal(&request.target, &reason))
    }
}

fn refusal(target: &Target<'_>, reason: &NotServed) -> Response {
    let shown = target.raw.escape_ascii();
    match reason {
        NotServed::NotFound => {
            Response::error(Status::NOT_FOUND, "There is no such file on this server.")
        }
        NotServed::Forbidden => {
            Response::error(Status::FORBIDDEN, "This server may not serve what you asked for.")
        }
        NotServed::Exhausted(error) => {
            log::warn!("cannot open {shown}: {error}");
            let explanation = "The server is out of resources. Try again shortly.";
            Response::error(Status::SERVICE_UNAVAILABLE, explanation).with_field("Retry-After", "1")
        }
        NotServed::Failed(error) => {
            log::error!("cannot read {shown}: {error}");
            Response::error(Status::INTERNAL_SERVER_ERROR, "The file could not be read.")
        }
    }
}

/// A directory is named with a slash, so that relative links in it lead to the right place.
fn redirect_to_slash(target: &Target<'_>) -> Response {
    // Made from the decoded segments: a raw `//host` would lead to another host.
    let mut location = String::from("/");
    for segment in target.path.segments() {
        location.extend(percent_encode(segment, SEGMENT));
        location.push('/');
    }
    if let Some(query) = target.query {
        location.push('?');
        location.extend(percent_encode(query, QUERY));
    }
    Response::error(Status::MOVED_PERMANENTLY, "This is a directory; its name ends in a slash.")
        .with_field("Location", &location)
}

/// A query passes as it is, but for bytes that cannot stand in a field.
const QUERY: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

fn file_response(name: &[u8], file: File, metadata: &Metadata) -> Result<Response, NotServed> {
    let length = metadata.len();
    let body = if length <= config::SMALL_FILE {
        Body::Bytes(read_up_to(&file, length).map_err(NotServed::Failed)?.into())
    } else {
        Body::File(FileSlice { file: Arc::new(file), offset: 0, length })
    };
    let (kind, charset) = media_type(name, || match &body {
        Body::Bytes(content) => content.clone(),
        Body::File(slice) => {
            let start = read_up_to(&slice.file, config::SNIFF_BYTES as u64);
            start.unwrap_or_default().into()
        }
        Body::Empty => Bytes::new(),
    });
    let mut response = Response::new(Status::OK)
        .with_field("Content-Type", &[kind, charset].concat())
        .with_body(body);
    if let Ok(modified) = metadata.modified() {
        // Never later than the response's own date (RFC 9110, section 8.8.2.1).
        let modified = modified.min(SystemTime::now());
        response = response.with_field("Last-Modified", &httpdate::fmt_http_date(modified));
    }
    Ok(response)
}

/// The first `length` bytes of a file, or as many as it has by now.
fn read_up_to(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; length as usize];
    let mut filled = 0;
    while filled < content.len() {
        match file.read_at(&mut content[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content)
}
