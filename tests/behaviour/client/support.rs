//! Helpers: running the client, and small servers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Far longer than any run takes on a busy machine: only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the client until it exits.
pub(crate) fn run(args: &[&str]) -> Output {
    let child = command().args(args).spawn().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    receiver.recv_timeout(DEADLINE).expect("the client ends").unwrap()
}

/// Runs the client against a port of 127.0.0.1 with these further arguments.
pub(crate) fn run_to(port: u16, more: &[&str]) -> Output {
    let port = port.to_string();
    run(&[&["127.0.0.1", port.as_str()], more].concat())
}

/// Asserts success: exit code 0, these bytes, and nothing on standard error.
#[track_caller]
pub(crate) fn assert_printed(output: &Output, expected: &[u8]) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.stdout.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(output.status.code(), Some(0));
}

/// Asserts exit code 1 and one line `client: cannot ...: ... (...)` that contains each of `parts`.
#[track_caller]
pub(crate) fn assert_cannot(output: &Output, parts: &[&str]) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let line = text.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "one line: {line}");
    assert!(line.starts_with("client: cannot "), "{line}");
    assert!(line.contains(": ") && line.contains(" (") && line.ends_with(')'), "{line}");
    for part in parts {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
    assert_eq!(output.status.code(), Some(1));
}

/// A listener on a free port, and the port.
pub(crate) fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Serves one connection with `handler` on a thread. Returns the port.
pub(crate) fn serve_one<T: Send + 'static>(
    handler: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let (listener, port) = listen();
    (port, thread::spawn(move || handler(accept(&listener))))
}

/// Serves one connection: reads the request, sends `response`, closes.
pub(crate) fn answer(response: &'static [u8]) -> u16 {
    serve_one(move |mut stream| {
        read_request(&mut stream);
        stream.write_all(response).unwrap();
    })
    .0
}

/// Accepts one connection and sets timeouts, so that no test blocks for ever.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The bytes of a request up to its empty line.
pub(crate) fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "a request ends with an empty line");
        request.push(byte[0]);
    }
    request
}

/// Closes with a reset instead of a FIN.
pub(crate) fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// Reserves a client port: no other socket of this machine gets it while this lives.
///
/// It is bound but does not listen. With SO_REUSEADDR on both sockets, the client can bind it, too.
pub(crate) struct ClientPort {
    pub(crate) number: u16,
    _socket: Socket,
}

impl ClientPort {
    pub(crate) fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
        let number = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { number, _socket: socket }
    }
}
