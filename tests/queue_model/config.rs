//! The bounds that the queue uses.

pub use cws::internals::config::*;

/// As the library's, which is open to more outside of it.
#[derive(Debug, Clone, Copy)]
pub enum WhenFull {
    Refuse,
    DropHead,
    DropRandom,
    Block,
}
