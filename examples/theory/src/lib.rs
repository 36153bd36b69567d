//! Queueing theory for a pool of equal workers: exact if possible, otherwise marked as an
//! approximation.
//!
//! It is pure arithmetic: no sockets, threads or clocks, nothing of the server, and of other crates
//! the error function alone. The server needs a small part of it for its own figures. That part is
//! `basics`, one file that belongs to both crates (a symbolic link here), so that each crate can be
//! packaged without the other.
//!
//! Notation and units in this crate: *servers* is the number of workers c; *offered* load is a =
//! arrival rate x mean service time, in erlangs; *utilisation* is rho = a / c. **Waits are in units
//! of the mean service time**: multiply by D for seconds. A wait does not include the service.
//!
//! | for | use |
//! |---|---|
//! | exponential service, first come first served | [`Mmc`], exact |
//! | constant service | [`Mdc`], exact |
//! | any service, Poisson arrivals | [`Mgc`], exact for one worker, else says its trust |
//! | one worker, the shortest service first | [`priority_waits`], exact |
//! | any service, any arrivals, by their first two moments | [`allen_cunneen`], an approximation |
//! | a bounded queue, exponential service, any load | [`Mmck`], exact |
//! | a bounded queue, constant service, any load | [`Mdck`], an approximation within 2 % |
//! | clients that wait for their answer before they ask again | [`closed`] |
//! | more load than the pool carries | [`fluid`] |
//! | several pools behind a balancer | [`fleet`] |

mod basics;
mod poisson;
mod fourier;
mod erlang;
mod mmck;
mod mdc;
mod mdck;
mod service;
mod mgc;
mod priority;
pub mod closed;
pub mod fluid;
pub mod fleet;

pub use basics::{
    TheoryError, allen_cunneen, constant_wait, two_moment_wait, two_moments_leave, utilisation,
};
pub use erlang::{Mmc, erlang_b, erlang_c, mmck_blocking};
pub use mdc::Mdc;
pub use mdck::{Mdck, mdck_blocking};
pub use mgc::{Formula, Mgc, Trust};
pub use mmck::Mmck;
pub use priority::{Class, priority_waits};
pub use service::Service;

/// Little's law, L = lambda W (Little 1961): the mean number in a system with `rate` arrivals per
/// second and a mean time in the system of `time` seconds. It holds for any order of service and
/// any distributions.
pub fn little(rate: f64, time: f64) -> f64 {
    rate * time
}
