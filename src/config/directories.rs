//! Limits on what is made of directories beside their listings.

use super::SEND_PIECE;
use std::time::Duration;

/// The bytes of a README that a listing shows. Longer texts are for a page of their own.
pub const README_BYTES: usize = 64 * 1024;

/// The most bytes of HTML for them. Markdown that needs more is shown as plain text: each of its
/// characters takes at most 6 bytes, and each byte that is no character takes 3.
#[cfg_attr(not(feature = "markdown"), allow(dead_code, reason = "text needs no bound"))]
pub const README_HTML: usize = 8 * README_BYTES;

/// The most files and directories in an archive. The list of this many takes 6 MB with names of 24
/// bytes, for as long as the archive is sent.
pub const ARCHIVE_ENTRIES: usize = 100_000;

/// The most directories above a file in an archive: no list has a path without an end.
pub const ARCHIVE_DEPTH: usize = 64;

/// The most archives that are sent at a time. Each keeps a list, two descriptors, and a piece.
pub const ARCHIVES: usize = 32;

/// The bytes of an archive that are made at a time, and the part of a file for which a checksum is
/// computed at a time.
pub const ARCHIVE_PIECE: usize = SEND_PIECE;

/// Up to this size in bytes, files in an archive are copied, many of them into one piece. Longer
/// ones are sent like any file.
pub const ARCHIVE_COPIED: u64 = 64 * 1024;

/// How long a worker walks through directories, or makes a piece of an archive, before other
/// requests get their turn.
pub const ARCHIVE_TURN: Duration = Duration::from_millis(10);

/// A request for the rest of an archive shares a walk that began this long before it arrived. It
/// must share its own, of which it does not know when it began to the microsecond.
pub const ARCHIVE_SHARED: Duration = Duration::from_millis(5);

/// How long a walk that nobody continues is kept, for a client that tries again.
pub const ARCHIVE_KEPT: Duration = Duration::from_secs(10);

const _: () = assert!(ARCHIVE_COPIED < ARCHIVE_PIECE as u64, "a copied file is one piece");
