//! The options of `server` for a balancer in front of it.

use super::admin::address;
use cws::{Agent, Observer};
use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// Tell HAProxy on this address how much the server can take (agent-check): its weight, its
    /// maxconn, and drain after a stop signal; a port alone means the loopback address
    #[arg(long, env = "CWS_AGENT", value_name = "ADDR:PORT", value_parser = address)]
    agent: Option<SocketAddr>,
    /// Capacity in requests/s at which the agent says 100 %: the same for all servers of a
    /// balancer, at least that of the largest [default: the usual capacity of this server]
    #[arg(long, env = "CWS_AGENT_CAPACITY", value_name = "RATE", value_parser = rate)]
    agent_capacity: Option<f64>,
}

impl AgentArgs {
    /// The descriptors that the agent needs.
    pub(crate) fn descriptors(&self) -> usize {
        if self.agent.is_some() { Agent::DESCRIPTORS } else { 0 }
    }

    /// Starts the agent, if there is to be one, and prints its address.
    pub(crate) fn start(&self, observed: &Observer) -> Result<Option<Agent>, String> {
        let Some(listen) = self.agent else { return Ok(None) };
        let agent = match self.agent_capacity {
            Some(capacity) => Agent::with_capacity(listen, capacity, observed.clone()),
            None => Agent::start(listen, observed.clone()),
        };
        let agent = agent.map_err(|error| format!("cannot start the agent: {error}"))?;
        super::announce(&format!("agent on {}", agent.address()));
        Ok(Some(agent))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if f64::is_finite(rate) && rate > 0.0 => Ok(rate),
        _ => Err("write a number of requests per second above 0: 280".to_owned()),
    }
}
