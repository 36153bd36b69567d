//! The options of `server` that limit rates.

use cws::Config;

#[derive(Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// Maximum rate of each connection in bytes per second, for example 500K or 1MiB; all its
    /// responses share it, and no client counts as slow because of it [default: unlimited]
    #[arg(long, env = "CWS_LIMIT_RATE", value_name = "RATE", value_parser = rate)]
    limit_rate: Option<u64>,
    /// Maximum rate of all connections together; large responses take turns, small ones need not
    /// wait for them [default: unlimited]
    #[arg(long, env = "CWS_LIMIT_TOTAL", value_name = "RATE", value_parser = rate)]
    limit_total: Option<u64>,
}

impl LimitArgs {
    pub(crate) fn configure(&self, config: Config) -> Config {
        config.limit_rate(self.limit_rate).limit_total(self.limit_total)
    }
}

/// Bytes per second, as `500K` or `500K/s`.
fn rate(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").unwrap_or(text);
    let size = crate::site::size(size)
        .map_err(|_| "write bytes per second like 500K, 2.5M or 1MiB".to_owned())?;
    match size {
        0 => Err("nothing could be sent; leave the option out for no limit".to_owned()),
        rate if rate < Config::LIMIT_LEAST => {
            Err(format!("it must be at least {} bytes per second", Config::LIMIT_LEAST))
        }
        rate => Ok(rate),
    }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn a_rate_is_written_like_a_size() {
        for (text, bytes) in [
            ("1024", 1024),
            ("500k", 500_000),
            ("500K/s", 500_000),
            ("2.5M", 2_500_000),
            ("1MiB", 1 << 20),
            ("1m", 1_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for (text, hint) in [
            ("0", "leave the option out"),
            ("1023", "at least 1024"),
            ("-5k", "write bytes per second"),
            ("fast", "write bytes per second"),
            ("", "write bytes per second"),
            ("/s", "write bytes per second"),
            ("1M/h", "write bytes per second"),
        ] {
            let error = rate(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
