//! The system types that the hand-over uses. Its model replaces them.

pub use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
pub use std::sync::Mutex;
pub use std::sync::atomic::AtomicUsize;
