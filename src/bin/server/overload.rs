//! The options of `server` for times of overload.

use cws::{Config, Response, Status};

#[derive(Debug, clap::Args)]
pub(crate) struct OverloadArgs {
    /// Path that says that the process lives, for example /healthz: GET and HEAD get 200 at once,
    /// however many requests wait [default: none]
    #[arg(long, env = "CWS_HEALTH", value_name = "PATH", value_parser = path)]
    health: Option<String>,
    /// Request header field with the seconds that the client waits for its response, for example
    /// X-Request-Timeout; a request that would be late gets 503 [default: none]
    #[arg(long, env = "CWS_PATIENCE_FIELD", value_name = "NAME", value_parser = field_name)]
    patience_field: Option<String>,
}

impl OverloadArgs {
    pub(crate) fn configure(&self, config: Config) -> Config {
        config.health(self.health.clone()).patience_field(self.patience_field.clone())
    }
}

fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err("the path must begin with a slash; write /healthz".to_owned()),
    }
}

fn field_name(text: &str) -> Result<String, String> {
    match Response::new(Status::OK).with_field(text, "") {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it must be the name of a header field; write X-Request-Timeout".to_owned()),
    }
}
