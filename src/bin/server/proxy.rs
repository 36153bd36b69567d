//! The options of `server` behind proxies.

use crate::values;
use cws::{ClientAddress, Config, Network};
use log::warn;

#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// IP address or network (10.0.0.0/8) of the proxies in front of this server, whose word on
    /// clients counts; repeat for more
    #[arg(long, env = "CWS_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    trusted_proxy: Vec<Network>,
    /// Expect a PROXY protocol header, version 1 or 2, at the start of each connection, and close
    /// connections without it or from others than --trusted-proxy
    #[arg(long, env = "CWS_PROXY_PROTOCOL", value_parser = values::flag())]
    proxy_protocol: bool,
    /// Request header field in which --trusted-proxy names the client: x-forwarded-for or
    /// forwarded; name the one that the proxy sets, because it passes on the other as the client
    /// wrote it [default: none]
    #[arg(long, env = "CWS_CLIENT_ADDRESS", value_name = "FIELD", value_parser = field)]
    client_address: Option<ClientAddress>,
    /// Give each request an identifier: in the access log and in the response field X-Request-Id;
    /// that of --trusted-proxy is taken over
    #[arg(long, env = "CWS_REQUEST_ID", value_parser = values::flag())]
    request_id: bool,
}

impl ProxyArgs {
    pub(crate) fn configure(&self, config: Config) -> Config {
        config
            .trusted_proxies(self.trusted_proxy.clone())
            .proxy_protocol(self.proxy_protocol)
            .client_address(self.client_address)
            .request_id(self.request_id)
    }

    /// Logs what is probably not meant.
    pub(crate) fn warn(&self) {
        if let Some(network) = self.trusted_proxy.iter().find(|of| of.is_everything()) {
            warn!("every address is a trusted proxy ({network}): all clients can forge theirs");
        }
        let is_used = self.proxy_protocol || self.client_address.is_some() || self.request_id;
        if !self.trusted_proxy.is_empty() && !is_used {
            warn!(
                "trusted proxies have no effect without --proxy-protocol, --client-address or \
                 --request-id: all requests count for the proxies"
            );
        }
    }
}

fn field(text: &str) -> Result<ClientAddress, String> {
    match text {
        _ if text.eq_ignore_ascii_case("x-forwarded-for") => Ok(ClientAddress::XForwardedFor),
        _ if text.eq_ignore_ascii_case("forwarded") => Ok(ClientAddress::Forwarded),
        _ => Err("it must be x-forwarded-for or forwarded".to_owned()),
    }
}
