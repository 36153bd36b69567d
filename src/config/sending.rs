//! The bounds of sending: how much goes out at once, and how much the kernel buffers.

use super::SMALL_FILE;
use std::time::Duration;

/// The first piece of a large file: the bytes that one system call sends. After each piece, other
/// connections can get their turn.
pub const SEND_PIECE: usize = 256 * 1024;

/// The most bytes of a piece. The next one grows to what went out in a turn at the speed of the
/// last one, up to this. Most calls only queue bytes, which takes 20 microseconds for 256 KiB. If
/// the kernel sends them at once, as through the loopback interface, it can take five times as
/// long.
pub const SEND_PIECE_MOST: usize = 1024 * 1024;

/// A worker sends the last bytes of a file in one turn if they are at most this many. Most sockets
/// have room for them, and handing the connection over costs more than sending them.
pub const SEND_REST: u64 = 1024 * 1024;

/// The distance between two probes of whether a file is in memory: the kernel's default read-ahead.
/// Each probe costs a system call, which is noticeable for large files.
pub const PROBE_STRIDE: usize = 128 * 1024;

/// A turn of a response that takes longer: it sends one piece, and goes on until this time is over.
pub const SEND_TURN: Duration = Duration::from_micros(100);

/// In each round of the acceptor such responses have a turn at least, and as much time as it did
/// other things, up to this. Requests wait at most this long in addition.
pub const SEND_TURNS_MOST: Duration = Duration::from_millis(5);

/// The most unsent bytes that the kernel buffers for a client whose speed is unknown or low: enough
/// to keep a fast network busy until the sender's next turn (at 10 Gbit/s, a fifth of a
/// millisecond).
pub const UNSENT_BYTES: usize = 256 * 1024;

/// The same for a client that reads fast. The kernel then sends most of a response while it
/// processes acknowledgements, and wakes the sender less often.
pub const UNSENT_BYTES_MOST: usize = 4 * 1024 * 1024;

/// The kernel buffers as many unsent bytes as a client reads in this time, within the two bounds
/// above.
pub const UNSENT_TIME: Duration = Duration::from_millis(50);

/// What the bounds of all clients together may exceed [`UNSENT_BYTES`] by. When it is used up, the
/// bounds of others do not grow.
pub const UNSENT_TOTAL: u64 = 256 * 1024 * 1024;

/// Content up to this length is copied behind its head, so that one buffer is sent. That costs less
/// than a call with two buffers.
pub const COPIED_BYTES: usize = 2048;

/// The size of the pieces in which a file is copied if `sendfile` is not available.
pub const COPY_PIECE: usize = 64 * 1024;

const _: () = assert!(SMALL_FILE <= SEND_PIECE as u64, "a small file is one piece");
const _: () = assert!(SEND_PIECE <= SEND_PIECE_MOST);
const _: () = assert!(2 * UNSENT_BYTES <= UNSENT_BYTES_MOST);
