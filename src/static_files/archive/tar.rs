//! The bytes of a tar: GNU headers, which hold names and sizes of any length.

use super::tree::{Item, Tree};
use tar::{EntryType, Header};

/// Headers and content are padded to a multiple of this.
const BLOCK: u64 = 512;

/// The zeroes at the end of an archive.
pub(super) const END: usize = 2 * BLOCK as usize;

/// The name of the entry that holds a long name (`GNU tar` manual, "Extensions to ustar").
const LONG_NAME: &[u8] = b"././@LongLink";

/// Users and permissions stay on the server: what is unpacked belongs to who unpacks it.
const MODES: [u32; 2] = [0o644, 0o755];

/// The number of zeroes behind content of this size.
pub(super) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK) as usize
}

/// The bytes of an item and what belongs to it; None if there are too many to count.
pub(super) fn length(item: &Item<'_>) -> Option<u64> {
    let name = item.name_length() as u64;
    let long = match name > longest() {
        true => BLOCK + (name + 1).next_multiple_of(BLOCK),
        false => 0,
    };
    item.size.checked_next_multiple_of(BLOCK)?.checked_add(BLOCK + long)
}

/// The bytes of the whole archive; None if there are too many to count.
pub(super) fn length_of_all(tree: &Tree) -> Option<u64> {
    let add = |sum: u64, item: Item<'_>| sum.checked_add(length(&item)?);
    tree.items().try_fold(END as u64, add)
}

/// The length of the longest name that a header holds.
fn longest() -> u64 {
    Header::new_gnu().as_old().name.len() as u64
}

/// Appends what comes before the content of an item.
pub(super) fn put_head(item: &Item<'_>, piece: &mut Vec<u8>) {
    let name = item.name();
    if name.len() as u64 > longest() {
        let length = name.len() as u64 + 1;
        put_header(LONG_NAME, EntryType::GNULongName, length, 0, MODES[0], piece);
        piece.extend_from_slice(&name);
        piece.resize(piece.len() + 1 + padding(length), 0);
    }
    let (kind, mode) = match item.is_directory() {
        true => (EntryType::Directory, MODES[1]),
        false => (EntryType::Regular, MODES[0]),
    };
    put_header(&name, kind, item.size, item.seconds(), mode, piece);
}

fn put_header(
    name: &[u8],
    kind: EntryType,
    size: u64,
    seconds: u64,
    mode: u32,
    piece: &mut Vec<u8>,
) {
    let mut header = Header::new_gnu();
    let field = &mut header.as_old_mut().name;
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mtime(seconds);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    piece.extend_from_slice(header.as_bytes());
}
