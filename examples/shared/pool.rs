//! Starts this project's server within a program's process.

use cws::{AccessLog, Config, Delay, Request, Response, Server, ServiceTime, StartError};
use std::time::Duration;

/// Starts W workers with a delay, constant or random, on a free port of the loopback interface.
/// `config` sets everything else.
pub fn start(
    workers: usize,
    delay: impl Into<ServiceTime>,
    config: Config,
) -> Result<Server, StartError> {
    let config = config
        .workers(workers)
        .max_connections(cws::descriptor_limit() / 4)
        .server_timing(true)
        .access_log(AccessLog::Off)
        .drain_timeout(Duration::ZERO);
    let respond = |_: &Request<'_>| Response::ok("text/plain", "done\n");
    Server::start(config, Delay::new(delay, respond))
}
