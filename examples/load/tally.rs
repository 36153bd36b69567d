//! Results of a load: counts, percentiles, and percentiles over time.

use cws::Distribution;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::load::{Conduct, Outcome, Summary};
use lab::numbers::{millis, number, percent};
use lab::program::Program;
use lab::table::Table;
use std::error::Error;
use std::time::Duration;

/// The percentiles in the table.
const PERCENTILES: [f64; 9] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999, 100.0];

/// The number of time windows of a load with known length.
const WINDOWS: u32 = 50;

/// All results of a load.
pub struct Tally {
    pub summary: Summary,
    /// The outcomes, if they are wanted.
    pub outcomes: Vec<Outcome>,
    /// How long requests waited for one of the generator's own connections.
    pub connection_wait: Distribution,
    /// The server's own times.
    queue_wait: Distribution,
    handle: Distribution,
    window: Duration,
    /// Summaries of windows by the intended start.
    windows: Vec<Summary>,
}

impl Tally {
    /// Nothing yet, of a load that takes this long.
    pub fn new(length: Duration) -> Self {
        let window = (length / WINDOWS).max(Duration::from_millis(100));
        Self {
            summary: Summary::default(),
            outcomes: Vec::new(),
            connection_wait: Distribution::default(),
            queue_wait: Distribution::default(),
            handle: Distribution::default(),
            window,
            windows: Vec::new(),
        }
    }

    pub fn add(&mut self, outcome: &Outcome, keep: bool) {
        self.summary.add(outcome);
        self.connection_wait.record(outcome.connection_wait);
        let server = &outcome.server;
        for (time, of) in
            [(server.queue_wait, &mut self.queue_wait), (server.handle, &mut self.handle)]
        {
            if let Some(time) = time {
                of.record(time);
            }
        }
        let window = outcome.intended.div_duration_f64(self.window) as usize;
        // A closed loop by count has no known length; what is beyond the last window is its own.
        let window = window.min(WINDOWS as usize);
        if window >= self.windows.len() {
            self.windows.resize_with(window + 1, Summary::default);
        }
        self.windows[window].add(outcome);
        if keep {
            self.outcomes.push(*outcome);
        }
    }

    pub fn show(&self, program: &mut Program, conduct: &Conduct) -> Result<(), Box<dyn Error>> {
        self.show_counts(program, conduct);
        self.show_percentiles(program);
        if self.summary.success_count() > 0 {
            program.chart(
                &self.percentile_chart(),
                "A clock that starts when a request is sent does not see how long it had to wait \
                 to be sent: where the lines part, a closed-loop test would have hidden it.",
            )?;
        }
        // A percentile that falls on failed requests has no value. Without any there is no chart.
        let has_median = |window: &&Summary| window.quantile(0.5).is_some();
        if self.windows.iter().filter(has_median).count() > 1 {
            program
                .figure(&self.timeline(), "By the time at which requests were meant to start.")?;
        }
        Ok(())
    }

    fn show_counts(&self, program: &mut Program, conduct: &Conduct) {
        let seconds = conduct.length().as_secs_f64();
        let summary = &self.summary;
        let mut table = Table::new(["answer", "requests", "share"]);
        for (answer, &count) in summary.answers() {
            let share = count as f64 / summary.count() as f64;
            table.row([answer.to_string(), count.to_string(), percent(share)]);
        }
        program.table(&table);
        program.text(&format!(
            "{} requests in {seconds:.2}s: {:.1} answered a second, {}B/s. {} tries, {} of them \
             anew as a kept connection had been closed.",
            summary.count(),
            summary.success_count() as f64 / seconds,
            number(summary.bytes() as f64 / seconds),
            summary.tries() + conduct.reconnects(),
            conduct.reconnects(),
        ));
    }

    fn show_percentiles(&self, program: &mut Program) {
        let summary = &self.summary;
        let mut table = Table::new([
            "percentile",
            "from the intended start",
            "from sending",
            "for a connection",
            "server: queue_wait",
            "server: handle",
        ]);
        for percent in PERCENTILES {
            // A percentile that fewer than one request lies beyond is the maximum.
            if percent < 100.0 && summary.count() as f64 * (100.0 - percent) < 100.0 {
                continue;
            }
            let quantile = percent / 100.0;
            let name = if percent == 100.0 { "slowest".to_owned() } else { format!("{percent}") };
            let written = |time: Duration| format!("{time:.2?}");
            let said = |time: Option<Duration>| time.map(written).unwrap_or_default();
            table.row([
                name,
                summary.quantile(quantile).map_or("failed".to_owned(), written),
                said(summary.service_clock().quantile(quantile)),
                said(self.connection_wait.quantile(quantile)),
                said(self.queue_wait.quantile(quantile)),
                said(self.handle.quantile(quantile)),
            ]);
        }
        program.table(&table);
        if let (Some(mean), Some(variation)) =
            (summary.successes().mean(), summary.successes().squared_variation())
        {
            let deviation = mean.mul_f64(variation.sqrt());
            program.text(&format!(
                "Latency of the successful, from the intended start: mean {mean:.2?}, \
                 deviation {deviation:.2?}."
            ));
        }
    }

    /// Latency against the percentile, which is drawn by how many requests lie beyond it.
    fn percentile_chart(&self) -> Chart {
        let all = self.summary.count() as f64;
        let steps = 200;
        // From half of the requests to the slowest one alone.
        let beyond =
            |step: u32| 2.0 * (all / 2.0).max(1.0).powf(f64::from(step) / f64::from(steps));
        let line = |of: &dyn Fn(f64) -> Option<Duration>| {
            let points = (0..=steps).filter_map(|step| {
                let one_in = beyond(step);
                let time = of(1.0 - 1.0 / one_in)?;
                Some((one_in, millis(time)))
            });
            points.collect::<Vec<_>>()
        };
        let intended = line(&|quantile| self.summary.quantile(quantile));
        let closed = line(&|quantile| self.summary.service_clock().quantile(quantile));
        Chart::new(
            "Latency by percentile",
            "Latency from the intended start and from sending, by the share of slower requests",
            Axis::log("one request in so many is slower (2: median, 100: p99, 1000: p99.9)"),
            Axis::log("latency in ms"),
        )
        .with("from the intended start", Colour::Blue, Shape::Line(intended))
        .with("from sending", Colour::Orange, Shape::Dashed(closed))
    }

    fn timeline(&self) -> Chart {
        let window = self.window.as_secs_f64();
        let line = |quantile: f64| {
            let points = self.windows.iter().enumerate().filter_map(|(number, summary)| {
                let time = summary.quantile(quantile)?;
                Some(((number as f64 + 0.5) * window, millis(time)))
            });
            Shape::Line(points.collect())
        };
        Chart::new(
            "Latency over time",
            "Percentiles of the latency in each window of time",
            Axis::linear("intended start in s"),
            Axis::log("latency in ms"),
        )
        .with("slowest", Colour::Red, line(1.0))
        .with("p90", Colour::Orange, line(0.9))
        .with("median", Colour::Blue, line(0.5))
    }
}
