//! Where the server listens: its options, and sockets that another process has passed.

use crate::admin;
use cws::{Listener, StartError};
use listenfd::ListenFd;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::{env, io};

/// The port to listen on if none is given: the usual unprivileged HTTP port.
const PORT: u16 = 8080;

/// The host to listen on if none is given.
const HOST: &str = "127.0.0.1";

/// What an address begins with if it is the path of a UNIX socket.
const UNIX: &str = "unix:";

#[derive(Debug, clap::Args)]
pub(crate) struct ListenArgs {
    /// Address or host name to listen on (for a name, all of its addresses), or unix:PATH for a
    /// UNIX socket; repeat for more [default: 127.0.0.1, or the sockets that systemd has passed]
    #[arg(short, long, env = "CWS_BIND", value_name = "ADDR", value_delimiter = ',')]
    bind: Vec<String>,
    /// Permissions of UNIX sockets, in octal digits; clients need the permission to write
    #[arg(long, env = "CWS_UNIX_MODE", value_name = "MODE", default_value = "660",
          value_parser = mode)]
    unix_mode: u32,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Http,
    Admin,
    Agent,
    /// The socket of `--takeover`.
    Takeover,
}

impl Role {
    const ALL: [(&str, Self); 4] = [
        ("http", Self::Http),
        ("admin", Self::Admin),
        ("agent", Self::Agent),
        ("takeover", Self::Takeover),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, role)| *role == self).map_or("", |(name, _)| *name)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, role)| *role)
    }
}

/// A listener that another process has passed.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) role: Role,
    pub(crate) listener: Listener,
}

/// The sockets on which the server listens.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) http: Vec<Listener>,
    pub(crate) admin: Vec<Listener>,
    pub(crate) agent: Vec<Listener>,
    /// Those that were passed, and that no option names.
    pub(crate) unwanted: Vec<Listener>,
}

/// A copy of a listener, for the process that takes over.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) role: Role,
    pub(crate) socket: OwnedFd,
    pub(crate) is_kept: bool,
}

impl ListenArgs {
    /// The listeners for the options: those of `passed` that they name, those that a service
    /// manager keeps, and new ones.
    pub(crate) fn open(
        &self,
        port: Option<u16>,
        admin: Option<Place>,
        agent: Option<Place>,
        mut passed: Vec<Passed>,
    ) -> Result<Listeners, String> {
        let mut http = kept(&mut passed, Role::Http);
        let is_told = port.is_some() || !self.bind.is_empty();
        if http.is_empty() || is_told {
            self.complete(&mut http, &self.places(port)?, Role::Http, &mut passed)?;
        }
        let mut for_admin = kept(&mut passed, Role::Admin);
        self.complete(&mut for_admin, admin.as_slice(), Role::Admin, &mut passed)
            .map_err(|reason| format!("cannot start the admin page: {reason}"))?;
        let mut for_agent = kept(&mut passed, Role::Agent);
        self.complete(&mut for_agent, agent.as_slice(), Role::Agent, &mut passed)
            .map_err(|reason| format!("cannot start the agent: {reason}"))?;
        let unwanted = passed.into_iter().map(|of| of.listener).collect();
        Ok(Listeners { http, admin: for_admin, agent: for_agent, unwanted })
    }

    /// Adds the listeners at these places that are not there yet.
    fn complete(
        &self,
        listeners: &mut Vec<Listener>,
        places: &[Place],
        role: Role,
        passed: &mut Vec<Passed>,
    ) -> Result<(), String> {
        let mut addresses = Vec::new();
        for place in places {
            if listeners.iter().any(|listener| place.is_of(listener)) {
                continue;
            }
            let is_it = |of: &Passed| of.role == role && place.is_of(&of.listener);
            match passed.iter().position(is_it) {
                // The server that passed it leaves its file to this one.
                Some(at) => listeners.push(passed.remove(at).listener.with_file()),
                None => match place {
                    Place::Tcp(address) => addresses.push(*address),
                    Place::Unix(path) => listeners.push(
                        Listener::bind_unix(path, self.unix_mode)
                            .map_err(|error| error.to_string())?,
                    ),
                },
            }
        }
        if !addresses.is_empty() {
            let bound =
                Listener::bind(&addresses).map_err(|error: StartError| error.to_string())?;
            listeners.extend(bound);
        }
        Ok(())
    }

