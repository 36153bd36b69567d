//! What this package's own tests and its lab see of the private modules, with the feature
//! `internals`. It is no part of the API.

/// The bounds and waits.
pub mod config {
    pub use crate::config::*;
}

/// The protocol without sockets.
pub mod http {
    pub use crate::http::*;
}

/// What proxies say.
#[cfg(feature = "proxy")]
pub mod proxy {
    pub use crate::proxy::*;
}

/// The law of a service time.
pub use crate::handler::{Law, law};

/// Text in HTML pages.
pub mod html {
    pub use crate::html::*;
}

/// The disciplines, ages and bounds of the queue.
pub mod queue {
    pub use crate::queue::{Charge, Discipline, Entry, Victim, ages, discipline};
}

#[cfg(feature = "client")]
pub use crate::client::framing::{MAX_HEAD, ResponseFraming};
