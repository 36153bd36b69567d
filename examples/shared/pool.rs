//! Starts this project's server within a program's process.

use cws::{AccessLog, Config, Delay, Request, Response, Server, StartError};
use std::time::Duration;

/// Starts W workers with delay D on a free port of the loopback interface. `config` sets everything
/// else.
pub fn start(workers: usize, delay: Duration, config: Config) -> Result<Server, StartError> {
    let config = Config {
        workers,
        max_connections: cws::descriptor_limit() / 4,
        server_timing: true,
        access_log: AccessLog::Off,
        drain_timeout: Duration::ZERO,
        ..config
    };
    let respond = |_: &Request<'_>| Response::ok("text/plain", "done\n");
    Server::start(config, Delay::new(delay, respond))
}
