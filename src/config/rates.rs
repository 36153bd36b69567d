//! The bounds of rates: how far a limited response may run ahead, and how often it is looked at.

use std::time::Duration;

/// The lowest limit of a rate, in bytes per second. With less, a head alone would take seconds.
pub const LIMIT_LEAST: u64 = 1024;

/// What may be sent at once after a pause is what the rate gives in this time. It is short, so that
/// what is sent within a few seconds is within a percent of the rate.
pub const LIMIT_BURST: Duration = Duration::from_millis(50);

/// The least that may be sent at once, in bytes: a small response with its head. At the lowest
/// rates it is what the rate gives in a longer time.
pub const LIMIT_BURST_LEAST: u64 = 1024;

/// A response that waits for its limit loses nothing if the server comes late: it is credited with
/// the time since then, up to this.
pub const LIMIT_LATE: Duration = Duration::from_millis(250);

/// Responses that wait for their limits go on at multiples of this time, so that many of them share
/// a wakeup: there are at most 200 of them a second.
pub const LIMIT_TICK: Duration = Duration::from_millis(5);

/// Responses that go on in one round of the acceptor. Then events get their turn.
pub const LIMIT_BATCH: usize = 64;

/// While many wait for their turns, each sends less, so that all have had one in this time.
pub const LIMIT_ROUND: Duration = Duration::from_millis(250);

/// It is still what the rate gives in this time, so that there are at most 10,000 turns a second.
pub const LIMIT_TURN_LEAST: Duration = Duration::from_micros(100);

/// It is also at least this many bytes, as far as the rate allows: a few segments.
pub const LIMIT_TURN_BYTES: u64 = 4 * 1024;

/// A response that has at most this many bytes, head included, need not wait for its turn behind
/// large ones while `Config::limit_total` holds them up, as long as such responses take at most
/// half of that rate.
pub const LIMIT_SMALL: u64 = 4 * 1024;

/// The time in which a limited client's acknowledgements come back. What it was sent in this time
/// may still be on its way, and is not held against it.
pub const LIMIT_FLIGHT: Duration = Duration::from_secs(1);

/// The most transfers on the live page.
pub const TRANSFERS: usize = 50;

/// The most bytes of a target that the live page shows.
pub const TRANSFER_TARGET: usize = 256;

/// The shortest time over which the rate of a transfer is measured.
pub const TRANSFER_WINDOW: Duration = Duration::from_secs(2);
