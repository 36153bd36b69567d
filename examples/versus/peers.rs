//! The compared servers: how to find and start them, and their versions.

use super::configurations as configuration;
use std::env;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The setup of a server for one case.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder to serve.
    pub root: PathBuf,
    /// A folder for its configuration and its logs.
    pub folder: PathBuf,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on.
    pub port: u16,
    /// The number of connections that are busy at a time.
    pub connections: usize,
    /// Workers or threads.
    pub workers: usize,
    /// It writes an access log.
    pub logs: bool,
    /// Each request uses a new connection.
    pub closes: bool,
    /// It sends compressed forms that lie beside the files.
    pub is_coded: bool,
    /// How long each request takes.
    pub delay: Option<Duration>,
    /// Root starts it; it must keep its privileges to read the folder.
    pub is_privileged: bool,
    /// The content length of each response, for the ceiling.
    pub length: usize,
}

/// A server that can be measured.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Its name in the tables.
    pub name: String,
    /// Its part in the comparison.
    pub role: Role,
    /// Its program.
    pub program: PathBuf,
    kind: Kind,
}

/// A server's part in the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The measured server.
    Ours,
    /// An earlier build of it.
    Earlier,
    /// Another server.
    Peer,
    /// The measured server once more. It shows how much figures differ by chance.
    Again,
    /// A program that does as little as possible.
    Ceiling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Ceiling,
    Nginx { cached: bool },
    Lighttpd,
    Apache,
    H2o,
    Caddy,
    Busybox,
    Python,
    Darkhttpd,
    Miniserve,
    StaticWebServer,
}

/// Their names, programs and kinds.
const PEERS: [(&str, &str, Kind); 11] = [
    ("nginx", "nginx", Kind::Nginx { cached: false }),
    ("nginx-cache", "nginx", Kind::Nginx { cached: true }),
    ("lighttpd", "lighttpd", Kind::Lighttpd),
    ("h2o", "h2o", Kind::H2o),
    ("apache2", "apache2", Kind::Apache),
    ("caddy", "caddy", Kind::Caddy),
    ("busybox", "busybox", Kind::Busybox),
    ("python", "python3", Kind::Python),
    ("darkhttpd", "darkhttpd", Kind::Darkhttpd),
    ("miniserve", "miniserve", Kind::Miniserve),
    ("static-web-server", "static-web-server", Kind::StaticWebServer),
];

/// The number of the first peers that are measured by default.
const DEFAULT: usize = 6;

/// This server.
pub const OURS: &str = "cws";

/// This server once more.
pub const AGAIN: &str = "again";

/// The ceiling.
pub const CEILING: &str = "ceiling";

/// The servers to measure, in the order of their turns, and the names of wanted peers that are not
/// installed.
///
/// This server is always the first, and is measured again as the last. Between them are its
/// `earlier` builds, and the `wanted` peers, or the usual ones if that is empty.
pub fn contenders(
    server: &Path,
    earlier: &[(PathBuf, String)],
    wanted: &[String],
) -> Result<(Vec<Contender>, Vec<&'static str>), String> {
    let known: Vec<&str> = PEERS.iter().map(|(name, ..)| *name).chain([AGAIN, CEILING]).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("unknown server {unknown} (choose from {})", known.join(", ")));
    }
    let is_wanted = |name| wanted.iter().any(|wanted| wanted == name);
    let ours = |name: &str, role, program: &Path| Contender {
        name: name.to_owned(),
        role,
        program: program.to_owned(),
        kind: Kind::Ours,
    };
    let mut found = vec![ours(OURS, Role::Ours, server)];
    for (program, name) in earlier {
        if known.contains(&name.as_str()) || found.iter().any(|other| other.name == *name) {
            return Err(format!("the name {name} is taken (choose another one for --binary)"));
        }
        found.push(ours(name, Role::Earlier, program));
    }
    let mut missing = Vec::new();
    for (at, (name, program, kind)) in PEERS.into_iter().enumerate() {
        let is_chosen = if wanted.is_empty() { at < DEFAULT } else { is_wanted(name) };
        match find_program(program) {
            _ if !is_chosen => {}
            Some(program) => {
                found.push(Contender { name: name.to_owned(), role: Role::Peer, program, kind });
            }
            None => missing.push(name),
        }
    }
    if is_wanted(CEILING) {
        let program = env::current_exe()
            .map_err(|error| format!("cannot find this program's own file: {error}"))?;
        let (name, role) = (CEILING.to_owned(), Role::Ceiling);
        found.push(Contender { name, role, program, kind: Kind::Ceiling });
    }
    found.push(ours(AGAIN, Role::Again, server));
    Ok((found, missing))
}

