//! Network and protocol errors: each gives one line on standard error and exit code 1.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::support::{
    ClientPort, answer, assert_cannot, command, read_request, reset, run, run_to, serve_one,
};

#[test]
fn a_host_without_an_address_is_an_error() {
    // Its empty label is refused by any resolver without a network request.
    let output = run(&["no..host", "80"]);
    assert_cannot(&output, &["cannot find the host no..host:"]);
}

#[test]
fn a_closed_port_is_an_error() {
    // Bound but not listening, so that no other test can listen there.
    let closed = ClientPort::reserve();
    let port = closed.number;
    let output = run_to(port, &[]);
    assert_cannot(&output, &[&format!("cannot connect to 127.0.0.1:{port}: connection refused")]);
}

#[test]
fn a_connect_timeout_is_an_error() {
    // The system drops connection attempts while the listener's queue is full.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let mut queue = Vec::new();
    loop {
        let next = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if next.connect_timeout(&address, Duration::from_millis(200)).is_err() {
            break;
        }
        queue.push(next);
    }
    let port = address.as_socket().unwrap().port();
    let output = run_to(port, &["--timeout", "100ms"]);
    assert_cannot(&output, &["cannot connect to 127.0.0.1:", "timed out", "--timeout"]);
}

#[test]
fn a_response_that_stalls_is_an_error() {
    for part in ["", "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "half"] {
        let (port, server) = serve_one(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(part.as_bytes()).unwrap();
            stream
        });
        let output = run_to(port, &["--timeout", "1s"]);
        assert_cannot(&output, &["cannot receive the response: no progress for 1s"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), part);
        server.join().unwrap();
    }
}

#[test]
fn a_truncated_or_malformed_response_is_an_error() {
    for (response, reason) in [
        (&b""[..], "cannot receive the response: the server closed the connection without"),
        (b"HTTP/1.0 200 OK\r\nServer: x\r\n", "within the head, after 28 bytes"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "after 4 of 9 body bytes"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "cannot understand the response"),
        (b"HTTP/7.0 200 OK\r\n\r\n", "cannot understand the response: its head is malformed"),
    ] {
        let output = run_to(answer(response), &[]);
        assert_cannot(&output, &[reason]);
        // The received part is still printed.
        assert_eq!(output.stdout, response);
    }
}

#[test]
fn an_endless_head_is_an_error() {
    let (port, server) = serve_one(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.0 200 OK\r\n").unwrap();
        while stream.write_all(b"X: y\r\n").is_ok() {}
    });
    let output = run_to(port, &[]);
    assert_cannot(&output, &["cannot understand the response: its head is longer than 65536"]);
    assert_eq!(output.stdout.len(), 65536);
    server.join().unwrap();
}

#[test]
fn a_reset_within_the_response_is_an_error() {
    for part in ["", "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "HTTP/1.0 200 OK\r\n\r\nx"]
    {
        let (port, _server) = serve_one(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(part.as_bytes()).unwrap();
            reset(stream);
        });
        let output = run_to(port, &[]);
        assert_cannot(&output, &["cannot receive the response: connection reset"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), part);
    }
}

#[test]
fn a_full_output_is_an_error() {
    // Only Linux has this device.
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let port = answer(b"HTTP/1.0 200 OK\r\n\r\nbody").to_string();
    let output = command().args(["127.0.0.1", &port]).stdout(full).output().unwrap();
    assert_cannot(&output, &["cannot write the response: no space left"]);
}
