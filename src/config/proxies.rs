//! Which proxies are trusted, and where they say who their client is.

#[cfg(feature = "proxy")]
use ipnet::IpNet;
#[cfg(feature = "proxy")]
use std::fmt;
#[cfg(feature = "proxy")]
use std::str::FromStr;

use super::Config;
use core::net::IpAddr;

/// The header field in which trusted proxies name their clients.
///
/// A proxy that sets one of the two passes the other one on as the client wrote it. So the server
/// reads one, and only if it is told which.
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientAddress {
    /// `Forwarded` (RFC 7239), as HAProxy's `option forwarded` writes it.
    Forwarded,
    /// `X-Forwarded-For`, as HAProxy's `option forwardfor` and nginx's
    /// `$proxy_add_x_forwarded_for` write it.
    XForwardedFor,
}

#[cfg(feature = "proxy")]
impl ClientAddress {
    /// The name of the field.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "Forwarded",
            Self::XForwardedFor => "X-Forwarded-For",
        }
    }
}

/// An IP network, such as `10.0.0.0/8` or `2001:db8::/32`, or a single address.
///
/// ```
/// use cws::Network;
///
/// let network: Network = "10.1.0.0/16".parse()?;
/// assert!(network.contains([10, 1, 2, 3].into()));
/// assert!(!network.contains([10, 2, 2, 3].into()));
/// # Ok::<(), cws::NetworkError>(())
/// ```
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

#[cfg(feature = "proxy")]
impl Network {
    /// True if the address belongs to it. An IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// True if every address of its family belongs to it.
    pub fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

#[cfg(feature = "proxy")]
impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

#[cfg(feature = "proxy")]
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no [`Network`].
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkError {
    /// The part before the slash is no IP address.
    Address,
    /// The part behind the slash is no number of bits from 0 to this one.
    Prefix(u8),
    /// The address has bits behind the prefix; this is the network that it belongs to.
    Host(Network),
}

#[cfg(feature = "proxy")]
impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => {
                f.write_str("it must be an IP address or a network; write 10.0.0.7 or 10.0.0.0/8")
            }
            Self::Prefix(most) => {
                write!(f, "the prefix behind the slash must be a number of bits from 0 to {most}")
            }
            Self::Host(network) => write!(
                f,
                "the address has bits behind the prefix; write {network} for the network, or leave \
                 out the prefix for the one address"
            ),
        }
    }
}

#[cfg(feature = "proxy")]
impl std::error::Error for NetworkError {}

#[cfg(feature = "proxy")]
impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Prefix(most))?
            }
            Some(_) => return Err(NetworkError::Prefix(most)),
        };
        // Addresses are compared without the mapping.
        let (address, prefix) = match address.to_canonical() {
            canonical if canonical.is_ipv4() && address.is_ipv6() && prefix >= 96 => {
                (canonical, prefix - 96)
            }
            _ => (address, prefix),
        };
        let network = IpNet::new(address, prefix).map_err(|_| NetworkError::Prefix(most))?;
        match network.trunc() {
            whole if whole == network => Ok(Self(network)),
            whole => Err(NetworkError::Host(Self(whole))),
        }
    }
}

