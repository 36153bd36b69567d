//! Files beneath a root directory: how they are opened, described and cached.

pub mod residency;
#[cfg(feature = "files")]
pub mod loaded;
#[cfg(feature = "files")]
mod glance;
#[cfg(feature = "files")]
mod natural;
#[cfg(feature = "files")]
pub mod entries;
#[cfg(feature = "files")]
pub mod root;
#[cfg(feature = "files")]
pub mod media_type;
#[cfg(feature = "files")]
pub mod cache;
