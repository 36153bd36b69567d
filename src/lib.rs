//! A web server on a fixed-size thread pool. Its workers never wait for a client.
//!
//! # What do you want to do?
//!
//! **Serve a folder** (feature `files`):
//!
//! ```
//! # #[cfg(feature = "files")] {
//! use cws::{Config, Server, StaticFiles};
//!
//! let server = Server::start(Config::default(), StaticFiles::new("src")?)?;
//! println!("listening on http://{}/", server.addresses()[0]);
//! # server.shutdown();
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Answer requests.** A closure is a handler:
//!
//! ```
//! use cws::{Config, Request, Response, Server};
//!
//! let server = Server::start(Config::default(), |request: &Request<'_>| {
//!     let name = request.query("name").unwrap_or("world".into());
//!     Response::text(format!("hello {name}\n"))
//! })?;
//! # server.shutdown();
//! # Ok::<(), cws::StartError>(())
//! ```
//!
//! **Make a JSON API, whose requests have bodies** (feature `routes`). `?` turns an error into a
//! response ([`Error`]):
//!
//! ```
//! # #[cfg(feature = "routes")] {
//! use cws::{Error, Request, Response, Routes, Status};
//!
//! let routes = Routes::new()
//!     // A longer body gets 413.
//!     .post("/notes", 64 << 10, |request: &Request<'_>| -> Result<Response, Error> {
//!         let mut note: serde_json::Value = serde_json::from_slice(request.body())
//!             .map_err(|error| Error::new(Status::UNPROCESSABLE_CONTENT, error.to_string()))?;
//!         note["number"] = 1.into();
//!         Ok(Response::json(note.to_string()).with_status(Status::CREATED))
//!     })
//!     .build()?;
//! # drop(routes);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Give each worker a connection**, to a database for example. It is made on the worker's thread,
//! and made again after a panic:
//!
//! ```
//! # #[cfg(feature = "routes")] {
//! use cws::{Request, Routes};
//! # struct Database;
//! # impl Database {
//! #     fn open(_: &str) -> Self { Self }
//! #     fn count(&mut self) -> u64 { 1 }
//! # }
//!
//! let routes = Routes::with_state(|_worker| Database::open("notes.db"))
//!     .get("/count", |_: &Request<'_>, database: &mut Database| {
//!         format!("{}\n", database.count())
//!     })
//!     .build()?;
//! # drop(routes);
//! # }
//! # Ok::<(), cws::RouteError>(())
//! ```
//!
//! **Serve files under a prefix, and metrics and health checks on the same port** (`admin`):
//!
//! ```
//! # #[cfg(all(feature = "admin", feature = "files", feature = "routes"))] {
//! use cws::{AdminPages, Config, Request, Routes, Server, StaticFiles};
//!
//! let admin = AdminPages::new();
//! let routes = Routes::new()
//!     .get("/", |_: &Request<'_>| "see /static/\n")
//!     .mount("/static", StaticFiles::new("src")?)
//!     .mount("/metrics", admin.metrics())
//!     .mount("/healthz", admin.health())
//!     .build()?;
//! let server = Server::start(Config::default(), routes)?;
//! admin.observe(server.observer())?;
//! # server.shutdown();
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Stream** what does not fit into memory, or is not there yet. A slow reader holds no worker
//! ([`Stream`]):
//!
//! ```
//! use cws::{Request, Response, Stream};
//!
//! let count = |_: &Request<'_>| {
//!     let lines = (1..=1_000_000).map(|number| format!("{number}\n").into());
//!     Response::stream("text/plain", Stream::chunked(lines))
//! };
//! # fn is_handler(_: impl cws::Handler) {}
//! # is_handler(count);
//! ```
//!
//! **Stop gracefully**: what is queued and running is answered. The library installs no signal
//! handlers:
//!
//! ```no_run
//! # let server = cws::Server::start(cws::Config::default(), |_: &cws::Request<'_>| "")?;
//! use signal_hook::consts::{SIGINT, SIGTERM};
//!
//! let stopper = server.stopper();
//! let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
//! std::thread::spawn(move || signals.forever().next().map(|_| stopper.stop()));
//! let summary = server.join();
//! assert_eq!(summary.cut, 0, "no response was cut at the drain timeout");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Test against it.** The default address is a free port of the loopback address, so that tests
//! run side by side:
//!
//! ```
//! use cws::{Config, Request, Server};
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! let server = Server::start(Config::default().workers(1), |_: &Request<'_>| "hello\n")?;
//! let mut stream = TcpStream::connect(server.addresses()[0])?;
//! stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
//! let mut reply = String::new();
//! stream.read_to_string(&mut reply)?;
//! assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\nhello\n"));
//! assert_eq!(server.shutdown().cut, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Implement [`Handler`]** where closures are not enough: with the state of a worker (see also
//! [`with_state`]), errors, and the bodies that it takes ([`Accepts`]):
//!
//! ```
//! use cws::{Accepts, Config, Error, Handler, Request, Response, Server, Status};
//!
//! struct Notes;
//!
//! impl Handler for Notes {
//!     type State = Vec<String>;
//!
//!     fn state(&self, _worker: usize) -> Vec<String> {
//!         Vec::new() // On the worker's thread: open a connection here.
//!     }
//!
//!     fn accepts(&self) -> Accepts {
//!         Accepts::nothing().with_bodies("/notes", 4096)
//!     }
//!
//!     fn handle(
//!         &self,
//!         request: &Request<'_>,
//!         notes: &mut Vec<String>,
//!     ) -> Result<Response, Error> {
//!         let note = std::str::from_utf8(request.body())
//!             .map_err(|error| Error::new(Status::BAD_REQUEST, error.to_string()))?;
//!         notes.push(note.to_owned());
//!         let count = notes.len().to_string();
//!         Ok(Response::new(Status::NO_CONTENT).with_field("X-Notes", &count)?)
//!     }
//! }
//!
//! let server = Server::start(Config::default(), Notes)?;
//! # server.shutdown();
//! # Ok::<(), cws::StartError>(())
//! ```
//!
//! # How it works
//!
//! W workers that each need a time D for a request carry at most W/D requests per second. That
//! makes a pool easy to reason about, as long as nothing but requests takes a worker's time. So
//! **the acceptor waits for clients, and the workers wait for nobody**:
//!
//! ```text
//!  kernel backlog                             bounded channel of jobs
//!  listener --accept--> ACCEPTOR ----------- try_send ---------------> WORKERS 1..W
//!                       reads a whole        |             ^           parse, delay, respond
//!                       message, body        | slow        | next        |            |
//!                       included; sends to   v             |           done      would block
//!                       slow readers;       WAITING ROOM --+             |            |
//!                       checks deadlines    full, too old: 503           v            v
//!                                  ^---------- PARKING: a poller and a table of connections
//!                                                  ^              |
//!                                             a piece sent   not in memory
//!                                                  |              v
//!                                                 FETCHERS, which wait for disks
//! ```
//!
//! A job is a whole message, or the next piece of a response that a worker makes. Only messages
//! count against the bound of the queue, so its length is the real demand. A silent, slow or
//! unreading client costs a slot in the table. It costs neither a worker nor a place in the queue.
//!
//! What a handler can answer at once, the acceptor answers itself ([`Immediate`]): a cached file, a
//! 304, a redirect, a health check. At low load this saves waking a worker. At high load the
//! workers are awake, and get most of these requests while they are quick.
//!
//! While workers take jobs from the channel at once, the channel is the queue. When it is slow,
//! those that wait move to the waiting room in front of it, where a discipline decides who is next:
//! by default clients take turns ([`Schedule`]). The channel then holds the next job alone. A
//! worker that takes it moves another one in. How many may wait, and for how long, follows from how
//! long clients wait ([`Config::patience`]) and from the service time that the server measures.
//!
//! # Two types
//!
//! A connection that waits is a `Connection`. A whole message that is served is an `Exchange`. One
//! verb, `advance`, takes a connection from phase to phase until it would block. The result, a
//! `Next`, says who continues with it:
//!
//! ```text
//!  CONNECTION (the acceptor, the table)                    EXCHANGE (a worker)
//!
//!  +-> Idle --> Head --> Body --+-- Serve ---------------> parse --> handler --> response
//!  |     |        |        |    |                            |          |            |
//!  |     |        +--------+----+-- 4xx, 5xx --+         malformed   deferred        |
//!  |     |                      |              |             |          |            |
//!  |     |                      |              |             |          v            |
//!  |     |                      +-- Serve -----|-------------|------- Whole          |
//!  |     |                                     v             v                       |
//!  +-----|-- next request ------------------ Flushing <------+-----------------------+
//!        |                                    |  ^ |
//!        |                                    |  | +-- Produce: a worker makes the next piece
//!        v                                    |  +---- Fetch: a fetcher reads the next piece
//!      closed <-- Lingering <-- last response +
//! ```
//!
//! Behind a proxy with the PROXY protocol, a connection is `Announced` before it is `Idle` for the
//! first time.
//!
//! # Floors
//!
//! The modules below are declared from the bottom up, and each uses only those above its own line;
//! a test checks it. What is absent says as much as what is there:
//!
//! - No worker waits for a client. A worker parses what is buffered, writes until it would block,
//!   and parks the rest.
//! - A connection has one owner at any time. It moves between stacks, the table and channels. There
//!   is no `Arc` around it, and no lock except the one of the slot in which it is parked.
//! - No lock is held across a system call that can block, nor across a send on a channel, which can
//!   wake a thread.
//! - No thread waits to send on the channel of jobs, so a full queue cannot deadlock. The acceptor
//!   sends with `try_send`. So does a worker that takes a job: it moves the next one from the
//!   waiting room into the slot that it has just emptied. What does not fit stays in the room.
//! - No job is forgotten in the room: whoever puts one in looks at the channel afterwards, and
//!   whoever takes one from the channel looks at the room.
//! - Workers end when the entrance of the queue is closed and the room is empty: whoever moves the
//!   last job out of the room drops the last sender.
//! - A discipline is a plain value. It knows neither threads nor sockets nor clocks.
//! - Memory for clients in the queue is bounded: they are known while they have something there.
//!   The others in debt, and those counted by what they had lately, are limited in number.
//! - The protocol (`http`) knows neither sockets nor files nor clocks.
//! - A message is framed once: by the acceptor, or by a worker that continues with a pipelined one.
//!   Framing refuses a message whose end is in doubt. A worker parses the message once, and refuses
//!   everything else that is malformed. The acceptor parses one only to ask a handler that has an
//!   immediate part, and the request line of one with a body if the handler takes bodies.
//! - Responses that take more than one turn of the acceptor stand in line, behind what has just
//!   arrived. They have about half of its time. So a request waits for the turns of one round,
//!   however many downloads go on. The kernel buffers little for a reader until it has shown that
//!   it reads fast.
//! - The acceptor blocks only while it waits for events. It never waits for a disk or a logger. Of
//!   a handler's code it runs only what the handler declares to take no time ([`Immediate`]).
//! - What needs no worker is in no figure of the queue or the workers, and nobody loses a place in
//!   the queue for it. It is answered however many requests wait.
//! - No discipline orders what the acceptor answers, so it answers one request of each connection
//!   in turn. Those pipelined behind it follow at once only for a short time in each round.
//! - Measurements share nothing: each thread writes its own shard of `metrics`, and readers add the
//!   shards up.
//! - No byte restarts a deadline. A body must arrive, and a response must be read, at a minimum
//!   rate in each window of time.
//! - A limit of rates makes no client slow: each is judged by what the limit let it have. Whoever
//!   waits for a limit is woken by a time, never by room in its socket.
//! - No deadline, eviction or shutdown closes a connection without a last look at what has arrived:
//!   this process may be the one that is late.
//! - Waiting alone keeps no place. When places or memory run out, the connection that has sent the
//!   least closes first. Whole requests, and responses that are being read, keep their places.
//! - Long work that many clients ask for has a lane: a limited number of workers do it at a time. A
//!   request that waits for a permit, or for another request's result, is parked without a worker.
//! - The health path is answered by the acceptor, before the queue. Only a worker that goes on with
//!   a pipelined request for it answers it, too.
//! - A refusal because of the queue keeps its connection. One connection is refused at most once in
//!   a turn of the acceptor.
//! - What a proxy says counts if the proxy is trusted, and a list is read from the end that the
//!   proxy has written. Nobody else can say who the client is.
//! - Settings that change while the server runs are replaced as a whole. A thread takes them
//!   between two jobs.
//! - Memory that clients can make the server hold is claimed from one budget in bytes. A claim that
//!   does not fit is refused and counted.
//!
//! # Where to look
//!
//! One search finds each of these; a test keeps the table true:
//!
//! | what | search for | where it is decided |
//! |---|---|---|
//! | 408: a head or a body is late | `HeadTimeout` | `src/connection/deadlines.rs` |
//! | 413: a body is too long | `BodyTooLarge` | `src/http/body.rs` |
//! | 500: a handler panicked | `Fault::Panic` | `src/connection/exchange.rs` |
//! | who needs no worker | `fn prefers_workers` | `src/acceptor/immediate.rs` |
//! | 503: the queue is full | `QueueFull` | `src/acceptor/queueing.rs` |
//! | 503: a request is too old when its turn comes | `is_too_old` | `src/connection/exchange.rs` |
//! | 503: a request is too old in the room | `expire_waiting` | `src/acceptor/queueing.rs` |
//! | how long, and how many may wait | `own.map(age)` | `src/queue/ages.rs` |
//! | what a balancer is told | `fn report` | `src/agent/mod.rs` |
//! | a service manager gets no sign of life | `AcceptorStuck` | `src/bin/server/notify.rs` |
//! | a new process gets the listeners | `fn pass_on` | `src/bin/server/takeover.rs` |
//! | whose turn it is | `charge.guess` | `src/queue/fair.rs` |
//! | a job moves from the room to the channel | `fn feed` | `src/queue/room.rs` |
//! | whose request a proxy passes on | `fn find_client` | `src/connection/origin.rs` |
//! | a connection has no PROXY header | `fn refuse_announcement` | `src/connection/announced.rs` |
//! | who are the busiest clients | `fn demand` | `src/queue/clients.rs` |
//! | W/D, the capacity | `let capacity` | `src/figures/mod.rs` |
//! | who makes an archive | `ARCHIVES).then_some` | `src/static_files/archive/desk.rs` |
//! | how much may be sent now | `ready_at(rate, least)` | `src/connection/allowance.rs` |
//! | whose turn it is within the limit of all | `fn next_turn` | `src/throttle/mod.rs` |
//! | a file goes to a socket | `sendfile` | `src/connection/sending.rs` |
//! | a symbolic link is refused | `resolve_link` | `src/files/root.rs` |
//!
//! # Types of other crates
//!
//! [`bytes::Bytes`] is meant to be in the interface: content that many responses share is not
//! copied. The feature `http` adds conversions from and to the types of the `http` crate. No other
//! crate's types are.

mod html;
mod lock;
mod memory;
#[cfg(all(feature = "sandbox", target_os = "linux"))]
mod sandbox;
mod notes;
mod lane;
mod config;
mod http;
mod proxy;
mod theory;
mod metrics;
mod figures;
mod descriptors;
mod machine;
mod scheduling;
mod listening;
mod access_log;
mod poller;
mod parking;
mod admission;
mod throttle;
mod queue;
mod files;
mod handler;
#[cfg(feature = "routes")]
mod routes;
#[cfg(feature = "http")]
mod interop;
#[cfg(feature = "files")]
mod static_files;
#[cfg(feature = "auth")]
mod auth;
mod connection;
mod workers;
mod fetchers;
mod acceptor;
mod observer;
mod reloader;
mod server;
#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "admin")]
mod agent;
#[cfg(feature = "client")]
pub mod client;

#[cfg(feature = "admin")]
pub use admin::{Admin, AdminPages};
#[cfg(feature = "admin")]
pub use agent::Agent;
#[cfg(feature = "auth")]
pub use auth::{BasicAuth, User};
pub use config::{AccessLog, Config, Schedule, WhenFull};
#[cfg(feature = "proxy")]
pub use config::{ClientAddress, Network, NetworkError};
pub use connection::Transfer;
pub use descriptors::{descriptor_limit, raise_descriptor_limit};
pub use figures::{Condition, ConditionKind, Figures, Times, Utilisation};
#[cfg(feature = "files")]
pub use files::cache::CacheLimits;
pub use handler::{
    Accepts, Body, Delay, Error, FieldError, FileSlice, Handler, Immediate, IntoResponse,
    OWN_FIELDS, Response, ServiceTime, ServiceTimeError, Stream, WithState, with_state,
};
pub use http::Version;
pub use http::request::{Method, Request};
pub use http::status::Status;
pub use http::target::{DecodedPath, Form, Target};
#[cfg(feature = "http")]
pub use interop::{FromHttp, NotFinal, from_http};
pub use lane::{Lane, NoPermit, Permit, Wait};
pub use listening::Listener;
pub use machine::memory_limit;
pub use memory::{Claim, Memory, MemoryState, MemoryUse};
pub use metrics::{
    AcceptQueue, Activity, CloseReason, ConnectionPhase, Counter, Distribution, Little, QueueState,
    Snapshot, WorkerTimes,
};
pub use observer::Observer;
pub use queue::ClientLoad;
pub use reloader::Reloader;
#[cfg(feature = "routes")]
pub use routes::{Endpoint, RouteError, RouteTable, Routes, WorkerStates};
#[cfg(all(feature = "sandbox", target_os = "linux"))]
pub use sandbox::{Confinement, Sandbox};
pub use server::{Server, StartError, Stopper, Summary};
#[cfg(feature = "files")]
pub use static_files::{ArchiveLimits, SiteError, SiteOptions, StaticFiles};

#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;

/// The examples of the README compile.
#[cfg(all(doctest, feature = "routes"))]
#[doc = include_str!("../README.md")]
mod readme {}
