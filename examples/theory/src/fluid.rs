//! The fluid limit: an overloaded pool as a continuous flow.
//!
//! The load is m, the offered rate divided by the capacity c/D. The random variation of the
//! arrivals is the square root of their number, and m - 1 times the number soon exceeds it (Newell
//! 1982, chapter 2). All times are in the same unit.

/// The carried rate as a share of the capacity.
pub fn carried(m: f64) -> f64 {
    m.clamp(0.0, 1.0)
}

/// The share of the requests that a server at full capacity must refuse: 1 - 1/m.
pub fn refused(m: f64) -> f64 {
    if m > 1.0 { 1.0 - 1.0 / m } else { 0.0 }
}

/// The wait of a request that arrives at the time `since` after the overload began, with an
/// unbounded queue.
pub fn wait_after(m: f64, since: f64) -> f64 {
    (m - 1.0).max(0.0) * since
}

/// How long after the start of the overload an unbounded queue still answers within `patience`. All
/// later requests are answered too late. `None` if it always answers in time.
pub fn good_for(m: f64, service: f64, patience: f64) -> Option<f64> {
    (m > 1.0).then(|| (patience - service).max(0.0) / (m - 1.0))
}

/// The time from the end of a burst with load `m` and duration `length` until its backlog is gone,
/// with the load `after` from then on. `None` if the backlog never disappears.
pub fn recovery(m: f64, length: f64, after: f64) -> Option<f64> {
    (after < 1.0).then(|| (m - 1.0).max(0.0) * length / (1.0 - after))
}

/// The load of clients that make this many tries in total while no try succeeds. If it is above 1,
/// an unbounded backlog that exceeds the clients' patience once stays for ever: the server is busy
/// with tries that clients gave up (Bronson et al. 2021, metastable failures).
pub fn with_retries(load: f64, tries: u32) -> f64 {
    load * f64::from(tries)
}
