//! What a configuration must be like.

use super::{Config, bounds, rates};

impl Config {
    /// Says what is wrong with it, as the end of a sentence about a server that cannot start.
    pub(crate) fn check(&self) -> Result<(), String> {
        let workers = self.workers;
        let queue = self.queue.unwrap_or(bounds::QUEUE);
        if workers == 0 || workers > bounds::WORKERS_MOST {
            return Err(format!("with {workers} workers (choose 1 to {})", bounds::WORKERS_MOST));
        }
        if queue > bounds::QUEUE_MOST {
            return Err(format!("with a queue of {queue} (choose at most {})", bounds::QUEUE_MOST));
        }
        if self.max_connections == 0 {
            return Err("without connections (allow at least 1)".to_owned());
        }
        let Config { header_timeout, body_timeout, idle_timeout, .. } = *self;
        let Config { write_timeout, drain_timeout, drain_delay, queue_timeout, patience, .. } =
            *self;
        let stages = [header_timeout, body_timeout, idle_timeout, write_timeout];
        let others = [drain_timeout, drain_delay];
        let waits = queue_timeout.into_iter().chain(patience);
        let longest = stages.into_iter().chain(others).chain(waits).max();
        let most = bounds::HEAD_BYTES_MOST;
        if self.memory.most() < bounds::MEMORY_LEAST {
            let least = bounds::MEMORY_LEAST;
            return Err(format!("with so little memory (allow at least {least} bytes)"));
        }
        if self.head_bytes > most || self.target_bytes > self.head_bytes {
            return Err(format!("with such bounds of a head (choose at most {most})"));
        }
        if self.per_client == Some(0) {
            return Err("without connections for a client (allow at least 1)".to_owned());
        }
        let limits = [(self.limit_rate, "each connection"), (self.limit_total, "all connections")];
        for (rate, whose) in limits {
            if let Some(rate) = rate.filter(|rate| *rate < rates::LIMIT_LEAST) {
                let least = rates::LIMIT_LEAST;
                return Err(format!(
                    "with {rate} bytes per second for {whose} (allow at least {least}, or leave \
                     the limit out)"
                ));
            }
        }
        if longest > Some(bounds::LONGEST_WAIT) {
            return Err("with a wait of more than a year (choose a shorter timeout)".to_owned());
        }
        if self.listen.is_empty() {
            return Err("without an address (name one to listen on)".to_owned());
        }
        Ok(())
    }
}
