//! A file as a response: content negotiation, conditional requests and ranges.

use super::StaticFiles;
use crate::config;
use crate::files::cache::CachedFile;
use crate::files::loaded::{Content, Description, LoadedFile};
use crate::files::root::NotServed;
use crate::handler::{Body, FileSlice, Response};
use crate::http::coding::{Coding, accepted};
use crate::http::conditional::{Precondition, Validators};
use crate::http::range::{Part, Selection, select};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

impl StaticFiles {
    /// Answers with a file, or with its precompressed form in a coding that the client prefers.
    pub(super) fn negotiated(&self, request: &Request<'_>, entry: &Arc<CachedFile>) -> Response {
        if entry.loaded().is_open() {
            // From now on it needs no worker, whichever form is chosen.
            self.describe(entry, entry.loaded(), Coding::Identity);
        }
        let chosen = self.chosen(request, entry, |coding| self.files.precompressed(entry, coding));
        match chosen {
            Ok(Some(response)) => response,
            Ok(None) => {
                let explanation = "This file is not available in a coding that you accept.";
                self.error(&request.target.path, Status::NOT_ACCEPTABLE, explanation)
                    .with_known_field("Vary", "Accept-Encoding")
            }
            Err(later) => self.refusal(&request.target, later),
        }
    }

    /// The answer in the first coding that the client accepts and in which there is a `form` of the
    /// file; none if there is no such coding.
    pub(super) fn chosen<E>(
        &self,
        request: &Request<'_>,
        entry: &Arc<CachedFile>,
        form: impl Fn(Coding) -> Result<Option<Arc<LoadedFile>>, E>,
    ) -> Result<Option<Response>, E> {
        let plain = entry.loaded();
        if !self.options.precompressed {
            return Ok(Some(self.conditional(request, entry, plain, Coding::Identity)));
        }
        for coding in accepted(request.fields_named("Accept-Encoding")) {
            if coding == Coding::Identity {
                return Ok(Some(self.conditional(request, entry, plain, coding)));
            }
            // A form that is older than its file was made from other content.
            if let Some(coded) = form(coding)?
                && coded.modified() >= plain.modified()
            {
                return Ok(Some(self.conditional(request, entry, &coded, coding)));
            }
        }
        Ok(None)
    }

    fn conditional(
        &self,
        request: &Request<'_>,
        entry: &CachedFile,
        chosen: &LoadedFile,
        coding: Coding,
    ) -> Response {
        let description = self.describe(entry, chosen, coding);
        let (content, path) = (chosen.content(), &request.target.path);
        let whole = || Response::prepared(Status::OK, &description.fields);
        if !request.is_conditional() {
            return whole().with_body(whole_body(content));
        }
        #[allow(clippy::disallowed_methods, reason = "compared with dates")]
        let now = SystemTime::now();
        let validators = validators(chosen);
        let add = |response| self.add_metadata(response, &validators);
        match validators.check(request) {
            Precondition::Holds => {}
            Precondition::NotModified => return add(self.response(Status::NOT_MODIFIED)),
            Precondition::Failed => {
                let explanation =
                    "The file does not meet the conditions of the request: it may have changed.";
                return add(self.error(path, Status::PRECONDITION_FAILED, explanation));
            }
        }
        let range = request
            .field("Range")
            .filter(|_| request.method == Method::Get && validators.allow_range(request, now));
        match range.map_or(Selection::Whole, |range| select(range, content.length())) {
            Selection::Whole => whole().with_body(whole_body(content)),
            Selection::Parts(parts) => {
                let media_type = &description.media_type;
                let bodies = match self.part_bodies(entry, chosen, &parts) {
                    Ok(bodies) => bodies,
                    Err(later) => return self.refusal(&request.target, later),
                };
                let Some(bodies) = bodies else {
                    // The file is being changed, so no part of it belongs with any other. Send the
                    // whole.
                    let fields = self.fields(media_type, &Validators::in_flux(), coding);
                    return Response::prepared(Status::OK, &fields).with_body(whole_body(content));
                };
                let response = self.response(Status::PARTIAL_CONTENT);
                let response = add(partial(response, content.length(), media_type, &parts, bodies))
                    .with_known_field("Accept-Ranges", "bytes");
                match coding {
                    Coding::Identity => response,
                    coding => response.with_known_field("Content-Encoding", coding.token()),
                }
            }
            Selection::Unsatisfiable => {
                let explanation = "The file has no such range.";
                let range = format!("bytes */{}", content.length());
                add(self.error(path, Status::RANGE_NOT_SATISFIABLE, explanation))
                    .with_known_field("Content-Range", &range)
                    .with_known_field("Accept-Ranges", "bytes")
            }
        }
    }

