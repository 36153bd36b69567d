//! The system types that parking uses. Its model replaces them.

pub use std::net::{Shutdown, TcpListener, TcpStream};
pub use std::sync::atomic::AtomicUsize;
pub use std::sync::{Mutex, OnceLock};

/// The number of slots that are allocated together when one of them is needed first.
pub const CHUNK: usize = 256;
