//! The files of `examples/deploy` for systemd, nginx and containers, with the real programs.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, TESTFILE, ask, command, get, installed, wait_for};
use socket2::{Domain, Socket, Type};
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(deployed(name)).unwrap()
}

/// The socket units.
const SOCKETS: [&str; 3] = ["cws.socket", "cws-admin.socket", "cws-agent.socket"];

/// A process, killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Replaces the one place where a file has this.
fn with(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old:?} is there once");
    text.replace(old, new)
}

#[test]
fn the_exposure_of_the_service_is_at_most_a_half() {
    let Some(mut analyze) = installed("systemd-analyze") else { return };
    // The threshold is in tenths.
    analyze.args(["security", "--offline=true", "--no-pager", "--threshold=5"]);
    let output = analyze.arg(deployed("systemd/cws.service")).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
    let line = table.lines().last().unwrap();
    let level = line.split("cws.service: ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(level.unwrap().parse::<f64>().unwrap() <= 0.5, "{line}");
}

#[test]
fn the_units_have_no_mistakes() {
    let Some(mut analyze) = installed("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let service = text("systemd/cws.service");
    // Where the binary is installed.
    let service = with(
        &service,
        "ExecStart=/usr/local/bin/cws-server ",
        &format!("ExecStart={} ", env!("CARGO_BIN_EXE_server")),
    );
    fs::write(folder.path().join("cws.service"), service).unwrap();
    for name in SOCKETS {
        fs::write(folder.path().join(name), text(&format!("systemd/{name}"))).unwrap();
    }
    analyze.args(["verify", "--man=no"]).arg(folder.path().join("cws.service"));
    analyze.args(SOCKETS.map(|name| folder.path().join(name)));
    let output = analyze.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !errors.contains("cws"), "{errors}");
}

/// The options of the unit are the server's, and its sockets have the names that the server knows.
#[test]
fn the_service_starts_as_its_unit_says() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let service = text("systemd/cws.service");
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    let start = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    server.args(start.split(' ').skip(1));
    let variables = service.lines().filter_map(|line| line.strip_prefix("Environment="));
    for (name, value) in
        variables.flat_map(|line| line.split(' ')).filter_map(|v| v.split_once('='))
    {
        server.env(name, value);
    }
    let log = folder.path().join("access.log");
    server.env("CWS_ROOT", site.path()).env("CWS_ACCESS_LOG_FILE", &log).arg("0");
    let mut server = RealServer::spawn(server);
    assert_eq!(get(server.address(), "/testfile").body, TESTFILE);
    // logrotate: the file is renamed, and SIGHUP reopens it.
    wait_for("a line", || fs::read_to_string(&log).ok().filter(|text| text.contains("testfile")));
    fs::rename(&log, folder.path().join("access.log.1")).unwrap();
    server.signal("HUP");
    wait_for("the new file", || log.exists().then_some(()));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let sockets = SOCKETS.map(|name| text(&format!("systemd/{name}"))).concat();
    let names: Vec<_> =
        sockets.lines().filter_map(|line| line.strip_prefix("FileDescriptorName=")).collect();
    assert_eq!(names, ["http", "admin", "agent"], "the names say what they are for");
}

#[test]
fn nginx_serves_with_the_very_file() {
    let Some(mut nginx) = installed("nginx") else { return };
    let (site, folder) = (Site::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let back = at("http.sock");
    // A socket that is bound and does not listen keeps others from the port. nginx shares it.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let front = socket.local_addr().unwrap().as_socket().unwrap();
    let file = text("nginx/cws.conf");
    // The options of the file's comment, with another path.
    let options = file.lines().find_map(|line| line.strip_prefix("#   server ")).unwrap();
    let options = with(options, "unix:/run/cws/http.sock", &format!("unix:{back}"));
    let file = with(&file, "server unix:/run/cws/http.sock ", &format!("server unix:{back} "));
    let file = with(&file, "    listen 80;", &format!("    listen {front} reuseport;"));
    fs::write(at("cws.conf"), file).unwrap();
    fs::write(at("nginx.conf"), around(folder.path())).unwrap();
    let start_server = |more: &[&str]| {
        let mut server = command(env!("CARGO_BIN_EXE_server"));
        server.args(["--root", site.path().to_str().unwrap()]).args(options.split(' '));
        server.args(more).stdout(Stdio::null()).stderr(File::create(at("log")).unwrap());
        let server = Running(server.spawn().unwrap());
        wait_for("the server", || UnixStream::connect(&back).ok());
        server
    };
    let server = start_server(&["--admin", &format!("unix:{}", at("admin.sock"))]);
    nginx.args(["-e", "stderr", "-c", &at("nginx.conf")]);
    nginx.stdout(Stdio::null()).stderr(File::create(at("nginx.log")).unwrap());
    let _nginx = Running(nginx.spawn().unwrap());
    wait_for("nginx", || TcpStream::connect(front).ok());
    for _ in 0..50 {
        assert_eq!(through(front).body, TESTFILE);
    }
    // The log has the client's address, whatever the client writes.
    let lines = wait_for("the lines", || {
        let log = fs::read_to_string(at("log")).unwrap();
        let lines: Vec<_> =
            log.lines().filter(|line| line.contains("/testfile")).map(str::to_owned).collect();
        (lines.len() >= 50).then_some(lines)
    });
    assert!(lines.iter().all(|line| line.contains(" 127.0.0.1 ")), "{lines:?}");
    // One to see that it listens, by this test, and one for all requests.
    let metrics = ask(Path::new(&at("admin.sock")), "/metrics");
    let accepted =
        metrics.lines().find_map(|line| line.strip_prefix("cws_connections_accepted_total "));
    assert!(accepted.unwrap().trim().parse::<u32>().unwrap() <= 2, "{accepted:?}");
    drop(server);

    // A server that is full refuses, and gets the next request nevertheless.
    fs::remove_file(&back).unwrap();
    let _server = start_server(&["--workers", "1", "--queue", "0", "--delay", "150ms"]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| through(front).status)).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    // The worker may not be free yet. nginx asks the server nevertheless, and makes no error.
    wait_for("the next request to be served", || {
        let status = through(front).status;
        assert!([200, 503].contains(&status), "{status}");
        (status == 200).then_some(())
    });
}

