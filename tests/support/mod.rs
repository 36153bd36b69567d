//! Helpers for tests: sites, servers, raw connections, parsed replies.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "each test file uses its own part"
)]

pub mod browser;
pub mod gate;
#[cfg(unix)]
pub mod haproxy;
pub mod machine;
#[cfg(all(target_os = "linux", feature = "cli"))]
pub mod limits;
pub mod wire_cases;

use cws::{Request, Response};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// The time after which a test fails. No test waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The content of `testfile` in each site.
pub const TESTFILE: &[u8] = b"Hello, test!\n";

/// A directory to serve, removed on drop.
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// A site with a `testfile`.
    pub fn new() -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        site.put("testfile", TESTFILE);
        site
    }

    /// Writes a file and its parent directories, dated an hour ago, because a file that has just
    /// changed has no validators. Each file has a different time.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.put_now(name, content);
        #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
        let modified = SystemTime::now() - Duration::from_secs(3600);
        let file = File::options().append(true).open(&path).unwrap();
        file.set_modified(modified).unwrap();
        path
    }

    /// Writes a file, and the directories above it.
    pub fn put_now(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The real `server` on a free port, killed on drop.
pub struct RealServer {
    child: Child,
    stderr: PathBuf,
    /// The output after its first lines.
    printed: Arc<Mutex<String>>,
    _stderr_dir: tempfile::TempDir,
    pub addresses: Vec<SocketAddr>,
}

/// A command without options from the environment of the test run.
pub fn command(binary: &str) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CWS_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.env("RUST_BACKTRACE", "0");
    command
}

impl RealServer {
    /// Starts the server for `site` with these options, and waits until it listens.
    #[cfg(feature = "cli")]
    pub fn start(site: &Site, options: &[&str]) -> Self {
        let mut command = command(env!("CARGO_BIN_EXE_server"));
        command.args(["--root", site.path().to_str().unwrap(), "0"]).args(options);
        Self::spawn(command)
    }

    /// Starts a command that serves, and waits for its first `listening` line.
    pub fn spawn(mut command: Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stderr = dir.path().join("stderr");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let printed = Arc::default();
        let mut server = Self { child, stderr, printed, _stderr_dir: dir, addresses: Vec::new() };
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it did not start: {}", server.stderr());
        server.addresses.push(listening_address(&line));
        // Collect further output, so that its pipe does not get full.
        let printed = Arc::clone(&server.printed);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                printed.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        server
    }

    /// The memory that it holds, in bytes.
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    /// The address of the admin page, as soon as it is printed.
    pub fn admin(&self) -> SocketAddr {
        self.announced("admin page on http://")
    }

    /// The address in the line that begins with this, as soon as it is printed.
    pub fn announced(&self, what: &str) -> SocketAddr {
        wait_for(what, || {
            let printed = self.printed.lock().unwrap().clone();
            let address = printed.lines().find_map(|line| line.strip_prefix(what))?;
            address.trim_end_matches('/').parse().ok()
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(done.unwrap().success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it exits.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the server to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line like `listening on http://127.0.0.1:8080/`.
pub fn listening_address(line: &str) -> SocketAddr {
    let url = line.strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));
    url.trim_end().strip_suffix('/').unwrap().parse().unwrap()
}

pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The command, if it is installed. Fails with `CI` set if it is not.
pub fn installed(program: &str) -> Option<Command> {
    if !is_installed(program) {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let mut command = Command::new(program);
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    Some(command)
}

/// Polls `ask` until it returns a value; fails after [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A handler that holds its worker until another thread waits at the barrier.
pub fn gated() -> (Arc<Barrier>, impl Fn(&Request<'_>) -> Response + Send + Sync + 'static) {
    let gate = Arc::new(Barrier::new(2));
    let handler = {
        let gate = Arc::clone(&gate);
        move |_: &Request<'_>| {
            gate.wait();
            Response::ok("text/plain", "done")
        }
    };
    (gate, handler)
}

/// A connection with timeouts, so that no test blocks for ever.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends bytes, closes the sending side, and reads to the end. A reset fails the test.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("a clean end, no reset");
    reply
}

/// Sends a GET in HTTP/1.1 on a new connection.
pub fn get(address: SocketAddr, path: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let bytes = exchange(address, request.as_bytes());
    let mut replies = Reply::all(&bytes, false);
    assert_eq!(replies.len(), 1, "one reply to {path}");
    replies.remove(0)
}

/// The whole reply to a request at the path of a UNIX socket, as text.
#[cfg(unix)]
pub fn ask(path: &Path, target: &str) -> String {
    let mut stream = wait_for("a listener", || std::os::unix::net::UnixStream::connect(path).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// A parsed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub version: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// All responses in `bytes`, which must contain nothing else.
    pub fn all(bytes: &[u8], head_only: bool) -> Vec<Self> {
        let mut replies = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (reply, tail) = Self::first(rest, head_only).expect("whole replies alone");
            replies.push(reply);
            rest = tail;
        }
        replies
    }

    /// The first response, and the bytes after it. `None` if it is incomplete.
    pub fn first(bytes: &[u8], head_only: bool) -> Option<(Self, &[u8])> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).expect("an ASCII head");
        let mut lines = head.trim_end().split("\r\n");
        let mut words = lines.next().unwrap().splitn(3, ' ');
        let version = words.next().unwrap().to_owned();
        let status: u16 = words.next().unwrap().parse().unwrap();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").expect("name: value");
            (name.to_owned(), value.to_owned())
        };
        let fields: Vec<_> = lines.map(field).collect();
        let mut reply = Self { version, status, fields, body: Vec::new() };
        let length = match reply.field("Content-Length") {
            Some(length) if !head_only => length.parse().unwrap(),
            _ => 0,
        };
        let body = bytes.get(end..end + length)?;
        reply.body = body.to_vec();
        Some((reply, &bytes[end + length..]))
    }

    /// Reads one response from a connection, and no byte after it.
    pub fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        loop {
            if let Some((reply, _)) = Self::first(&bytes, false) {
                return reply;
            }
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(0) => panic!("the end after {:?}", bytes.escape_ascii().to_string()),
                Ok(_) => bytes.push(byte[0]),
                // A read with a timeout is interrupted if this process is suspended and resumed.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {:?}", bytes.escape_ascii().to_string()),
            }
        }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is not repeated");
        value
    }
}
