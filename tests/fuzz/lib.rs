//! The modules of `cws` that parse input from the network, without the rest, and the targets.

// The targets use the crate under the name that other crates use.
extern crate self as cws;

#[path = "../../src/memory.rs"]
pub mod memory;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/proxy/mod.rs"]
pub mod proxy;
#[path = "../../src/client/framing.rs"]
mod response_framing;

#[path = "../fuzz_corpus/targets/mod.rs"]
pub mod targets;

/// The part of the client that the targets use.
pub mod client {
    pub use super::response_framing::Fault;
}

/// The private modules, as the crate shows them to its tests.
pub mod internals {
    pub use super::response_framing::{MAX_HEAD, ResponseFraming};
    pub use super::{config, http, proxy};
}

pub use http::request::Method;
