//! A response under way, as an operator sees it.

use super::{Connection, Phase};
use crate::access_log::{Record, escaped, shown_client};
use crate::config;
use std::time::Instant;

/// A response under way: see `Observer::transfers`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Transfer {
    /// The address of its client; `unix:` for all peers of UNIX sockets, which have none.
    pub client: String,
    /// The start of the request's target, printable: at most 256 bytes of it, in which others than
    /// printable ASCII are escaped. None for small content of a server without an access log.
    pub target: Option<String>,
    /// Bytes of content given to the kernel so far.
    pub sent: u64,
    /// Bytes of content in all; none if it ends when its stream does.
    pub length: Option<u64>,
    /// Bytes per second over the last two to four seconds, or since it has begun. None within a
    /// quarter of a second after that.
    pub rate: Option<f64>,
}

impl Connection {
    /// How large its response is: the bytes of content in all, or those sent so far if nobody knows
    /// how many follow. None if it sends no content.
    pub fn transfer_size(&self) -> Option<u64> {
        let Phase::Flushing(flushing) = &self.phase else { return None };
        let (sent, left) = flushing.content();
        Some(sent.saturating_add(left.unwrap_or(0))).filter(|size| *size > 0)
    }

    /// Its response, if it sends one.
    pub fn transfer(&self, now: Instant) -> Option<Transfer> {
        let Phase::Flushing(flushing) = &self.phase else { return None };
        let (sent, left) = flushing.content();
        Some(Transfer {
            client: shown_client(self.origin.client()),
            target: flushing.record().map(shown_target),
            sent,
            length: left.map(|left| sent.saturating_add(left)),
            rate: flushing.rate(now),
        })
    }
}

fn shown_target(record: &Record) -> String {
    let target = record.request_line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let start = &target[..target.len().min(config::TRANSFER_TARGET)];
    let mut shown = escaped(start);
    if start.len() < target.len() {
        shown.push_str("...");
    }
    shown
}