impl Config {
    /// True if this is the address of a trusted proxy. The unspecified address is: it stands for
    /// the peer of a UNIX socket, which only those reach whom its permissions admit. Nothing that
    /// arrives over a network comes from it, and none is taken from what a proxy says.
    #[cfg(feature = "proxy")]
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let is_trusted = |network: &Network| network.contains(address);
        address.is_unspecified() || self.trusted_proxies.iter().any(is_trusted)
    }

    /// Nobody is trusted without the feature `proxy`.
    #[cfg(not(feature = "proxy"))]
    pub(crate) fn trusts(&self, _: IpAddr) -> bool {
        false
    }

    /// True if connections begin with a header of the PROXY protocol.
    pub(crate) fn takes_proxy_headers(&self) -> bool {
        #[cfg(feature = "proxy")]
        return self.proxy_protocol;
        #[cfg(not(feature = "proxy"))]
        return false;
    }

    /// Says what is wrong with the settings for proxies. The peers of UNIX sockets need not be
    /// named.
    pub(crate) fn check_proxies(&self, has_unix_sockets: bool) -> Result<(), String> {
        #[cfg(not(feature = "proxy"))]
        let _ = has_unix_sockets;
        #[cfg(feature = "proxy")]
        if self.trusted_proxies.is_empty() && !has_unix_sockets {
            let what = match (self.proxy_protocol, self.client_address) {
                (true, _) => "the PROXY protocol",
                (false, Some(field)) => field.name(),
                (false, None) => return Ok(()),
            };
            return Err(format!(
                "with {what} from nobody (name the trusted proxies, such as 10.0.0.0/8)"
            ));
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "proxy"))]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_what_is_wrong_with_others_is_said() {
        let rows = [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("10.0.0.7", Ok("10.0.0.7/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("::1", Ok("::1/128")),
            ("::/0", Ok("::/0")),
            ("::ffff:10.0.0.0/104", Ok("10.0.0.0/8")),
            ("::ffff:10.0.0.7", Ok("10.0.0.7/32")),
            ("10.0.0.7/8", Err("write 10.0.0.0/8 for the network")),
            ("2001:db8::1/32", Err("write 2001:db8::/32 for the network")),
            ("10.0.0.0/33", Err("from 0 to 32")),
            ("10.0.0.0/-1", Err("from 0 to 32")),
            ("10.0.0.0/+8", Err("from 0 to 32")),
            ("10.0.0.0/", Err("from 0 to 32")),
            ("10.0.0.0/8/8", Err("from 0 to 32")),
            ("10.0.0.0/255.0.0.0", Err("from 0 to 32")),
            ("::/129", Err("from 0 to 128")),
            ("::/999", Err("from 0 to 128")),
            ("10.0.0/8", Err("it must be an IP address")),
            ("localhost", Err("it must be an IP address")),
            ("10.0.0.7:80", Err("it must be an IP address")),
            ("", Err("it must be an IP address")),
            (" 10.0.0.7", Err("it must be an IP address")),
        ];
        for (text, expected) in rows {
            match (text.parse::<Network>(), expected) {
                (Ok(network), Ok(shown)) => assert_eq!(network.to_string(), shown, "{text}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{text}: {error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let network: Network = "127.0.0.0/8".parse().expect("a network");
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(network.contains(ip("127.1.2.3")));
        assert!(network.contains(ip("::ffff:127.1.2.3")));
        assert!(!network.contains(ip("::1")));
        assert!(!network.contains(ip("128.0.0.1")));
        assert!(Network::from(ip("::ffff:127.0.0.1")).contains(ip("127.0.0.1")));
        let config = Config::default().trusted_proxies(vec![network]);
        for (address, is_trusted) in
            [("127.1.2.3", true), ("::ffff:127.1.2.3", true), ("0.0.0.0", true), ("::1", false)]
        {
            assert_eq!(config.trusts(ip(address)), is_trusted, "{address}");
        }
    }

    #[test]
    fn proxies_that_nobody_trusts_are_an_error() {
        let config = Config::default().proxy_protocol(true);
        assert!(
            config
                .check_proxies(false)
                .is_err_and(|why| why.contains("the PROXY protocol from nobody"))
        );
        let config = Config::default().client_address(ClientAddress::XForwardedFor);
        assert!(
            config
                .check_proxies(false)
                .is_err_and(|why| why.contains("X-Forwarded-For from nobody"))
        );
        assert_eq!(config.check_proxies(true), Ok(()), "those on UNIX sockets");
        let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
        let config = config.proxy_protocol(true).trusted_proxies(trusted);
        assert_eq!(config.check_proxies(false), Ok(()));
    }
}
