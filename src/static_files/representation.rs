//! One file as a response: its validators, its coding, the parts that are asked for.

use super::StaticFiles;
use crate::config;
use crate::files::root::{Found, NotServed};
use crate::handler::{Body, FileSlice, Response};
use crate::http::coding::{Coding, accepted};
use crate::http::conditional::{Precondition, Validators};
use crate::http::range::{Part, Selection, select};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::http::target::DecodedPath;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::SystemTime;

/// A file that is open, as far as its metadata tell of it.
#[derive(Debug)]
pub(super) struct Representation {
    file: File,
    length: u64,
    modified: Option<SystemTime>,
    tag: String,
}

/// The bytes of a file: small ones in memory, large ones where they are.
#[derive(Debug)]
pub(super) enum Content {
    Memory(Bytes),
    File { file: Arc<File>, length: u64 },
}

impl StaticFiles {
    /// Answers with a file, or with the neighbour that holds it in a coding the client prefers.
    pub(super) fn negotiated(
        &self,
        request: &Request<'_>,
        path: &DecodedPath,
        plain: Representation,
    ) -> Result<Response, NotServed> {
        let name = path.segments().last().unwrap_or_default();
        // The type is that of what is inside, whatever its coding.
        let media_type = self.site.media_types.of(name, || plain.start());
        if !self.site.precompressed {
            return self.conditional(request, &media_type, plain, Coding::Identity);
        }
        for coding in accepted(request.fields_named("Accept-Encoding")) {
            if coding == Coding::Identity {
                return self.conditional(request, &media_type, plain, coding);
            }
            let Ok(Found::File(file, metadata)) = self.root.find_beside(path, coding.suffix())
            else {
                continue;
            };
            let coded = Representation::new(file, &metadata);
            // One older than the file it stands for was made from another state of it.
            if coded.modified >= plain.modified {
                return self.conditional(request, &media_type, coded, coding);
            }
        }
        let explanation = "This file is not to be had in a coding that you accept.";
        Ok(self.error(Status::NOT_ACCEPTABLE, explanation).with_field("Vary", "Accept-Encoding"))
    }

    fn conditional(
        &self,
        request: &Request<'_>,
        media_type: &str,
        chosen: Representation,
        coding: Coding,
    ) -> Result<Response, NotServed> {
        // A date later than the response's own (RFC 9110, section 8.8.2.1) validates nothing.
        let now = SystemTime::now();
        let modified = chosen.modified.filter(|&modified| modified <= now);
        let validators = Validators::new(&chosen.tag, modified);
        let describe = |response: Response| {
            let mut response = response.with_field("ETag", &validators.etag);
            if let Some(modified) = validators.modified {
                response = response.with_field("Last-Modified", &httpdate::fmt_http_date(modified));
            }
            let is_file = matches!(response.status().class(), 2 | 3);
            if let (Some(value), true) = (&self.site.cache_control, is_file) {
                response = response.with_field("Cache-Control", value);
            }
            if self.site.precompressed {
                response = response.with_field("Vary", "Accept-Encoding");
            }
            response
        };
        match validators.check(request) {
            Precondition::Holds => {}
            Precondition::NotModified => return Ok(describe(Response::new(Status::NOT_MODIFIED))),
            Precondition::Failed => {
                let explanation = "The file has changed since you last saw it.";
                return Ok(describe(self.error(Status::PRECONDITION_FAILED, explanation)));
            }
        }
        let content = chosen.into_content().map_err(NotServed::Failed)?;
        let range = request
            .field("Range")
            .filter(|_| request.method == Method::Get && validators.allow_range(request, now));
        let selection = range.map_or(Selection::Whole, |range| select(range, content.length()));
        let mut response = describe(match selection {
            Selection::Whole => content.whole_response(media_type),
            Selection::Parts(parts) => content.partial_response(media_type, &parts),
            Selection::Unsatisfiable => {
                let explanation = "The file has no such range.";
                self.error(Status::RANGE_NOT_SATISFIABLE, explanation)
                    .with_field("Content-Range", &format!("bytes */{}", content.length()))
            }
        })
        .with_field("Accept-Ranges", "bytes");
        if coding != Coding::Identity && response.status().class() == 2 {
            response = response.with_field("Content-Encoding", coding.token());
        }
        Ok(response)
    }
}

impl Representation {
    pub(super) fn new(file: File, metadata: &Metadata) -> Self {
        let length = metadata.len();
        let modified = metadata.modified().ok();
        // Which file, of which length, changed when: a strong tag as long as a file that is
        // changed in place gets a new time.
        let nanos =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let tag = format!("{:x}-{length:x}-{nanos:x}", metadata.ino());
        Self { file, length, modified, tag }
    }

    /// The first bytes, as far as they say what it is.
    pub(super) fn start(&self) -> Bytes {
        let most = self.length.min(config::SNIFF_BYTES as u64);
        read_up_to(&self.file, most).unwrap_or_default().into()
    }

    /// The file's content; of a small one, what it has by now.
    pub(super) fn into_content(self) -> io::Result<Content> {
        if self.length > config::SMALL_FILE {
            return Ok(Content::File { file: Arc::new(self.file), length: self.length });
        }
        Ok(Content::Memory(read_up_to(&self.file, self.length)?.into()))
    }
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// All of it.
    pub(super) fn whole(self) -> Body {
        match self {
            Self::Memory(bytes) => Body::Bytes(bytes),
            Self::File { file, length } => Body::File(FileSlice { file, offset: 0, length }),
        }
    }

    fn whole_response(&self, media_type: &str) -> Response {
        let length = self.length();
        let whole = match length {
            0 => Body::Empty,
            _ => self.part(Part { first: 0, last: length - 1 }),
        };
        Response::new(Status::OK).with_field("Content-Type", media_type).with_body(whole)
    }

    fn part(&self, part: Part) -> Body {
        let (offset, length) = (part.first, part.length());
        match self {
            Self::Memory(bytes) => {
                Body::Bytes(bytes.slice(offset as usize..(offset + length) as usize))
            }
            Self::File { file, .. } => {
                Body::File(FileSlice { file: Arc::clone(file), offset, length })
            }
        }
    }

    /// One part as it is; several as `multipart/byteranges` (RFC 9110, section 14.6).
    fn partial_response(&self, media_type: &str, parts: &[Part]) -> Response {
        let whole = self.length();
        let range = |part: &Part| format!("bytes {}-{}/{whole}", part.first, part.last);
        let response = Response::new(Status::PARTIAL_CONTENT);
        if let [part] = parts {
            return response
                .with_field("Content-Type", media_type)
                .with_field("Content-Range", &range(part))
                .with_body(self.part(*part));
        }
        // Long enough not to be in the content by chance.
        let boundary = format!("{:032x}", fastrand::u128(..));
        let mut body = VecDeque::new();
        for part in parts {
            let range = range(part);
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n"
            );
            body.push_back(Body::Bytes(head.into()));
            body.push_back(self.part(*part));
        }
        body.push_back(Body::Bytes(format!("\r\n--{boundary}--\r\n").into()));
        response
            .with_field("Content-Type", &format!("multipart/byteranges; boundary={boundary}"))
            .with_body(Body::Sequence(body))
    }
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
