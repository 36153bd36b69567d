//! The twin of a fleet: ideal pools behind a balancer, which get the arrivals of a measured run.
//!
//! As with the twin of one pool, a short run says little about the steady state, and the twin with
//! the same arrivals predicts this run.

use crate::chance::exponential;
use crate::moments::Moments;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// How the balancer chooses a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Any server, each with the same probability.
    Random,
    /// One after another.
    RoundRobin,
    /// The server with the fewest requests, waiting or in service; in turn among equals.
    Least,
    /// The one of two servers with fewer requests. Both are drawn at random.
    TwoChoices {
        /// The two may be the same server.
        repeats: bool,
    },
    /// All servers are one pool with a single queue: no policy does better if the service times are
    /// not known.
    Pooled,
}

/// Servers with equal numbers of workers, each first come, first served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// The number of servers.
    pub servers: usize,
    /// The number of workers of each.
    pub workers: usize,
    /// How a server is chosen.
    pub policy: Policy,
    /// Seed of the random choices.
    pub seed: u64,
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// The server that it was sent to.
    pub server: usize,
    /// The wait for a worker.
    pub wait: Duration,
}

/// A server while the simulation runs.
#[derive(Debug, Default)]
struct Server {
    /// When each worker becomes free.
    free: BinaryHeap<Reverse<Duration>>,
    /// When each request that is in the system leaves it.
    leaving: BinaryHeap<Reverse<Duration>>,
    /// The number of the last request that it got.
    last: usize,
}

impl Server {
    fn new(workers: usize) -> Self {
        let free = (0..workers).map(|_| Reverse(Duration::ZERO)).collect();
        Self { free, ..Self::default() }
    }

    /// The number of requests in the system at this time, which must not decrease.
    fn load(&mut self, now: Duration) -> usize {
        while self.leaving.peek().is_some_and(|first| first.0 <= now) {
            self.leaving.pop();
        }
        self.leaving.len()
    }

    /// The wait of a request: the recursion of Kiefer and Wolfowitz (1955) on the times when the
    /// workers become free.
    fn serve(&mut self, now: Duration, service: Duration) -> Duration {
        let Some(mut first) = self.free.peek_mut() else { return Duration::MAX };
        let start = first.0.max(now);
        *first = Reverse(start.saturating_add(service));
        self.leaving.push(*first);
        start - now
    }
}

impl Fleet {
    /// The visits of requests that arrive at these times, which are in order, with a service time
    /// for each by its index. Without a worker, the waits do not end.
    pub fn replay(
        &self,
        arrivals: impl IntoIterator<Item = Duration>,
        mut service: impl FnMut(usize) -> Duration,
    ) -> Vec<Visit> {
        let (count, workers) = match self.policy {
            Policy::Pooled => (1, self.servers * self.workers),
            _ => (self.servers, self.workers),
        };
        let mut servers: Vec<Server> = (0..count).map(|_| Server::new(workers)).collect();
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut visit = |(number, now): (usize, Duration)| {
            let chosen = self.choose(&mut servers, number, now, &mut random);
            let Some(server) = servers.get_mut(chosen) else {
                return Visit { server: chosen, wait: Duration::MAX };
            };
            // For the loads of later arrivals.
            server.load(now);
            server.last = number + 1;
            Visit { server: chosen, wait: server.serve(now, service(number)) }
        };
        arrivals.into_iter().enumerate().map(&mut visit).collect()
    }

    fn choose(
        &self,
        servers: &mut [Server],
        number: usize,
        now: Duration,
        random: &mut fastrand::Rng,
    ) -> usize {
        let count = servers.len();
        if count < 2 {
            return 0;
        }
        let mut draw = |of: usize| random.usize(0..of);
        match self.policy {
            Policy::Random => draw(count),
            Policy::RoundRobin => number % count,
            Policy::Pooled => 0,
            Policy::Least => {
                let loads = servers.iter_mut().map(|server| (server.load(now), server.last));
                // The one that has got none for the longest time is next among equals.
                let least = loads.enumerate().min_by_key(|(_, load)| *load);
                least.map_or(0, |(chosen, _)| chosen)
            }
            Policy::TwoChoices { repeats } => {
                let first = draw(count);
                let second = match repeats {
                    true => draw(count),
                    // Any of the others.
                    false => (first + 1 + draw(count - 1)) % count,
                };
                let [one, other] = [first, second].map(|drawn| servers[drawn].load(now));
                if other < one { second } else { first }
            }
        }
    }

