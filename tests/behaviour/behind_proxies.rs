//! The real HAProxy and nginx in front of the real server: it knows their clients.
#![cfg(all(unix, feature = "cli"))]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, TESTFILE, command, connect, installed, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

/// The clients: 127.0.0.11 to 127.0.0.18, each with so many connections.
const CLIENTS: std::ops::RangeInclusive<u8> = 11..=18;
const EACH: usize = 3;

/// A proxy that listens on a free port, ended on drop.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Killed, nginx would leave its worker behind.
        let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Starts a program with a configuration file, and passes the listener on as descriptor 7, so that
/// nobody else can take its port.
fn start(program: &str, run: &str, config: impl FnOnce(SocketAddr, &str) -> String) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = dir.path().to_str().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, config(address, folder)).unwrap();
    let mut shell = command("sh");
    shell.args(["-c", &format!("{run} 7<&0 0</dev/null")]).arg(&file).arg(folder);
    shell.stdin(Stdio::from(OwnedFd::from(listener)));
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    shell.stdout(log.try_clone().unwrap()).stderr(log);
    let child = shell.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    Proxy { child, address, _dir: dir }
}

/// HAProxy in front of `server`, in this mode and with what follows it, and with these options of
/// the server's line.
fn haproxy(server: SocketAddr, mode: &str, options: &str) -> Option<Proxy> {
    installed("haproxy")?;
    Some(start("haproxy", "exec haproxy -db -f \"$0\"", |_, _| {
        format!(
            "defaults\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n\
             option httpchk GET /healthz\n\
             listen front\n bind fd@7\n {mode}\n server one {server} {options} check inter 20ms\n"
        )
    }))
}

fn nginx(server: SocketAddr) -> Option<Proxy> {
    installed("nginx")?;
    let run = "NGINX='7;' exec nginx -e stderr -p \"$1\" -c \"$0\"";
    Some(start("nginx", run, |address, folder| {
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
            .collect();
        format!(
            "daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 1;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; {paths}\n\
             upstream one {{ server {server} max_fails=0; keepalive 4; }}\n\
             server {{ listen {address}; location / {{\n\
             proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             proxy_set_header X-Request-Id $request_id;\n\
             proxy_set_header Host $host; }} }} }}\n"
        )
    }))
}

fn server(site: &Site, options: &[&str]) -> RealServer {
    let common = [
        "--trusted-proxy",
        "127.0.0.1",
        "--per-client",
        "3",
        "--health",
        "/healthz",
        "--request-id",
        "--access-log",
        "json",
        "--workers",
        "2",
    ];
    RealServer::start(site, &[&common[..], options].concat())
}

/// A connection from 127.0.0.x.
fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), crate::support::PATIENCE).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    stream
}

const GET: &[u8] = b"GET /testfile HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\
    Forwarded: for=192.0.2.1\r\nX-Request-Id: forged\r\n\r\n";

