//! Complete exchanges: the bytes of request and response, and when the client ends.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use super::support::{
    accept, answer, assert_printed, command, listen, read_request, reset, run, run_to, serve_one,
};

const HELLO: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn the_request_is_a_request_line_and_an_empty_line() {
    for (options, expected) in [
        (&[][..], &b"GET testfile HTTP/1.0\r\n\r\n"[..]),
        (&["--path", "/a%20b?c#d"], b"GET /a%20b?c#d HTTP/1.0\r\n\r\n"),
        (&["--path", "../\u{e9}"], b"GET ../\xc3\xa9 HTTP/1.0\r\n\r\n"),
        (&["--head"], b"HEAD testfile HTTP/1.0\r\n\r\n"),
        (&["--head", "--path=*"], b"HEAD * HTTP/1.0\r\n\r\n"),
    ] {
        let (port, server) = serve_one(|mut stream| {
            let request = read_request(&mut stream);
            stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").unwrap();
            // The client sends nothing else before it closes.
            let mut more = Vec::new();
            stream.read_to_end(&mut more).unwrap();
            (request, more)
        });
        assert_printed(&run_to(port, options), b"HTTP/1.0 204 No Content\r\n\r\n");
        assert_eq!(server.join().unwrap(), (expected.to_vec(), Vec::new()));
    }
}

#[test]
fn a_complete_response_is_printed_unchanged() {
    for response in [
        HELLO,
        b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\nX-Odd:   \xff \r\n\r\n\0\r\n\xff\xfe\n\n\r",
        b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 500 Oops\r\n\r\nuntil the close",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"no HTTP at all\r\n",
        b"HTT",
    ] {
        assert_printed(&run_to(answer(response), &[]), response);
    }
}

#[test]
fn a_large_body_comes_through_unchanged() {
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    for head in [
        format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
        "HTTP/1.0 200 OK\r\n\r\n".to_owned(),
    ] {
        let response = [head.as_bytes(), &body].concat();
        let expected = response.clone();
        let (port, _server) = serve_one(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(&response).unwrap();
        });
        let output = run_to(port, &[]);
        assert!(output.stdout == expected, "{} bytes came", output.stdout.len());
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn each_part_is_printed_as_it_arrives() {
    let (listener, port) = listen();
    let mut child = command().args(["127.0.0.1", &port.to_string()]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut stream = accept(&listener);
    read_request(&mut stream);
    // Each part is sent only after the client has printed the one before. No part ends at a line
    // end.
    for part in ["HTTP/1.0 200", " OK\r\nContent-Length: 6\r\n\r", "\nab", "cd", "ef"] {
        stream.write_all(part.as_bytes()).unwrap();
        let mut printed = vec![0; part.len()];
        stdout.read_exact(&mut printed).unwrap();
        assert_eq!(printed, part.as_bytes());
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_slow_response_is_read_to_its_end_while_it_makes_progress() {
    let (port, _server) = serve_one(|mut stream| {
        read_request(&mut stream);
        for part in HELLO.chunks(4) {
            thread::sleep(Duration::from_millis(150));
            stream.write_all(part).unwrap();
        }
    });
    let start = Instant::now();
    assert_printed(&run_to(port, &["--timeout", "1s"]), HELLO);
    assert!(start.elapsed() > Duration::from_secs(1));
}

#[test]
fn bytes_after_the_response_are_ignored() {
    for (options, extent) in [(&[][..], HELLO.len()), (&["--head"], HELLO.len() - 5)] {
        let (port, server) = serve_one(|mut stream| {
            read_request(&mut stream);
            stream.write_all(&[HELLO, b" and more", HELLO].concat()).unwrap();
            // Keep it open until the client has finished.
            stream
        });
        assert_printed(&run_to(port, options), &HELLO[..extent]);
        server.join().unwrap();
    }
}

#[test]
fn a_reset_after_the_whole_response_does_not_matter() {
    let (port, _server) = serve_one(|mut stream| {
        read_request(&mut stream);
        stream.write_all(HELLO).unwrap();
        reset(stream);
    });
    // A reset may overtake unread bytes; Linux keeps those that have arrived.
    assert_printed(&run_to(port, &[]), HELLO);
}

#[test]
fn an_answer_sent_before_the_request_is_read() {
    // The server closes without reading the request, as an overloaded one does: the close is a
    // reset.
    let (port, _server) = serve_one(|mut stream| stream.write_all(HELLO).unwrap());
    assert_printed(&run_to(port, &[]), HELLO);
}

#[test]
fn fail_turns_a_status_of_400_or_more_into_exit_code_22() {
    for (response, code) in [
        (&b"HTTP/1.0 399 Odd\r\n\r\n"[..], 0),
        (b"HTTP/1.0 099 None\r\n\r\n", 22),
        (b"HTTP/1.0 400 Bad Request\r\n\r\nbody", 22),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 22),
        (b"no status", 0),
    ] {
        let output = run_to(answer(response), &["--fail"]);
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(output.stdout, response);
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn the_client_ends_silently_if_the_reader_closes_the_pipe() {
    let (port, _server) = serve_one(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
        // More than the buffers of the pipe and the sockets hold, until the client has exited.
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let mut child = command().args(["127.0.0.1", &port.to_string()]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn ipv6_works_with_and_without_brackets() {
    // Nothing to test on a machine without IPv6.
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return;
    };
    let port = listener.local_addr().unwrap().port().to_string();
    let server = thread::spawn(move || {
        for _ in 0..2 {
            let mut stream = accept(&listener);
            read_request(&mut stream);
            stream.write_all(HELLO).unwrap();
        }
    });
    for host in ["::1", "[::1]"] {
        assert_printed(&run(&[host, &port]), HELLO);
    }
    server.join().unwrap();
}

#[test]
fn a_name_and_an_ipv4_mapped_address_reach_the_server() {
    for host in ["localhost", "::ffff:127.0.0.1"] {
        let port = answer(HELLO).to_string();
        assert_printed(&run(&[host, &port]), HELLO);
    }
}
