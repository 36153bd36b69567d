//! The system types that parking uses. Its model replaces them.

pub use crate::listening::Listener;
pub use std::net::{Shutdown, TcpStream};
pub use std::sync::atomic::AtomicUsize;
pub use std::sync::{Mutex, OnceLock};

/// The number of slots that are allocated together when one of them is needed first.
pub const CHUNK: usize = 256;
