//! The content of an archive, made in pieces while it is sent.

use super::desk::{Desk, Place};
use super::tree::{At, Item, Tree};
use super::{Format, tar, zip};
use crate::config;
use crate::files::loaded::Stamp;
use crate::files::residency::is_in_memory;
use crate::files::root::{NotServed, Root};
use crate::handler::{FileSlice, Made};
use crate::lane::NoPermit;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

/// An archive that is being made. Headers and short files are copied into pieces in memory. The
/// content of a longer file is a piece by itself, which is sent like that of any file: if it is not
/// in memory, a fetcher waits for the disk.
#[derive(Debug)]
pub(super) struct Making {
    tree: Arc<Tree>,
    root: Root,
    desk: Desk,
    place: Place,
    format: Format,
    at: At,
    stage: Stage,
    /// The bytes that are left out before the next one, if the archive is sent from its middle.
    skip: u64,
    /// The archive is sent from its middle: all files must be as they were.
    is_rest: bool,
    /// The checksums of the items so far, for a zip.
    checksums: Vec<u32>,
}

/// What is made next.
#[derive(Debug)]
enum Stage {
    /// An item.
    Item,
    /// The rest of a file's content.
    Content(Content),
    /// The directory of a zip.
    Directory(zip::Directory),
    Nothing,
}

/// The content of a file, which is sent piece by piece.
#[derive(Debug)]
struct Content {
    file: Arc<File>,
    /// What has been sent of it.
    sent: u64,
    size: u64,
    /// What has been summed up: the part that was sent last is not yet.
    summed: u64,
    hasher: crc32fast::Hasher,
}

impl Making {
    /// The archive from the byte `first` on, which only a tar can begin with. `checksums` has room
    /// for those of all items of a zip.
    pub(super) fn new(
        (tree, root): (Arc<Tree>, Root),
        (desk, place): (Desk, Place),
        format: Format,
        first: u64,
        checksums: Vec<u32>,
    ) -> Self {
        let (mut at, mut skip) = (At::default(), first);
        while skip > 0
            && let Some(item) = tree.item(&mut at)
            && let Some(length) = tar::length(&item).filter(|&length| length <= skip)
        {
            (at, skip) = (at.next(), skip - length);
        }
        let (is_rest, stage) = (first > 0, Stage::Item);
        Self { tree, root, desk, place, format, at, stage, skip, is_rest, checksums }
    }

    /// The next piece; None at the end.
    fn make(&mut self) -> io::Result<Option<Made>> {
        let (tree, begun) = (Arc::clone(&self.tree), Instant::now());
        let mut piece = Vec::new();
        while piece.is_empty()
            || piece.len() < config::ARCHIVE_PIECE && begun.elapsed() < config::ARCHIVE_TURN
        {
            match &mut self.stage {
                Stage::Item => self.begin_item(&tree, &mut piece)?,
                // What comes before it goes first.
                Stage::Content(content) if content.sent < content.size && !piece.is_empty() => {
                    break;
                }
                Stage::Content(content) => {
                    if let Some(slice) = content.next_slice(self.format)? {
                        return Ok(Some(Made::File(slice)));
                    }
                    let (checksum, size) = (content.hasher.clone().finalize(), content.size);
                    self.end_item(&tree, size, checksum, &mut piece);
                }
                Stage::Directory(directory) => {
                    if !directory.put_next(&tree, &self.checksums, &mut piece) {
                        self.stage = Stage::Nothing;
                    }
                }
                Stage::Nothing => break,
            }
        }
        Ok((!piece.is_empty()).then(|| Made::Bytes(piece.into())))
    }

    /// Begins the next item, or what is behind the last.
    fn begin_item(&mut self, tree: &Tree, piece: &mut Vec<u8>) -> io::Result<()> {
        let format = self.format;
        let Some(item) = tree.item(&mut self.at) else {
            self.stage = match format {
                Format::Zip => Stage::Directory(zip::Directory::default()),
                Format::Tar => {
                    self.put(piece, |piece| piece.resize(piece.len() + tar::END, 0));
                    Stage::Nothing
                }
            };
            return Ok(());
        };
        if item.size == 0 {
            self.put(piece, |piece| put_head(format, &item, 0, piece));
            self.end_item(tree, 0, 0, piece);
            return Ok(());
        }
        let file = self.open(&item)?;
        if item.size <= config::ARCHIVE_COPIED
            && (format == Format::Zip || is_in_memory(&file, 0, item.size, false))
        {
            let content = read(&file, 0, item.size)?;
            let checksum = match format {
                Format::Zip => crc32fast::hash(&content),
                Format::Tar => 0,
            };
            self.put(piece, |piece| put_head(format, &item, checksum, piece));
            self.put(piece, |piece| piece.extend_from_slice(&content));
            self.end_item(tree, item.size, checksum, piece);
            return Ok(());
        }
        self.put(piece, |piece| put_head(format, &item, 0, piece));
        let sent = self.skip.min(item.size);
        self.skip -= sent;
        let hasher = crc32fast::Hasher::new();
        let (file, size) = (Arc::new(file), item.size);
        self.stage = Stage::Content(Content { file, sent, size, summed: sent, hasher });
        Ok(())
    }

