//! Broken clients: what they send must not harm the others.

use crate::exam::{Came, Check, Exam};
use crate::talk::{Connection, Heard};
use std::time::{Duration, Instant};

/// How long to listen for a reply to what is no request.
const LISTEN: Duration = Duration::from_millis(100);

/// The bytes of the longest head, and the time to send them.
const LONG_HEAD: usize = 32 << 20;
const LONG_TIME: Duration = Duration::from_millis(1500);

/// Clients of each kind that vanish.
const VANISHING: usize = 10;

const GARBAGE: [(&str, &[u8]); 9] = [
    ("an empty line", b"\r\n\r\n"),
    ("one word", b"GET\r\n\r\n"),
    ("spaces", b"   \r\n\r\n"),
    ("zero bytes", b"\0\0\0\0\0\0\0\0\r\n\r\n"),
    ("bytes that are no text", b"\xff\xfe\x80\x81 \xc3\x28 \xf0\x28\x8c\x28\r\n\r\n"),
    ("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("no version", b"GET /testfile\r\n\r\n"),
    ("a bad version", b"GET /testfile HTTP/x.y\r\n\r\n"),
    ("a bad escape", b"GET /%zz%\xff HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
];

pub const CHECKS: [Check; 3] = [
    Check {
        id: "garbage",
        name: "garbage",
        points: 2,
        did: "sent empty lines, single words, zero bytes, bytes that are no text, a greeting of \
              TLS",
        expected: "a 4xx or the end of the connection, and testfile for the next client",
        mend: "Check that the request line has three words before using them. Bytes need not be \
               text: answer 400 where they cannot be decoded.",
        run: garbage,
    },
    Check {
        id: "oversized",
        name: "a head without end",
        points: 2,
        did: "sent lines of a head for 1.5 s, or up to 32 MiB of them",
        expected: "a 4xx or the end of the connection, or that the server reads no more",
        mend: "Put a limit on the bytes of a head, such as 16 KiB. Answer 431 and close.",
        run: oversized,
    },
    Check {
        id: "vanished",
        name: "clients that vanish",
        points: 3,
        did: "40 clients hung up: at once, within a request, before the answer, within the answer",
        expected: "testfile for the next client",
        mend: "Reads and writes fail when a client has gone: end the connection and go on. In C, \
               ignore SIGPIPE or send with MSG_NOSIGNAL.",
        run: vanished,
    },
];

fn garbage(exam: &mut Exam) -> Came {
    let mut unanswered = 0;
    for (name, bytes) in GARBAGE {
        let heard = match Connection::open(exam.server, exam.patience(1)) {
            Err(error) => return Came::none(format!("{name}: {error}")),
            Ok(mut connection) => {
                let _ = connection.send(bytes);
                connection.finish();
                let _ = connection.read(&mut [0; 4096], LISTEN).map(|count| {
                    unanswered += usize::from(count == 0);
                });
                exam.ask(4)
            }
        };
        if !heard.is_ok() {
            return Came::none(format!("after {name}: {heard}"));
        }
    }
    let answered = GARBAGE.len() - unanswered;
    Came::all(format!("{answered} of {} are answered; testfile comes each time", GARBAGE.len()))
}

fn oversized(exam: &mut Exam) -> Came {
    let mut connection = match Connection::open(exam.server, LONG_TIME) {
        Ok(connection) => connection,
        Err(error) => return Came::none(error.to_string()),
    };
    let line = format!("X-Long: {}\r\n", "x".repeat(1000)).repeat(64);
    let _ = connection.send(b"GET /testfile HTTP/1.1\r\n");
    let (mut sent, begun) = (0, Instant::now());
    let end = loop {
        let (count, result) = connection.send(line.as_bytes());
        sent += count;
        match result {
            Err(error) => break Some(error),
            Ok(()) if sent >= LONG_HEAD || begun.elapsed() > LONG_TIME => break None,
            Ok(()) => {}
        }
        // An answer may be there while the server still reads, to be able to close.
        if let Ok(1..) = connection.read(&mut [0; 1], Duration::from_millis(1)) {
            break Some(std::io::Error::other("answered"));
        }
    };
    drop(connection);
    exam.look();
    let size = format!("{:.1} MiB", sent as f64 / f64::from(1 << 20));
    let said = match end {
        None => format!("it read {size}, and would read on"),
        Some(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            format!("it reads no more after {size}")
        }
        Some(_) => format!("it answered or closed after {size} at most"),
    };
    let heard = exam.ask(4);
    match heard.is_ok() {
        false => Came::none(format!("{said}; then: {heard}")),
        true => Came::part(if said.contains("would read on") { 0.5 } else { 1.0 }, said),
    }
}

fn vanished(exam: &mut Exam) -> Came {
    for number in 0..4 * VANISHING {
        let Ok(mut connection) = Connection::open(exam.server, exam.patience(1)) else {
            return Came::none(format!("client {number} cannot connect"));
        };
        let half = exam.request.len() / 2;
        match number % 4 {
            0 => {}
            1 => drop(connection.send(&exam.request[..half])),
            2 => drop(connection.send(&exam.request)),
            _ => {
                let request = match &exam.large {
                    Some(large) => crate::checks::get(exam, &format!("/{}", large.name)),
                    None => exam.request.clone(),
                };
                let _ = connection.send(&request);
                if let Err(error) = connection.read(&mut [0; 1], exam.patience(4 * VANISHING)) {
                    return Came::none(format!("client {number} gets no byte: {error}"));
                }
            }
        }
        // Half of them end in order, the others with a reset.
        if number % 8 < 4 { connection.vanish() } else { drop(connection) }
    }
    let heard: Heard = exam.ask(4 * VANISHING);
    Came::whether(heard.is_ok(), heard.to_string())
}