    /// Where to listen for HTTP.
    pub(crate) fn places(&self, port: Option<u16>) -> Result<Vec<Place>, String> {
        let port = port.unwrap_or(PORT);
        let default = [HOST.to_owned()];
        let hosts = if self.bind.is_empty() { &default } else { self.bind.as_slice() };
        let mut places = Vec::new();
        for host in hosts {
            match unix(host)? {
                Some(path) => places.push(path),
                None => places.extend(resolve(host, port)?.into_iter().map(Place::Tcp)),
            }
        }
        Ok(places)
    }
}

impl Listeners {
    /// Copies of them all.
    pub(crate) fn copies(&self) -> io::Result<Vec<Copied>> {
        let http = self.http.iter().map(|listener| (Role::Http, listener));
        let admin = self.admin.iter().map(|listener| (Role::Admin, listener));
        let agent = self.agent.iter().map(|listener| (Role::Agent, listener));
        http.chain(admin).chain(agent).map(|(role, listener)| Copied::of(role, listener)).collect()
    }
}

impl Copied {
    pub(crate) fn of(role: Role, listener: &Listener) -> io::Result<Self> {
        let socket = listener.as_fd().try_clone_to_owned()?;
        Ok(Self { role, socket, is_kept: listener.is_kept_elsewhere() })
    }
}

impl Place {
    /// True if the listener is at this place. With port 0, any port will do.
    fn is_of(&self, listener: &Listener) -> bool {
        match self {
            Self::Tcp(wanted) => listener.address().is_some_and(|address| {
                let is_port = wanted.port() == 0 || wanted.port() == address.port();
                is_port && wanted.ip() == address.ip()
            }),
            Self::Unix(path) => listener.path() == Some(path),
        }
    }
}

/// True if a service manager keeps a listener of this role, which no option needs to name.
pub(crate) fn has_kept(passed: &[Passed], role: Role) -> bool {
    passed.iter().any(|of| of.role == role && of.listener.is_kept_elsewhere())
}

/// Takes the listeners out that a service manager keeps: it was told to pass them.
fn kept(passed: &mut Vec<Passed>, role: Role) -> Vec<Listener> {
    let is_kept = |of: &mut Passed| of.role == role && of.listener.is_kept_elsewhere();
    let mut kept: Vec<Listener> = Vec::new();
    for Passed { listener, .. } in passed.extract_if(.., is_kept) {
        // The environment and an earlier process may pass the same one. Sockets that share an
        // address (SO_REUSEPORT) are several: the kernel gives each of them some of the clients.
        let socket = identity(&listener);
        if socket.is_none() || kept.iter().all(|other| identity(other) != socket) {
            kept.push(listener);
        }
    }
    kept
}

/// What tells one socket from another, whatever its descriptors are.
fn identity(listener: &Listener) -> Option<impl PartialEq + use<>> {
    // Their types differ from system to system.
    let found = rustix::fs::fstat(listener).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// Checks `LISTEN_FDS` before `listenfd` makes a list of as many.
fn check_count() -> Result<(), String> {
    let number = |name| env::var(name).ok()?.parse::<i64>().ok();
    let (most, count) = (cws::descriptor_limit(), number("LISTEN_FDS").unwrap_or(0));
    let is_for_another = env::var("LISTEN_PID").is_ok_and(|pid| !pid.is_empty())
        && number("LISTEN_PID") != Some(std::process::id().into());
    if !is_for_another && usize::try_from(count).is_ok_and(|count| count > most) {
        return Err(format!(
            "cannot use LISTEN_FDS={count}: a process has at most {most} descriptors"
        ));
    }
    Ok(())
}

/// The sockets that a service manager has passed (`sd_listen_fds`(3)): those with the names `admin`
/// and `agent` are for these, and all others serve. Call this before the first thread starts: it
/// removes the variables from the environment.
pub(crate) fn activated() -> Result<Vec<Passed>, String> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    check_count()?;
    let mut sockets = ListenFd::from_env();
    let mut passed = Vec::new();
    for at in 0..sockets.len() {
        let name = names.next().unwrap_or_default();
        let failed = |error: io::Error| {
            format!(
                "cannot use socket {at} ({name:?}) of LISTEN_FDS: {error} (pass listening TCP or \
                 UNIX sockets for streams: ListenStream=, Accept=no)"
            )
        };
        let socket: OwnedFd = match sockets.take_tcp_listener(at) {
            Ok(Some(tcp)) => tcp.into(),
            _ => match sockets.take_unix_listener(at).map_err(failed)? {
                Some(unix) => unix.into(),
                None => continue,
            },
        };
        let listener = Listener::adopt(socket).map_err(failed)?.kept_elsewhere();
        let role = Role::named(name).filter(|role| *role != Role::Takeover).unwrap_or(Role::Http);
        passed.push(Passed { role, listener });
    }
    Ok(passed)
}

