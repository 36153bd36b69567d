//! The options of `saturation`, and its loads.

use crate::values;
use cws::ServiceTime;
use lab::program::{EXIT_CODES, Options};
use lab::trial::TrialOptions;
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  carried    rises with the load up to W/D, and stays there
  wait       is nearly zero at half load, and rises steeply from .8 on
  twin       an ideal pool that gets the same arrivals and the D of the option, and nothing that was
             measured: queueing alone causes the wait
  fed        the twin with the services as they were: the table below names what is between the two
  band       the random variation of runs of this length: a single run is not the truth
  constant   the same load with constant gaps hardly waits
  variation  the same load with services that vary waits longer: (1 + C2)/2 times, about

Examples:
  saturation --service exp:5ms            services that vary
  saturation --service lognormal:5ms,cv=2
  saturation --twins 200                  how often do the checks raise a false alarm?";

/// Load of the run with constant arrivals.
pub const CONSTANT_LOAD: f64 = 0.9;

/// Loads a pool of W workers with delay D from a third of its capacity to overload, and compares
/// the measurements with queueing theory.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "saturation", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Number of workers
    #[arg(long, short, value_name = "W", default_value = "4", value_parser = values::at_least_one)]
    pub workers: usize,

    /// Delay of each request, for example 5ms [default: 5ms, with --quick 20ms]
    #[arg(long, value_name = "D", value_parser = values::duration)]
    delay: Option<Duration>,

    /// Law of the service time instead, for example exp:5ms or lognormal:5ms,cv=2; D is its mean
    #[arg(long, value_name = "LAW", value_parser = values::service, conflicts_with = "delay")]
    service: Option<ServiceTime>,

    /// Measure this running server instead; its workers and delay are given by the other options
    #[arg(long, conflicts_with = "service")]
    pub url: Option<String>,

    /// The length of each run, unless it is that of the form.
    #[arg(skip)]
    length: Option<Duration>,

    #[command(flatten)]
    pub trial: TrialOptions,

    #[command(flatten)]
    pub common: Options,
}

/// The load of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The load as a multiple of W/D.
    pub times: f64,
    pub pattern: Pattern,
}

/// The arrival process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    Poisson,
    Constant,
}

impl Load {
    pub fn name(self) -> String {
        match self.pattern {
            Pattern::Poisson => format!("{}", self.times),
            Pattern::Constant => format!("{} constant", self.times),
        }
    }
}

/// How far figures may be off.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// The carried load, as a share of W/D.
    pub carried: f64,
    /// What two instruments say, as a share of it.
    pub instruments: f64,
    /// The mean wait, as a share of the twin's, plus a share of the service time.
    pub twin: (f64, f64),
    /// How much longer services may last than told, as a share.
    pub inflation: f64,
    /// The latency without the late start, the wait and the service.
    pub way: Duration,
    /// What has no name, as a share of what separates the run from the ideal pool.
    pub unnamed: f64,
}

impl Args {
    /// The law of the service time. Longer times in the short form: there, the machine's overhead
    /// must be a smaller share of them.
    pub fn service(&self) -> ServiceTime {
        let millis = if self.common.quick { 20 } else { 5 };
        let delay = self.delay.unwrap_or(Duration::from_millis(millis));
        self.service.clone().unwrap_or_else(|| delay.into())
    }

    /// The mean service time, D.
    pub fn delay(&self) -> Duration {
        self.service().mean()
    }

    /// The same with another law and another length of each run.
    pub fn with(&self, service: ServiceTime, length: Duration) -> Self {
        Self { service: Some(service), length: Some(length), ..self.clone() }
    }

    /// The same with longer services if they are constant, for the runs beside the kernel's count:
    /// a server accepts and closes a connection a little later than its client opens and closes it.
    pub fn longer(&self) -> Self {
        let service = self.service();
        let service = service.constant().map_or(service, |delay| (2 * delay).into());
        self.with(service, self.length())
    }

    /// The length of each run.
    pub fn length(&self) -> Duration {
        let millis = if self.common.quick { 400 } else { 1300 };
        self.length.unwrap_or(Duration::from_millis(millis))
    }

    /// The seeds of the runs of each load.
    pub fn seeds(&self) -> Vec<u64> {
        let count = if self.common.quick { 3 } else { 4 };
        (0..count).map(|number| self.common.seed.wrapping_mul(1000).wrapping_add(number)).collect()
    }

    /// How many runs go on at the same time.
    pub fn at_once(&self) -> usize {
        if self.common.quick { 3 } else { 2 }
    }

    pub fn loads(&self) -> Vec<Load> {
        let times: &[f64] = match self.common.quick {
            true => &[0.5, CONSTANT_LOAD, 1.2],
            false => &[0.3, 0.5, 0.7, 0.8, CONSTANT_LOAD, 0.95, 1.05, 1.2],
        };
        let by_chance = times.iter().map(|&times| Load { times, pattern: Pattern::Poisson });
        let evenly = Load { times: CONSTANT_LOAD, pattern: Pattern::Constant };
        by_chance.chain([evenly]).collect()
    }

    pub fn tolerance(&self) -> Tolerance {
        match self.common.quick {
            true => Tolerance {
                carried: 0.2,
                instruments: 0.03,
                twin: (0.2, 0.1),
                inflation: 0.05,
                way: Duration::from_micros(1000),
                unnamed: 0.25,
            },
            false => Tolerance {
                carried: 0.01,
                instruments: 0.01,
                twin: (0.05, 0.02),
                inflation: 0.02,
                way: Duration::from_micros(150),
                unnamed: 0.05,
            },
        }
    }
}