    /// The mean wait of each of `runs` runs, with other random choices in each.
    pub fn means(
        &self,
        runs: u64,
        arrivals: &[Duration],
        service: &dyn Fn(usize) -> Duration,
    ) -> Vec<Duration> {
        let run = |number: u64| {
            let seed = self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            mean(&Self { seed, ..*self }.replay(arrivals.iter().copied(), service))
        };
        (0..runs).map(run).collect()
    }

    /// The mean wait, in units of the mean service time, in this many runs with this many Poisson
    /// arrivals each at this utilisation. The service times are exponential if `is_exponential`,
    /// else equal. The requests of the first tenth of each run are not counted.
    pub fn steady(
        &self,
        utilisation: f64,
        is_exponential: bool,
        runs: u64,
        requests: usize,
    ) -> Moments {
        // In seconds: so large that rounding to nanoseconds does not matter.
        const SERVICE: f64 = 1.0;
        let gap = SERVICE / (utilisation * (self.servers * self.workers) as f64);
        let run = |number: u64| {
            let seed = self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut gaps = fastrand::Rng::with_seed(seed ^ 0x5851_f42d_4c95_7f2d);
            let mut services = gaps.fork();
            let mut now = Duration::ZERO;
            let arrivals = (0..requests).map(|_| {
                now += Duration::from_secs_f64(gap * exponential(&mut gaps));
                now
            });
            let mut service = |_| match is_exponential {
                true => Duration::from_secs_f64(SERVICE * exponential(&mut services)),
                false => Duration::from_secs_f64(SERVICE),
            };
            let visits = Self { seed, ..*self }.replay(arrivals, &mut service);
            mean(&visits[requests / 10..]).as_secs_f64() / SERVICE
        };
        (0..runs).map(run).collect()
    }
}

/// The waits at servers with these numbers of workers. Each request has the time of its arrival,
/// the place of its server, and its service time. The times are in order.
///
/// # Panics
///
/// If there is no such server.
pub fn replay_to(
    workers: &[usize],
    requests: impl IntoIterator<Item = (Duration, usize, Duration)>,
) -> Vec<Duration> {
    let mut servers: Vec<Server> = workers.iter().map(|&workers| Server::new(workers)).collect();
    let serve = |(now, place, service): (_, usize, _)| servers[place].serve(now, service);
    requests.into_iter().map(serve).collect()
}

/// Weighted turns: each server gets a share of the requests that is proportional to its weight, as
/// evenly as possible.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    /// What each server is owed, in requests times the sum of the weights.
    owed: Vec<f64>,
}

impl Turns {
    /// The place of the server whose turn it is with these weights, which may differ from call to
    /// call. `None` without a positive weight.
    pub fn next(&mut self, weights: &[f64]) -> Option<usize> {
        self.owed.resize(weights.len(), 0.0);
        let all: f64 = weights.iter().sum();
        for (owed, weight) in self.owed.iter_mut().zip(weights) {
            *owed += weight;
        }
        let served = self.owed.iter().zip(weights).enumerate().filter(|(_, (_, w))| **w > 0.0);
        let (place, _) = served.max_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b))?;
        self.owed[place] -= all;
        Some(place)
    }
}

