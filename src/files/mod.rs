//! Files beneath a root, and what they are.

pub mod residency;
pub mod held;
pub mod entries;
pub mod root;
pub mod media_type;
pub mod cache;
