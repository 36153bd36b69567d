//! Who may work on archives: a limited number of workers, for a limited number of archives.

use super::tree::Tree;
use super::walk::{NoTree, Walk};
use crate::config;
use crate::files::root::{NotServed, Root};
use crate::lane::{Lane, NoPermit, Permit};
use crate::lock::lock;
use crate::memory::Memory;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How many workers make archives at a time, and how many archives are sent at a time. All clones
/// are one, which several `StaticFiles` can share.
///
/// It needs the feature `files`.
#[derive(Debug, Clone)]
pub struct ArchiveLimits(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    lane: Lane,
    /// The number of archives that are being sent.
    places: AtomicUsize,
    /// The number of archives so far.
    number: AtomicU64,
}

impl ArchiveLimits {
    /// Lets at most half of `workers`, but always one, make archives at a time.
    pub fn new(workers: usize) -> Self {
        let (places, number) = (AtomicUsize::new(0), AtomicU64::new(0));
        // Archives that are being sent always find room to wait.
        let lane = Lane::new((workers / 2).max(1), config::LANE_WAITING + config::ARCHIVES);
        Self(Arc::new(Limits { lane, places, number }))
    }
}

/// The archives of a site. All clones are of one desk.
#[derive(Debug, Clone)]
pub(crate) struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: ArchiveLimits,
    memory: Memory,
    hasher: RandomState,
    walks: Mutex<HashMap<Box<[u8]>, Step>>,
}

/// A walk, when it began, and when a request had a turn of it last.
#[derive(Debug)]
struct Step {
    progress: Progress,
    begun: Instant,
    last: Instant,
}

#[derive(Debug)]
enum Progress {
    /// It goes on with the next request.
    Begun(Box<Walk>),
    Ended(Arc<Tree>),
}

/// The place of an archive that is being sent. Its number is a key of the lane.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    limits: ArchiveLimits,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limits.0.places.fetch_sub(1, Relaxed);
    }
}

impl Desk {
    /// A desk with these limits.
    pub(crate) fn new(memory: Memory, limits: ArchiveLimits) -> Self {
        let (hasher, walks) = (RandomState::new(), Mutex::default());
        Self(Arc::new(Inner { limits, memory, hasher, walks }))
    }

    /// A desk with other memory, before it is in use.
    pub(crate) fn with_memory(&self, memory: Memory) -> Self {
        Self::new(memory, self.0.limits.clone())
    }

    /// A desk with other limits, before it is in use.
    pub(crate) fn with_limits(&self, limits: ArchiveLimits) -> Self {
        Self::new(self.0.memory.clone(), limits)
    }

    /// The memory from which lists are claimed.
    pub(super) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// A place for one more archive.
    pub(super) fn place(&self) -> Result<Place, NotServed> {
        let more = |taken| (taken < config::ARCHIVES).then_some(taken + 1);
        let Limits { places, number, .. } = &*self.0.limits.0;
        places.fetch_update(Relaxed, Relaxed, more).map_err(|_| NotServed::Busy)?;
        let number = number.fetch_add(1, Relaxed);
        Ok(Place { number, limits: self.0.limits.clone() })
    }

    fn lane(&self) -> &Lane {
        &self.0.limits.0.lane
    }

    /// Asks for a permit to make a piece.
    pub(super) fn enter(&self, place: &Place) -> Result<Permit, NoPermit> {
        self.lane().enter(place.number)
    }

    /// What is beneath the directory at `path`, which is named `top` in its archive, as a walk has
    /// found it that began at `since` or later. The work is done in turns: between two of them, the
    /// request waits behind others. All requests for a directory share the work and its result.
    pub(super) fn tree(
        &self,
        root: &Root,
        (path, top): (&[u8], &[u8]),
        since: Instant,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Arc<Tree>, NoTree> {
        if let Some(tree) = self.ended(path, since) {
            return Ok(tree);
        }
        let key = self.0.hasher.hash_one(path);
        let permit = self.lane().enter(key).map_err(NotServed::from)?;
        // Another request may have ended it.
        if let Some(tree) = self.ended(path, since) {
            return Ok(tree);
        }
        let before = lock(&self.0.walks).remove(path);
        let (mut walk, begun) = match before {
            Some(Step { progress: Progress::Begun(walk), begun, .. }) => (walk, begun),
            _ => (Box::new(Walk::new(self.memory(), path, top)?), Instant::now()),
        };
        let (progress, result) = match walk.go_on(root, self.memory(), wanted)? {
            true => {
                let tree = Arc::new(walk.finish());
                (Progress::Ended(Arc::clone(&tree)), Ok(tree))
            }
            // The permit is dropped before this is waited for, so the wait is over at once.
            false => {
                let wait = self.lane().wait_for(key);
                (Progress::Begun(walk), Err(NotServed::Pending(wait).into()))
            }
        };
        self.keep(path, Step { progress, begun, last: Instant::now() })?;
        drop(permit);
        result
    }

    fn keep(&self, path: &[u8], step: Step) -> Result<(), NotServed> {
        let mut walks = lock(&self.0.walks);
        let is_full = walks.len() >= config::ARCHIVES && !walks.contains_key(path);
        match (is_full, &step.progress) {
            (true, Progress::Begun(_)) => return Err(NotServed::Busy),
            // This request has the result, and others find it out again.
            (true, Progress::Ended(_)) => return Ok(()),
            (false, _) => {}
        }
        let replaced = walks.insert(path.into(), step);
        drop(walks);
        // Its memory can be large: it is given back without the lock.
        drop(replaced);
        Ok(())
    }

    fn ended(&self, path: &[u8], since: Instant) -> Option<Arc<Tree>> {
        match lock(&self.0.walks).get(path)? {
            Step { progress: Progress::Ended(tree), begun, .. } if *begun >= since => {
                Some(Arc::clone(tree))
            }
            _ => None,
        }
    }

    /// Drops the results that are old, and the walks that nobody continues.
    pub(crate) fn tend(&self) {
        let is_old = |step: &Step| match step.progress {
            Progress::Ended(_) => step.last.elapsed() >= config::CACHE_FRESH,
            Progress::Begun(_) => step.last.elapsed() >= config::ARCHIVE_KEPT,
        };
        let mut walks = lock(&self.0.walks);
        let old: Vec<_> = walks.extract_if(|_, step| is_old(step)).collect();
        drop(walks);
        drop(old);
    }
}
