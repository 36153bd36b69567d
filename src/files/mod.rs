//! Files beneath a root, and what they are.

pub mod root;
pub mod media_type;
pub mod held;
pub mod cache;
