//! The compared servers: how to find and start them, and their versions.

use super::configurations as configuration;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The setup of a server for one case.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder to serve.
    pub root: PathBuf,
    /// A folder for its configuration and its logs.
    pub folder: PathBuf,
    /// The port of 127.0.0.1 to listen on.
    pub port: u16,
    /// Workers or threads.
    pub workers: usize,
    /// It writes an access log.
    pub logs: bool,
    /// Each request uses a new connection.
    pub closes: bool,
    /// Root starts it; it must keep its privileges to read the folder.
    pub is_privileged: bool,
    /// The content length of each response, for the ceiling.
    pub length: usize,
}

/// A server that can be measured.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Its name in the tables.
    pub name: &'static str,
    /// Its program.
    pub program: PathBuf,
    kind: Kind,
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
    ("apache2", "apache2", Kind::Apache),
    ("h2o", "h2o", Kind::H2o),
    ("caddy", "caddy", Kind::Caddy),
    ("busybox", "busybox", Kind::Busybox),
    ("python", "python3", Kind::Python),
    ("darkhttpd", "darkhttpd", Kind::Darkhttpd),
    ("miniserve", "miniserve", Kind::Miniserve),
    ("static-web-server", "static-web-server", Kind::StaticWebServer),
];

/// This server.
pub const OURS: &str = "cws";

/// The ceiling.
pub const CEILING: &str = "(ceiling)";

/// This server, the ceiling, and the installed peers in `wanted` (all, if it is empty).
pub fn contenders(server: &Path, wanted: &[String]) -> Result<Vec<Contender>, String> {
    let known = PEERS.map(|(name, ..)| name);
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("unknown peer {unknown} (choose from {})", known.join(", ")));
    }
    let this = env::current_exe()
        .map_err(|error| format!("cannot find this program's own file: {error}"))?;
    let mut found = vec![
        Contender { name: OURS, program: server.to_owned(), kind: Kind::Ours },
        Contender { name: CEILING, program: this, kind: Kind::Ceiling },
    ];
    for (name, program, kind) in PEERS {
        let is_wanted = wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
        match find_program(program) {
            Some(program) if is_wanted => found.push(Contender { name, program, kind }),
            None if is_wanted && !wanted.is_empty() => {
                return Err(format!("{name} is not installed (install or remove it)"));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Searches the path, and the folders for system programs.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|path| path.is_file())
}

impl Contender {
    /// Whether it is the ceiling.
    pub fn is_ceiling(&self) -> bool {
        self.kind == Kind::Ceiling
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
        let Setup { root, folder, port, workers, .. } = setup;
        let (port, workers) = (port.to_string(), workers.to_string());
        fs::create_dir_all(folder)?;
        let file = folder.join("configuration");
        fs::write(&file, self.configuration(setup))?;
        let log = folder.join("access.log");
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Ours => {
                command.args(["--workers", &workers, "--idle-timeout", "75s", "--quiet"]);
                command.arg("--root").arg(root).arg(&port);
                match setup.logs {
                    true => command.arg("--access-log-file").arg(&log),
                    false => command.args(["--access-log", "off"]),
                };
            }
            Kind::Ceiling => {
                command.args(["--be-ceiling", &setup.length.to_string()]);
                command.args(["--workers", &workers, "--port", &port]);
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
            }
            Kind::Busybox => {
                command.args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"]).arg(root);
            }
            Kind::Python => {
                let module = ["-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1"];
                command.args(module).arg("--directory").arg(root).arg(&port);
            }
            Kind::Darkhttpd => {
                command.arg(root).args(["--port", &port, "--addr", "127.0.0.1"]);
                match setup.logs {
                    true => command.arg("--log").arg(&log),
                    false => command.arg("--no-log"),
                };
            }
            Kind::Miniserve => {
                command.args(["-i", "127.0.0.1", "-p", &port, "--index", "index.html"]).arg(root);
                command.args(setup.logs.then_some("--verbose"));
            }
            Kind::StaticWebServer => {
                command.args(["--host", "127.0.0.1", "--port", &port, "--threads-multiplier", "1"]);
                command.args(["--log-level", if setup.logs { "info" } else { "error" }]);
                command.arg("--root").arg(root);
            }
        }
        Ok(command)
    }
}
