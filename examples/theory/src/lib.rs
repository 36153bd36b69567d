//! Queueing theory of a pool of equal workers: exact where it can be, and it says where it is not.
//!
//! It is arithmetic alone, without a dependency: no sockets, threads or clocks, and nothing of the
//! server. The server asks a small part of it for its own figures; that part is `basics`, one file
//! that both crates have (a symbolic link here), so that each can be packaged without the other.
//!
//! Notation and units, everywhere here: *servers* is the number of workers c; *offered* load is
//! a = arrival rate x mean service time, in erlangs; *utilisation* is rho = a / c. **Waits are in
//! units of the mean service time**: multiply by D for seconds. A wait does not include service.
//!
//! | for | use |
//! |---|---|
//! | exponential service, first come first served | [`Mmc`], exact |
//! | constant service | [`Mdc`], exact |
//! | any service, any arrivals, by their first two moments | [`allen_cunneen`], an approximation |
//! | a bounded queue | [`mmck_blocking`], exact; [`mdck_blocking`], an approximation |
//! | clients that wait for their answer before they ask again | [`closed`] |
//! | more load than the pool carries | [`fluid`] |

mod basics;
mod poisson;
mod fourier;
mod erlang;
mod mdc;
pub mod closed;
pub mod fluid;

pub use basics::{TheoryError, allen_cunneen, utilisation};
pub use erlang::{Mmc, erlang_b, erlang_c, mmck_blocking};
pub use mdc::{Mdc, mdck_blocking};

/// The mean number in a system that is entered `rate` times a second and left after `time`
/// seconds on average: Little's law, L = lambda W (Little 1961). It holds whatever the order of
/// service and the distributions.
pub fn little(rate: f64, time: f64) -> f64 {
    rate * time
}
