//! The options of `models`.

use crate::model::Model;
use crate::values;
use lab::program::{EXIT_CODES, Options};
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "\
Measures six ways to serve many clients side by side: what each carries, how long its clients wait,
and what it costs in memory, threads and processes, with few and many clients, and while others
connect and send nothing or send slowly.

Each model is a server in a process of its own. All of them serve the same file, and wait for the
same time D for a simulated back-end. Clients make a new connection for each request.";

const LESSON: &str = "\
What to look at:
  few     the sequential server carries 1/D, all others what the clients ask for
  many    the pools stop at W/D; the others work on all requests at a time, which a real back-end
          would not bear (see `workers` and `database`)
  silent  a server whose threads wait for clients stops when as many clients as threads send nothing
  memory  what one client without a request costs: a process, a thread, or an entry in a table

Examples:
  models                                 all six, in about a minute
  models --quick --html models.html
  models --serve thread 8080             one of them alone, for curl and for `grade`
  models --serve pool-connection 8080 --workers 4 --delay 20ms --root DIR";

/// Measures six ways to serve many clients, or serves in one of them
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "models", version, long_about = ABOUT)]
#[command(after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Serve in this way, until the process is stopped
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["quick", "html", "csv", "svg"])]
    pub serve: Option<Model>,

    /// Port to serve on; 0 chooses a free one
    #[arg(value_name = "PORT", default_value_t = 8080, requires = "serve")]
    pub port: u16,

    /// Folder to serve
    #[arg(long, value_name = "DIR", default_value = ".", requires = "serve")]
    pub root: PathBuf,

    /// Number of worker threads of each pool, W
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one, default_value_t = 4)]
    pub workers: usize,

    /// Delay of each request, D
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "10ms")]
    pub delay: Duration,

    /// Few clients: as many as workers, unless given
    #[arg(long, value_name = "N", value_parser = values::at_least_one, conflicts_with = "serve")]
    pub few: Option<usize>,

    /// Many clients: eight for each worker, unless given
    #[arg(long, value_name = "N", value_parser = values::at_least_one, conflicts_with = "serve")]
    pub many: Option<usize>,

    /// Number of silent, and of slow clients
    #[arg(long, value_name = "N", value_parser = values::at_least_one, default_value_t = 100,
        conflicts_with = "serve")]
    pub slow: usize,

    /// End with the process that has started this one
    #[arg(long, hide = true, requires = "serve")]
    pub for_parent: bool,

    #[command(flatten)]
    pub common: Options,
}

impl Args {
    pub fn few(&self) -> usize {
        self.few.unwrap_or(self.workers)
    }

    pub fn many(&self) -> usize {
        self.many.unwrap_or(8 * self.workers)
    }

    /// How often each model is measured with each kind of clients.
    pub fn rounds(&self) -> usize {
        if self.common.quick { 1 } else { 3 }
    }

    /// The length of each of these runs.
    pub fn length(&self) -> Duration {
        self.delay * if self.common.quick { 10 } else { 50 }
    }
}
