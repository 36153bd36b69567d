//! What a service manager gives and is told: passed sockets, and messages of the state.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

/// The command's own code, with another handler than its own.
#[allow(dead_code)]
#[path = "../../src/bin/server/notify.rs"]
mod notify;

use crate::support::{PATIENCE, Site, TESTFILE, ask, command, connect, get, wait_for};
use cws::{Config, Error, Handler, Immediate, Request, Response, Server};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};

/// The socket that a service manager listens on for messages.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The lines of the next message.
    fn message(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message in time");
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The next message that is neither a sign of life nor a state alone.
    fn step(&self) -> Vec<String> {
        let is_other = |line: &String| line != "WATCHDOG=1" && !line.starts_with("STATUS=");
        loop {
            let message = self.message();
            if message.iter().any(is_other) {
                return message;
            }
        }
    }

    /// The messages that have come and were not read.
    fn rest(&self) -> Vec<Vec<String>> {
        self.socket.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..length]);
            all.push(text.lines().map(str::to_owned).collect());
        }
        self.socket.set_nonblocking(false).unwrap();
        all
    }
}

/// A process, killed on drop.
struct Running {
    child: Child,
    folder: tempfile::TempDir,
}

impl Running {
    fn spawn(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        command.stdout(File::create(folder.path().join("out")).unwrap());
        Self::log_to(folder, command)
    }

    /// The same, with its standard output where it is.
    fn with_own_output(command: Command) -> Self {
        Self::log_to(tempfile::tempdir().unwrap(), command)
    }

    fn log_to(folder: tempfile::TempDir, mut command: Command) -> Self {
        command.stderr(File::create(folder.path().join("err")).unwrap());
        Self { child: command.spawn().unwrap(), folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("err")).unwrap()
    }

    fn printed(&self, lines: usize) -> String {
        wait_for("what it prints", || {
            let text = fs::read_to_string(self.folder.path().join("out")).unwrap();
            (text.lines().count() == lines).then_some(text)
        })
    }

    fn address(&self) -> SocketAddr {
        crate::support::listening_address(self.printed(1).lines().next().unwrap())
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(done.unwrap().success());
    }

    fn code(&mut self) -> Option<i32> {
        wait_for("its end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(site: &Site, options: &[&str]) -> Command {
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    server.args(["--root", site.path().to_str().unwrap()]).args(options);
    server
}

/// The same with these sockets as descriptors 3 and 4.
fn with_sockets(site: &Site, names: &str, options: &str, sockets: [OwnedFd; 2]) -> Command {
    let script = format!(
        "exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names} \
         exec \"$0\" --root \"$1\" {options}"
    );
    let mut shell = command("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_server"), site.path().to_str().unwrap()]);
    let [one, other] = sockets;
    shell.stdin(one).stdout(other);
    shell
}

#[test]
fn the_messages_come_in_order() {
    let (site, manager) = (Site::new(), Manager::new());
    let mut command = server(&site, &["0"]);
    command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "400000");
    let mut running = Running::spawn(command);
    let pid = running.child.id();
    assert_eq!(manager.message(), ["READY=1", &format!("MAINPID={pid}"), "STATUS=ready"]);
    assert_eq!(get(running.address(), "/testfile").body, TESTFILE);
    assert_eq!(manager.message(), ["WATCHDOG=1"]);
    let status = manager.message();
    assert!(status.len() == 1 && status[0].starts_with("STATUS="), "{status:?}");
    for _ in 0..3 {
        wait_for("signs of life", || (manager.message() == ["WATCHDOG=1"]).then_some(()));
    }
    running.signal("HUP");
    let begin = manager.step();
    assert!(begin[0] == "RELOADING=1" && begin[1].starts_with("MONOTONIC_USEC="), "{begin:?}");
    assert_eq!(manager.step(), ["READY=1"]);
    running.signal("TERM");
    assert_eq!(manager.step(), ["STOPPING=1", "STATUS=stopping"]);
    assert_eq!(running.code(), Some(0));
    assert!(manager.rest().is_empty(), "nothing follows");
}

#[test]
fn nothing_is_said_without_a_service_manager() {
    let (site, manager) = (Site::new(), Manager::new());
    let mut running = Running::spawn(server(&site, &["0"]));
    running.address();
    running.signal("TERM");
    assert_eq!(running.code(), Some(0));
    assert!(manager.rest().is_empty());
    assert!(!running.log().contains("service manager"), "{}", running.log());
    // One that is gone is no reason to stop.
    let mut command = server(&site, &["0"]);
    command.env("NOTIFY_SOCKET", manager.folder.path().join("gone"));
    let running = Running::spawn(command);
    assert_eq!(get(running.address(), "/testfile").body, TESTFILE);
    wait_for("a warning", || {
        running.log().contains("cannot tell the service manager").then_some(())
    });
}

