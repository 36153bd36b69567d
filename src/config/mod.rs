//! What a server can be told before it starts, the bounds of it, and the defaults.

#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "some belong to features that are off"))]
mod bounds;

pub use bounds::*;

use crate::memory::Memory;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The form of the access log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AccessLog {
    /// None.
    #[default]
    Off,
    /// For people at a terminal: who, what, status, content length, time since it was queued.
    Brief,
    /// The Common Log Format of NCSA httpd.
    Common,
    /// The same with `Referer` and `User-Agent`: what log tools read.
    Combined,
    /// An object a line, with the times of an exchange in microseconds (feature `json-log`).
    #[cfg(feature = "json-log")]
    Json,
}

/// The settings, each as a field that is read and as a method of its name that sets it.
macro_rules! settings {
    ($($(#[$docs:meta])* $name:ident: $type:ty,)*) => {
        /// What a server is told before it starts. [`Config::default`] is a working one; each
        /// method sets what its name says.
        ///
        /// ```
        /// use cws::Config;
        ///
        /// let config = Config::default().workers(4).queue(100).server_timing(true);
        /// assert_eq!((config.workers, config.queue), (4, 100));
        /// ```
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        #[must_use]
        pub struct Config {
            $($(#[$docs])* pub $name: $type,)*
        }

        impl Config {
            $(
                $(#[$docs])*
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}

settings! {
    /// Addresses to listen on. Port 0 takes a free port, the same one for all addresses.
    listen: Vec<SocketAddr>,
    /// Worker threads, at least 1.
    workers: usize,
    /// Jobs that may wait for a worker; 0 lets none wait.
    queue: usize,
    /// Longest wait in the queue before a request is refused instead of begun.
    queue_timeout: Duration,
    /// How long clients wait for their responses, where that is known: handlers are told what is
    /// left of it.
    patience: Option<Duration>,
    /// Open connections, at least 1.
    max_connections: usize,
    /// Open connections from one IPv4 address or one IPv6 /64; none for no bound.
    per_client: Option<usize>,
    /// Connections are accepted when their first bytes have come, and silent ones after about a
    /// second, where the system knows how to (Linux, `TCP_DEFER_ACCEPT`). It takes a quarter off
    /// what a connection costs. Without it, each connection is seen, counted and timed at once.
    defer_accept: bool,
    /// Absolute deadline for a request head, from its first byte.
    header_timeout: Duration,
    /// Window in which a request body must come at `min_rate` on the average, or end.
    body_timeout: Duration,
    /// Absolute deadline for the next request on a connection.
    idle_timeout: Duration,
    /// Window in which a client must take its response at `min_rate` on the average.
    write_timeout: Duration,
    /// Bytes a second at which clients must take responses and send bodies.
    min_rate: u64,
    /// Time between the call to stop, when the server says that it is not ready, and the end of
    /// accepting.
    drain_delay: Duration,
    /// Longest wait for running requests at shutdown.
    drain_timeout: Duration,
    /// The form of the access log, which goes through `log`, to the target `access`.
    access_log: AccessLog,
    /// Responses of handlers say in `Server-Timing` how long the request waited and was served.
    server_timing: bool,
    /// Requests of HTTP/0.9 are answered.
    http09: bool,
    /// Responses say what server they come from.
    server_field: bool,
    /// Bytes of a request head.
    head_bytes: usize,
    /// Bytes of a request target.
    target_bytes: usize,
    /// Bytes of a request body that are dropped to keep the connection.
    body_bytes: u64,
    /// What clients can make the server hold, in bytes. Who holds something else for them can claim
    /// a part of it; clones share it.
    memory: Memory,
}

impl Default for Config {
    /// Loopback, a free port, one worker a processor, and a default for each of the others.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            workers: num_cpus::get(),
            queue: QUEUE,
            queue_timeout: QUEUE_TIMEOUT,
            patience: None,
            max_connections: CONNECTIONS,
            per_client: None,
            defer_accept: false,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            min_rate: MIN_RATE,
            drain_delay: Duration::ZERO,
            drain_timeout: DRAIN_TIMEOUT,
            access_log: AccessLog::default(),
            server_timing: false,
            http09: true,
            server_field: true,
            head_bytes: HEAD_BYTES,
            target_bytes: TARGET_BYTES,
            body_bytes: BODY_BYTES,
            memory: Memory::new(MEMORY),
        }
    }
}

/// What helps to choose settings.
impl Config {
    /// Most workers that can be asked for.
    pub const WORKERS_MOST: usize = WORKERS_MOST;
    /// Longest queue that can be asked for.
    pub const QUEUE_MOST: usize = QUEUE_MOST;
    /// Least bytes of memory that a server can be given.
    pub const MEMORY_LEAST: u64 = MEMORY_LEAST;
    /// Longest wait that can be asked for.
    pub const LONGEST_WAIT: Duration = LONGEST_WAIT;

    /// The queue's bound and the queue timeout for clients that wait for at most `patience`, where
    /// each of `workers` needs `delay` for a request: max(W, W (T/2D - 1)) jobs, and T/2.
    ///
    /// Half the patience, because a bound at the whole of it fills the queue with requests that are
    /// answered just too late: in simulation (W = 4, T = 10 D, Poisson arrivals) goodput at ten
    /// times the capacity is .001 of it with the whole, and .97 with the half. The bound holds as
    /// long as `delay` is right; the timeout also holds if it is not.
    pub fn for_patience(workers: usize, delay: Duration, patience: Duration) -> (usize, Duration) {
        let services = patience.as_secs_f64() / (2.0 * delay.as_secs_f64());
        // A division by no delay at all gives infinity, which becomes the largest bound.
        let jobs = (workers as f64 * (services - 1.0)).floor() as usize;
        (jobs.max(workers).min(QUEUE_MOST), patience / 2)
    }

    /// The memory for clients on a machine, or in a container, with so much of it.
    pub fn memory_within(limit: Option<u64>) -> u64 {
        let share = limit.map_or(MEMORY, |limit| limit / MEMORY_PARTS);
        share.clamp(MEMORY_LEAST, MEMORY)
    }

    /// The connections that a limit of open descriptors has room for, at least one.
    pub fn connections_within(descriptors: usize) -> usize {
        // Where descriptors are few, the reserve must not take them all.
        let reserve = DESCRIPTOR_RESERVE.min(descriptors / 2);
        ((descriptors - reserve) / DESCRIPTORS_EACH).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_sets_queue_and_timeout() {
        let of = |workers, delay, patience| {
            let millis = Duration::from_millis;
            let (queue, timeout) = Config::for_patience(workers, millis(delay), millis(patience));
            (queue, timeout.as_millis())
        };
        assert_eq!(of(4, 20, 200), (16, 100));
        assert_eq!(of(4, 10, 100), (16, 50));
        assert_eq!(of(3, 20, 110), (5, 55));
        assert_eq!(of(4, 100, 100), (4, 50), "never less than one for each worker");
        assert_eq!(of(4, 0, 100), (QUEUE_MOST, 50));
        assert_eq!(of(2_000_000, 10, 200), (QUEUE_MOST, 100), "refused elsewhere");
    }

    #[test]
    fn descriptors_set_connections() {
        let rows = [(20_000, 9968), (1024, 480), (64, 16), (4, 1), (0, 1)];
        for (descriptors, connections) in rows {
            assert_eq!(Config::connections_within(descriptors), connections, "{descriptors}");
        }
        assert_eq!(Config::memory_within(Some(1 << 30)), 256 << 20);
        assert_eq!(Config::memory_within(Some(100 << 20)), 25 << 20);
        assert_eq!(Config::memory_within(Some(1)), MEMORY_LEAST);
        assert_eq!(Config::memory_within(None), MEMORY);
    }
}
