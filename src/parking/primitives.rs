//! What parking takes from the system, and what its model replaces.

pub use std::net::{Shutdown, TcpListener, TcpStream};
pub use std::sync::atomic::AtomicUsize;
pub use std::sync::{Mutex, OnceLock};

/// Slots that are allocated together, when the first of them is needed.
pub const CHUNK: usize = 256;
