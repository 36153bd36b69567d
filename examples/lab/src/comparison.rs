//! Two runs compared: differences with intervals, from how much each run varies within itself.
//!
//! The latencies of requests that follow one another depend on one another, so a run of a thousand
//! requests says less than a thousand independent measurements. The unit is therefore a window of
//! time, of which a run has 20 to 40: the standard error of a figure is its standard deviation over
//! runs that are drawn from the windows, with replacement (the block bootstrap: H. R. Künsch, The
//! jackknife and the bootstrap for general stationary observations, Annals of Statistics 17, 1989).
//! The interval of a difference is that of two independent means (B. L. Welch, Biometrika 34,
//! 1947). A single run does not know how much runs differ from one another: with several runs on
//! each side, the unit is a run. All intervals of a comparison together cover the true differences
//! in 95 of 100 comparisons (Bonferroni), so that a long list finds no difference by its length.

use crate::hdr::Times;
use crate::moments::Moments;
use crate::student;

/// The probability that a comparison of two equal servers finds any difference.
const FALSE_ALARMS: f64 = 0.05;

/// Runs drawn for a standard error, which is then within a few percent.
const DRAWS: usize = 200;

/// With fewer windows there is no interval.
const WINDOWS_LEAST: usize = 8;

/// A quantile is compared if at least this many requests are slower in each run.
const BEYOND_LEAST: f64 = 20.0;

/// The relative resolution of a latency; no smaller difference is one.
const RESOLUTION: f64 = 1e-3;

/// The number of figures.
const MEASURES: usize = 7;

/// The figures that are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Successful requests a second.
    Answered,
    /// Failed requests, as a share of all.
    Failed,
    /// The mean latency of the successful requests in seconds.
    Mean,
    /// The latency in seconds within which this fraction of all requests was answered.
    Quantile(f64),
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; MEASURES] = [
        Self::Answered,
        Self::Failed,
        Self::Mean,
        Self::Quantile(0.5),
        Self::Quantile(0.9),
        Self::Quantile(0.99),
        Self::Quantile(0.999),
    ];

    /// Whether more of it is better.
    fn is_gain(self) -> bool {
        self == Self::Answered
    }
}

/// A run: its windows, in the order of time.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// From the start of the load to its last answer, in seconds.
    pub seconds: f64,
    /// The length of a window in seconds.
    pub window: f64,
    /// For each window, the number of requests and the latencies of the successful ones.
    pub windows: Vec<(u64, Times)>,
}

/// What the difference of two figures shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is smaller than what chance explains.
    WithinNoise,
    /// The later run is better.
    Better,
    /// The later run is worse.
    Worse,
    /// There are too few requests or windows to tell.
    Unknown,
}

/// A figure of two runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// What it is.
    pub measure: Measure,
    /// Its values in the earlier and in the later run. `None` if it falls on failed requests.
    pub values: [Option<f64>; 2],
    /// Half the width of the interval of the difference, later minus earlier. Infinite if there is
    /// none.
    pub half_width: f64,
    /// What it shows.
    pub verdict: Verdict,
}

impl Line {
    /// The difference, later minus earlier.
    pub fn difference(&self) -> Option<f64> {
        Some(self.values[1]? - self.values[0]?)
    }
}

/// Compares earlier runs with later ones. Differences up to the `tolerance`, as a part of the
/// earlier value, are noise. The same seed gives the same intervals.
///
/// With at least two runs on each side, the intervals follow from the differences between runs of a
/// side, and from those within a run otherwise.
pub fn compare(earlier: &[Sample], later: &[Sample], tolerance: f64, seed: u64) -> Vec<Line> {
    let sides = [earlier, later].map(|side| side.iter().map(Counted::new).collect::<Vec<_>>());
    let spread = match sides.iter().all(|side| side.len() > 1) {
        true => Spread::between(&sides),
        false => Spread::within(&sides, &mut fastrand::Rng::with_seed(seed)),
    };
    let means = sides.each_ref().map(|side| mean_figures(side));
    // Two sides of each of the intervals.
    let beyond = FALSE_ALARMS / MEASURES as f64 / 2.0;
    let factor = student::quantile(1.0 - beyond, spread.freedom);
    let lines = Measure::ALL.iter().enumerate().map(|(number, &measure)| {
        let values = [means[0][number], means[1][number]];
        let is_known = sides.iter().flatten().all(|run| run.can_tell(measure));
        let half_width = if is_known { factor * spread.errors[number] } else { f64::INFINITY };
        let mut line = Line { measure, values, half_width, verdict: Verdict::Unknown };
        line.verdict = verdict(&line, tolerance);
        line
    });
    lines.collect()
}