/// The lines of the access log for the file, as objects.
fn log(server: &RealServer) -> Vec<Value> {
    let all = server.stderr();
    let lines = all.lines().filter(|line| line.starts_with('{') && line.contains("/testfile"));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every client asks on each of its connections at a time, so that all of them are open together.
/// All are served, and the log has the right address for each. Returns the lines and the
/// connections.
fn check(server: &RealServer, proxy: &Proxy) -> (Vec<Value>, Vec<TcpStream>) {
    let mut streams = Vec::new();
    for last in CLIENTS {
        for _ in 0..EACH {
            streams.push(connect_from(last, proxy.address));
        }
    }
    for round in 0..2 {
        for stream in &mut streams {
            stream.write_all(GET).unwrap();
            let reply = Reply::read(stream);
            assert_eq!((reply.status, &*reply.body), (200, TESTFILE), "round {round}");
        }
    }
    let total = 2 * streams.len();
    wait_for("all lines", || (log(server).len() == total).then_some(()));
    let lines = log(server);
    let mut counts = BTreeMap::new();
    for line in &lines {
        assert_eq!(line["status"], 200);
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        *counts.entry(line["client"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    let expected = CLIENTS.map(|last| (format!("127.0.0.{last}"), 2 * EACH)).collect();
    assert_eq!(counts, expected);
    (lines, streams)
}

#[test]
fn eight_clients_behind_haproxy_with_the_proxy_protocol_are_eight_clients() {
    for option in ["send-proxy-v2", "send-proxy", "send-proxy-v2 proxy-v2-options crc32c"] {
        let site = Site::new();
        let server = server(&site, &["--proxy-protocol"]);
        let Some(proxy) = haproxy(server.address(), "mode tcp", option) else { return };
        let (lines, _kept) = check(&server, &proxy);
        for line in lines {
            assert!(line["port"].as_u64().unwrap() > 0, "the header has the port: {line}");
            assert_ne!(line["request_id"], "forged");
        }
        // One connection more than the limit, and the other clients do not notice.
        for (last, status) in [(11, 503), (19, 200)] {
            let mut stream = connect_from(last, proxy.address);
            stream.write_all(GET).unwrap();
            assert_eq!(Reply::read(&mut stream).status, status);
        }
        // HAProxy's health checks are its own connections: `LOCAL` or `UNKNOWN`.
        let checks = || server.stderr().matches("\"request\":\"GET /healthz").count() > 10;
        wait_for("some checks", || checks().then_some(()));
        assert!(!server.stderr().contains("refused a connection"), "{}", server.stderr());
    }
}

#[test]
fn eight_clients_behind_haproxy_with_x_forwarded_for_are_eight_clients() {
    let site = Site::new();
    let server = server(&site, &["--client-address", "x-forwarded-for"]);
    let mode = "mode http\n option forwardfor\n http-reuse always\n \
                unique-id-format %{+X}o%ci-%rt\n unique-id-header X-Request-Id\n \
                http-request del-header X-Request-Id";
    let Some(proxy) = haproxy(server.address(), mode, "") else { return };
    for line in check(&server, &proxy).0 {
        assert_eq!(line["port"], Value::Null, "the field has no port: {line}");
        let client = line["client"].as_str().unwrap();
        let last: u8 = client.rsplit('.').next().unwrap().parse().unwrap();
        let id = line["request_id"].as_str().unwrap();
        assert!(id.starts_with(&format!("7F0000{last:02X}-")), "it is HAProxy's: {line}");
    }
    let ports: std::collections::BTreeSet<String> =
        log(&server).iter().map(|line| line["peer"].to_string()).collect();
    assert!(ports.len() < 8 * EACH, "connections are shared by clients: {ports:?}");
}

#[test]
fn eight_clients_behind_nginx_are_eight_clients() {
    let site = Site::new();
    let server = server(&site, &["--client-address", "X-Forwarded-For"]);
    let Some(proxy) = nginx(server.address()) else { return };
    for line in check(&server, &proxy).0 {
        let id = line["request_id"].as_str().unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
    }
}

#[test]
fn a_client_that_passes_by_the_proxy_is_refused_and_fills_no_log() {
    let site = Site::new();
    let server = RealServer::start(&site, &["--proxy-protocol", "--trusted-proxy", "127.0.0.9"]);
    for _ in 0..300 {
        let mut stream = connect(server.address());
        let _ = stream.write_all(GET);
        let mut bytes = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
        assert_eq!(bytes, b"");
    }
    wait_for("the line", || server.stderr().contains("it is not a trusted proxy").then_some(()));
    assert_eq!(server.stderr().matches("refused a connection of 127.0.0.1:").count(), 1);
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.2 4711 80\r\n";
    let mut stream = connect_from(9, server.address());
    stream.write_all(&[header, GET].concat()).unwrap();
    assert_eq!(Reply::read(&mut stream).body, TESTFILE);
    let logged = || server.stderr().contains("192.0.2.7:4711 \"GET /testfile HTTP/1.1\" 200");
    wait_for("the client in the log", || logged().then_some(()));
}

#[test]
fn wrong_options_are_explained() {
    for (options, part) in [
        (&["--trusted-proxy", "10.0.0.300"][..], "it must be an IP address or a network"),
        (&["--trusted-proxy", "10.0.0.0/33"], "a number of bits from 0 to 32"),
        (&["--trusted-proxy", "10.0.0.7/8"], "write 10.0.0.0/8 for the network"),
        (&["--trusted-proxy", "10.0.0.0/8,proxy"], "it must be an IP address or a network"),
        (
            &["--trusted-proxy", "::1", "--client-address", "x-real-ip"],
            "x-forwarded-for or forwarded",
        ),
    ] {
        let mut server = command(env!("CARGO_BIN_EXE_server"));
        let output = server.args(options).arg("0").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {said}");
        assert!(said.contains(part), "{options:?}: {said}");
    }
    for (options, part) in [
        (&["--proxy-protocol"][..], "with the PROXY protocol from nobody (name the trusted"),
        (&["--client-address", "forwarded"], "with Forwarded from nobody (name the trusted"),
    ] {
        let mut server = command(env!("CARGO_BIN_EXE_server"));
        let output = server.args(options).arg("0").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{options:?}: {said}");
        assert!(said.contains(part), "{options:?}: {said}");
    }
    let site = Site::new();
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    server.args(["--root", site.path().to_str().unwrap(), "0"]);
    server.env("CWS_TRUSTED_PROXY", "10.0.0.0/8,::/0,127.0.0.1");
    let server = RealServer::spawn(server);
    let warned = |part| wait_for(part, || server.stderr().contains(part).then_some(()));
    warned("every address is a trusted proxy (::/0)");
    warned("trusted proxies have no effect without --proxy-protocol");
}
