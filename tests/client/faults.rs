//! What goes wrong on the way: one line on standard error each, and exit code 1.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::{
    ClientPort, answer, assert_cannot, command, read_request, reset, run, run_to, serve_one,
};

#[test]
fn a_host_without_an_address() {
    // A name that no resolver takes to the network: its label is empty.
    let output = run(&["no..host", "80"]);
    assert_cannot(&output, &["cannot find the host no..host:"]);
}

#[test]
fn a_port_where_nobody_listens() {
    // Bound, so that no other test listens there, but not listening.
    let closed = ClientPort::reserve();
    let port = closed.number;
    let output = run_to(port, &[]);
    assert_cannot(&output, &[&format!("cannot connect to 127.0.0.1:{port}: connection refused")]);
}

#[test]
fn a_server_that_does_not_take_the_connection() {
    // Once the queue of a listener is full, the system drops what arrives.
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
fn a_server_that_stops_before_the_end() {
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
fn a_response_that_is_cut_or_makes_no_sense() {
    for (response, reason) in [
        (&b""[..], "cannot receive the response: the server closed the connection without"),
        (b"HTTP/1.0 200 OK\r\nServer: x\r\n", "within the head, after 28 bytes"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "after 4 of 9 body bytes"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "cannot understand the response"),
        (b"HTTP/7.0 200 OK\r\n\r\n", "cannot understand the response: its head is malformed"),
    ] {
        let output = run_to(answer(response), &[]);
        assert_cannot(&output, &[reason]);
        // What came is printed all the same.
        assert_eq!(output.stdout, response);
    }
}

#[test]
fn a_head_without_end() {
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
fn a_reset_before_the_end() {
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
fn an_output_that_takes_nothing() {
    // Only Linux has the device.
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let port = answer(b"HTTP/1.0 200 OK\r\n\r\nbody").to_string();
    let output = command().args(["127.0.0.1", &port]).stdout(full).output().unwrap();
    assert_cannot(&output, &["cannot write the response: no space left"]);
}
