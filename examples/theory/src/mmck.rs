//! Poisson arrivals, exponential service times and a bounded queue, M/M/c/K: exact, at any load.

use crate::basics::{TheoryError, at_least_one, finite, lost};
use crate::erlang::{crossing, probability};
use crate::poisson;

/// A share below this one of the likeliest queue length counts as zero.
const NOTHING: f64 = 1e-20;

/// With a lower Erlang's B, no request ever waits: the smallest numbers have no inverse.
const LOST_LEAST: f64 = 1e-280;

/// The largest number of queue lengths whose shares are computed.
const ROOM_MOST: usize = 1 << 22;

/// With more departures than this on average, the probability that a bounded queue has not passed
/// is below the smallest number.
const DEPARTURES_MOST: f64 = 1e9;

/// 1 - `lost`, the share that finds an idle worker if none may wait. Far above the capacity the
/// difference has no digits left, and the recursion of Erlang's B gives it as a quotient.
pub fn kept(servers: u32, offered: f64, lost_share: f64) -> f64 {
    if lost_share < 0.5 {
        return 1.0 - lost_share;
    }
    f64::from(servers) / offered * lost_share / lost(servers - 1, offered)
}

/// The steady state of a pool with exponential service times in which at most K requests are in
/// service or wait, first come, first served (Kleinrock 1975, section 3.6). Further requests are
/// refused; the figures of waits are those of the admitted requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Mmck {
    servers: u32,
    offered: f64,
    blocked: f64,
    /// 1 - `blocked`, which is exact if it is small.
    passed: f64,
    /// The share of the admitted requests that find an idle worker.
    at_once: f64,
    /// The shortest queue that is not negligible, and the shares of the admitted requests that find
    /// this one and the longer ones.
    shortest: usize,
    found: Vec<f64>,
}

impl Mmck {
    /// A pool with this number of workers for at most `system` requests, at least as many, at this
    /// utilisation. It counts the refused requests, so it may be above 1.
    pub fn new(servers: u32, system: u32, utilisation: f64) -> Result<Self, TheoryError> {
        let servers = at_least_one(servers)?;
        let utilisation = finite("the utilisation", utilisation)?;
        let room = room(servers, system)?;
        let offered = finite("the offered load", utilisation * f64::from(servers))?;
        // B, the share of "all busy" if none may wait, gives the weight of the other states.
        let lost = lost(servers, offered);
        let kept = kept(servers, offered, lost);
        if lost < LOST_LEAST || room == 0 {
            let found = vec![];
            let (blocked, passed) = (lost, kept);
            return Ok(Self {
                servers,
                offered,
                blocked,
                passed,
                at_once: 1.0,
                shortest: 0,
                found,
            });
        }
        // The weights of the queue lengths from the likeliest one, which is the shortest or the
        // longest: its weight is 1, so that nothing overflows.
        let falls = utilisation < 1.0;
        let ratio = if falls { utilisation } else { 1.0 / utilisation };
        let mut weights = vec![1.0, ratio];
        while weights.len() <= room && weights[weights.len() - 1] > NOTHING {
            if weights.len() > ROOM_MOST {
                return Err(TheoryError::OutOfRange { what: BOUND, value: system.into() });
            }
            weights.push(weights[weights.len() - 1] * ratio);
        }
        let empty = if falls { 1.0 } else { ratio.powf(room as f64) };
        let idle = empty * kept / lost;
        let (full, mut found) = match falls {
            true => {
                let full = ratio.powf(room as f64);
                weights.truncate(room);
                (full, weights)
            }
            false => (1.0, weights.into_iter().skip(1).rev().collect()),
        };
        let admitted = idle + found.iter().sum::<f64>();
        let shortest = if falls { 0 } else { room - found.len() };
        found.iter_mut().for_each(|weight| *weight /= admitted);
        let (blocked, passed) = (full / (admitted + full), admitted / (admitted + full));
        let at_once = idle / admitted;
        Ok(Self { servers, offered, blocked, passed, at_once, shortest, found })
    }

    /// The probability that a request is refused.
    pub fn blocking(&self) -> f64 {
        self.blocked
    }

    /// The admitted requests per service time: the offered load in erlangs less the refused part.
    pub fn throughput(&self) -> f64 {
        self.offered * self.passed
    }

    /// The probability that an admitted request waits.
    pub fn wait_probability(&self) -> f64 {
        (1.0 - self.at_once).max(0.0)
    }

    /// The mean wait of the admitted requests. Who finds m requests waiting is the next after m + 1
    /// departures.
    pub fn mean_wait(&self) -> f64 {
        let turns = (1..).map(|ahead: u32| f64::from(ahead) + self.shortest as f64);
        let departures: f64 = turns.zip(&self.found).map(|(ahead, share)| ahead * share).sum();
        departures / f64::from(self.servers)
    }

    /// The probability that wait and service of an admitted request take longer than `time`.
    ///
    /// Who finds m waiting needs m + 1 departures at the rate c, and a service: the time exceeds t
    /// if at most m have departed, or if it is in service at t. The probability of the latter is
    /// the sum over j > m of P(Poisson(c t) = j) ((c - 1) / c)^(j - m - 1): none of the departures
    /// after its start is its own.
    pub fn response_beyond(&self, time: f64) -> f64 {
        let mean = f64::from(self.servers) * time;
        if time < 0.0 {
            return 1.0;
        }
        if mean > DEPARTURES_MOST {
            return 0.0;
        }
        let alone = self.at_once * (-time).exp();
        let stays = 1.0 - 1.0 / f64::from(self.servers);
        // The number of departures is in this range, and so is the one up to which the stays
        // matter: that one is Poisson with the mean (c - 1) t.
        let near = |mean: f64| 12.0 * mean.sqrt() + 40.0;
        let least = if self.servers == 1 { mean } else { stays * mean };
        let from = (least - near(least)).max(0.0) as usize;
        let to = (mean + near(mean)) as usize;
        let departed: Vec<f64> =
            (from..=to + 1).map(|count| poisson::probability(count as f64, mean)).collect();
        let up_to = departed.iter().scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        let up_to: Vec<f64> = up_to.collect();
        let found = |waiting: usize| {
            waiting.checked_sub(self.shortest).and_then(|at| self.found.get(at)).copied()
        };
        let mut sum: f64 = self.found.iter().skip((to + 1).saturating_sub(self.shortest)).sum();
        let mut serves = 0.0;
        for waiting in (from..=to).rev() {
            serves = departed[waiting + 1 - from] + stays * serves;
            let beyond = up_to[waiting - from] + serves;
            sum += found(waiting).unwrap_or_default() * beyond;
        }
        // With fewer before it, it does not wait any more, but it may be in service.
        let top = from.min(self.shortest + self.found.len());
        serves *= stays.powf((from - top) as f64);
        for waiting in (self.shortest..top).rev() {
            serves *= stays;
            sum += found(waiting).unwrap_or_default() * serves;
        }
        (alone + sum).min(1.0)
    }

    /// The time (wait and service) that a share `p` of the admitted requests does not exceed.
    pub fn response_percentile(&self, p: f64) -> Result<f64, TheoryError> {
        let beyond = 1.0 - probability(p)?;
        Ok(crossing(beyond, |time| self.response_beyond(time)))
    }
}

/// The name of K in errors.
const BOUND: &str = "the system's bound";

/// The number of requests that may wait.
pub(super) fn room(servers: u32, system: u32) -> Result<usize, TheoryError> {
    match system.checked_sub(servers) {
        Some(room) => Ok(room as usize),
        None => Err(TheoryError::OutOfRange { what: BOUND, value: system.into() }),
    }
}
