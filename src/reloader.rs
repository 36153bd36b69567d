//! New settings for a running server.

use crate::config::Config;
use crate::connection::{Renewal, Renewed};
use crate::handler::Handler;
use crate::queue::ages::Limits;
use std::sync::Arc;

/// Changes settings of a server while it runs. See `Server::reloader`.
///
/// ```
/// use cws::{Config, Request, Server};
/// use std::time::Duration;
///
/// let hello = |_: &Request<'_>| "hello\n";
/// let server = Server::start(Config::default(), hello)?;
/// let reloader = server.reloader();
/// let config = Config::clone(&reloader.config()).idle_timeout(Duration::from_secs(5));
/// Server::check(&config)?;
/// reloader.reload(&config, &hello);
/// assert_eq!(reloader.config().idle_timeout, Duration::from_secs(5));
/// # server.shutdown();
/// # Ok::<(), cws::StartError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reloader(Arc<Renewal>);

impl Reloader {
    pub(crate) fn new(renewal: Arc<Renewal>) -> Self {
        Self(renewal)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.0.latest().config
    }

    /// Puts settings into force, and the fields that `handler` has for the server's own responses
    /// ([`Handler::common_fields`]). Each thread takes them between two requests, so that no
    /// request is lost, and none is served by half of them. Check them with `Server::check` before.
    ///
    /// These settings change: `header_timeout`, `body_timeout`, `idle_timeout`, `write_timeout`,
    /// `min_rate`, `limit_rate`, `limit_total`, `drain_delay`, `drain_timeout`, `queue`,
    /// `queue_timeout`, `patience`, `patience_field`, `health`, `access_log`, `server_timing`,
    /// `http09` and `server_field`. The others are those of threads, tables and sockets that exist,
    /// and stay as they are.
    pub fn reload(&self, config: &Config, handler: &impl Handler) {
        let common_fields = handler.common_fields();
        self.0.change(|before| {
            let config = renewed(&before.config, config);
            Renewed { limits: Limits::new(&config), config: Arc::new(config), common_fields }
        });
    }
}

/// The settings of `new` that can change, and the others of `old`.
fn renewed(old: &Config, new: &Config) -> Config {
    Config {
        header_timeout: new.header_timeout,
        body_timeout: new.body_timeout,
        idle_timeout: new.idle_timeout,
        write_timeout: new.write_timeout,
        min_rate: new.min_rate,
        limit_rate: new.limit_rate,
        limit_total: new.limit_total,
        drain_delay: new.drain_delay,
        drain_timeout: new.drain_timeout,
        queue: new.queue,
        queue_timeout: new.queue_timeout,
        patience: new.patience,
        patience_field: new.patience_field.clone(),
        health: new.health.clone(),
        access_log: new.access_log,
        server_timing: new.server_timing,
        http09: new.http09,
        server_field: new.server_field,
        ..old.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::Response;
    use crate::http::request::Request;
    use bytes::Bytes;
    use std::time::Duration;

    #[test]
    fn what_belongs_to_threads_and_tables_stays_as_it_is() {
        let start = Config::default().workers(3).max_connections(10);
        let first = Renewed {
            limits: Limits::new(&start),
            config: Arc::new(start),
            common_fields: Bytes::new(),
        };
        let reloader = Reloader::new(Arc::new(Renewal::new(first)));
        let (renewal, mut seen) = (Arc::clone(&reloader.0), 0);
        assert!(renewal.since(&mut seen).is_none(), "nothing has changed");
        let new = Config::default().workers(4).max_connections(20).queue(7).min_rate(8);
        let new = new.idle_timeout(Duration::from_secs(9)).limit_rate(5000).limit_total(6000);
        reloader.reload(&new, &|_: &Request<'_>| Response::text(""));
        let config = reloader.config();
        assert_eq!((config.workers, config.max_connections), (3, 10));
        assert_eq!((config.queue, config.min_rate), (Some(7), 8));
        assert_eq!(config.idle_timeout, Duration::from_secs(9));
        assert_eq!((config.limit_rate, config.limit_total), (Some(5000), Some(6000)));
        let renewed = renewal.since(&mut seen).expect("it has changed");
        assert_eq!(renewed.limits.bound(None), 7);
        assert!(renewal.since(&mut seen).is_none(), "once");
    }
}
