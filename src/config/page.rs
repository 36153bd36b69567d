//! How much the live page shows of the past, and so how much the server keeps for it.

use std::time::Duration;

/// The strips of workers on the live page. More workers are shown as this many sorted bands.
pub const STRIPS: usize = 64;

/// The width of a column of the live page's heat map, and how many of them are kept: 5 minutes.
pub const HEAT_STEP: Duration = Duration::from_millis(2500);
/// See [`HEAT_STEP`].
pub const HEAT_STEPS: usize = 120;

/// The width of a step in the live page's last hour, and how many of them are kept.
pub const HOUR_STEP: Duration = Duration::from_secs(15);
/// See [`HOUR_STEP`].
pub const HOUR_STEPS: usize = 240;
