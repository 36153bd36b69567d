//! The options of `server` for a balancer in front of it.

use super::admin::address;
use super::listeners::Place;
use cws::{Agent, Listener, Observer};
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
    /// Where it listens.
    pub(crate) fn place(&self) -> Option<Place> {
        self.agent.map(Place::Tcp)
    }

    /// Starts the agent, if there is to be one, and prints its address.
    pub(crate) fn start(
        &self,
        mut listeners: Vec<Listener>,
        observed: &Observer,
    ) -> Result<Option<Agent>, String> {
        let Some(listener) = listeners.pop() else { return Ok(None) };
        let agent = Agent::start_on(listener, self.agent_capacity, observed.clone());
        let agent = agent.map_err(|error| format!("cannot start the agent: {error}"))?;
        crate::serving::announce(&format!("agent on {}", agent.address()));
        Ok(Some(agent))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if f64::is_finite(rate) && rate > 0.0 => Ok(rate),
        _ => Err("write a number of requests per second above 0: 280".to_owned()),
    }
}
