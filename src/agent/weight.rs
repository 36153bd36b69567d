//! The weight that a balancer gives to this server, in percent of the configured one.

use crate::config;
use std::time::Duration;

/// A weight changes if it is off by this share at least. Two servers whose weights are off by it in
/// opposite directions differ in their utilisation by less than 0.05 up to a utilisation of 0.83.
const HYSTERESIS: f64 = 0.03;

/// The largest rise in one step. A server that seems to be faster gets the load for it step by
/// step; one that is slower loses it at once.
const RISE: f64 = 1.25;

/// The time in which the excess of the usual capacity over the present one halves.
const FORGETS: Duration = Duration::from_secs(600);

/// The time in which a backlog is to be served: a server where requests wait takes fewer new ones.
/// It is longer than the delay between a weight and its effect, so the weight does not oscillate.
const HORIZON: Duration = Duration::from_secs(5);

/// The least share of its weight that a server with a backlog keeps. Where all servers are
/// saturated, all have this share, so the load is still divided by their capacities.
const SATURATED: f64 = 0.5;

/// What the weight follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Headroom {
    /// The capacity in requests per second.
    pub(super) rate: f64,
    /// The rate is told from chance, so it can be the usual one.
    pub(super) is_settled: bool,
    /// The number of requests that wait.
    pub(super) waiting: usize,
    /// The responses are not mainly failures, which are quick.
    pub(super) may_rise: bool,
}

impl Headroom {
    /// The rate of requests that it can take beside the backlog.
    fn spare_rate(&self) -> f64 {
        let backlog = self.waiting as f64 / (self.rate * HORIZON.as_secs_f64());
        self.rate * (1.0 - backlog).max(SATURATED)
    }
}

/// The weight that was told last, and what it follows.
#[derive(Debug)]
pub(super) struct Weight {
    /// The capacity that is 100 percent, if that is configured.
    configured: Option<f64>,
    /// The capacity that is usual here: 100 percent if none is configured.
    usual: Option<f64>,
    told: Option<f64>,
    changed: Duration,
    seen: Duration,
}

impl Weight {
    /// A weight of 100 percent at this capacity, or else at the usual one.
    pub(super) fn new(configured: Option<f64>) -> Self {
        let (usual, told) = (None, None);
        Self { configured, usual, told, changed: Duration::ZERO, seen: Duration::ZERO }
    }

    /// In percent, 1 to 100; none before a capacity is known. 0 would be a drain.
    pub(super) fn percent(&self) -> Option<u32> {
        self.told.map(|told| told as u32)
    }