/// One that reads no messages delays the server, and stops nothing.
#[test]
fn a_service_manager_that_reads_nothing_blocks_nothing() {
    let (site, manager) = (Site::new(), Manager::new());
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"x", manager.path()).is_ok() {}
    let mut command = server(&site, &["0"]);
    command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "200000");
    let mut running = Running::spawn(command);
    assert_eq!(get(running.address(), "/testfile").body, TESTFILE);
    wait_for("a warning", || {
        running.log().contains("cannot tell the service manager").then_some(())
    });
    running.signal("HUP");
    running.signal("TERM");
    assert_eq!(running.code(), Some(0), "{}", running.log());
}

#[test]
fn a_service_manager_can_have_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt;
    let site = Site::new();
    let name = format!("cws-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = server(&site, &["0"]);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let _running = Running::spawn(command);
    let mut bytes = [0; 100];
    let length = socket.recv(&mut bytes).expect("a message in time");
    assert!(bytes[..length].starts_with(b"READY=1\n"));
}

/// While it starts or stops, the end of a reload would be taken for the end of the start.
#[test]
fn a_reload_is_told_only_between_ready_and_stopping() {
    let (site, manager) = (Site::new(), Manager::new());
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let takeover = folder.path().join("takeover");
    // The one that runs has not passed its listeners yet, so this one cannot be ready.
    let runs = UnixListener::bind(&takeover).unwrap();
    let options = ["0", "--takeover", takeover.to_str().unwrap(), "--drain-delay", "1h"];
    let mut command = server(&site, &options);
    command.arg("--access-log-file").arg(&log).env("NOTIFY_SOCKET", manager.path());
    let mut running = Running::spawn(command);
    let (link, _) = runs.accept().unwrap();
    // It does not end it. The log is reopened when the threads start.
    running.signal("HUP");
    assert_eq!(manager.rest(), [[""; 0]; 0]);
    // Without a server at the path, the next one starts alone.
    drop((link, runs));
    assert_eq!(running.code(), Some(1), "{}", running.log());
    fs::remove_file(&takeover).unwrap();
    let mut command = server(&site, &options);
    command.arg("--access-log-file").arg(&log).env("NOTIFY_SOCKET", manager.path());
    let running = Running::spawn(command);
    assert_eq!(manager.step()[0], "READY=1");
    running.signal("TERM");
    assert_eq!(manager.step()[0], "STOPPING=1");
    fs::remove_file(&log).unwrap();
    running.signal("HUP");
    wait_for("the new file", || log.exists().then_some(()));
    assert_eq!(manager.rest(), [[""; 0]; 0]);
}

/// All workers are in long services, and the queue is full.
#[test]
fn a_saturated_pool_gives_signs_of_life() {
    let (site, manager) = (Site::new(), Manager::new());
    let mut command = server(&site, &["0", "--workers", "1", "--delay", "10m", "--queue", "1"]);
    command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "200000");
    let running = Running::spawn(command);
    let mut streams = [(); 4].map(|()| connect(running.address()));
    for stream in &mut streams {
        stream.write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    wait_for("a refusal", || running.log().contains("\" 503 ").then_some(()));
    manager.rest();
    for _ in 0..20 {
        wait_for("a sign of life", || (manager.message() == ["WATCHDOG=1"]).then_some(()));
    }
}

/// At a takeover the new process is the service. The old one says no more.
#[test]
fn the_service_manager_follows_a_takeover() {
    let (site, manager) = (Site::new(), Manager::new());
    let path = manager.folder.path().join("takeover");
    let start = |watchdog: bool| {
        let mut command = server(&site, &["0", "--takeover", path.to_str().unwrap()]);
        command.env("NOTIFY_SOCKET", manager.path());
        if watchdog {
            command.env("WATCHDOG_USEC", "400000");
        }
        Running::spawn(command)
    };
    let mut old = start(true);
    assert_eq!(manager.step()[0], "READY=1");
    // It has no interval of its own, and is told that of the old one.
    let mut new = start(false);
    let ready = manager.step();
    assert_eq!(ready[..2], ["READY=1".to_owned(), format!("MAINPID={}", new.child.id())]);
    assert_eq!(old.code(), Some(0));
    manager.rest();
    wait_for("a sign of life", || (manager.message() == ["WATCHDOG=1"]).then_some(()));
    new.signal("TERM");
    assert_eq!(manager.step(), ["STOPPING=1", "STATUS=stopping"]);
    assert_eq!(new.code(), Some(0));
}

/// A handler whose immediate part blocks for ever at one path.
struct Blocking;

impl Handler for Blocking {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, _: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        Ok(Response::text("hello"))
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }
}

