//! The echo pair of `examples/`: it echoes, and serves one client at a time.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const HELLO: &str = "hello, is anybody there?\n";

/// Far longer than any run takes on a busy machine: only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The binary of an example: cargo puts it into a folder beside the tests' binaries.
fn example(name: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let target: PathBuf = this.parent().unwrap().parent().unwrap().into();
    let path = target.join("examples").join(name);
    assert!(path.exists(), "{} is missing: run cargo build --examples", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running echo server, killed on drop.
struct EchoServer {
    child: Child,
    port: String,
}

impl EchoServer {
    fn start(delay_ms: u64) -> Self {
        let mut child = example("echo_server").args(["0", &delay_ms.to_string()]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap();
        let port = address.rsplit_once(':').unwrap().1.to_owned();
        Self { child, port }
    }

    fn client(&self) -> Child {
        example("echo_client").args(["127.0.0.1", &self.port]).spawn().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(format!("127.0.0.1:{}", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assert_echoed(output: &Output) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), HELLO);
    assert!(output.status.success());
}

#[test]
fn two_clients_at_once_take_two_delays() {
    let delay = Duration::from_millis(200);
    let server = EchoServer::start(200);
    let start = Instant::now();
    let clients = [server.client(), server.client()];
    for client in clients {
        assert_echoed(&client.wait_with_output().unwrap());
    }
    assert!(start.elapsed() >= 2 * delay, "{:?}", start.elapsed());
}

#[test]
fn a_silent_client_blocks_the_next_one() {
    let server = EchoServer::start(0);
    let mut silent = server.connect();
    let mut next = server.client();
    // The server has accepted the silent client first, and serves nobody else.
    silent.write_all(b"ha").unwrap();
    assert_eq!(next.try_wait().unwrap(), None);
    silent.write_all(b"llo\n").unwrap();
    let mut reply = String::new();
    silent.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "hallo\n");
    assert_echoed(&next.wait_with_output().unwrap());
}

#[test]
fn the_server_survives_a_client_that_disconnects_silently() {
    let server = EchoServer::start(0);
    drop(server.connect());
    assert_echoed(&server.client().wait_with_output().unwrap());
}

#[test]
fn the_web_client_prints_an_echo_unchanged() {
    let server = EchoServer::start(0);
    let output = Command::new(env!("CARGO_BIN_EXE_client"))
        .args(["127.0.0.1", &server.port])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "GET testfile HTTP/1.0\r\n\r\n");
    assert!(output.status.success());
}

#[test]
fn errors_say_what_to_do() {
    let server = EchoServer::start(0);
    let taken = example("echo_server").arg(&server.port).output().unwrap();
    assert!(String::from_utf8_lossy(&taken.stderr).contains("choose another port"));
    assert_eq!(taken.status.code(), Some(1));
    for name in ["echo_server", "echo_client"] {
        let wrong = example(name).args(["x", "y"]).output().unwrap();
        assert!(String::from_utf8_lossy(&wrong.stderr).starts_with("usage: "));
        assert_eq!(wrong.status.code(), Some(2));
    }
}
