//! The figures of a server whose clients have all had their responses.

use cws::{Server, Snapshot};
use std::time::{Duration, Instant};

/// The figures after the last worker has released its request, which happens after the client has
/// its response.
pub fn settled(server: &Server) -> Snapshot {
    let begun = Instant::now();
    loop {
        let snapshot = server.snapshot();
        let is_settled = snapshot.arrivals() == snapshot.departures();
        if is_settled || begun.elapsed() > Duration::from_secs(1) {
            return snapshot;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
