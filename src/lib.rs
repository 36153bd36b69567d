//! A web server on a fixed-size thread pool, whose workers wait for nobody.
//!
//! W workers that each need a time D for a request carry at most W/D requests a second, and a
//! server of that kind is one to reason about. It keeps that promise only if nothing but requests
//! takes a worker's time. So here **the acceptor waits for peers, and the workers wait for
//! nobody**:
//!
//! ```text
//!  kernel backlog                           bounded channel of jobs
//!  listener --accept--> ACCEPTOR ---------- try_send ----------------> WORKER 1..W
//!                       reads until a whole    Full: 503               parse, delay, respond
//!                       request head is there                             |           |
//!                       flushes slow readers                           done:       would block:
//!                       sweeps deadlines                               park        park the rest
//!                          ^                                              v           v
//!                          +-------------- PARKING: poller + table of parked connections
//!                                                         ^           |
//!                                                    a piece sent   not in memory
//!                                                         |           v
//!                                                       FETCHERS, who wait for disks
//! ```
//!
//! A job is a connection with a whole request head. The queue therefore holds requests and
//! nothing else, its length is the real demand, and a silent, trickling or deaf client costs
//! neither a worker nor a place in the queue: it costs a slot in a table.
//!
//! # Use
//!
//! ```
//! use cws::{Config, Request, Response, Server};
//!
//! let server = Server::start(Config::default(), |request: &Request<'_>| {
//!     let path = request.target.path.as_bytes().escape_ascii().to_string();
//!     Response::ok("text/plain", format!("you asked for /{path}\n"))
//! })?;
//! println!("listening on {}", server.addresses()[0]);
//! server.shutdown();
//! # Ok::<(), cws::StartError>(())
//! ```
//!
//! # Floors
//!
//! The modules below are declared bottom floor first, and each uses only those above its own
//! line; a test keeps it so. What is absent says as much as what is there:
//!
//! - No worker ever waits for a peer: it parses what is buffered, writes until it would block, and
//!   parks the rest.
//! - A connection has one owner at any time. It moves from stack to table to channels; there is no
//!   `Arc` around it, and no lock but that of the slot it is parked in.
//! - No lock is held across a system call that can block.
//! - Workers never send on the channel of jobs, so a full queue cannot deadlock; the acceptor has
//!   the only sender and never blocks on it. Dropping it is how workers end.
//! - The protocol (`http`) knows neither sockets nor files nor clocks.
//! - What is no request waits for no worker for long: services are fast, or the acceptor vets a
//!   request before it queues it.
//! - Measuring shares nothing: each thread writes its own shard of `metrics`, and readers add up.
//! - No deadline is restarted by a byte: a body is judged by what came of it in each window of
//!   time, and a response by what was taken of it.
//! - No place is held by waiting alone: when places or memory run out, who has brought least gives
//!   way. Whole requests, and responses that are being taken, keep their places.
//! - The acceptor blocks nowhere but in its wait for events. It waits for no disk, and runs nothing
//!   of a handler's: the pieces of a file that are not in memory, and those of a stream, are sent
//!   by fetchers, a few threads that may wait. A worker leaves cold pieces to them, too.
//! - No deadline, eviction or end closes a connection without a last look at what has come and what
//!   can go: it may be this process that was late.
//! - Long work that many ask for has a lane: so many workers at the most are at it, and who waits
//!   for its turn, or for another's result, is parked and holds none. Passwords have a thread of
//!   their own.
//! - Whatever clients can make the server hold is claimed from one budget in bytes, or it is
//!   refused and counted.

mod html;
mod lock;
mod memory;
mod lane;
mod config;
mod http;
mod theory;
mod metrics;
mod figures;
mod descriptors;
mod machine;
mod listening;
mod access_log;
mod poller;
mod parking;
mod admission;
mod files;
mod handler;
#[cfg(feature = "files")]
mod static_files;
#[cfg(feature = "auth")]
mod auth;
mod connection;
mod workers;
mod fetchers;
mod acceptor;
mod server;
#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "client")]
pub mod client;

#[cfg(feature = "admin")]
pub use admin::Admin;
#[cfg(feature = "auth")]
pub use auth::{BasicAuth, User};
pub use config::{AccessLog, Config};
pub use descriptors::{descriptor_limit, raise_descriptor_limit};
pub use figures::{Condition, ConditionKind, Figures, Times, Utilisation};
#[cfg(feature = "files")]
pub use files::cache::CacheLimits;
pub use handler::{
    Accepts, Body, Delay, Error, FieldError, FileSlice, Handler, IntoResponse, OWN_FIELDS,
    Response, Stream, WithState, with_state,
};
pub use http::Version;
pub use http::request::{Method, Request};
pub use http::status::Status;
pub use http::target::{DecodedPath, Form, Target};
pub use lane::{Lane, Taken, Turn, Wait};
pub use machine::memory_limit;
pub use memory::{Claim, Memory, MemoryState, MemoryUse};
pub use metrics::{
    AcceptQueue, Activity, CloseReason, ConnectionPhase, Counter, Distribution, Little, QueueState,
    Snapshot, WorkerTimes,
};
pub use server::{Observer, Server, StartError, Stopper, Summary};
#[cfg(feature = "files")]
pub use static_files::{Site, SiteError, StaticFiles};

/// What this package's own tests and its lab see of the private modules, with the feature
/// `internals`. It is no part of the API.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    /// The bounds and waits.
    pub mod config {
        pub use crate::config::*;
    }

    /// The protocol without sockets.
    pub mod http {
        pub use crate::http::*;
    }

    #[cfg(feature = "client")]
    pub use crate::client::framing::{MAX_HEAD, ResponseFraming};
}
