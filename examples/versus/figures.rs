//! Medians, ranges and ratios of what was measured.

use super::cases::{Case, Pace};
use super::peers::Role;

/// The result of one server in one turn.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The case.
    pub case: &'static str,
    /// The server.
    pub server: String,
    /// The server's part.
    pub role: Option<Role>,
    /// The round, starting at 1.
    pub round: u32,
    /// Requests per second.
    pub rate: f64,
    /// CPU time per request in microseconds.
    pub cpu: f64,
    /// The median latency, in microseconds.
    pub p50: f64,
    /// The 99th percentile of the latency, in microseconds.
    pub p99: f64,
    /// Context switches per request.
    pub switches: f64,
    /// System calls per request, if they were counted.
    pub calls: Option<f64>,
    /// Failed connections, and wrong responses.
    pub errors: u64,
    /// The peak memory in bytes.
    pub rss: u64,
    /// The load generator's CPU time over the duration.
    pub driver: f64,
    /// Downloads per second that ran beside the requests.
    pub downloads: f64,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// CPU time per request.
    Cpu,
    /// Requests per second.
    Rate,
    /// The median latency.
    P50,
    /// The 99th percentile of the latency.
    P99,
}

/// All of them, in the order of the reports.
pub const FIGURES: [Figure; 4] = [Figure::Cpu, Figure::Rate, Figure::P50, Figure::P99];

/// The median of the rounds, and their range.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

/// A server's figures in one case.
#[derive(Debug, Clone)]
pub struct Row {
    /// The server.
    pub server: String,
    /// Its part.
    pub role: Role,
    /// In the order of [`FIGURES`].
    figures: [Spread; 4],
    /// Context switches per request, the median.
    pub switches: f64,
    /// System calls per request.
    pub calls: Option<f64>,
    /// The sum over the rounds.
    pub errors: u64,
    /// The largest peak.
    pub rss: u64,
    /// The load generator's CPU time over the duration, the median.
    pub driver: f64,
    /// Downloads per second, the median.
    pub downloads: f64,
}

/// What limits the requests per second of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// The servers, or the processors.
    Servers,
    /// The load generator: its one thread is busy for this share of the time.
    Driver(f64),
    /// The pace: requests start at fixed times.
    Pace,
    /// The workers: each request takes a given time. The most requests per second.
    Workers(f64),
}

/// From this share of a processor on, the load generator's thread is taken for the limit. It never
/// reaches 1, because it shares the processors with the server.
const BUSY: f64 = 0.85;

/// Ratios closer to 1 than this are level, even if the machine's noise is less.
const LEAST_NOISE: f64 = 0.02;

/// This server's figure divided by the best rival's.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// What is compared.
    pub figure: Figure,
    /// This server's figure divided by the rival's.
    pub value: f64,
    /// The rival: the best one in this figure.
    pub rival: String,
    /// This server's figure divided by its own in other turns. 1 without noise.
    pub noise: Option<f64>,
}

/// What a ratio says, given the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// This server is better.
    Ahead,
    /// The difference is within the noise.
    Level,
    /// The rival is better.
    Behind,
}

/// This server beside the best rivals of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What limits the rates, and so what is compared.
    pub limit: Limit,
    /// In the order of [`FIGURES`].
    pub ratios: Vec<Ratio>,
}

impl Turn {
    fn figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Cpu => self.cpu,
            Figure::Rate => self.rate,
            Figure::P50 => self.p50,
            Figure::P99 => self.p99,
        }
    }
}

impl Figure {
    /// Its name in verdicts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Rate => "requests/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }
}

impl Spread {
    /// That of these values; zeros if there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (middle, is_odd) = (values.len() / 2, values.len() % 2 == 1);
        let median = match values.get(middle) {
            None => return Self::default(),
            Some(value) if is_odd => *value,
            Some(value) => (values[middle - 1] + value) / 2.0,
        };
        Self { median, low: values[0], high: values[values.len() - 1] }
    }
}

