//! Divides the memory that clients can make the server hold.

use cws::{ArchiveLimits, CacheLimits, Claim, Config, Memory, MemoryUse};
use std::sync::OnceLock;

/// The memory limit of each part of the server, and other limits that all sites share.
#[derive(Debug)]
pub(crate) struct Shares {
    /// The budget from which all parts claim.
    pub(crate) memory: Memory,
    /// Bytes of cached files.
    pub(crate) cache: u64,
    /// Bytes of log lines that wait to be written.
    pub(crate) log: usize,
    archives: OnceLock<ArchiveLimits>,
    /// Claims for the parts with limits of their own, held from the start.
    _set_aside: Vec<Claim>,
}

/// Bytes of log lines that may wait to be written: 16 thousand usual lines, or about 60 of the
/// longest. A reader that has stalled for longer loses lines.
const LOG_BYTES: usize = 4 * 1024 * 1024;

/// At least one part in `LEFT` of the memory stays for connections, requests and responses.
const LEFT: u64 = 2;

impl Shares {
    /// Divides `memory` bytes (default: a part of the machine's), of which `cache` bytes (default:
    /// a part of `memory`) are for files.
    pub(crate) fn new(memory: Option<u64>, cache: Option<u64>) -> Result<Self, String> {
        let most = memory.unwrap_or_else(|| Config::memory_within(cws::memory_limit()));
        let least = Config::MEMORY_LEAST;
        if most < least {
            return Err(format!(
                "cannot run with {} of memory (set --memory to at least {})",
                show(most),
                show(least)
            ));
        }
        let log = (LOG_BYTES as u64).min(most / 32);
        let cache = cache.unwrap_or_else(|| CacheLimits::bytes_within(most));
        let set_aside = log.saturating_add(cache);
        if set_aside > most / LEFT {
            return Err(format!(
                "cannot cache {} of files with {} of memory (set a smaller --cache, or --memory \
                 to at least {})",
                show(cache),
                show(most),
                show(LEFT.saturating_mul(set_aside))
            ));
        }
        let memory = Memory::new(most);
        let parts = [(MemoryUse::Files, cache), (MemoryUse::Log, log)];
        let parts = parts.map(|(of, bytes)| memory.claim(of, bytes));
        let log = usize::try_from(log).unwrap_or(usize::MAX);
        let archives = OnceLock::new();
        Ok(Self { memory, cache, log, archives, _set_aside: parts.into_iter().flatten().collect() })
    }
}

impl Shares {
    /// The limits on archives, whose number of workers stays as it is.
    pub(crate) fn archives(&self, workers: usize) -> &ArchiveLimits {
        self.archives.get_or_init(|| ArchiveLimits::new(workers))
    }
}

/// A size in human-readable units.
pub(crate) fn show(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_and_the_log_are_claimed_from_the_whole() {
        let shares = Shares::new(Some(64 << 20), None).expect("enough");
        assert_eq!((shares.cache, shares.log), (16 << 20, 2 << 20));
        assert_eq!(shares.memory.held(), 18 << 20);
        let shares = Shares::new(None, None).expect("enough");
        assert!(shares.memory.most() <= Config::memory_within(None));
        assert!(shares.memory.held() <= shares.memory.most() / 2);
        let none = Shares::new(Some(8 << 20), Some(0)).expect("enough");
        assert_eq!(none.memory.held_for(MemoryUse::Files), 0);
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors_that_say_what_to_do() {
        let error = Shares::new(Some(1), None).expect_err("too little");
        assert!(error.contains("at least 4.0 MiB"), "{error}");
        let error = Shares::new(Some(64 << 20), Some(64 << 20)).expect_err("too much");
        assert!(error.contains("--cache") && error.contains("at least 132.0 MiB"), "{error}");
    }
}