    /// Follows the headroom at a moment.
    pub(super) fn follow(&mut self, headroom: Headroom, now: Duration) {
        let Headroom { rate, is_settled, may_rise, .. } = headroom;
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.seen, now));
        if is_settled && may_rise {
            let halvings = elapsed.as_secs_f64() / FORGETS.as_secs_f64();
            let excess = self.usual.map_or(0.0, |usual| (usual - rate).max(0.0));
            self.usual = Some(rate + excess * 0.5_f64.powf(halvings));
        }
        let Some(whole) = self.configured.or(self.usual) else { return };
        let wanted = (100.0 * headroom.spare_rate() / whole).round().clamp(1.0, 100.0);
        let Some(told) = self.told else {
            (self.told, self.changed) = (Some(wanted), now);
            return;
        };
        let is_due = now >= self.changed + config::AGENT_STEP;
        let differs = (wanted - told).abs() >= (HYSTERESIS * told).max(1.0);
        if !is_due || !differs || (wanted > told && !may_rise) {
            return;
        }
        let most = (told * RISE).ceil();
        (self.told, self.changed) = (Some(wanted.min(most)), now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::capacity::Capacity;
    use super::super::capacity::tests::Pool;
    use super::*;
    use crate::metrics::Work;

    const TICK: Duration = config::AGENT_TICK;

    /// Servers of a fleet, a balancer that gives each a share of the load by its weight, and the
    /// weights as it learns them, once a second.
    struct Fleet {
        pools: Vec<(Pool, Capacity, Weight)>,
        waiting: Vec<f64>,
        told: Vec<f64>,
        load: f64,
        at: Duration,
    }

    impl Fleet {
        fn new(workers: &[usize], whole: Option<f64>, load: f64) -> Self {
            let pools = workers.iter().map(|&workers| {
                let pool = Pool::new(workers, 0.0, 0.02);
                (pool, Capacity::new(workers, Work::default()), Weight::new(whole))
            });
            let told = vec![100.0; workers.len()];
            let waiting = vec![0.0; workers.len()];
            Self { pools: pools.collect(), waiting, told, load, at: Duration::ZERO }
        }

        fn run(&mut self, seconds: u32) {
            for _ in 0..5 * seconds {
                self.at += TICK;
                let all: f64 = self.told.iter().sum();
                let each = self.pools.iter_mut().zip(&self.told).zip(&mut self.waiting);
                for (((pool, capacity, weight), told), waiting) in each {
                    let arrived = self.load * told / all * TICK.as_secs_f64();
                    let most = pool.workers as f64 / pool.service * TICK.as_secs_f64();
                    let served = (*waiting + arrived).min(most);
                    *waiting += arrived - served;
                    pool.utilisation = served / most;
                    capacity.look(pool.work_for(TICK));
                    if let Some(rate) = capacity.rate() {
                        let is_settled = capacity.is_settled();
                        let waiting = *waiting as usize;
                        let headroom = Headroom { rate, is_settled, waiting, may_rise: true };
                        weight.follow(headroom, self.at);
                    }
                }
                if self.at.as_millis().is_multiple_of(1000) {
                    let told = self.pools.iter().zip(&self.told);
                    let told = told.map(|((_, _, weight), &before)| {
                        weight.percent().map_or(before, f64::from)
                    });
                    self.told = told.collect();
                }
            }
        }

        fn spread(&self) -> f64 {
            let each = self.pools.iter().map(|(pool, _, _)| pool.utilisation);
            each.clone().fold(0.0, f64::max) - each.fold(1.0, f64::min)
        }
    }

    #[test]
    fn utilisations_differ_by_less_than_five_percent_at_any_load() {
        for load in [0.1, 0.3, 0.5, 0.8] {
            let mut fleet = Fleet::new(&[1, 2, 4], Some(200.0), load * 7.0 / 0.02);
            fleet.run(20);
            assert!(fleet.spread() < 0.05, "{:?} at {load}", fleet.told);
            // One of them slows down.
            fleet.pools[2].0.service = 0.06;
            fleet.load = load * (3.0 / 0.02 + 4.0 / 0.06);
            fleet.run(3);
            assert!(fleet.told[2] < 70.0, "{:?}", fleet.told);
            fleet.run(17);
            assert!(fleet.spread() < 0.05, "{:?} at {load}, slower", fleet.told);
        }
    }

    /// Without a common unit, equal servers share equally, and one that slows down gives way.
    #[test]
    fn the_usual_capacity_is_the_unit_unless_one_is_configured() {
        let mut fleet = Fleet::new(&[2, 2], None, 100.0);
        fleet.run(20);
        assert_eq!(fleet.told, [100.0, 100.0]);
        fleet.pools[1].0.service = 0.06;
        fleet.run(20);
        assert_eq!(fleet.told[0], 100.0);
        assert!((32.0..38.0).contains(&fleet.told[1]), "{:?}", fleet.told);
        assert!(fleet.spread() < 0.05, "{}", fleet.spread());
        // It stays so for a while, and becomes usual in the end.
        fleet.run(60);
        assert!(fleet.told[1] < 45.0, "{:?}", fleet.told);
        fleet.run(7200);
        assert_eq!(fleet.told, [100.0, 50.0], "half, by its backlog");
        fleet.load = 50.0;
        fleet.run(120);
        assert_eq!(fleet.told, [100.0, 100.0]);
    }

    #[test]
    fn weights_do_not_oscillate_and_keep_their_proportions_in_overload() {
        let mut fleet = Fleet::new(&[1, 2, 4], Some(200.0), 2.0 * 7.0 / 0.02);
        fleet.run(60);
        assert_eq!(fleet.told, [13.0, 25.0, 50.0], "half of the capacities, by the backlogs");
        // At less load, what waits is served before long, and the weights return for good.
        fleet.load /= 4.0;
        let served = |fleet: &Fleet| fleet.waiting.iter().all(|&waiting| waiting < 1.0);
        let mut seconds = 0;
        while !served(&fleet) {
            fleet.run(1);
            seconds += 1;
            assert!(seconds < 150, "{:?} wait", fleet.waiting);
        }
        fleet.run(20);
        assert_eq!(fleet.told, [25.0, 50.0, 100.0]);
        fleet.run(1);
        assert!(fleet.spread() < 0.05);
    }

    /// A worker at a utilisation of 0.8 with exponential services of 20 ms: the number of services
    /// that end in a busy time has a Poisson distribution.
    #[test]
    fn services_that_vary_shake_the_weight_little() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut capacity = Capacity::new(1, Work::default());
        let mut weight = Weight::new(Some(100.0));
        let (mut work, mut left, mut seen) = (Work::default(), 0.02, Vec::new());
        for _ in 0..5 * 600 {
            work.at += TICK;
            work.busy += TICK.mul_f64(0.8);
            left -= TICK.as_secs_f64() * 0.8;
            while left < 0.0 {
                work.handled += 1;
                left -= 0.02 * random.f64().ln();
            }
            capacity.look(work);
            let rate = capacity.rate().unwrap_or(50.0);
            let headroom = Headroom { rate, is_settled: true, waiting: 0, may_rise: true };
            weight.follow(headroom, work.at);
            seen.push(f64::from(weight.percent().unwrap_or_default()));
        }
        let seen = &seen[100..];
        let mean = seen.iter().sum::<f64>() / seen.len() as f64;
        let off = seen.iter().filter(|&&told| (told / 50.0 - 1.0).abs() > 0.2).count();
        assert!((mean / 50.0 - 1.0).abs() < 0.05, "{mean} on average");
        assert!(off * 20 < seen.len(), "{off} of {} are off by a fifth", seen.len());
    }

    #[test]
    fn a_backlog_lowers_the_weight_by_what_it_takes() {
        let spare = |waiting| {
            Headroom { rate: 100.0, is_settled: true, waiting, may_rise: true }.spare_rate()
        };
        assert_eq!([0, 100, 250, 1000].map(spare), [100.0, 80.0, 50.0, 50.0]);
    }

    /// The weights that follow from rates at moments in milliseconds.
    fn followed(weight: &mut Weight, steps: &[(u64, f64)], may_rise: bool) -> Vec<u32> {
        let follow = |&(at, rate): &(u64, f64)| {
            let headroom = Headroom { rate, is_settled: true, waiting: 0, may_rise };
            weight.follow(headroom, Duration::from_millis(at));
            weight.percent().unwrap_or_default()
        };
        steps.iter().map(follow).collect()
    }

    #[test]
    fn it_changes_at_most_once_a_second_and_rises_by_a_quarter() {
        let mut weight = Weight::new(Some(100.0));
        let steps = [(0, 100.0), (200, 10.0), (900, 10.0), (1000, 10.0), (1900, 90.0)];
        assert_eq!(followed(&mut weight, &steps, true), [100, 100, 100, 10, 10]);
        let steps = [(2000, 90.0), (2500, 90.0), (3000, 90.0), (4000, 90.0), (5000, 20.0)];
        assert_eq!(followed(&mut weight, &steps, true), [13, 13, 17, 22, 20]);
    }

    #[test]
    fn small_changes_and_the_quickness_of_failures_do_not_count() {
        let mut weight = Weight::new(Some(100.0));
        let steps = [(0, 70.0), (2000, 72.0), (4000, 68.0), (6000, 67.0), (8000, 69.4)];
        assert_eq!(followed(&mut weight, &steps, true), [70, 70, 70, 67, 67]);
        assert_eq!(followed(&mut weight, &[(10_000, 99.0)], false), [67]);
        assert_eq!(followed(&mut weight, &[(12_000, 50.0)], false), [50]);
        assert_eq!(followed(&mut weight, &[(14_000, 0.01)], true), [1], "0 would be a drain");
        let mut large = Weight::new(Some(1.0));
        assert_eq!(followed(&mut large, &[(0, 1e9)], true), [100]);
    }
}
