//! The modules of `cws` that read what comes over the wire, by themselves, and the targets.

// The targets name the crate as others do.
extern crate self as cws;

#[path = "../../src/memory.rs"]
pub mod memory;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/client/framing.rs"]
mod response_framing;

#[path = "../fuzz_corpus/targets/mod.rs"]
pub mod targets;

/// What the targets use of the client.
pub mod client {
    pub use super::response_framing::Fault;
}

/// The private modules, as the crate shows them to its tests.
pub mod internals {
    pub use super::response_framing::{MAX_HEAD, ResponseFraming};
    pub use super::{config, http};
}

pub use http::request::Method;