impl Immediate for Blocking {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        if request.target.raw == b"/block" {
            loop {
                std::thread::park();
            }
        }
        None
    }
}

/// Writes the log to standard error.
struct Plain;

impl log::Log for Plain {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}", record.args());
    }

    fn flush(&self) {}
}

/// The process of the next test: it serves until it is killed.
#[test]
#[ignore = "the process of another test"]
fn a_process_with_a_handler_that_can_block() {
    log::set_logger(&Plain).unwrap();
    log::set_max_level(log::LevelFilter::Error);
    let server = Server::start(Config::default(), Blocking).unwrap();
    eprintln!("listening on http://{}/", server.addresses()[0]);
    notify::connect();
    let _notifier = notify::Notifier::start(server.observer(), notify::watchdog()).unwrap();
    let _ = server.join();
}

#[test]
fn a_stuck_acceptor_gives_no_sign_of_life() {
    let manager = Manager::new();
    let mut process = command(std::env::current_exe().unwrap().to_str().unwrap());
    let own = "service_manager::a_process_with_a_handler_that_can_block";
    process.args(["--exact", own, "--ignored", "--nocapture"]);
    process.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "200000");
    let running = Running::spawn(process);
    let line = |text: &str, count: usize| {
        wait_for(text, || {
            let log = running.log();
            // The end of the last line may be on its way.
            let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
            let mut found = whole.lines().filter(|line| line.contains(text));
            found.nth(count).map(str::to_owned)
        })
    };
    let address = crate::support::listening_address(&line("listening on", 0));
    assert_eq!(get(address, "/").body, b"hello");
    wait_for("a sign of life", || (manager.message() == ["WATCHDOG=1"]).then_some(()));
    // While workers are awake, one of them may get the request, and answer it.
    let is_stuck = || running.log().contains("the acceptor is stuck");
    let mut blocked = Vec::new();
    while !is_stuck() {
        let mut stream = connect(address);
        stream.write_all(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        wait_for("a response, or none", || {
            // Who sends to a full queue of messages waits.
            manager.rest();
            (is_stuck() || stream.peek(&mut [0]).is_ok()).then_some(())
        });
        blocked.push(stream);
    }
    let is_alive = |message: &Vec<String>| message.contains(&"WATCHDOG=1".to_owned());
    manager.rest();
    // Three looks later.
    line("the acceptor is stuck", 4);
    let said = manager.rest();
    assert!(!said.iter().any(is_alive), "{said:?}");
}

#[test]
fn passed_sockets_serve_by_their_names_and_outlive_the_server() {
    let site = Site::new();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let admin = UnixListener::bind(&path).unwrap();
    let address = http.local_addr().unwrap();
    for _ in 0..2 {
        // Who connects before the server starts, or after the one before has ended, is served.
        let early = std::thread::spawn(move || get(address, "/testfile"));
        let sockets = [admin.try_clone().unwrap().into(), http.try_clone().unwrap().into()];
        let mut running = Running::with_own_output(with_sockets(&site, "admin:web", "", sockets));
        assert_eq!(early.join().unwrap().body, TESTFILE);
        assert!(ask(&path, "/healthz").ends_with("alive\n"));
        wait_for("its lines", || {
            let log = running.log();
            let has = |text: &str| log.lines().any(|line| line == text);
            let http = has(&format!("listening on http://{address}/"));
            (http && has(&format!("admin page on unix:{}", path.display()))).then_some(())
        });
        running.signal("TERM");
        assert_eq!(running.code(), Some(0));
        assert!(path.exists(), "the file is the service manager's");
    }
}

/// No option asks for an agent. The name of the socket does, and it outlives a takeover.
#[test]
fn a_passed_socket_of_this_name_is_the_agents() {
    let site = Site::new();
    let sockets = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [http, agent] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let takeover = folder.path().join("takeover").display().to_string();
    let told = || {
        let mut line = String::new();
        connect(agent).read_to_string(&mut line).unwrap();
        line
    };
    let options = format!("--workers 1 --queue 3 --takeover {takeover}");
    let sockets = sockets.map(OwnedFd::from);
    let mut old = Running::with_own_output(with_sockets(&site, "http:agent", &options, sockets));
    assert_eq!(told(), "ready up maxconn:260\n");
    let options = ["--workers", "2", "--queue", "3", "--takeover", &takeover];
    let new = Running::spawn(server(&site, &options));
    assert_eq!(old.code(), Some(0), "{}", old.log());
    assert_eq!(new.printed(2), format!("listening on http://{http}/\nagent on {agent}\n"));
    assert_eq!(told(), "ready up maxconn:261\n");
    assert_eq!(get(http, "/testfile").body, TESTFILE);
}

