//! UNIX sockets: to serve on, for the admin page, and behind nginx.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{PATIENCE, Reply, Site, TESTFILE, command, installed, wait_for};
use cws::{Config, Listener, Request, Response, Server};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The `server` command, killed on drop.
struct Running {
    child: Child,
    dir: tempfile::TempDir,
}

impl Running {
    fn start(site: &Site, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut server = command(env!("CARGO_BIN_EXE_server"));
        server.args(["--root", site.path().to_str().unwrap()]).args(options);
        server.env("RUST_LOG", "debug");
        server.stdout(fs::File::create(dir.path().join("out")).unwrap());
        server.stderr(fs::File::create(dir.path().join("err")).unwrap());
        Self { child: server.spawn().unwrap(), dir }
    }

    fn printed(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("err")).unwrap()
    }

    fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        wait_for("its end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(path: &Path) -> UnixStream {
    let stream = wait_for("a listener", || UnixStream::connect(path).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn exchange(path: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(path);
    stream.write_all(request).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("a clean end, no reset");
    reply
}

fn get(path: &Path, target: &str) -> Reply {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut replies = Reply::all(&exchange(path, request.as_bytes()), false);
    assert_eq!(replies.len(), 1, "one reply to {target}");
    replies.remove(0)
}

#[test]
fn the_server_and_its_admin_page_are_reached_by_paths() {
    let site = Site::new();
    let large: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    site.put("large", &large);
    let folder = tempfile::tempdir().unwrap();
    let (http, admin) = (folder.path().join("http.sock"), folder.path().join("admin.sock"));
    let options = [
        &format!("--bind=unix:{}", http.display()),
        &format!("--admin=unix:{}", admin.display()),
        "--unix-mode=600",
        "--per-client=3",
        "--client-address=x-forwarded-for",
    ];
    let mut server = Running::start(&site, &options);
    assert_eq!(get(&http, "/testfile").body, TESTFILE);
    assert!(get(&http, "/large").body == large);
    assert_eq!(get(&admin, "/healthz").body, b"alive\n");
    let metrics = String::from_utf8(get(&admin, "/metrics").body).unwrap();
    assert!(metrics.contains("cws_connections_accepted_total"), "{metrics}");
    for path in [&http, &admin] {
        let found = fs::metadata(path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
    }
    let expected =
        format!("listening on unix:{}\nadmin page on unix:{}\n", http.display(), admin.display());
    assert_eq!(
        wait_for("both lines", || Some(server.printed()).filter(|p| p.lines().count() == 2)),
        expected
    );

    // What reaches the socket is trusted to name clients, and is not limited itself.
    let ask = |client: &str| {
        let mut stream = connect(&http);
        let head = "GET /testfile HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ";
        stream.write_all(format!("{head}{client}\r\n\r\n").as_bytes()).unwrap();
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).unwrap();
        (String::from_utf8_lossy(&reply[9..]).into_owned(), stream)
    };
    let held = [(); 9].map(|()| ask("192.0.2.1"));
    assert!(held.iter().all(|(status, _)| status == "200"));
    assert_eq!(get(&http, "/testfile").status, 200);
    drop(held);

    assert_eq!(server.stop(), Some(0));
    assert!(!http.exists() && !admin.exists(), "its files are removed");
    let log = server.log();
    assert!(log.contains("unix: \"GET /testfile HTTP/1.1\" 200 13 "), "{log}");
    assert!(log.contains("192.0.2.1 \"GET /testfile HTTP/1.1\" 200 13 "), "{log}");
    assert!(!log.contains("TCP_"), "no option of TCP is tried: {log}");
}

#[test]
fn the_access_log_has_unix_for_the_client_in_each_format() {
    let site = Site::new();
    for (form, expected) in
        [("common", "unix: - - ["), ("combined", "unix: - - ["), ("json", "\"client\":\"unix:\"")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let bind = format!("unix:{}", path.display());
        let mut server = Running::start(&site, &["--bind", &bind, "--access-log", form]);
        assert_eq!(get(&path, "/testfile").status, 200);
        assert_eq!(server.stop(), Some(0));
        let log = server.log();
        assert!(log.lines().any(|line| line.contains(expected) && line.contains("200")), "{log}");
    }
}

#[test]
fn it_listens_on_addresses_and_paths_at_once() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let bind = format!("127.0.0.1,unix:{}", path.display());
    let server = Running::start(&site, &["--bind", &bind, "0"]);
    assert_eq!(get(&path, "/testfile").body, TESTFILE);
    let line = wait_for("its address", || server.printed().lines().next().map(str::to_owned));
    assert_eq!(
        crate::support::get(crate::support::listening_address(&line), "/testfile").body,
        TESTFILE
    );
}

#[test]
fn a_live_socket_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let _other = UnixListener::bind(&path).unwrap();
    let mut second = command(env!("CARGO_BIN_EXE_server"));
    second.arg(format!("--bind=unix:{}", path.display()));
    let output = second.output().unwrap();
    let expected = format!(
        "server: cannot listen on unix:{}: another process listens on it (stop that one, take its \
         place with --takeover, or choose another path)\n",
        path.display()
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!(output.status.code(), Some(1));
    assert!(path.exists());
}

#[test]
fn a_killed_servers_socket_is_replaced_and_another_servers_file_stays() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let bind = format!("unix:{}", path.display());
    let mut killed = Running::start(&site, &["--bind", &bind]);
    get(&path, "/testfile");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(path.exists(), "a killed server leaves its file");
    let mut server = Running::start(&site, &["--bind", &bind]);
    assert_eq!(get(&path, "/testfile").body, TESTFILE);
    // Somebody moves it away, and listens there.
    fs::rename(&path, folder.path().join("moved")).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert_eq!(server.stop(), Some(0));
    assert!(path.exists(), "it is another server's");
}

