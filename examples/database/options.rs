//! What `database` is asked for.

use lab::program::{EXIT_CODES, Options};
use std::path::PathBuf;
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  D          is measured, and is no constant: it grows with W, as workers share what is behind them
  reading    carries W/D up to the number of processors: more workers than that share them
  writing    carries W/D up to the one writer at a time that SQLite has: more workers wait for it,
             within their service time, which therefore grows and varies
  wait       depends on the variance of the service time as much as on its mean";

/// Serves a folder from a database, or shows what a pool carries whose back-end is a real one: a
/// database with readers beside one another and one writer at a time.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "database", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Load this folder into a database and serve it, until SIGINT or SIGTERM
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "html", "csv", "svg"])]
    pub serve: Option<PathBuf>,

    /// The port to serve on; 0 takes any
    #[arg(default_value = "8083", requires = "serve")]
    pub port: u16,

    /// Keep the database in this file, an SQLite Archive, instead of one that is removed
    #[arg(long, value_name = "FILE", requires = "serve")]
    pub archive: Option<PathBuf>,

    #[command(flatten)]
    pub common: Options,
}

impl Args {
    /// How many workers the pools have.
    pub fn workers(&self) -> &'static [usize] {
        if self.common.quick { &[1, 2, 16] } else { &[1, 2, 3, 4, 6, 8, 12, 16] }
    }

    /// The length of each run in which clients ask as fast as they are answered.
    pub fn length(&self) -> Duration {
        Duration::from_millis(if self.common.quick { 700 } else { 1500 })
    }

    /// The length of the run with Poisson arrivals.
    pub fn open_length(&self) -> Duration {
        Duration::from_millis(if self.common.quick { 1200 } else { 5000 })
    }

    /// Files in the database that the program makes for itself.
    pub fn files(&self) -> usize {
        if self.common.quick { 2500 } else { 4000 }
    }
}
