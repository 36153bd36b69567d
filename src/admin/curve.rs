//! The wait that theory expects of a pool at each utilisation: the curve with the knee.

use crate::theory;
use serde_json::{Value, json};

/// The utilisations of the curve: 0 to 0.98 in steps of 0.02, and 0.99.
const POINTS: usize = 51;

/// What depends on the number of workers alone. It takes time to compute for a large pool.
#[derive(Debug)]
pub(super) struct Curve {
    workers: u32,
    points: Vec<Waits>,
}

/// Mean waits at one utilisation, in services.
#[derive(Debug)]
struct Waits {
    utilisation: f64,
    /// With constant services, M/D/c.
    constant: f64,
    /// With exponential services, M/M/c.
    exponential: f64,
    /// The probability that a request waits, M/M/c.
    waits: f64,
}

/// What was measured of a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// The squared coefficient of variation of the gaps between arrivals.
    pub(super) arrivals: f64,
    /// That of the services.
    pub(super) services: f64,
    /// The mean service time in seconds.
    pub(super) mean: f64,
}

impl Curve {
    pub(super) fn new(workers: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let at = |point: usize| {
            let utilisation = if point == POINTS - 1 { 0.99 } else { point as f64 / 50.0 };
            let constant = theory::constant_wait(workers, utilisation).ok()?;
            let exponential = theory::exponential_wait(workers, utilisation);
            let waits = theory::wait_probability(workers, utilisation);
            Some(Waits { utilisation, constant, exponential, waits })
        };
        Self { workers, points: (0..POINTS).filter_map(at).collect() }
    }

    /// Utilisation, mean wait and 99th percentile of the wait, in seconds. Without measurements,
    /// the waits are in services, and services are exponential.
    ///
    /// The percentile is an approximation: the wait of those who wait is taken as exponential,
    /// which it is for exponential services (M/M/c) and nearly is close to saturation.
    pub(super) fn json(&self, measured: Option<Measured>) -> Value {
        let Measured { arrivals, services, mean } =
            measured.unwrap_or(Measured { arrivals: 1.0, services: 1.0, mean: 1.0 });
        let point = |at: &Waits| {
            let wait = theory::between_waits(at.constant, at.exponential, arrivals, services);
            let late = match at.waits > 0.01 {
                true => wait / at.waits * (100.0 * at.waits).ln(),
                false => 0.0,
            };
            [at.utilisation, wait * mean, late * mean]
        };
        json!({
            "workers": self.workers,
            "measured": measured.is_some(),
            "arrival_variation": arrivals,
            "service_variation": services,
            "service": mean,
            "points": self.points.iter().map(point).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(workers: usize, measured: Measured) -> Vec<[f64; 3]> {
        let json = Curve::new(workers).json(Some(measured));
        serde_json::from_value(json["points"].clone()).unwrap_or_default()
    }

    #[test]
    fn the_curve_is_the_servers_own_theory() {
        for workers in [1, 2, 8, 100] {
            for (arrivals, services) in [(1.0, 0.0), (1.0, 1.0), (0.7, 0.3), (1.4, 6.0)] {
                let points = points(workers, Measured { arrivals, services, mean: 0.05 });
                assert_eq!(points.len(), POINTS);
                for [utilisation, wait, _] in points {
                    let count = u32::try_from(workers).unwrap_or_default();
                    let theory = theory::two_moment_wait(count, utilisation, arrivals, services);
                    let wanted = 0.05 * theory.unwrap_or(f64::NAN);
                    assert!((wait - wanted).abs() <= 1e-12, "{wait} for {wanted}");
                }
            }
        }
    }

    /// M/M/1: P(wait > t) = rho exp(-(1 - rho) t).
    #[test]
    fn the_percentile_is_exact_for_one_worker_with_exponential_services() {
        for [utilisation, _, late] in
            points(1, Measured { arrivals: 1.0, services: 1.0, mean: 1.0 })
        {
            let wanted = match utilisation > 0.01 {
                true => (100.0 * utilisation).ln() / (1.0 - utilisation),
                false => 0.0,
            };
            assert!((late - wanted).abs() < 1e-9 * (1.0 + wanted), "{late} for {wanted}");
        }
    }
}
