//! The configuration of a server: its settings, their limits and their defaults.

#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "some belong to features that are off"))]
mod bounds;
#[cfg_attr(
    not(feature = "admin"),
    allow(dead_code, reason = "the live page alone shows transfers")
)]
mod rates;
mod sending;
mod check;
#[cfg(feature = "files")]
mod directories;
#[cfg(feature = "admin")]
mod page;
mod proxies;

pub use bounds::*;
#[cfg(feature = "files")]
pub use directories::*;
#[cfg(feature = "admin")]
pub use page::*;
#[cfg(feature = "proxy")]
pub use proxies::{ClientAddress, Network, NetworkError};
pub use rates::*;
pub use sending::*;

use crate::memory::Memory;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The format of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AccessLog {
    /// None.
    #[default]
    Off,
    /// For people at a terminal: client, request line, status, content length, and time since the
    /// request was queued.
    Brief,
    /// The Common Log Format of NCSA httpd.
    Common,
    /// The Combined Log Format: the same with `Referer` and `User-Agent`, which log tools expect.
    Combined,
    /// One JSON object per line, with the times of the exchange in microseconds (feature
    /// `json-log`).
    #[cfg(feature = "json-log")]
    Json,
}

/// The order in which requests that wait are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Schedule {
    /// Clients take turns, each by the service time that it has had: start-time fair queueing
    /// (Goyal, Vin and Cheng, SIGCOMM 1996). A client is an IPv4 address or an IPv6 /64. What one
    /// does not use, the others get. One client alone gets everything, in order of arrival. A
    /// refused request counts as a short service, 20 microseconds.
    #[default]
    Fair,
    /// In order of arrival: first in, first out.
    Fifo,
    /// The newest first: last in, first out.
    Lifo,
    /// The smallest response first, with ageing: a large one is overtaken by those that arrive
    /// within a second for each 16 MiB of it, and by no others. The size is that of the last
    /// response to the same request line; one that is not known yet counts as empty.
    SmallestFirst,
}

/// What gives way when the queue is full and another request arrives. With [`Schedule::Fair`] it is
/// a request of the client that has the most of them waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// The newest request is refused.
    #[default]
    Refuse,
    /// The oldest request is refused.
    DropHead,
    /// A request at random is refused.
    DropRandom,
    /// None: the server stops reading from the connection of the new request until there is room.
    /// The time counts as a wait in the queue, so a request that is too old is still refused.
    Block,
}

