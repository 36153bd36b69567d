//! How the memory that clients can make the server hold is shared out.

use cws::{CacheLimits, Claim, Config, Memory, MemoryUse};

/// What each part of the server may hold.
#[derive(Debug)]
pub(crate) struct Shares {
    /// What all of it is claimed from.
    pub(crate) memory: Memory,
    /// Bytes of files that are held.
    pub(crate) cache: u64,
    /// Bytes of lines that the logs may have waiting.
    pub(crate) log: usize,
    /// The parts that have bounds of their own are set aside from the start.
    _set_aside: Vec<Claim>,
}

/// Bytes of log lines that may wait to be written: 16 thousand usual ones, or some 60 of the
/// longest, whose every byte was escaped. More would outlast no reader that has stalled.
const LOG_BYTES: usize = 4 * 1024 * 1024;

/// Least part of the memory that is left to connections, requests and responses: one of so many.
const LEFT: u64 = 2;

impl Shares {
    /// Shares out `memory` bytes, by default a part of what the machine has; `cache` of them, by
    /// default a part, are for files.
    pub(crate) fn new(memory: Option<u64>, cache: Option<u64>) -> Result<Self, String> {
        let most = memory.unwrap_or_else(|| Config::memory_within(cws::memory_limit()));
        let least = Config::MEMORY_LEAST;
        if most < least {
            return Err(format!(
                "cannot do with {} of memory (give --memory at least {})",
                show(most),
                show(least)
            ));
        }
        let log = (LOG_BYTES as u64).min(most / 32);
        let cache = cache.unwrap_or_else(|| CacheLimits::bytes_within(most));
        let set_aside = log.saturating_add(cache);
        if set_aside > most / LEFT {
            return Err(format!(
                "cannot hold {} of files within {} of memory (give --cache a smaller part, or \
                 --memory at least {})",
                show(cache),
                show(most),
                show(LEFT.saturating_mul(set_aside))
            ));
        }
        let memory = Memory::new(most);
        let parts = [(MemoryUse::Files, cache), (MemoryUse::Log, log)];
        let parts = parts.map(|(of, bytes)| memory.claim(of, bytes));
        let log = usize::try_from(log).unwrap_or(usize::MAX);
        Ok(Self { memory, cache, log, _set_aside: parts.into_iter().flatten().collect() })
    }
}

/// A size as people write it.
pub(crate) fn show(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_set_aside_from_the_whole() {
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
    fn what_cannot_be_shared_out_is_told_with_what_to_do() {
        let error = Shares::new(Some(1), None).expect_err("too little");
        assert!(error.contains("at least 4.0 MiB"), "{error}");
        let error = Shares::new(Some(64 << 20), Some(64 << 20)).expect_err("too much");
        assert!(error.contains("--cache") && error.contains("at least 132.0 MiB"), "{error}");
    }
}
