//! The bytes of a zip whose files are stored as they are (PKWARE's APPNOTE.TXT 6.3.10).
//!
//! No crate that writes a zip without seeking tells its length before it has the content.

use super::tree::{At, Item, Tree};
use crate::config;
use std::time::{Duration, SystemTime};

/// The checksum of a short file is in front of its content, where most programs look for it. That
/// of a longer one is known only behind it, and is in a record there (section 4.3.9).
fn has_descriptor(item: &Item<'_>) -> bool {
    item.size > config::ARCHIVE_COPIED
}

/// Fields of 32 bits that do not hold their value have this one (section 4.5.3).
const ELSEWHERE: u32 = u32::MAX;

/// Made on Unix, by version 6.3 of the specification.
const MADE_BY: u16 = 3 << 8 | 63;

/// What it takes to read an entry with 32 bits and one with 64.
const NEEDS: [u16; 2] = [20, 45];

fn is_wide(value: u64) -> bool {
    value >= u64::from(ELSEWHERE)
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(ELSEWHERE)
}

/// The bytes of an item and what belongs to it, without its part of the directory.
pub(super) fn length(item: &Item<'_>) -> Option<u64> {
    let (wide, time) = (is_wide(item.size), timestamp(item));
    let descriptor = match (has_descriptor(item), wide) {
        (false, _) => 0,
        (true, false) => 16,
        (true, true) => 24,
    };
    let extra = if wide { 20 } else { 0 } + if time.is_some() { 9 } else { 0 };
    item.size.checked_add(30 + item.name_length() as u64 + extra + descriptor)
}

/// The bytes of the whole archive; None if there are too many to count.
pub(super) fn length_of_all(tree: &Tree) -> Option<u64> {
    let (mut offset, mut directory, mut count) = (0_u64, 0, 0);
    for item in tree.items() {
        let wide = 8 * (2 * u64::from(is_wide(item.size)) + u64::from(is_wide(offset)));
        let extra = if wide > 0 { 4 + wide } else { 0 };
        let time = if timestamp(&item).is_some() { 9 } else { 0 };
        directory += 46 + item.name_length() as u64 + extra + time;
        offset = offset.checked_add(length(&item)?)?;
        count += 1;
    }
    let end = End { count, directory, offset };
    offset.checked_add(directory)?.checked_add(22 + if end.is_wide() { 76 } else { 0 })
}

/// Appends what comes before the content of an item. The checksum counts if the item is short.
pub(super) fn put_head(item: &Item<'_>, checksum: u32, piece: &mut Vec<u8>) {
    let wide = is_wide(item.size);
    let checksum = if has_descriptor(item) { 0 } else { checksum };
    piece.extend(0x0403_4b50_u32.to_le_bytes());
    piece.extend(NEEDS[usize::from(wide)].to_le_bytes());
    put_common(item, checksum, piece);
    let extra = if wide { 20 } else { 0 } + if timestamp(item).is_some() { 9 } else { 0 };
    piece.extend(u16::to_le_bytes(extra));
    piece.extend(name(item));
    if wide {
        piece.extend([1_u16, 16].map(u16::to_le_bytes).as_flattened());
        piece.extend([item.size, item.size].map(u64::to_le_bytes).as_flattened());
    }
    put_timestamp(item, piece);
}

/// Appends what comes behind the content of an item.
pub(super) fn put_tail(item: &Item<'_>, checksum: u32, piece: &mut Vec<u8>) {
    if !has_descriptor(item) {
        return;
    }
    piece.extend([0x0807_4b50, checksum].map(u32::to_le_bytes).as_flattened());
    match is_wide(item.size) {
        true => piece.extend([item.size, item.size].map(u64::to_le_bytes).as_flattened()),
        false => piece.extend([narrow(item.size); 2].map(u32::to_le_bytes).as_flattened()),
    }
}

/// Appends the part of the directory for an item whose bytes begin at `offset`.
pub(super) fn put_entry(item: &Item<'_>, checksum: u32, offset: u64, piece: &mut Vec<u8>) {
    let mut wide = Vec::new();
    if is_wide(item.size) {
        wide.extend([item.size, item.size]);
    }
    if is_wide(offset) {
        wide.push(offset);
    }
    piece.extend(0x0201_4b50_u32.to_le_bytes());
    piece.extend(
        [MADE_BY, NEEDS[usize::from(!wide.is_empty())]].map(u16::to_le_bytes).as_flattened(),
    );
    put_common(item, checksum, piece);
    let room = 8 * wide.len() as u16;
    let extra = if room > 0 { 4 + room } else { 0 };
    let time = if timestamp(item).is_some() { 9 } else { 0 };
    // No comment, on the first disk, no text.
    piece.extend([extra + time, 0, 0, 0].map(u16::to_le_bytes).as_flattened());
    let mode: u32 = if item.is_directory() { 0o040_755 } else { 0o100_644 };
    let of_dos = if item.is_directory() { 0x10 } else { 0 };
    piece.extend([mode << 16 | of_dos, narrow(offset)].map(u32::to_le_bytes).as_flattened());
    piece.extend(name(item));
    if room > 0 {
        piece.extend([1, room].map(u16::to_le_bytes).as_flattened());
        wide.into_iter().for_each(|value| piece.extend(value.to_le_bytes()));
    }
    put_timestamp(item, piece);
}