/// Those who have connected when the server stops are served. Others are refused, not reset.
#[test]
fn connections_that_wait_when_the_server_stops_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listener = Listener::bind_unix(&path, 0o600).unwrap();
    let (gate, handler) = crate::support::gated();
    let config = Config::default().workers(1).max_connections(1);
    let server = Server::start_on(vec![listener], config, handler).unwrap();
    let ask = |stream: &mut UnixStream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    };
    let mut all: Vec<_> = (0..3).map(|_| connect(&path)).collect();
    all.iter_mut().for_each(ask);
    wait_for("the first one", || (server.open_connections() == 1).then_some(()));
    server.stopper().stop();
    let refused = wait_for("the end of listening", || UnixStream::connect(&path).err());
    let kinds = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    assert!(kinds.contains(&refused.kind()), "{refused}");
    for stream in &mut all {
        gate.wait();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a clean end, no reset");
        assert!(bytes.ends_with(b"done"), "{:?}", bytes.escape_ascii().to_string());
    }
    assert_eq!(server.join().cut, 0);
    assert!(!path.exists());
}

#[test]
fn a_handler_sees_a_peer_without_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listener = Listener::bind_unix(&path, 0o600).unwrap();
    let peer = |request: &Request<'_>| Response::text(request.peer().to_string());
    let server = Server::start_on(vec![listener], Config::default(), peer).unwrap();
    assert_eq!(server.paths(), std::slice::from_ref(&path));
    assert!(server.addresses().is_empty());
    assert_eq!(get(&path, "/").body, b"0.0.0.0:0");
    let _ = server.shutdown();
}

/// A listener that somebody else keeps is left as it is: who connects when the server has stopped
/// waits for the next one.
#[test]
fn a_socket_that_is_kept_elsewhere_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let kept = UnixListener::bind(&path).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    for _ in 0..2 {
        let passed = [kept.try_clone().unwrap().into(), tcp.try_clone().unwrap().into()];
        let adopt =
            |socket: std::os::fd::OwnedFd| Listener::adopt(socket).unwrap().kept_elsewhere();
        let hello = |_: &Request<'_>| Response::text("hello");
        // Connected while nobody serves.
        let early = std::thread::spawn({
            let path = path.clone();
            move || (get(&path, "/"), crate::support::get(address, "/"))
        });
        let listeners = passed.map(adopt).into();
        let server =
            Server::start_on(listeners, Config::default().defer_accept(true), hello).unwrap();
        let (unix, tcp) = early.join().unwrap();
        assert_eq!((unix.body, tcp.body), (b"hello".to_vec(), b"hello".to_vec()));
        assert_eq!(server.shutdown().cut, 0);
        assert!(path.exists());
    }
    let wrong = Listener::adopt(UnixStream::pair().unwrap().0).expect_err("no listener");
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
}

#[test]
fn nginx_passes_requests_on_by_a_path() {
    let Some(mut nginx) = installed("nginx") else { return };
    let site = Site::new();
    site.put("large", vec![7; 3_000_000]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let _server = Running::start(&site, &["--bind", &format!("unix:{}", path.display())]);
    drop(connect(&path));
    let front = folder.path().join("nginx.sock");
    let configuration = folder.path().join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
    uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
    server {{ listen unix:{1}; location / {{ proxy_pass http://unix:{2}; }} }}
}}
",
        folder.path().display(),
        front.display(),
        path.display()
    );
    fs::write(&configuration, text).unwrap();
    nginx.arg("-c").arg(&configuration).args(["-e", "stderr"]).stderr(Stdio::null());
    nginx.stdout(Stdio::null());
    let _nginx = Running { child: nginx.spawn().unwrap(), dir: tempfile::tempdir().unwrap() };
    drop(connect(&front));
    for _ in 0..20 {
        assert_eq!(get(&front, "/testfile").body, TESTFILE);
    }
    assert_eq!(get(&front, "/large").body.len(), 3_000_000);
}