    /// Ends the item at the current place.
    fn end_item(&mut self, tree: &Tree, size: u64, checksum: u32, piece: &mut Vec<u8>) {
        match self.format {
            Format::Tar => {
                self.put(piece, |piece| piece.resize(piece.len() + tar::padding(size), 0));
            }
            Format::Zip => {
                if let Some(item) = tree.item(&mut self.at) {
                    zip::put_tail(&item, checksum, piece);
                }
                self.checksums.push(checksum);
            }
        }
        self.at = self.at.next();
        self.stage = Stage::Item;
    }

    /// Appends what `make` appends, without the bytes that are skipped.
    fn put(&mut self, piece: &mut Vec<u8>, make: impl FnOnce(&mut Vec<u8>)) {
        let before = piece.len();
        make(piece);
        let skipped = (piece.len() - before).min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        piece.drain(before..before + skipped);
        self.skip -= skipped as u64;
    }

    /// Opens the file of an item. The announced length allows neither to leave it out nor to fill
    /// it up, so one that has gone, or has become shorter, ends the archive: the client sees that
    /// bytes are missing. Of one that has become longer, the announced bytes are sent.
    fn open(&self, item: &Item<'_>) -> io::Result<File> {
        let path = item.path();
        let shown = path.escape_ascii();
        let failed = |reason: String| io::Error::other(format!("{shown} {reason}"));
        let (file, metadata) = self.root.open_file(&path).map_err(|reason| match reason {
            NotServed::NotFound => failed("has gone since the archive began".to_owned()),
            NotServed::Failed(error) | NotServed::Exhausted(error) => {
                failed(format!("cannot be opened: {error}"))
            }
            _ => failed("cannot be served any more".to_owned()),
        })?;
        let (length, modified) = Stamp::of(&metadata).length_and_time();
        if length < item.size {
            return Err(failed("became shorter since the archive began".to_owned()));
        }
        let is_same = length == item.size && item.modified.map(i128::from) == Some(modified);
        if self.is_rest && !is_same {
            return Err(failed("has changed since the client got the first part".to_owned()));
        }
        Ok(file)
    }
}

impl Iterator for Making {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        // Making it may wait for a disk.
        let _permit = match self.desk.enter(&self.place) {
            Ok(permit) => permit,
            Err(NoPermit::Wait(wait)) => return Some(Made::Wait(wait)),
            Err(NoPermit::Full) => return Some(Made::Bytes(Bytes::new())),
        };
        self.make().unwrap_or_else(|error| Some(Made::Failed(error)))
    }
}

impl Content {
    /// The next part to send; None at the end. The content of a tar is one part. That of a zip is
    /// summed up part by part, after each has been sent: then it is in memory.
    fn next_slice(&mut self, format: Format) -> io::Result<Option<FileSlice>> {
        if format == Format::Zip && self.summed < self.sent {
            self.hasher.update(&read(&self.file, self.summed, self.sent - self.summed)?);
            self.summed = self.sent;
        }
        let left = self.size - self.sent;
        let length = match format {
            Format::Tar => left,
            Format::Zip => left.min(config::ARCHIVE_PIECE as u64),
        };
        let offset = self.sent;
        self.sent += length;
        let slice = || FileSlice { file: Arc::clone(&self.file), offset, length };
        Ok((length > 0).then(slice))
    }
}

fn put_head(format: Format, item: &Item<'_>, checksum: u32, piece: &mut Vec<u8>) {
    match format {
        Format::Tar => tar::put_head(item, piece),
        Format::Zip => zip::put_head(item, checksum, piece),
    }
}

/// Reads `length` bytes, at most a piece.
fn read(file: &File, first: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; length as usize];
    file.read_exact_at(&mut content, first).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "a file became shorter"),
        _ => error,
    })?;
    Ok(content)
}