/// Sockets that systemd keeps stay its own, whichever process has taken them over.
#[test]
fn a_takeover_passes_on_the_sockets_of_the_service_manager() {
    let site = Site::new();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let admin = UnixListener::bind(&path).unwrap();
    let address = http.local_addr().unwrap();
    let takeover = folder.path().join("takeover").display().to_string();
    let sockets = [http.try_clone().unwrap().into(), admin.try_clone().unwrap().into()];
    let options = format!("--takeover {takeover}");
    let mut old = Running::with_own_output(with_sockets(&site, "http:admin", &options, sockets));
    assert_eq!(get(address, "/testfile").body, TESTFILE);
    // No option names an address, and no variable of systemd is set.
    let mut new = Running::spawn(server(&site, &["--takeover", &takeover]));
    let expected =
        format!("listening on http://{address}/\nadmin page on unix:{}\n", path.display());
    assert_eq!(new.printed(2), expected);
    assert_eq!(old.code(), Some(0), "{}", old.log());
    assert_eq!(get(address, "/testfile").body, TESTFILE);
    assert!(ask(&path, "/healthz").ends_with("alive\n"));
    new.signal("TERM");
    assert_eq!(new.code(), Some(0));
    // Who connects now waits for the next one.
    let _waits = (connect(address), UnixStream::connect(&path).unwrap());
}

#[test]
fn options_add_to_what_was_passed() {
    let site = Site::new();
    let sockets = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let passed = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    // One of those that were passed is named, too.
    let options = format!("--bind unix:{} --bind 127.0.0.1 {}", path.display(), passed[0].port());
    let command = with_sockets(&site, "a:b", &options, sockets.map(OwnedFd::from));
    let _running = Running::with_own_output(command);
    for address in passed {
        assert_eq!(get(address, "/testfile").body, TESTFILE);
    }
    assert!(ask(&path, "/testfile").ends_with("Hello, test!\n"));
}

#[test]
fn what_is_passed_and_does_not_listen_is_an_error() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let sockets = [listener.into(), stream.into()];
    let mut running = Running::with_own_output(with_sockets(&site, "http:other", "", sockets));
    assert_eq!(running.code(), Some(1));
    let expected = "server: cannot use socket 1 (\"other\") of LISTEN_FDS: it does not listen";
    assert!(running.log().starts_with(expected), "{}", running.log());
}

/// The kernel gives each of them some of the clients.
#[test]
fn all_passed_sockets_of_one_address_serve() {
    use socket2::{Domain, SockAddr, Socket, Type};
    let site = Site::new();
    let bind = |address: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&SockAddr::from(address)).unwrap();
        socket.listen(100).unwrap();
        let bound = socket.local_addr().unwrap().as_socket().unwrap();
        (OwnedFd::from(socket), bound)
    };
    let (one, address) = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
    // The test keeps them open, as systemd does.
    let sockets = [one, bind(address).0];
    let passed = sockets.each_ref().map(|socket| socket.try_clone().unwrap());
    let _running = Running::with_own_output(with_sockets(&site, "a:b", "", passed));
    for _ in 0..40 {
        assert_eq!(get(address, "/testfile").body, TESTFILE);
    }
}

#[test]
fn more_sockets_than_a_process_can_have_are_an_error() {
    let site = Site::new();
    let mut command = server(&site, &["0"]);
    command.env("LISTEN_FDS", i32::MAX.to_string());
    let mut running = Running::spawn(command);
    assert_eq!(running.code(), Some(1));
    assert!(running.log().contains("LISTEN_FDS=2147483647: a process has"), "{}", running.log());
}

/// The sockets of another process are not this one's.
#[test]
fn sockets_for_another_process_are_ignored() {
    let site = Site::new();
    let mut command = server(&site, &["0"]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "2147483647");
    let running = Running::spawn(command);
    assert_eq!(get(running.address(), "/testfile").body, TESTFILE);
}

#[test]
fn systemd_socket_activate_starts_the_server_at_the_first_connection() {
    let Some(mut activate) = crate::support::installed("systemd-socket-activate") else { return };
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let (http, admin) = (folder.path().join("http.sock"), folder.path().join("admin.sock"));
    activate.arg("-l").arg(&http).arg("-l").arg(&admin).arg("--fdname=http:admin");
    activate.args([env!("CARGO_BIN_EXE_server"), "--root", site.path().to_str().unwrap()]);
    let mut running = Running::spawn(activate);
    let reply = ask(&http, "/testfile");
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("Hello, test!\n"), "{reply}");
    assert!(ask(&admin, "/readyz").ends_with("ready\n"));
    // It replaces itself by the server.
    running.signal("TERM");
    assert_eq!(running.code(), Some(0), "{}", running.log());
    assert!(http.exists() && admin.exists());
}
