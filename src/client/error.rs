//! Why a fetch failed, each reason as one line that says what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::framing::Fault;

/// Why a response did not come, or did not come whole.
///
/// Displays as one line: `cannot <do>: <what happened> (<what to do>)`.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The host has no address.
    Resolve {
        /// The host as it was looked up.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The client port cannot be bound.
    ClientPort {
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// Client port and server port are one port of one host.
    SamePort(SocketAddr),
    /// Nothing listens at the address, and the socket met itself there.
    SelfConnected(SocketAddr),
    /// No connection to the address.
    Connect {
        /// The server's address.
        address: SocketAddr,
        /// The client port asked for.
        client_port: Option<u16>,
        /// What the system said.
        source: io::Error,
    },
    /// The peer made no progress for the whole timeout, within the named action.
    Stalled {
        /// `send the request` or `receive the response`.
        action: &'static str,
        /// The timeout.
        after: Duration,
    },
    /// The request cannot be sent.
    Send(io::Error),
    /// The connection broke before the response was whole.
    Receive(io::Error),
    /// The bytes received are not a whole response.
    Response(Fault),
    /// The response cannot be passed on.
    Output(io::Error),
}

impl FetchError {
    /// How much an error tells, among those of a host's several addresses.
    ///
    /// What the caller can mend comes first, then an answer from the host itself; an address
    /// family without a route tells least.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::ClientPort { .. } | Self::SamePort(_) => 2,
            Self::Connect { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => 1,
                _ => 0,
            },
            _ => 1,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, source } => write!(
                f,
                "cannot find the host {host}: {} (check the name, or give an IP address)",
                plain(source)
            ),
            Self::ClientPort { port, source } => {
                let advice = match source.kind() {
                    io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege;",
                    _ => "does another program use it?",
                };
                let what = plain(source);
                write!(f, "cannot use client port {port}: {what} ({advice} choose another port)")
            }
            Self::SamePort(address) => write!(
                f,
                "cannot connect to {address} from port {}: one port of one host cannot be both \
                 the client's and the server's (choose another client port)",
                address.port()
            ),
            Self::SelfConnected(address) => write!(
                f,
                "cannot connect to {address}: nothing listens there, the socket reached itself \
                 (is the server running, and on this port?)"
            ),
            Self::Connect { address, client_port, source } => {
                write!(f, "cannot connect to {address}")?;
                if let Some(port) = client_port {
                    write!(f, " from port {port}")?;
                }
                let advice = connect_advice(source.kind(), client_port.is_some());
                write!(f, ": {} ({advice})", plain(source))
            }
            Self::Stalled { action, after } => write!(
                f,
                "cannot {action}: no progress for {} (is the server stuck? a longer --timeout \
                 waits longer)",
                humantime::format_duration(*after)
            ),
            Self::Send(source) => {
                write!(f, "cannot send the request: {} (try again)", plain(source))
            }
            Self::Receive(source) => write!(
                f,
                "cannot receive the response: {} (the response is incomplete; try again)",
                plain(source)
            ),
            Self::Response(fault) => match fault {
                Fault::NoAnswer | Fault::HeadCut(_) | Fault::BodyCut { .. } => {
                    write!(f, "cannot receive the response: {fault}")
                }
                _ => write!(f, "cannot understand the response: {fault}"),
            },
            Self::Output(source) => write!(
                f,
                "cannot write the response: {} (is there room where the output goes?)",
                plain(source)
            ),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { source, .. }
            | Self::ClientPort { source, .. }
            | Self::Connect { source, .. }
            | Self::Send(source)
            | Self::Receive(source)
            | Self::Output(source) => Some(source),
            Self::Response(fault) => Some(fault),
            Self::SamePort(_) | Self::SelfConnected(_) | Self::Stalled { .. } => None,
        }
    }
}

fn connect_advice(kind: io::ErrorKind, fixed_port: bool) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "is the server running, and on this port?",
        io::ErrorKind::TimedOut => {
            "is the host up, and the server not overloaded? a longer --timeout waits longer"
        }
        // The pair of address and port exists already: in use, or in TIME_WAIT.
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse if fixed_port => {
            "a connection from this port exists or has just ended: wait a minute, or choose \
             another client port"
        }
        _ => "check host and port, and this machine's network",
    }
}

/// The system's words without the number and the capital letter.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.trim_start_matches("failed to lookup address information: ");
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => error.kind().to_string(),
    }
}
