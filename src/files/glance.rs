//! What the kernel knows of a name without a look at a disk.

use super::loaded::Stamp;
use std::fs::File;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// Nothing has this name.
    Nothing,
    Directory,
    /// A regular file in this state.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing is known there"))]
    File(Stamp),
}

/// Looks at the name `relative` beneath `dir`, and through links that lead out of it only if
/// `follows_links`. None if the answer is not in memory, or is another one.
///
/// `RESOLVE_CACHED` (Linux 5.12) has `openat2(2)` use the kernel's cache of names and nothing else;
/// `AT_STATX_DONT_SYNC` does the same for `statx(2)` and the attributes.
#[cfg(target_os = "linux")]
pub fn glance(dir: impl std::os::fd::AsFd, relative: &[u8], follows_links: bool) -> Option<Glance> {
    use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;
    let confined = match follows_links {
        true => ResolveFlags::CACHED,
        false => ResolveFlags::CACHED | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    };
    let place =
        match openat2(dir, relative, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), confined) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR) => return Some(Glance::Nothing),
            Err(_) => return None,
        };
    let stat = look(&place)?;
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => Some(Glance::File(Stamp::of_statx(&stat))),
        FileType::Directory => Some(Glance::Directory),
        _ => None,
    }
}

/// The state of an open file, if it is in memory.
#[cfg(target_os = "linux")]
pub fn state(file: &File) -> Option<Stamp> {
    look(file).map(|stat| Stamp::of_statx(&stat))
}

#[cfg(target_os = "linux")]
fn look(file: impl std::os::fd::AsFd) -> Option<rustix::fs::Statx> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(file, c"", flags, StatxFlags::BASIC_STATS).ok()
}

/// Other systems offer no way to ask.
#[cfg(not(target_os = "linux"))]
pub fn state(_file: &File) -> Option<Stamp> {
    None
}

/// Other systems offer no way to ask.
#[cfg(not(target_os = "linux"))]
pub fn glance<D>(_dir: D, _relative: &[u8], _follows_links: bool) -> Option<Glance> {
    None
}
