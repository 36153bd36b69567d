//! The target of a load: an `http://` URL, its address, and the request for it.

use super::{Client, Connections, Message, Mix, Parts, Retries};
use cws::internals::http::target::is_authority;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The timeout of the connection that checks whether the server is there.
const REACH_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest URL in bytes.
const URL_BYTES: usize = 8 * 1024;

/// A server and a resource on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The server's address.
    pub address: SocketAddr,
    /// The value of the `Host` field.
    pub host: String,
    /// The path and the query.
    pub path: String,
}

/// Why a URL cannot be used.
#[derive(Debug)]
pub enum TargetError {
    /// It is not a valid `http` URL.
    Url(String, &'static str),
    /// Its name has no address.
    Name(String, io::Error),
    /// No server accepts connections there.
    Unreachable(String, io::Error),
    /// It is on another server than the first one.
    Elsewhere(String, String),
}

impl fmt::Display for TargetError {
    /// One line: what happened, and in parentheses what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url, wrong) => {
                write!(f, "cannot send load to {url:?}: {wrong} (write http://HOST:PORT/PATH)")
            }
            Self::Name(host, error) => {
                write!(f, "cannot find {host}: {error} (check the name)")
            }
            Self::Unreachable(host, error) => {
                write!(f, "cannot reach {host}: {error} (is a server running there?)")
            }
            Self::Elsewhere(url, host) => {
                write!(f, "{url} is not on {host} (one load has one server: run one for each)")
            }
        }
    }
}

impl std::error::Error for TargetError {}

impl Target {
    /// A path on a server with a known address.
    pub fn new(address: SocketAddr, path: &str) -> Self {
        Self { address, host: address.to_string(), path: path.to_owned() }
    }

    /// Parses a URL, resolves its name, and connects once to check that a server is there.
    ///
    /// # Errors
    ///
    /// If it is not an `http` URL, if the name has no address, or if no address accepts a
    /// connection.
    pub fn find(url: &str) -> Result<Self, TargetError> {
        let (authority, path) = split(url).map_err(|wrong| {
            let shown = url.chars().take(100).collect();
            TargetError::Url(shown, wrong)
        })?;
        let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
            !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && is_whole_host(host)
        });
        let looked_up = match has_port {
            true => authority.to_owned(),
            false => format!("{}:80", authority.trim_end_matches(':')),
        };
        let addresses = looked_up.to_socket_addrs();
        let addresses =
            addresses.map_err(|error| TargetError::Name(authority.to_owned(), error))?;
        let mut last = io::Error::other("the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, REACH_TIMEOUT) {
                Ok(_) => return Ok(Self { address, host: authority.to_owned(), path }),
                Err(error) => last = error,
            }
        }
        Err(TargetError::Unreachable(authority.to_owned(), last))
    }

    /// The path and query of another URL on the same server, or of a path alone.
    ///
    /// # Errors
    ///
    /// If it is neither, or is on another server.
    pub fn path_of(&self, url: &str) -> Result<String, TargetError> {
        let wrong = |wrong| TargetError::Url(url.chars().take(100).collect(), wrong);
        if url.starts_with('/') {
            return match url.bytes().all(|byte| byte.is_ascii_graphic()) {
                true if url.len() <= URL_BYTES => Ok(url.to_owned()),
                true => Err(wrong("it is too long")),
                false => Err(wrong("it contains other characters than printable ASCII")),
            };
        }
        let (authority, path) = split(url).map_err(wrong)?;
        match authority.eq_ignore_ascii_case(&self.host) {
            true => Ok(path),
            false => Err(TargetError::Elsewhere(url.to_owned(), self.host.clone())),
        }
    }

    /// A client with this use of connections and this patience, without retries.
    pub fn client(&self, connections: Connections, patience: Duration) -> Client {
        let requests = Mix::one(Message::from(self.request(connections)));
        let (target, source) = (self.address, None);
        Client { target, source, requests, connections, patience, retries: Retries::NONE }
    }

    /// A GET for it, in HTTP/1.1.
    pub fn request(&self, connections: Connections) -> Vec<u8> {
        let Self { host, path, .. } = self;
        let (method, fields, body) = ("GET", &[][..], None);
        Parts { method, path, host, fields, body, connections }.message().bytes().to_vec()
    }
}

/// An IPv6 address contains colons, and is in brackets.
fn is_whole_host(host: &str) -> bool {
    !host.contains(':') || (host.starts_with('[') && host.ends_with(']'))
}

/// Splits a URL into the authority, and the path with its query.
fn split(url: &str) -> Result<(&str, String), &'static str> {
    if url.len() > URL_BYTES {
        return Err("it is too long");
    }
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some(_) => return Err("only http is supported"),
        None => return Err("it does not begin with http://"),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || authority.starts_with(':') || !is_authority(authority.as_bytes()) {
        return Err("its host is not a valid name or address");
    }
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err("its path contains a space or a control character");
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((authority, format!("{slash}{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed() {
        let rows = [
            ("http://localhost:8080/testfile", "localhost:8080", "/testfile"),
            ("HTTP://127.0.0.1", "127.0.0.1", "/"),
            ("http://[::1]:80/a/b?c=d#e", "[::1]:80", "/a/b?c=d"),
            ("http://a?q", "a", "/?q"),
        ];
        for (url, authority, path) in rows {
            assert_eq!(split(url), Ok((authority, path.to_owned())), "{url}");
        }
        for url in
            ["", "localhost:80", "https://a/", "http://", "http:///a", "http://a b/", "http://:80/"]
        {
            assert!(split(url).is_err(), "{url}");
        }
        assert!(split("http://a/b c").is_err());
        assert!(split("http://u@a/").is_err(), "user information is refused");
    }

    #[test]
    fn other_targets_are_on_the_same_server() {
        let target = Target::new(SocketAddr::from(([127, 0, 0, 1], 80)), "/x");
        let of = |url: &str| target.path_of(url).ok();
        assert_eq!(of("/a?b"), Some("/a?b".to_owned()));
        assert_eq!(of("http://127.0.0.1:80"), Some("/".to_owned()));
        assert_eq!(of("/a b"), None);
        assert_eq!(of("a"), None);
        let error = target.path_of("http://other/").expect_err("another server").to_string();
        assert!(error.contains("is not on 127.0.0.1:80 (one load"), "{error}");
    }

    #[test]
    fn a_request_says_whether_its_connection_is_kept() {
        let target = Target::new(SocketAddr::from(([127, 0, 0, 1], 80)), "/x");
        let kept = target.request(Connections::Kept(1));
        assert_eq!(kept, b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
        assert!(target.request(Connections::NewEach).ends_with(b"Connection: close\r\n\r\n"));
    }
}