impl Row {
    /// The spread of a figure over the rounds.
    pub fn figure(&self, figure: Figure) -> Spread {
        FIGURES
            .iter()
            .zip(self.figures)
            .find(|(of, _)| **of == figure)
            .map_or_else(Spread::default, |(_, spread)| spread)
    }
}

/// The servers of a case: this one and its earlier builds first, then peers by their rates.
pub fn rows(case: &Case, turns: &[Turn]) -> Vec<Row> {
    let of_case: Vec<&Turn> = turns.iter().filter(|turn| turn.case == case.name).collect();
    let mut rows: Vec<Row> = Vec::new();
    for turn in &of_case {
        let Some(role) = turn.role else { continue };
        if rows.iter().any(|row| row.server == turn.server) {
            continue;
        }
        let own: Vec<_> = of_case.iter().filter(|other| other.server == turn.server).collect();
        let of = |value: &dyn Fn(&Turn) -> f64| Spread::of(own.iter().map(|t| value(t)).collect());
        rows.push(Row {
            server: turn.server.clone(),
            role,
            figures: FIGURES.map(|figure| of(&|turn| turn.figure(figure))),
            switches: of(&|turn| turn.switches).median,
            calls: own.iter().find_map(|turn| turn.calls),
            errors: own.iter().map(|turn| turn.errors).sum(),
            rss: own.iter().map(|turn| turn.rss).max().unwrap_or_default(),
            driver: of(&|turn| turn.driver).median,
            downloads: of(&|turn| turn.downloads).median,
        });
    }
    let rate = |row: &Row| row.figure(Figure::Rate).median;
    rows.sort_by(|a, b| a.role.cmp(&b.role).then(rate(b).total_cmp(&rate(a))));
    rows
}

/// This server's figure divided by that of another row. `None` if one of them is missing.
pub fn ratio(figure: Figure, ours: &Row, other: &Row) -> Option<f64> {
    let (ours, other) = (ours.figure(figure).median, other.figure(figure).median);
    (ours > 0.0 && other > 0.0).then(|| ours / other)
}

/// Compares this server with the best of the rivals in each figure. `None` without rivals.
pub fn verdict(case: &Case, rows: &[Row], is_rival: impl Fn(&Row) -> bool) -> Option<Verdict> {
    let ours = rows.iter().find(|row| row.role == Role::Ours)?;
    let again = rows.iter().find(|row| row.role == Role::Again);
    let rivals: Vec<&Row> = rows.iter().filter(|row| is_rival(row)).collect();
    let best = |figure: Figure| {
        let median = |row: &&&Row| row.figure(figure).median;
        let known = rivals.iter().filter(|row| median(row) > 0.0);
        match figure {
            Figure::Rate => known.max_by(|a, b| median(a).total_cmp(&median(b))),
            _ => known.min_by(|a, b| median(a).total_cmp(&median(b))),
        }
    };
    let ratios = FIGURES.into_iter().filter_map(|figure| {
        let rival = best(figure)?;
        Some(Ratio {
            figure,
            value: ratio(figure, ours, rival)?,
            rival: rival.server.clone(),
            noise: again.and_then(|again| ratio(figure, ours, again)),
        })
    });
    let ratios: Vec<Ratio> = ratios.collect();
    let fastest = best(Figure::Rate)?;
    Some(Verdict { limit: limit(case, ours.driver.max(fastest.driver)), ratios })
}

/// What limits a case in which the load generator was busy for this share of the time.
fn limit(case: &Case, driver: f64) -> Limit {
    match (case.capacity(), case.pace) {
        (Some(capacity), _) => Limit::Workers(capacity),
        (None, Pace::Closed) if driver >= BUSY => Limit::Driver(driver),
        (None, Pace::Closed) => Limit::Servers,
        (None, _) => Limit::Pace,
    }
}

