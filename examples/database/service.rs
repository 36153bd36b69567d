//! The archive behind HTTP: files, a search, uploads. One connection to the database a worker.

use crate::archive::{Archive, Stored, is_good};
use cws::{Body, Error, Request, Response, RouteError, RouteTable, Routes, Status};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Largest file that a client may store.
const UPLOAD_MOST: u64 = 1 << 20;

/// What is escaped in a path.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <title>Archive</title></head>\n<body><h1>Archive</h1>\n<form action=\"search\">\
    <label>Words <input name=\"q\"></label> <button>Search</button></form>\n\
    <p>GET /files/NAME &middot; PUT /files/NAME &middot; POST /files</p></body></html>\n";

/// What all workers together wrote.
#[derive(Debug, Default)]
pub struct Writes {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Writes {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Files that were stored.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long there was a writer, over all.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// The routes of an archive in this file.
pub fn routes(path: PathBuf, writes: Arc<Writes>) -> Result<RouteTable<Archive>, RouteError> {
    let open = move |worker| {
        // The request that needs it gets a 500, and the next one tries again.
        Archive::open(&path)
            .unwrap_or_else(|error| panic!("worker {worker} cannot open the archive: {error}"))
    };
    let (put, post) = (Arc::clone(&writes), writes);
    Routes::with_state(open)
        .get("/", |_: &Request<'_>| Response::html(PAGE))
        .get("/files/{*name}", file)
        .get("/search", search)
        .put("/files/{*name}", UPLOAD_MOST, move |request: &Request<'_>, archive: &mut Archive| {
            let name = request.param("name").unwrap_or_default();
            if !is_good(name) {
                let explanation = "A name has no hidden segments and ends in no slash.";
                return Err(Error::new(Status::FORBIDDEN, explanation));
            }
            store(request, archive, Some(name), &put)
        })
        .post("/files", UPLOAD_MOST, move |request: &Request<'_>, archive: &mut Archive| {
            store(request, archive, None, &post)
        })
        .build()
}

fn file(request: &Request<'_>, archive: &mut Archive) -> Result<Response, Error> {
    let name = request.param("name").unwrap_or_default();
    let content = archive.file(name).map_err(failed)?;
    let content = content.ok_or_else(|| Error::new(Status::NOT_FOUND, "No such file."))?;
    let media_type = mime_guess::from_path(name).first_or_octet_stream();
    Ok(Response::ok(media_type.as_ref(), content)
        .with_field("X-Content-Type-Options", "nosniff")?)
}

fn search(request: &Request<'_>, archive: &mut Archive) -> Result<Response, Error> {
    let words = request.query("q").unwrap_or_default();
    let found = archive.search(&words).map_err(|error| failed(error.into()))?;
    Ok(Response::json(serde_json::to_vec(&found)?))
}

fn store(
    request: &Request<'_>,
    archive: &mut Archive,
    name: Option<&str>,
    writes: &Writes,
) -> Result<Response, Error> {
    let Stored { name, is_new, wrote_for } = archive.store(name, request.body()).map_err(failed)?;
    writes.add(wrote_for);
    if !is_new {
        return Ok(Response::new(Status::NO_CONTENT));
    }
    let reference = path_of(&name);
    let created = Response::new(Status::CREATED).with_field("Location", &reference)?;
    Ok(created.with_body(Body::Bytes(format!("{reference}\n").into())))
}

/// The path of a file.
fn path_of(name: &str) -> String {
    format!("/files/{}", utf8_percent_encode(name, ESCAPED))
}

/// A writer that waited too long for the others is told to come back.
fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let code = error.downcast_ref::<rusqlite::Error>().and_then(|error| error.sqlite_error_code());
    match code {
        Some(rusqlite::ErrorCode::DatabaseBusy) => {
            Error::new(Status::SERVICE_UNAVAILABLE, "Others are writing. Try again shortly.")
        }
        _ => Error::new(Status::INTERNAL_SERVER_ERROR, "The database failed."),
    }
    .with_cause(error)
}