/// Defines each setting as a public field and as a method of the same name that sets it. The method
/// of an optional one takes a value, or an option.
macro_rules! settings {
    (
        always { $($(#[$docs:meta])* $name:ident: $type:ty,)* }
        optional { $($(#[$option_docs:meta])* $option:ident: $inner:ty,)* }
    ) => {
        /// The settings of a server. [`Config::default`] is a working configuration, on a free port
        /// of the loopback address; each method sets the field of its name.
        ///
        /// ```
        /// use cws::Config;
        ///
        /// let config = Config::default().workers(4).queue(100).server_timing(true);
        /// assert_eq!((config.workers, config.queue), (4, Some(100)));
        /// ```
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        #[must_use]
        pub struct Config {
            $($(#[$docs])* pub $name: $type,)*
            $($(#[$option_docs])* pub $option: Option<$inner>,)*
        }

        impl Config {
            $(
                $(#[$docs])*
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
            $(
                $(#[$option_docs])*
                pub fn $option(mut self, $option: impl Into<Option<$inner>>) -> Self {
                    self.$option = $option.into();
                    self
                }
            )*
        }
    };
}

settings! {
    always {
        /// The addresses to listen on. Port 0 chooses a free port, the same one for all addresses.
        listen: Vec<SocketAddr>,
        /// The number of worker threads, at least 1.
        workers: usize,
        /// The order in which waiting requests are served: [`Schedule::Fair`] by default. While
        /// workers take requests at once nobody waits, and it is the order of arrival.
        schedule: Schedule,
        /// What gives way when the queue is full: [`WhenFull::Refuse`] by default.
        when_full: WhenFull,
        /// The most open connections, at least 1.
        max_connections: usize,
        /// Accept a connection only when its first bytes have arrived, or after about a second
        /// (Linux, `TCP_DEFER_ACCEPT`; no effect elsewhere). This saves a quarter of the cost of a
        /// connection. Without it, each connection is accepted, counted and timed at once. It is
        /// off by default; the `server` command turns it on.
        defer_accept: bool,
        /// The longest time for a request head, from its first byte.
        header_timeout: Duration,
        /// The time window in which a request body must arrive at `min_rate` on average, or end.
        body_timeout: Duration,
        /// The longest wait for the next request on a connection.
        idle_timeout: Duration,
        /// The time window in which a client must read its response at `min_rate` on average.
        write_timeout: Duration,
        /// The minimum rate, in bytes per second, at which clients must read responses and send
        /// bodies.
        min_rate: u64,
        /// How long the server keeps accepting connections after a stop was requested, while it
        /// already reports that it is not ready.
        drain_delay: Duration,
        /// The longest wait for queued and running requests at shutdown.
        drain_timeout: Duration,
        /// The format of the access log, whose lines go to `log` with the target `access`.
        access_log: AccessLog,
        /// The process's logger may block, for example on a terminal or a disk. Then a thread of
        /// its own logs the acceptor's lines. If it never blocks, say `false`: the acceptor calls
        /// it itself, which saves waking that thread for each line.
        logger_may_block: bool,
        /// Add a `Server-Timing` field to handlers' responses: how long the request waited, and how
        /// long the handler took.
        server_timing: bool,
        /// Give each request an identifier. It is in the access log, in `Request::request_id`, and
        /// in the field `X-Request-Id` of the response. That of a trusted proxy is taken over if it
        /// has 1 to 128 letters, digits and characters of `-_.~+/=:@`. Handlers should not set the
        /// field themselves.
        request_id: bool,
        /// Connections begin with a header of the PROXY protocol, version 1 or 2. It says who the
        /// client is. Connections of others than `trusted_proxies`, or without the header, are
        /// closed.
        #[cfg(feature = "proxy")]
        proxy_protocol: bool,
        /// The proxies whose words count: for `proxy_protocol`, `client_address` and `request_id`.
        #[cfg(feature = "proxy")]
        trusted_proxies: Vec<Network>,
        /// Answer HTTP/0.9 requests.
        http09: bool,
        /// Send a `Server` field.
        server_field: bool,
        /// The most bytes of a request head.
        head_bytes: usize,
        /// The most bytes of a request target.
        target_bytes: usize,
        /// The most bytes of a request body that are read and dropped, if the handler accepts none,
        /// to keep the connection.
        body_bytes: u64,
        /// The memory budget for everything that clients can make the server hold. Clones share it,
        /// so an embedder that holds more for clients can claim a part of it.
        memory: Memory,
    }
    optional {
        /// The most requests that wait for a worker. With 0, a request is refused unless a worker
        /// is idle. `None`, the default, means [`Config::QUEUE`] (1024) without a `patience`. With
        /// one, it means as many as the workers serve before they are too old: W times the longest
        /// wait, divided by S, at least W. S is the measured service time: a moving average for
        /// each worker, in which the latest service has a weight of 1/8, and the mean of them.
        queue: usize,
        /// The longest wait in the queue. A request that has waited longer is refused with 503.
        /// `None`, the default, means [`Config::QUEUE_TIMEOUT`] (10 seconds) without a `patience`
        /// T. With one, it means min(T/2, 0.9 T - S), at least T/10: later than that, a response
        /// would probably come too late. Before the first service, and 10 T after the latest, it is
        /// T/2.
        queue_timeout: Duration,
        /// How long clients wait for their responses, in all, if known. `queue` and `queue_timeout`
        /// follow from it and from the measured service time unless they are set themselves, so
        /// they hold when the service time changes. Handlers can read how much of this time is left
        /// (`Request::time_left`). `None`, the default, means that it is not known.
        patience: Duration,
        /// The name of a request header field with the time, in seconds, that the client waits for
        /// its response: digits with an optional fraction, such as `0.25`. Anything else is
        /// ignored. It can shorten `patience` and the wait in the queue for its request, and never
        /// lengthens them. `None` means that no field is read.
        patience_field: String,
        /// A path that says that the process lives: GET and HEAD get 200 without a worker, however
        /// many requests wait. It begins with `/`, and is compared with the decoded path of a
        /// request. The handler gets other methods. A client needs a place for its connection: see
        /// `max_connections`. `None` means no such path.
        health: String,
        /// The most open connections from one IPv4 address or one IPv6 /64. `None` means no limit.
        /// A connection counts for the client that the PROXY protocol names. One of a trusted proxy
        /// that names clients in a field counts for the client whose request is in progress, and
        /// for nobody in between: then this bounds the requests in progress. A trusted proxy itself
        /// is not limited.
        per_client: usize,
        /// The most bytes per second that a connection is sent, heads included. All its responses
        /// share the limit. What it gives in 50 milliseconds, and at least 1 KiB, may go out at
        /// once. A client is not taken for a slow one because of it. At least 1024; `None`, the
        /// default, means no limit.
        limit_rate: u64,
        /// The same for all connections together. Responses take turns in which each sends as much
        /// as the others: what a slow client does not take, the others get. Responses of up to 4
        /// KiB do not wait for a turn, as long as they take at most half of the rate.
        limit_total: u64,
        /// The field in which `trusted_proxies` name their clients. It is read from the right, past
        /// trusted proxies, to the first address that is not trusted: what is left of that is
        /// anybody's to write. `None`, the default, means that no field is read.
        #[cfg(feature = "proxy")]
        client_address: ClientAddress,
    }
}

impl Default for Config {
    /// The loopback address, a free port, one worker per processor, and a default for each of the
    /// others.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            workers: num_cpus::get(),
            queue: None,
            queue_timeout: None,
            patience: None,
            schedule: Schedule::default(),
            when_full: WhenFull::default(),
            patience_field: None,
            health: None,
            max_connections: CONNECTIONS,
            per_client: None,
            limit_rate: None,
            limit_total: None,
            defer_accept: false,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            min_rate: MIN_RATE,
            drain_delay: Duration::ZERO,
            drain_timeout: DRAIN_TIMEOUT,
            access_log: AccessLog::default(),
            logger_may_block: true,
            server_timing: false,
            request_id: false,
            #[cfg(feature = "proxy")]
            proxy_protocol: false,
            #[cfg(feature = "proxy")]
            trusted_proxies: Vec::new(),
            #[cfg(feature = "proxy")]
            client_address: None,
            http09: true,
            server_field: true,
            head_bytes: HEAD_BYTES,
            target_bytes: TARGET_BYTES,
            body_bytes: BODY_BYTES,
            memory: Memory::new(MEMORY),
        }
    }
}

/// How long the channel of jobs may take before those in it move to the waiting room.
pub(crate) fn channel_wait(schedule: Schedule) -> Duration {
    match schedule {
        Schedule::Fifo => CHANNEL_WAIT_FIFO,
        _ => CHANNEL_WAIT,
    }
}

/// Helpers to choose settings.
impl Config {
    /// The largest number of workers.
    pub const WORKERS_MOST: usize = WORKERS_MOST;
    /// The bound of the queue, unless one is set or follows.
    pub const QUEUE: usize = QUEUE;
    /// The longest wait in the queue, unless one is set or follows.
    pub const QUEUE_TIMEOUT: Duration = QUEUE_TIMEOUT;
    /// The longest queue.
    pub const QUEUE_MOST: usize = QUEUE_MOST;
    /// The smallest memory budget in bytes.
    pub const MEMORY_LEAST: u64 = MEMORY_LEAST;
    /// The lowest `limit_rate` and `limit_total`, in bytes per second.
    pub const LIMIT_LEAST: u64 = LIMIT_LEAST;
    /// The longest timeout.
    pub const LONGEST_WAIT: Duration = LONGEST_WAIT;

    /// Fixed values of `queue` and `queue_timeout` for clients that wait for at most `patience`, if
    /// each of `workers` needs `delay` for a request: max(W, W (T/2D - 1)) requests, and T/2.
    ///
    /// They are for planning a server before it runs, and for comparing with it. A running server
    /// needs only its [`patience`](Config::patience): it measures the service time, and its limits
    /// follow. These hold as long as `delay` is right (the timeout also if it is not).
    ///
    /// Half the patience, because a bound at the whole of it fills the queue with requests that are
    /// answered just too late: in simulation (W = 4, T = 10 D, Poisson arrivals) goodput at ten
    /// times the capacity is .001 of it with the whole, and .97 with the half.
    pub fn for_patience(workers: usize, delay: Duration, patience: Duration) -> (usize, Duration) {
        let services = patience.as_secs_f64() / (2.0 * delay.as_secs_f64());
        // A division by no delay at all gives infinity, which becomes the largest bound.
        let jobs = (workers as f64 * (services - 1.0)).floor() as usize;
        (jobs.max(workers).min(QUEUE_MOST), patience / 2)
    }

    /// The default memory budget on a machine, or in a container, with this much memory.
    pub fn memory_within(limit: Option<u64>) -> u64 {
        let share = limit.map_or(MEMORY, |limit| limit / MEMORY_PARTS);
        share.clamp(MEMORY_LEAST, MEMORY)
    }

    /// The number of connections that a descriptor limit has room for, at least one.
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