impl Limit {
    /// The figures that count: CPU and latency where something else limits the rate.
    pub fn compared(self) -> &'static [Figure] {
        match self {
            Self::Servers => &[Figure::Cpu, Figure::Rate],
            Self::Driver(_) | Self::Pace => &[Figure::Cpu, Figure::P50, Figure::P99],
            Self::Workers(_) => &[Figure::Cpu],
        }
    }
}

impl Ratio {
    /// What it says: level if this server differs as much from itself.
    pub fn standing(&self) -> Standing {
        let noise = self.noise.map_or(0.0, |noise| noise.max(1.0 / noise) - 1.0);
        let tolerance = 1.0 + noise.max(LEAST_NOISE);
        let better = if self.figure == Figure::Rate { self.value } else { 1.0 / self.value };
        match better {
            _ if better > tolerance => Standing::Ahead,
            _ if better < 1.0 / tolerance => Standing::Behind,
            _ => Standing::Level,
        }
    }
}

impl Verdict {
    /// The compared figures by what they say, such as `ahead in CPU, level in p50`.
    pub fn text(&self) -> String {
        let compared = self.limit.compared();
        let of = |standing: Standing, word: &str| {
            let names: Vec<&str> = self
                .ratios
                .iter()
                .filter(|ratio| compared.contains(&ratio.figure) && ratio.standing() == standing)
                .map(|ratio| ratio.figure.name())
                .collect();
            (!names.is_empty()).then(|| format!("{word} in {}", names.join(", ")))
        };
        let parts = [
            of(Standing::Ahead, "ahead"),
            of(Standing::Level, "level"),
            of(Standing::Behind, "behind"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::ALL;
    use super::*;

    fn case(name: &str) -> Case {
        ALL.into_iter().find(|case| case.name == name).expect("a case")
    }

    fn turn(case: &Case, server: &str, role: Role, rate: f64, cpu: f64) -> Turn {
        let (p50, p99) = (cpu * 10.0, cpu * 20.0);
        let (server, role) = (server.to_owned(), Some(role));
        Turn { case: case.name, server, role, rate, cpu, p50, p99, ..Turn::default() }
    }

    #[test]
    fn a_spread_has_the_median_and_the_range() {
        for (values, median, low, high) in [
            (vec![], 0.0, 0.0, 0.0),
            (vec![3.0], 3.0, 3.0, 3.0),
            (vec![3.0, 1.0], 2.0, 1.0, 3.0),
            (vec![9.0, 1.0, 2.0], 2.0, 1.0, 9.0),
            (vec![4.0, 1.0, 3.0, 100.0], 3.5, 1.0, 100.0),
        ] {
            assert_eq!(Spread::of(values), Spread { median, low, high });
        }
    }

    #[test]
    fn rows_are_medians_over_the_rounds_in_the_order_of_the_roles() {
        let case = case("keep-alive");
        let mut turns = vec![
            turn(&case, "again", Role::Again, 100.0, 1.0),
            turn(&case, "slow", Role::Peer, 50.0, 4.0),
            turn(&case, "fast", Role::Peer, 90.0, 2.0),
            turn(&case, "cws", Role::Ours, 10.0, 1.0),
            turn(&case, "cws", Role::Ours, 30.0, 3.0),
            turn(&case, "cws", Role::Ours, 20.0, 2.0),
            turn(&self::case("close"), "other", Role::Peer, 1.0, 1.0),
        ];
        turns[3].errors = 2;
        turns[4].calls = Some(2.5);
        let rows = rows(&case, &turns);
        let names: Vec<&str> = rows.iter().map(|row| row.server.as_str()).collect();
        assert_eq!(names, ["cws", "fast", "slow", "again"]);
        let rate = Spread { median: 20.0, low: 10.0, high: 30.0 };
        assert_eq!(rows[0].figure(Figure::Rate), rate);
        assert_eq!(rows[0].figure(Figure::P99).median, 40.0);
        assert_eq!((rows[0].errors, rows[0].calls), (2, Some(2.5)));
    }

    #[test]
    fn a_ratio_is_of_the_best_rival_in_each_figure() {
        let case = case("keep-alive");
        let turns = [
            turn(&case, "cws", Role::Ours, 100.0, 2.0),
            turn(&case, "fast", Role::Peer, 200.0, 8.0),
            turn(&case, "thrifty", Role::Peer, 50.0, 1.0),
            turn(&case, "best", Role::Ceiling, 1000.0, 0.1),
            turn(&case, "again", Role::Again, 80.0, 2.5),
        ];
        let rows = rows(&case, &turns);
        let verdict = verdict(&case, &rows, |row| row.role == Role::Peer).expect("rivals");
        let found: Vec<(&str, f64, Option<f64>)> = verdict
            .ratios
            .iter()
            .map(|ratio| (ratio.rival.as_str(), ratio.value, ratio.noise))
            .collect();
        let latency = ("thrifty", 2.0, Some(0.8));
        assert_eq!(found, [latency, ("fast", 0.5, Some(1.25)), latency, latency]);
        assert_eq!(super::verdict(&case, &rows, |_| false), None, "no rivals");
        assert_eq!(super::verdict(&case, &rows[1..], |_| true), None, "this server is missing");
    }

    #[test]
    fn a_figure_that_was_not_measured_is_not_compared() {
        let case = case("beside-10m");
        let mut turns = [
            turn(&case, "cws", Role::Ours, 100.0, 2.0),
            turn(&case, "peer", Role::Peer, 100.0, 2.0),
        ];
        turns.iter_mut().for_each(|turn| turn.cpu = 0.0);
        let rows = rows(&case, &turns);
        let verdict = verdict(&case, &rows, |row| row.role == Role::Peer).expect("a rival");
        let figures: Vec<Figure> = verdict.ratios.iter().map(|ratio| ratio.figure).collect();
        assert_eq!(figures, [Figure::Rate, Figure::P50, Figure::P99]);
        assert_eq!(verdict.text(), "level in p50, p99");
    }

    #[test]
    fn the_limit_decides_what_is_compared() {
        for (name, driver, limit, text) in [
            ("keep-alive", 0.5, Limit::Servers, "ahead in CPU; behind in requests/s"),
            ("keep-alive", 0.9, Limit::Driver(0.9), "ahead in CPU, p50, p99"),
            ("paced-5k", 0.9, Limit::Pace, "ahead in CPU, p50, p99"),
            ("beside-10m", 0.1, Limit::Pace, "ahead in CPU, p50, p99"),
            ("delay", 0.1, Limit::Workers(800.0), "ahead in CPU"),
        ] {
            let case = case(name);
            let mut turns = [
                turn(&case, "cws", Role::Ours, 100.0, 1.0),
                turn(&case, "peer", Role::Peer, 200.0, 2.0),
            ];
            turns[1].driver = driver;
            let rows = rows(&case, &turns);
            let verdict = verdict(&case, &rows, |row| row.role == Role::Peer).expect("a rival");
            assert_eq!((verdict.limit, verdict.text()), (limit, text.to_owned()), "{name}");
        }
    }

    #[test]
    fn what_is_within_the_noise_is_level() {
        use Standing::{Ahead, Behind, Level};
        for (figure, value, noise, standing) in [
            (Figure::Cpu, 0.90, None, Ahead),
            (Figure::Cpu, 1.10, None, Behind),
            (Figure::Cpu, 0.985, None, Level),
            (Figure::Cpu, 0.90, Some(1.15), Level),
            (Figure::Cpu, 0.90, Some(0.85), Level),
            (Figure::Cpu, 0.80, Some(0.90), Ahead),
            (Figure::Rate, 1.10, None, Ahead),
            (Figure::Rate, 0.90, None, Behind),
            (Figure::Rate, 0.90, Some(0.80), Level),
            (Figure::P99, 1.30, Some(1.20), Behind),
        ] {
            let ratio = Ratio { figure, value, rival: String::new(), noise };
            assert_eq!(ratio.standing(), standing, "{ratio:?}");
        }
    }
}