    /// The content of each part. `None` if the file is no longer in the state that its validators
    /// name. Small parts are read now, so that they are all of one state: a file that is sent from
    /// its descriptor may be written to meanwhile.
    fn part_bodies(
        &self,
        entry: &CachedFile,
        loaded: &LoadedFile,
        parts: &[Part],
    ) -> Result<Option<Vec<Body>>, NotServed> {
        let length = parts.iter().map(Part::length).fold(0, u64::saturating_add);
        let (Content::File { file, .. }, true, true) =
            (loaded.content(), length <= config::SMALL_FILE, loaded.validators().is_some())
        else {
            return Ok(Some(parts.iter().map(|part| part_body(loaded.content(), *part)).collect()));
        };
        // One permit serves for all parts.
        let mut permit = None;
        for part in parts {
            if permit.is_none() {
                let name = entry.path().as_bytes();
                permit = self.files.permit_for(file, part.first, part.length(), name)?;
            }
        }
        let read = |part: &Part| loaded.read(part.first, part.length()).map(Body::Bytes);
        Ok(parts.iter().map(read).collect())
    }

    /// The media type and header fields of a file, prepared for the first request.
    pub(super) fn describe<'h>(
        &self,
        entry: &CachedFile,
        chosen: &'h LoadedFile,
        coding: Coding,
    ) -> &'h Description {
        chosen.description(|| {
            // The media type is that of the decoded content, whatever the coding.
            let name = entry.path().segments().last().unwrap_or_default();
            let media_type =
                self.options.media_types.of(name, || entry.loaded().start()).into_owned();
            let fields = self.fields(&media_type, &validators(chosen), coding);
            Description { media_type, fields }
        })
    }

    /// The header fields of a response that carries the whole file.
    fn fields(&self, media_type: &str, validators: &Validators, coding: Coding) -> Bytes {
        let response = Response::new(Status::OK).with_known_field("Content-Type", media_type);
        let mut response =
            self.add_metadata(response, validators).with_known_field("Accept-Ranges", "bytes");
        if coding != Coding::Identity {
            response = response.with_known_field("Content-Encoding", coding.token());
        }
        Bytes::from([response.fields(), &self.common].concat())
    }

    fn add_metadata(&self, mut response: Response, validators: &Validators) -> Response {
        if let Some(etag) = &validators.etag {
            response = response.with_known_field("ETag", etag);
        }
        if let Some(modified) = validators.modified {
            response =
                response.with_known_field("Last-Modified", &httpdate::fmt_http_date(modified));
        }
        let is_file = matches!(response.status().class(), 2 | 3);
        if let (Some(value), true) = (&self.options.cache_control, is_file) {
            response = response.with_known_field("Cache-Control", value);
        }
        if self.options.precompressed {
            response = response.with_known_field("Vary", "Accept-Encoding");
        }
        response
    }
}

fn validators(loaded: &LoadedFile) -> Validators {
    let named = loaded.validators();
    named.map_or_else(Validators::in_flux, |(tag, modified)| Validators::new(&tag, modified))
}

/// The whole content as a body.
pub(super) fn whole_body(content: &Content) -> Body {
    match content.length() {
        0 => Body::Empty,
        length => part_body(content, Part { first: 0, last: length - 1 }),
    }
}

fn part_body(content: &Content, part: Part) -> Body {
    let (offset, length) = (part.first, part.length());
    match content {
        Content::Memory(bytes) => {
            Body::Bytes(bytes.slice(offset as usize..(offset + length) as usize))
        }
        Content::File { file, .. } => {
            Body::File(FileSlice { file: Arc::clone(file), offset, length })
        }
    }
}

/// Sends one part as it is, and several as `multipart/byteranges` (RFC 9110, section 14.6).
fn partial(
    response: Response,
    whole: u64,
    media_type: &str,
    parts: &[Part],
    mut bodies: Vec<Body>,
) -> Response {
    let range = |part: &Part| format!("bytes {}-{}/{whole}", part.first, part.last);
    if let [part] = parts {
        return response
            .with_known_field("Content-Type", media_type)
            .with_known_field("Content-Range", &range(part))
            .with_body(bodies.pop().unwrap_or_default());
    }
    // Random and long, so that it does not appear in the content.
    let boundary = format!("{:032x}", fastrand::u128(..));
    let mut body = VecDeque::new();
    for (part, content) in parts.iter().zip(bodies) {
        let range = range(part);
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n"
        );
        body.push_back(Body::Bytes(head.into()));
        body.push_back(content);
    }
    body.push_back(Body::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    response
        .with_known_field("Content-Type", &format!("multipart/byteranges; boundary={boundary}"))
        .with_body(Body::Sequence(body))
}