/// The mean of each figure over runs; none if it has no value in one of them.
fn mean_figures(runs: &[Counted]) -> [Option<f64>; MEASURES] {
    let figures: Vec<_> = runs.iter().map(Counted::figures).collect();
    std::array::from_fn(|number| {
        let values: Option<Vec<f64>> = figures.iter().map(|figures| figures[number]).collect();
        values
            .filter(|values| !values.is_empty())
            .map(|values| values.iter().sum::<f64>() / values.len() as f64)
    })
}

/// The standard errors of the differences.
struct Spread {
    errors: [f64; MEASURES],
    freedom: u64,
}

impl Spread {
    /// From how much the windows of each run differ.
    fn within(sides: &[Vec<Counted>; 2], random: &mut fastrand::Rng) -> Self {
        let freedom = sides.iter().flatten().map(Counted::freedom).min().unwrap_or_default();
        let mut squares = [0.0; MEASURES];
        for side in sides {
            let count = side.len() as f64;
            for run in side {
                let errors = run.standard_errors(random).into_iter();
                let parts = squares.iter_mut().zip(errors);
                parts.for_each(|(sum, error)| *sum += (error / count).powi(2));
            }
        }
        Self { errors: squares.map(f64::sqrt), freedom }
    }

    /// From how much the runs of each side differ, with one variance for both sides.
    fn between(sides: &[Vec<Counted>; 2]) -> Self {
        let counts = sides.each_ref().map(|side| side.len() as f64);
        let freedom = (counts[0] + counts[1] - 2.0).max(1.0);
        let mut squares = [Some(0.0); MEASURES];
        for side in sides {
            let figures: Vec<_> = side.iter().map(Counted::figures).collect();
            for (number, sum) in squares.iter_mut().enumerate() {
                let values: Option<Moments> = figures.iter().map(|of| of[number]).collect();
                let square = values.map(|values| values.variance() * values.count() as f64);
                *sum = sum.zip(square).map(|(sum, square)| sum + square);
            }
        }
        let factor = (1.0 / counts[0] + 1.0 / counts[1]) / freedom;
        let error = |square: Option<f64>| square.map_or(f64::INFINITY, |of| (of * factor).sqrt());
        Self { errors: squares.map(error), freedom: freedom as u64 }
    }
}

fn verdict(line: &Line, tolerance: f64) -> Verdict {
    let ([Some(earlier), Some(later)], true) = (line.values, line.half_width.is_finite()) else {
        return Verdict::Unknown;
    };
    let difference = later - earlier;
    let tolerated = match line.measure {
        // In points: a share of failures has no unit of its own.
        Measure::Failed => 0.0,
        Measure::Answered => tolerance * earlier,
        // The buckets of the histogram are this wide.
        Measure::Mean | Measure::Quantile(_) => tolerance.max(RESOLUTION) * earlier.max(later),
    };
    if difference.abs() <= line.half_width.max(tolerated) {
        return Verdict::WithinNoise;
    }
    if (difference > 0.0) == line.measure.is_gain() { Verdict::Better } else { Verdict::Worse }
}

/// Whether the mean latencies of neighbouring windows resemble each other more than chance
/// explains: then the run is too short for its windows to count as independent, and an interval is
/// too narrow.
pub fn is_correlated(sample: &Sample) -> bool {
    let means = sample.windows.iter().filter_map(|(_, times)| times.mean());
    let means: Vec<f64> = means.map(|mean| mean.as_secs_f64()).collect();
    let moments: Moments = means.iter().copied().collect();
    let products =
        means.windows(2).map(|pair| (pair[0] - moments.mean()) * (pair[1] - moments.mean()));
    let correlation = products.sum::<f64>() / (moments.variance() * means.len() as f64);
    // The 99th percentile of the estimate if there is none.
    correlation > 2.33 / (means.len() as f64).sqrt()
}

