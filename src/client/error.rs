//! Why a fetch failed. Each error is one line that says what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::framing::Fault;

/// Why there is no response, or no complete one.
///
/// Displays as one line: `cannot <do>: <what happened> (<what to do>)`.
#[derive(Debug)]
pub enum FetchError {
    /// The host has no address.
    Resolve {
        /// The host that was looked up.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The client port cannot be bound.
    ClientPort {
        /// The requested port.
        port: u16,
        /// The system's error.
        source: io::Error,
    },
    /// The client port is the server's port on the same host.
    SamePort(SocketAddr),
    /// Nothing listens at the address, and the socket connected to itself.
    SelfConnected(SocketAddr),
    /// The connection attempt failed.
    Connect {
        /// The server's address.
        address: SocketAddr,
        /// The requested client port.
        client_port: Option<u16>,
        /// The system's error.
        source: io::Error,
    },
    /// There was no progress for the whole timeout during this action.
    Stalled {
        /// `send the request` or `receive the response`.
        action: &'static str,
        /// The timeout.
        after: Duration,
    },
    /// Sending the request failed.
    Send(io::Error),
    /// The connection failed before the response was complete.
    Receive(io::Error),
    /// The received bytes are not a complete response.
    Response(Fault),
    /// Writing the response to the output failed.
    Output(io::Error),
}

impl FetchError {
    /// How informative an error is, compared with those of the host's other addresses.
    ///
    /// Errors that the caller can fix come first, then answers from the host. An address family
    /// without a route comes last.
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
                    io::ErrorKind::PermissionDenied => "ports below 1024 need root privileges;",
                    _ => "does another program use it?",
                };
                let what = plain(source);
                write!(f, "cannot use client port {port}: {what} ({advice} choose another port)")
            }
            Self::SamePort(address) => write!(
                f,
                "cannot connect to {address} from port {}: client and server cannot use the same \
                 port on one host (choose another client port)",
                address.port()
            ),
            Self::SelfConnected(address) => write!(
                f,
                "cannot connect to {address}: nothing listens there, and the socket connected to \
                 itself (is the server running on this port?)"
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
                "cannot {action}: no progress for {} (is the server stuck? try a longer \
                 --timeout)",
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
            Self::Output(source) => {
                write!(f, "cannot write the response: {} (is the disk full?)", plain(source))
            }
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
        io::ErrorKind::ConnectionRefused => "is the server running on this port?",
        io::ErrorKind::TimedOut => {
            "is the host up? is the server overloaded? try a longer --timeout"
        }
        // This pair of address and port is in use or in TIME_WAIT.
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse if fixed_port => {
            "a connection from this port exists or has just ended: wait a minute, or choose \
             another client port"
        }
        _ => "check the host, the port and this machine's network",
    }
}

/// The system's error text without its number and capital letter.
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