/// The mean wait; zero without visits.
fn mean(visits: &[Visit]) -> Duration {
    let nanos: u128 = visits.iter().map(|visit| visit.wait.as_nanos()).sum();
    let mean = nanos.checked_div(visits.len() as u128).unwrap_or_default();
    Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::{Arrivals, Stop};
    use crate::twin::Twin;

    /// Simulated by another program: the mean waits of servers behind a balancer.
    const REFERENCE: &str = include_str!("../../theory/tests/fleet.csv");

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    fn fleet(servers: usize, workers: usize, policy: Policy) -> Fleet {
        Fleet { servers, workers, policy, seed: 1 }
    }

    #[test]
    fn a_small_example() {
        let arrivals = [0, 1, 2, 3, 4].map(MILLIS);
        // The first request takes long, and the others do not.
        let service = |number| MILLIS(if number == 0 { 30 } else { 10 });
        let visits = |policy| fleet(2, 1, policy).replay(arrivals, service);
        let of = |pairs: [(usize, u64); 5]| {
            pairs.map(|(server, wait)| Visit { server, wait: MILLIS(wait) }).to_vec()
        };
        assert_eq!(visits(Policy::RoundRobin), of([(0, 0), (1, 0), (0, 28), (1, 8), (0, 36)]));
        // The fifth finds two requests at each server, and the first one has waited longer.
        assert_eq!(visits(Policy::Least), of([(0, 0), (1, 0), (0, 28), (1, 8), (0, 36)]));
        assert_eq!(visits(Policy::Pooled), of([(0, 0), (0, 0), (0, 9), (0, 18), (0, 26)]));
        // The second server gets the requests as soon as it is the emptier one.
        let later = [0, 1, 12, 23].map(MILLIS);
        let visits = fleet(2, 1, Policy::Least).replay(later, service);
        assert_eq!(visits.iter().map(|visit| visit.server).collect::<Vec<_>>(), [0, 1, 1, 1]);
        assert!(visits.iter().all(|visit| visit.wait == Duration::ZERO));
        let none = fleet(0, 1, Policy::Random).replay([MILLIS(1)], service);
        assert_eq!(none, [Visit { server: 0, wait: Duration::MAX }]);
    }

    /// Two distinct ones of two servers are all servers. If they may be the same, half of the
    /// requests have no choice.
    #[test]
    fn two_choices_of_two_servers_are_the_emptier_one_unless_they_repeat() {
        let arrivals = Arrivals::poisson(140.0, 7).starts(Stop::Count(50_000));
        let wait =
            |policy| mean(&fleet(2, 1, policy).replay(arrivals.iter().copied(), |_| MILLIS(10)));
        let least = wait(Policy::Least);
        let [distinct, repeated] = [false, true]
            .map(|repeats| wait(Policy::TwoChoices { repeats }).div_duration_f64(least));
        let random = wait(Policy::Random).div_duration_f64(least);
        // Ties by lot cost a little.
        assert!((1.0..1.3).contains(&distinct), "{distinct}");
        assert!(1.2 * distinct < repeated && 1.2 * repeated < random, "{repeated} and {random}");
    }

    #[test]
    fn weighted_turns_are_even_and_follow_their_weights() {
        let mut turns = Turns::default();
        let got = |turns: &mut Turns, weights: &[f64], count| {
            let mut got = vec![0; weights.len()];
            for _ in 0..count {
                got[turns.next(weights).expect("a server")] += 1;
            }
            got
        };
        // Each cycle is exact, and the largest one never has three in a row of its four in seven.
        let weights = [1.0, 2.0, 4.0];
        for _ in 0..5 {
            assert_eq!(got(&mut turns, &weights, 7), [1, 2, 4]);
        }
        let order: Vec<_> = (0..21).map(|_| turns.next(&weights).expect("a server")).collect();
        assert!(order.windows(3).all(|three| three != [2, 2, 2]), "{order:?}");
        assert_eq!(got(&mut turns, &[1.0, 0.0, 1.0], 100), [50, 0, 50]);
        assert_eq!(turns.next(&[0.0, 0.0]), None);
        assert_eq!(turns.next(&[]), None);
    }

    /// With the servers that a policy has chosen, the waits are the policy's.
    #[test]
    fn given_servers_have_the_waits_of_the_policy_that_chose_them() {
        let arrivals = Arrivals::poisson(380.0, 7).starts(Stop::Count(5000));
        let service = |number: usize| MILLIS(8 + number as u64 % 5);
        let visits = fleet(2, 2, Policy::Least).replay(arrivals.iter().copied(), service);
        let requests = arrivals.iter().zip(&visits).enumerate();
        let requests = requests.map(|(number, (at, visit))| (*at, visit.server, service(number)));
        let expected: Vec<_> = visits.iter().map(|visit| visit.wait).collect();
        assert_eq!(replay_to(&[2, 2], requests), expected);
        // The second server has more workers: nobody waits there.
        let crowd = [(0, 0), (0, 1), (0, 0), (0, 1), (0, 1)];
        let crowd = crowd.map(|(at, place)| (MILLIS(at), place, MILLIS(10)));
        assert_eq!(replay_to(&[1, 3], crowd), [0, 0, 10, 0, 0].map(MILLIS));
    }

    /// For any arrivals, in turn and with equal service times, each request waits exactly as long
    /// as in one pool of all workers.
    #[test]
    fn constant_services_in_turn_are_one_pool_on_every_path() {
        for (servers, workers, seed) in [(3, 2, 1), (4, 4, 2), (8, 1, 3)] {
            let pool = servers * workers;
            let rate = 0.97 * pool as f64 / 0.01;
            let arrivals = Arrivals::poisson(rate, seed).starts(Stop::Count(50_000));
            let pooled = Twin::unbounded(pool, MILLIS(10)).waits(&arrivals);
            assert!(pooled.share_beyond(Duration::ZERO) > 0.5, "they do wait");
            for policy in [Policy::RoundRobin, Policy::Pooled] {
                let fleet = fleet(servers, workers, policy);
                let visits = fleet.replay(arrivals.iter().copied(), |_| MILLIS(10));
                let waits = visits.iter().map(|visit| visit.wait).collect();
                assert_eq!(pooled, waits, "{policy:?} of {servers} x {workers}");
            }
        }
    }

    /// Each row of the reference up to a utilisation of .9, within twice the 95 % intervals of both
    /// simulations. For exact rows the reference's own interval is not needed.
    #[test]
    fn it_agrees_with_another_simulation_and_with_exact_theory() {
        const RUNS: u64 = 6;
        const REQUESTS: usize = 100_000;
        let rows = REFERENCE.lines().filter(|line| !line.starts_with('#')).skip(1);
        let judge = |line: &str| {
            let cells: Vec<_> = line.split(',').collect();
            let policy = match cells[4] {
                "pooled" => Policy::Pooled,
                "lc" => Policy::Least,
                "p2" => Policy::TwoChoices { repeats: false },
                "rr" => Policy::RoundRobin,
                "random" => Policy::Random,
                _ => return None,
            };
            let number = |at: usize| cells[at].parse::<f64>().expect("a number");
            let [servers, workers] = [number(1), number(2)].map(|count| count as usize);
            let [rho, wait, half_width, exact] = [3, 5, 6, 10].map(number);
            if rho > 0.9 {
                return None;
            }
            let found =
                fleet(servers, workers, policy).steady(rho, cells[0] == "exp", RUNS, REQUESTS);
            let (expected, theirs) =
                if exact.is_finite() { (exact, 0.0) } else { (wait, half_width) };
            let allowed = 2.0 * found.half_width().hypot(theirs);
            // An interval that is too wide would allow anything.
            assert!(allowed < 0.35 * expected, "{line}: {found:?}");
            let off = found.mean() - expected;
            assert!(off.abs() <= allowed, "{line}: {} is off by {off}", found.mean());
            Some(())
        };
        let rows: Vec<_> = rows.collect();
        let judged = std::thread::scope(|scope| {
            let half = rows.len() / 2;
            let [one, other] = [&rows[..half], &rows[half..]].map(|rows| {
                scope.spawn(move || rows.iter().filter_map(|line| judge(line)).count())
            });
            one.join().expect("no panic") + other.join().expect("no panic")
        });
        assert_eq!(judged, 40);
    }
}