/// A run in the form in which runs are drawn from it: the latencies of all windows in one list,
/// and how many of each a window has.
struct Counted {
    seconds: f64,
    window: f64,
    /// In seconds, in order.
    latencies: Vec<f64>,
    /// For each window, its requests, and the index and count of each latency.
    windows: Vec<(u64, Vec<(usize, u64)>)>,
    whole: Drawn,
}

/// The requests of a drawn run.
struct Drawn {
    requests: u64,
    /// The count of each latency.
    counts: Vec<u64>,
}

impl Counted {
    fn new(sample: &Sample) -> Self {
        let recorded =
            |(requests, times): &(u64, Times)| (*requests, times.recorded().collect::<Vec<_>>());
        let recorded: Vec<_> = sample.windows.iter().map(recorded).collect();
        let nanos = recorded.iter().flat_map(|(_, times)| times.iter());
        let mut nanos: Vec<u64> = nanos.map(|(nanos, _)| *nanos).collect();
        nanos.sort_unstable();
        nanos.dedup();
        let index = |value: u64| nanos.partition_point(|&nanos| nanos < value);
        let windows = recorded.into_iter().map(|(requests, times)| {
            let counts = times.into_iter().map(|(nanos, count)| (index(nanos), count));
            (requests, counts.collect())
        });
        let windows = windows.collect();
        let mut run = Self {
            seconds: sample.seconds,
            window: sample.window,
            latencies: nanos.iter().map(|&nanos| nanos as f64 / 1e9).collect(),
            whole: Drawn { requests: 0, counts: Vec::new() },
            windows,
        };
        run.whole = run.drawn(0..run.windows.len());
        run
    }

    /// The run that consists of these windows.
    fn drawn(&self, windows: impl Iterator<Item = usize>) -> Drawn {
        let mut drawn = Drawn { requests: 0, counts: vec![0; self.latencies.len()] };
        for (requests, counts) in windows.map(|number| &self.windows[number]) {
            drawn.requests += requests;
            counts.iter().for_each(|&(at, count)| drawn.counts[at] += count);
        }
        drawn
    }

    fn freedom(&self) -> u64 {
        self.windows.len().saturating_sub(2) as u64
    }

    /// The figures of the whole run.
    fn figures(&self) -> [Option<f64>; MEASURES] {
        self.figures_of(&self.whole, self.seconds)
    }

    fn figures_of(&self, drawn: &Drawn, seconds: f64) -> [Option<f64>; MEASURES] {
        let requests = drawn.requests as f64;
        let mut figures = [None; MEASURES];
        let (mut answered, mut sum) = (0, 0.0);
        // The ranks of the quantiles, which are in order.
        let mut ranks =
            Measure::ALL.iter().enumerate().filter_map(|(number, measure)| match measure {
                Measure::Quantile(quantile) => Some((number, (requests * quantile).ceil())),
                Measure::Answered | Measure::Failed | Measure::Mean => None,
            });
        let mut ranks = ranks.by_ref().peekable();
        for (time, &count) in self.latencies.iter().zip(&drawn.counts).filter(|&(_, &n)| n > 0) {
            answered += count;
            sum += time * count as f64;
            while let Some(&(number, _)) = ranks.peek().filter(|(_, rank)| answered as f64 >= *rank)
            {
                figures[number] = Some(*time);
                ranks.next();
            }
        }
        for (figure, measure) in figures.iter_mut().zip(Measure::ALL) {
            match measure {
                Measure::Answered if seconds > 0.0 => *figure = Some(answered as f64 / seconds),
                Measure::Failed if requests > 0.0 => {
                    *figure = Some(1.0 - answered as f64 / requests);
                }
                Measure::Mean if answered > 0 => *figure = Some(sum / answered as f64),
                _ => {}
            }
        }
        figures
    }