/// The place of `unix:PATH`. `None` if it is something else.
fn unix(text: &str) -> Result<Option<Place>, String> {
    let Some(path) = text.strip_prefix(UNIX) else { return Ok(None) };
    // nginx writes `unix:/path`, URLs often `unix:///path`.
    let path = path.strip_prefix("//").unwrap_or(path);
    match std::path::absolute(path) {
        Ok(path) => Ok(Some(Place::Unix(path))),
        Err(_) => Err("name a file; write unix:/run/cws/http.sock".to_owned()),
    }
}

/// The address of the admin page.
pub(crate) fn admin_place(text: &str) -> Result<Place, String> {
    match unix(text)? {
        Some(place) => Ok(place),
        None => admin::address(text).map(Place::Tcp),
    }
}

/// Permissions of a file.
fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("write three octal digits: 660 is for the owner and the group".to_owned()),
    }
}

/// All addresses of a host name or an address, which may have brackets.
fn resolve(bind: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let host = bind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bind);
    let mut addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| {
            format!("cannot resolve {bind}: {error} (check the name, or give an address)")
        })?
        .collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_path() {
        let path = |text: &str| Ok(Place::Unix(text.into()));
        let tcp = |text: &str| Ok(Place::Tcp(text.parse().expect("an address")));
        let rows = [
            ("unix:/run/a.sock", path("/run/a.sock")),
            ("unix:///run/a.sock", path("/run/a.sock")),
            ("9090", tcp("127.0.0.1:9090")),
            ("[::1]:80", tcp("[::1]:80")),
            ("unix:", Err(())),
            ("example.com:80", Err(())),
        ];
        for (text, wanted) in rows {
            assert_eq!(admin_place(text).map_err(|_| ()), wanted, "{text}");
        }
        let here = std::env::current_dir().expect("a directory").join("a.sock");
        assert_eq!(admin_place("unix:a.sock"), Ok(Place::Unix(here)));
    }

    #[test]
    fn a_mode_has_octal_digits() {
        let rows =
            [("660", Some(0o660)), ("0o600", Some(0o600)), ("0777", Some(0o777)), ("1777", None)];
        for (text, wanted) in rows.into_iter().chain([("9", None), ("", None), ("-1", None)]) {
            assert_eq!(mode(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn a_listener_is_found_by_its_place_and_port_zero_is_any() {
        let any = Place::Tcp("127.0.0.1:0".parse().expect("an address"));
        let mut bound =
            Listener::bind(&["127.0.0.1:0".parse().expect("an address")]).expect("a free port");
        let listener = bound.remove(0);
        let address = listener.address().expect("it is of TCP");
        assert!(any.is_of(&listener) && Place::Tcp(address).is_of(&listener));
        assert!(!Place::Tcp("127.0.0.1:1".parse().expect("an address")).is_of(&listener));
        assert!(!Place::Tcp(SocketAddr::new([0, 0, 0, 0].into(), 0)).is_of(&listener));
        assert!(!Place::Unix("/run/a.sock".into()).is_of(&listener));
    }
}
