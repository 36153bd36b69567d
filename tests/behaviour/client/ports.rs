//! The client port: it is used, it can be used again at once, and conflicts are errors.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::support::{
    ClientPort, accept, assert_cannot, assert_printed, command, listen, read_request, run, run_to,
};

const RUNS: usize = 20;
const HELLO: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Accepts one connection, which must come from this port, answers it, and leaves it open.
fn answer_one(listener: &TcpListener, from: u16) -> TcpStream {
    let mut stream = accept(listener);
    assert_eq!(stream.peer_addr().unwrap().port(), from);
    read_request(&mut stream);
    stream.write_all(HELLO).unwrap();
    stream
}

#[test]
fn the_port_can_be_used_again_at_once_if_the_server_closes_first() {
    let from = ClientPort::reserve();
    let (listener, port) = listen();
    let number = from.number;
    let server = thread::spawn(move || {
        for _ in 0..RUNS {
            let mut stream = answer_one(&listener, number);
            stream.shutdown(Shutdown::Write).unwrap();
            // A FIN, not a reset.
            assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
        }
    });
    for _ in 0..RUNS {
        assert_printed(&run_to(port, &[&number.to_string()]), HELLO);
    }
    server.join().unwrap();
}

#[test]
fn the_port_can_be_used_again_at_once_if_the_server_never_closes() {
    // Only two runs, because each waits for the server's close; `client_port.rs` has twenty.
    let from = ClientPort::reserve();
    let (listener, port) = listen();
    let number = from.number;
    let server = thread::spawn(move || {
        // Keep all connections open until the end.
        (0..2).map(|_| answer_one(&listener, number)).collect::<Vec<_>>()
    });
    for _ in 0..2 {
        assert_printed(&run_to(port, &[&number.to_string()]), HELLO);
    }
    server.join().unwrap();
}

#[test]
fn the_port_can_be_used_again_at_once_after_an_error() {
    let from = ClientPort::reserve();
    let (listener, port) = listen();
    let number = from.number.to_string();
    let output = run_to(port, &[&number, "--timeout", "100ms"]);
    assert_cannot(&output, &["no progress for 100ms"]);
    // The first connection is before the second one in the queue, and the server does not close it.
    let _dead = accept(&listener);
    let from_number = from.number;
    let server = thread::spawn(move || drop(answer_one(&listener, from_number)));
    assert_printed(&run_to(port, &[&number]), HELLO);
    server.join().unwrap();
}

#[test]
fn a_port_that_another_program_uses_is_an_error() {
    let (_holder, held) = listen();
    let (_listener, port) = listen();
    let output = run_to(port, &[&held.to_string()]);
    assert_cannot(&output, &[&format!("cannot use client port {held}: address already in use")]);
}

#[test]
fn a_second_connection_from_the_port_to_the_server_is_refused() {
    let from = ClientPort::reserve();
    let (listener, port) = listen();
    let number = from.number.to_string();
    let mut first = command().args(["127.0.0.1", &port.to_string(), &number]).spawn().unwrap();
    let stream = accept(&listener);
    let output = run_to(port, &[&number]);
    let what = format!("cannot connect to 127.0.0.1:{port} from port {number}: ");
    assert_cannot(&output, &[&what, "choose another client port"]);
    drop(stream);
    first.wait().unwrap();
}

#[test]
fn the_servers_own_port_is_refused_as_the_client_port() {
    let (listener, port) = listen();
    let number = port.to_string();
    let mut listener = Some(listener);
    for _ in 0..2 {
        for host in ["127.0.0.1", "localhost", "0.0.0.0", "::ffff:127.0.0.1"] {
            let output = run(&[host, &number, &number]);
            assert_cannot(
                &output,
                &[&format!("from port {number}: client and server cannot use the same")],
            );
            assert!(output.stdout.is_empty());
        }
        listener.take();
    }
}
