//! The options of `server` for times of overload.

use cws::Config;

#[derive(Debug, clap::Args)]
pub(crate) struct OverloadArgs {
    /// Path that says that the process lives, for example /healthz: GET and HEAD get 200 at once,
    /// however many requests wait [default: none]
    #[arg(long, env = "CWS_HEALTH", value_name = "PATH", value_parser = path)]
    health: Option<String>,
}

impl OverloadArgs {
    pub(crate) fn configure(&self, config: Config) -> Config {
        config.health(self.health.clone())
    }
}

fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err("the path must begin with a slash; write /healthz".to_owned()),
    }
}
