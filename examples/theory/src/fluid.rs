//! Past the knee: what a pool does when more comes than it carries, as a flow without chance.
//!
//! The load is given as m, the offered rate over the capacity c/D. Chance adds the square root of
//! what has come; m - 1 times what has come soon outgrows it (Newell 1982, chapter 2). All times
//! are in one unit, whichever.

/// The share of the capacity that is carried.
pub fn carried(m: f64) -> f64 {
    m.clamp(0.0, 1.0)
}

/// The share of the requests that must be refused, sooner or later, by a server that carries what
/// it can: 1 - 1/m.
pub fn refused(m: f64) -> f64 {
    if m > 1.0 { 1.0 - 1.0 / m } else { 0.0 }
}

/// The wait of a request that comes `since` after the overload began, before a queue without bound.
pub fn wait_after(m: f64, since: f64) -> f64 {
    (m - 1.0).max(0.0) * since
}

/// How long after the overload began a queue without bound still answers within `patience`; all
/// that come later are served for nobody. None where it always does.
pub fn good_for(m: f64, service: f64, patience: f64) -> Option<f64> {
    (m > 1.0).then(|| (patience - service).max(0.0) / (m - 1.0))
}

/// The time from the end of a burst of `length` at `m` until its backlog is gone, with a load of
/// `after` from then on; none where it never goes.
pub fn recovery(m: f64, length: f64, after: f64) -> Option<f64> {
    (after < 1.0).then(|| (m - 1.0).max(0.0) * length / (1.0 - after))
}

/// The load that clients make who try so many times in all while no try succeeds. Where it is
/// above 1, a backlog without bound that has once outgrown the clients' patience stays for ever:
/// the server is busy with tries that were given up (Bronson et al. 2021, metastable failures).
pub fn with_retries(load: f64, tries: u32) -> f64 {
    load * f64::from(tries)
}