    /// Whether there is enough for an interval.
    fn can_tell(&self, measure: Measure) -> bool {
        let beyond = match measure {
            Measure::Quantile(quantile) => self.whole.requests as f64 * (1.0 - quantile),
            Measure::Answered | Measure::Failed | Measure::Mean => f64::INFINITY,
        };
        self.windows.len() >= WINDOWS_LEAST && beyond >= BEYOND_LEAST
    }

    /// The standard error of each figure. Infinite if it has no value in some of the drawn runs.
    fn standard_errors(&self, random: &mut fastrand::Rng) -> [f64; MEASURES] {
        // The last window ends with the load, so it is shorter than the others.
        let count = self.windows.len().saturating_sub(1);
        let mut moments = [const { Some(Moments::EMPTY) }; MEASURES];
        let seconds = self.window * count as f64;
        for _ in 0..DRAWS {
            let drawn = self.drawn((0..count).map(|_| random.usize(..count)));
            for (figure, moments) in self.figures_of(&drawn, seconds).into_iter().zip(&mut moments)
            {
                match (figure, moments.as_mut()) {
                    (Some(figure), Some(moments)) => moments.add(figure),
                    _ => *moments = None,
                }
            }
        }
        // The windows' variance about their own mean is below that about the true one.
        let freed = (count as f64 / self.freedom().max(1) as f64).sqrt();
        let error =
            |moments: Option<Moments>| moments.map_or(f64::INFINITY, |m| m.variance().sqrt());
        moments.map(|moments| error(moments) * freed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::exponential;
    use std::time::Duration;

    /// A run of a queue with one server, Poisson arrivals at `rate` a second and exponential
    /// services with this mean in seconds (D. V. Lindley's recursion, 1952), for `seconds`. One
    /// request in `failing` fails.
    fn queue(rate: f64, service: f64, seconds: f64, failing: u64, seed: u64) -> Sample {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut drawn = |mean: f64| mean * exponential(&mut random);
        let window = seconds / 32.0;
        let mut windows = vec![(0, Times::default()); 32];
        let (mut now, mut wait, mut number) = (0.0, 0.0, 0);
        loop {
            let gap = drawn(1.0 / rate);
            now += gap;
            if now >= seconds {
                return Sample { seconds, window, windows };
            }
            wait = f64::max(0.0, wait - gap);
            let (requests, times) = &mut windows[(now / window) as usize];
            *requests += 1;
            let time = drawn(service);
            number += 1;
            if failing == 0 || number % failing > 0 {
                times.record(Duration::from_secs_f64(wait + time));
            }
            wait += time;
        }
    }

    fn verdicts(lines: &[Line]) -> Vec<Verdict> {
        lines.iter().map(|line| line.verdict).collect()
    }

    /// The stated rate of false alarms, over pairs of runs of the same queue: at most one
    /// comparison in twenty finds a difference.
    #[test]
    fn equal_servers_seldom_differ() {
        let pairs = 100;
        let alarms = (0..pairs).filter(|&pair| {
            let run = |seed| queue(100.0, 0.005, 40.0, 500, seed);
            let lines = compare(&[run(2 * pair)], &[run(2 * pair + 1)], 0.0, pair);
            // One in a thousand of 4000 requests are too few.
            let (last, lines) = lines.split_last().expect("lines");
            assert!(last.verdict == Verdict::Unknown, "{last:?}");
            assert!(lines.iter().all(|line| line.verdict != Verdict::Unknown), "{lines:?}");
            lines.iter().any(|line| line.verdict != Verdict::WithinNoise)
        });
        // With a rate of 5 %, more than 10 of 100 have a probability of 1 %.
        let alarms = alarms.count();
        assert!(alarms <= 10, "{alarms} of {pairs}");
    }

    #[test]
    fn a_slower_server_is_found() {
        let missed = (0..20).filter(|&pair| {
            let fast = queue(100.0, 0.005, 80.0, 0, 2 * pair);
            let slow = queue(100.0, 0.0065, 80.0, 0, 2 * pair + 1);
            let (fast, slow) = ([fast], [slow]);
            let there = compare(&fast, &slow, 0.0, pair);
            let back = compare(&slow, &fast, 0.0, pair);
            let of = |lines: &[Line], measure| {
                lines.iter().find(|line| line.measure == measure).map(|line| line.verdict)
            };
            let is_found = of(&there, Measure::Mean) == Some(Verdict::Worse)
                && of(&there, Measure::Quantile(0.5)) == Some(Verdict::Worse)
                && of(&back, Measure::Mean) == Some(Verdict::Better);
            !is_found
        });
        assert!(missed.count() <= 1);
    }

    #[test]
    fn fewer_answers_and_more_failures_are_worse() {
        let good = [queue(200.0, 0.001, 100.0, 0, 1)];
        let bad = [queue(100.0, 0.001, 100.0, 10, 2)];
        let lines = compare(&good, &bad, 0.02, 1);
        assert_eq!(verdicts(&lines)[..2], [Verdict::Worse; 2], "{lines:?}");
        assert_eq!(verdicts(&compare(&bad, &good, 0.02, 1))[..2], [Verdict::Better; 2]);
        // One request in ten failed: the 99th percentile falls on failures.
        assert_eq!((lines[5].values[1], lines[5].verdict), (None, Verdict::Unknown));
    }

    #[test]
    fn too_little_shows_nothing() {
        let short = [queue(10.0, 0.001, 5.0, 0, 1)];
        let lines = compare(&short, &short, 0.0, 1);
        assert_eq!(lines[6].verdict, Verdict::Unknown, "p99.9 of 50 requests");
        let empty = [Sample::default()];
        assert_eq!(verdicts(&compare(&empty, &empty, 0.0, 1)), [Verdict::Unknown; 7]);
        let few = [Sample { windows: short[0].windows[..4].to_vec(), ..short[0] }];
        assert_eq!(verdicts(&compare(&few, &few, 0.0, 1)), [Verdict::Unknown; 7]);
        assert_eq!(verdicts(&compare(&[], &[], 0.0, 1)), [Verdict::Unknown; 7]);
    }

    #[test]
    fn a_run_that_is_shorter_than_its_memory_is_noticed() {
        // At a utilisation of .5 a queue forgets within tens of services, at .99 within thousands.
        let seen = |rate: f64| {
            (0..20).filter(|&seed| is_correlated(&queue(rate, 0.005, 32.0, 0, seed))).count()
        };
        let [long, short] = [seen(100.0), seen(198.0)];
        assert!(long <= 3 && short >= 10, "{long} {short}");
    }

    /// The machine is in another mood in each run, which no run knows of.
    #[test]
    fn several_runs_know_how_much_runs_differ() {
        let mut alarms = [0; 2];
        for group in 0..12 {
            let mut random = fastrand::Rng::with_seed(group);
            let mut side = |slower: f64| {
                let run = |random: &mut fastrand::Rng| {
                    let mood = 1.0 + 0.1 * (random.f64() - 0.5);
                    queue(100.0, 0.001 * mood * slower, 40.0, 0, random.u64(..))
                };
                (0..4).map(|_| run(&mut random)).collect::<Vec<_>>()
            };
            let (one, two, slow) = (side(1.0), side(1.0), side(1.5));
            let differs = |earlier: &[Sample], later: &[Sample]| {
                let lines = compare(earlier, later, 0.0, 1);
                lines.iter().any(|line| matches!(line.verdict, Verdict::Better | Verdict::Worse))
            };
            alarms[0] += usize::from(differs(&one[..1], &two[..1]));
            alarms[1] += usize::from(differs(&one, &two));
            assert!(differs(&one, &slow), "{group}");
        }
        assert!(alarms[0] > 3 && alarms[1] <= 2, "{alarms:?}");
    }

    #[test]
    fn a_tolerated_difference_is_noise() {
        let [fast, slow] = [0.0010, 0.00105].map(|service| [queue(1.0, service, 40_000.0, 0, 1)]);
        let of = |tolerance| compare(&fast, &slow, tolerance, 1)[2].verdict;
        assert_eq!(
            (of(0.0), of(0.02), of(0.06)),
            (Verdict::Worse, Verdict::Worse, Verdict::WithinNoise)
        );
    }
}