/// Searches the path, and the folders for system programs.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The command that starts HAProxy on `port` in front of a server.
pub fn haproxy(program: &Path, server: &Setup, port: u16) -> io::Result<Command> {
    let file = server.folder.join("haproxy.configuration");
    fs::write(&file, configuration::haproxy(server.host, port, server.port))?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

impl Contender {
    /// Whether it is this project's server.
    pub fn is_ours(&self) -> bool {
        self.kind == Kind::Ours
    }

    /// Whether it can write an access log.
    pub fn can_log(&self) -> bool {
        !matches!(self.kind, Kind::Ceiling | Kind::Busybox)
    }

    /// Its version, as it reports it.
    pub fn version(&self) -> String {
        let argument = match self.kind {
            Kind::Ceiling => return "built in".to_owned(),
            Kind::Nginx { .. } | Kind::Lighttpd | Kind::Apache | Kind::H2o => "-v",
            Kind::Caddy => "version",
            Kind::Busybox => "--help",
            _ => "--version",
        };
        let Ok(output) = Command::new(&self.program).arg(argument).output() else {
            return "unknown".to_owned();
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()));
        line.unwrap_or("unknown").trim().chars().take(60).collect()
    }

    fn configuration(&self, setup: &Setup) -> String {
        match self.kind {
            Kind::Nginx { cached } => configuration::nginx(setup, cached),
            Kind::Lighttpd => configuration::lighttpd(setup),
            Kind::Apache => configuration::apache(setup),
            Kind::H2o => configuration::h2o(setup),
            Kind::Caddy => configuration::caddy(setup),
            _ => String::new(),
        }
    }

    /// Writes its configuration, and returns the command that starts it.
    pub fn command(&self, setup: &Setup) -> io::Result<Command> {
        let Setup { root, folder, host, port, workers, .. } = setup;
        let [host, port, workers] = [host.to_string(), port.to_string(), workers.to_string()];
        fs::create_dir_all(folder)?;
        let file = folder.join("configuration");
        fs::write(&file, self.configuration(setup))?;
        let log = folder.join("access.log");
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Ours => {
                command.args(["--workers", &workers, "--idle-timeout", "75s", "--quiet"]);
                command.args(["--bind", &host]);
                if let Some(delay) = setup.delay {
                    command.args(["--delay", &format!("{}us", delay.as_micros())]);
                }
                command.arg("--root").arg(root).arg(&port);
                match setup.logs {
                    true => command.arg("--access-log-file").arg(&log),
                    false => command.args(["--access-log", "off"]),
                };
            }
            Kind::Ceiling => {
                command.args(["--be-ceiling", &setup.length.to_string()]);
                command.args(["--workers", &workers, "--host", &host, "--port", &port]);
                command.args(setup.closes.then_some("--closes"));
            }
            Kind::Nginx { .. } => {
                command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(&file);
            }
            Kind::Lighttpd => {
                command.arg("-D").arg("-f").arg(&file);
            }
            Kind::Apache => {
                command.arg("-DFOREGROUND").arg("-f").arg(&file);
            }
            Kind::H2o => {
                command.arg("-c").arg(&file);
            }
            Kind::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
                // Go's number of threads that run at a time; its files go into the folder.
                command.env("GOMAXPROCS", &workers).env("XDG_DATA_HOME", folder);
                command.env("XDG_CONFIG_HOME", folder);
            }
            Kind::Busybox => {
                command.args(["httpd", "-f", "-p", &format!("{host}:{port}"), "-h"]).arg(root);
            }
            Kind::Python => {
                let module = ["-m", "http.server", "--protocol", "HTTP/1.1", "--bind", &host];
                command.args(module).arg("--directory").arg(root).arg(&port);
            }
            Kind::Darkhttpd => {
                command.arg(root).args(["--port", &port, "--addr", &host]);
                match setup.logs {
                    true => command.arg("--log").arg(&log),
                    false => command.arg("--no-log"),
                };
            }
            Kind::Miniserve => {
                command.args(["-i", &host, "-p", &port, "--index", "index.html"]).arg(root);
                command.args(setup.logs.then_some("--verbose"));
            }
            Kind::StaticWebServer => {
                command.args(["--host", &host, "--port", &port, "--threads-multiplier", "1"]);
                command.args(["--log-level", if setup.logs { "info" } else { "error" }]);
                command.arg("--root").arg(root);
            }
        }
        Ok(command)
    }
}
