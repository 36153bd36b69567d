//! Files beneath a root directory: how they are opened, described and cached.

pub mod residency;
pub mod loaded;
pub mod entries;
pub mod root;
pub mod media_type;
pub mod cache;