/// What Debian's nginx.conf has around the file, without its paths.
fn around(folder: &Path) -> String {
    format!(
        "daemon off; master_process off; pid {0}/pid; error_log stderr warn; events {{}}
http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p;
fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; include {0}/cws.conf; }}
",
        folder.display()
    )
}

/// The reply to a client of nginx that says that it is somebody else.
fn through(nginx: SocketAddr) -> Reply {
    // It stays open: a client that has closed its sending side has gone, for nginx.
    let mut stream = crate::support::connect(nginx);
    let head = b"GET /testfile HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    stream.write_all(head).unwrap();
    Reply::read(&mut stream)
}

/// The server starts with the variables of the image, and the health check of the image finds it.
#[test]
fn the_image_has_options_of_the_server_and_a_health_check_that_works() {
    let site = Site::new();
    let file = text("container/Containerfile");
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    for (name, value) in file
        .lines()
        .filter_map(|line| line.strip_prefix("ENV "))
        .map(|line| line.split_once('=').unwrap())
    {
        server.env(name, value);
    }
    // Free ports and another root, in place of the container's own.
    server.args(["--root", site.path().to_str().unwrap(), "--admin", "127.0.0.1:0", "0"]);
    let server = RealServer::spawn(server);
    assert!(server.address().ip().is_unspecified());
    let address = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    assert_eq!(get(address, "/testfile").body, TESTFILE);
    let check =
        file.lines().find_map(|line| line.split_once(" CMD ").map(|(_, words)| words)).unwrap();
    let words: Vec<String> = serde_json::from_str(check).unwrap();
    assert_eq!(words[0], "/usr/local/bin/client");
    let health = |port: u16| {
        let mut client = command(env!("CARGO_BIN_EXE_client"));
        client.args(&words[1..words.len() - 1]).arg(port.to_string()).stdout(Stdio::null());
        client.stderr(Stdio::null()).status().unwrap().success()
    };
    assert_eq!(words.last().unwrap(), "9090");
    assert!(health(server.admin().port()));
    assert!(!health(server.address().port()), "it has no such file");
}

/// What the image copies is there, and is enough for cargo to know what to build.
#[test]
fn the_image_copies_what_its_build_needs() {
    let file = text("container/Containerfile");
    let ignored = text("container/Containerfile.dockerignore");
    let folder = tempfile::tempdir().unwrap();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = file
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--"));
    for source in sources.flat_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        words[..words.len() - 1].to_vec()
    }) {
        assert!(
            ignored.lines().any(|line| line == format!("!{source}")),
            "{source} is in the context"
        );
        let done = Command::new("cp").arg("-r").arg(top.join(source)).arg(folder.path()).status();
        assert!(done.unwrap().success(), "{source}");
    }
    // The commit, which the build cannot find out by itself.
    let given = file.lines().find_map(|line| line.strip_prefix("ARG ")).unwrap();
    let asked = format!("option_env!(\"{}\")", given.trim_end_matches('='));
    let version = fs::read_to_string(top.join("src/bin/server/shell.rs")).unwrap();
    assert!(version.contains(&asked), "{asked}");
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        let output = cargo.args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    // The lock file is right for what was copied.
    cargo(&["tree", "--locked", "--edges", "normal,build"]);
    let output = cargo(&["metadata", "--no-deps", "--format-version=1"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = found["packages"].as_array().unwrap();
    let own = packages.iter().find(|of| of["name"] == "concurrent-web-server").unwrap();
    let targets: Vec<_> =
        own["targets"].as_array().unwrap().iter().filter(|of| of["kind"][0] == "bin").collect();
    for binary in ["server", "client"] {
        assert!(targets.iter().any(|of| of["name"] == binary), "{binary}");
    }
}
