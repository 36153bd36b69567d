//! A small service: JSON in and out, a stream, files, health and metrics, on one port.
//!
//! ```text
//! cargo run --release --example api [FOLDER] [PORT]
//! curl -d '{"title":"milk","text":"two bottles"}' localhost:8082/notes
//! curl 'localhost:8082/notes?q=milk'
//! ```

#![allow(clippy::print_stdout)]

use cws::{AdminPages, Config, Error, Request, Response, Routes, Server, StaticFiles};
use cws::{Status, Stream};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    title: String,
    text: String,
}

fn json(value: &impl Serialize) -> Result<Response, Error> {
    Ok(Response::json(serde_json::to_vec(value)?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| ".".to_owned());
    if folder.starts_with('-') {
        return Err("usage: api [FOLDER] [PORT]".into());
    }
    let port: u16 = args.next().map_or(Ok(8082), |text| text.parse())?;

    // All workers share the notes; each has a count of its own.
    let notes = Arc::new(Mutex::new(Vec::<Note>::new()));
    let (all, one, new) = (notes.clone(), notes.clone(), notes);
    let admin = AdminPages::new();
    let routes = Routes::with_state(|_worker| 0_u64)
        .get("/notes", move |request: &Request<'_>| {
            let wanted = request.query("q").unwrap_or_default();
            let notes = all.lock().unwrap_or_else(PoisonError::into_inner);
            let found: Vec<_> = notes.iter().filter(|note| note.title.contains(&*wanted)).collect();
            json(&found)
        })
        .get("/notes/{number}", move |request: &Request<'_>| -> Result<Response, Error> {
            let number: Option<usize> = request.param("number").and_then(|text| text.parse().ok());
            let notes = one.lock().unwrap_or_else(PoisonError::into_inner);
            let note = number.and_then(|number| notes.get(number));
            json(note.ok_or(Error::new(Status::NOT_FOUND, "There is no such note."))?)
        })
        .post("/notes", 64 << 10, move |request: &Request<'_>| -> Result<Response, Error> {
            let note: Note = serde_json::from_slice(request.body())
                .map_err(|error| Error::new(Status::UNPROCESSABLE_CONTENT, error.to_string()))?;
            let mut notes = new.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push(note.clone());
            let place = format!("/notes/{}", notes.len() - 1);
            let created = json(&note)?.with_status(Status::CREATED);
            Ok(created.with_field("Location", &place)?)
        })
        .get("/count/{to}", |request: &Request<'_>| -> Result<Response, Error> {
            let to = request.param("to").unwrap_or_default().parse::<u64>();
            let to = to.map_err(|error| Error::new(Status::BAD_REQUEST, error.to_string()))?;
            let lines = (1..=to).map(|number| format!("{number}\n").into());
            Ok(Response::stream("text/plain", Stream::chunked(lines)))
        })
        .get("/worker", |request: &Request<'_>, served: &mut u64| {
            *served += 1;
            json(&serde_json::json!({ "worker": request.worker(), "served": served }))
        })
        .mount("/static", StaticFiles::new(&folder)?)
        .mount("/healthz", admin.health())
        .mount("/readyz", admin.readiness())
        .mount("/metrics", admin.metrics())
        .build()?;

    let listen = vec![([127, 0, 0, 1], port).into()];
    let server = Server::start(Config::default().listen(listen), routes)?;
    admin.observe(server.observer())?;
    println!("listening on http://{}/", server.addresses()[0]);
    // Ctrl-C, or a service manager: what is queued and running is finished.
    let stopper = server.stopper();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || signals.forever().next().map(|_| stopper.stop()));
    server.join();
    Ok(())
}