/// The end of an archive: what its directory has, and where it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) count: u64,
    /// The length of the directory.
    pub(super) directory: u64,
    pub(super) offset: u64,
}

impl End {
    fn is_wide(self) -> bool {
        self.count >= u64::from(u16::MAX) || is_wide(self.directory) || is_wide(self.offset)
    }

    /// Appends it.
    pub(super) fn put(self, piece: &mut Vec<u8>) {
        let Self { count, directory, offset } = self;
        if self.is_wide() {
            piece.extend(0x0606_4b50_u32.to_le_bytes());
            // The length of the rest of this record.
            piece.extend(44_u64.to_le_bytes());
            piece.extend([MADE_BY, NEEDS[1]].map(u16::to_le_bytes).as_flattened());
            piece.extend([0; 8]);
            let figures = [count, count, directory, offset];
            piece.extend(figures.map(u64::to_le_bytes).as_flattened());
            piece.extend([0x0706_4b50, 0_u32].map(u32::to_le_bytes).as_flattened());
            piece.extend((offset + directory).to_le_bytes());
            piece.extend(1_u32.to_le_bytes());
        }
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        piece.extend(0x0605_4b50_u32.to_le_bytes());
        piece.extend([0, 0, count, count].map(u16::to_le_bytes).as_flattened());
        piece.extend([narrow(directory), narrow(offset)].map(u32::to_le_bytes).as_flattened());
        piece.extend([0; 2]);
    }
}

/// Appends the fields that both records of an item have, from the flags to the length of the name.
fn put_common(item: &Item<'_>, checksum: u32, piece: &mut Vec<u8>) {
    // Bit 3: a descriptor follows. Bit 11: the name is UTF-8.
    let name = name(item);
    let is_utf8 = std::str::from_utf8(&name).is_ok();
    let flags = u16::from(has_descriptor(item)) << 3 | u16::from(is_utf8) << 11;
    let (time, date) = of_dos(item);
    // Method 0: stored.
    piece.extend([flags, 0, time, date].map(u16::to_le_bytes).as_flattened());
    let size = narrow(item.size);
    piece.extend([checksum, size, size].map(u32::to_le_bytes).as_flattened());
    // No system has longer paths than this holds.
    piece.extend((name.len() as u16).to_le_bytes());
}

/// The name. A backslash separates directories on some systems, and could lead out of the folder
/// into which the archive is unpacked.
fn name(item: &Item<'_>) -> Vec<u8> {
    let mut name = item.name();
    name.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'_');
    name
}

/// The time in seconds since 1970, if a field of 32 bits has room.
fn timestamp(item: &Item<'_>) -> Option<i32> {
    i32::try_from(item.seconds()).ok()
}

/// The extended timestamp of Info-ZIP (section 4.6.1): the time in UTC. The other one is in nobody
/// knows which zone, and has steps of two seconds.
fn put_timestamp(item: &Item<'_>, piece: &mut Vec<u8>) {
    if let Some(seconds) = timestamp(item) {
        piece.extend(b"UT\x05\x00\x01");
        piece.extend(seconds.to_le_bytes());
    }
}

/// The time and the date as MS-DOS has them, in UTC: from 1980 to 2107.
fn of_dos(item: &Item<'_>) -> (u16, u16) {
    // 1980-01-01 to 2107-12-31.
    let seconds = item.seconds().clamp(315_532_800, 4_354_819_199);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let mut parts = text.split(['-', 'T', ':', 'Z']).map(|part| part.parse().unwrap_or(0_u16));
    let mut part = || parts.next().unwrap_or(0);
    let date = (part().saturating_sub(1980)) << 9 | part() << 5 | part();
    (part() << 11 | part() << 5 | (part() / 2), date)
}

/// The item behind `at`, whose place it moves on, with its checksum and offset in the archive.
#[derive(Debug, Default)]
pub(super) struct Directory {
    at: At,
    /// The number of the item at `at`.
    number: usize,
    offset: u64,
    length: u64,
}

impl Directory {
    /// Appends the part of the next item, or the end: then it returns false.
    pub(super) fn put_next(&mut self, tree: &Tree, checksums: &[u32], piece: &mut Vec<u8>) -> bool {
        let before = piece.len();
        let Some(item) = tree.item(&mut self.at) else {
            let (count, directory) = (self.number as u64, self.length);
            End { count, directory, offset: self.offset }.put(piece);
            return false;
        };
        let checksum = checksums.get(self.number).copied().unwrap_or_default();
        put_entry(&item, checksum, self.offset, piece);
        self.length += (piece.len() - before) as u64;
        // The length of the whole is known, so that of a part can be counted.
        self.offset += length(&item).unwrap_or_default();
        self.number += 1;
        self.at = self.at.next();
        true
    }
}
