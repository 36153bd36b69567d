//! Clients that are connected and have no request: do they stop the others?

use crate::exam::{Came, Check, Exam};
use crate::talk::{Connection, End, Heard};
use std::thread;
use std::time::Duration;

/// The time between two clients that connect: a server needs no long backlog for them.
const PAUSE: Duration = Duration::from_millis(2);

const MEND_POOL: &str = "A worker must not wait for a client. Let one thread wait for all clients \
     (poll, epoll, select), and give a worker the connection when its request is there. A read \
     timeout of a second makes it better, but W clients every second still stop the pool.";

pub const CHECKS: [Check; 4] = [
    Check {
        id: "one-silent",
        name: "one silent client",
        points: 6,
        did: "connected and sent nothing; then asked for testfile on another connection",
        expected: "status 200 and the file",
        mend: "Do not read from a client in the thread that accepts connections.",
        run: |exam| beside(exam, 1, b""),
    },
    Check {
        id: "silent",
        name: "more silent clients than workers",
        points: 10,
        did: "connected W + 4 clients that send nothing (64, if W is not known); then asked for \
              testfile",
        expected: "status 200 and the file",
        mend: MEND_POOL,
        run: |exam| beside(exam, exam.occupying(), b""),
    },
    Check {
        id: "idle",
        name: "idle connections that are kept open",
        points: 6,
        did: "asked for testfile on as many connections without closing them; then on another one",
        expected: "status 200 and the file, also if the server closes the idle connections at once",
        mend: "After an answer, give the connection back to the thread that waits for all \
               clients, or close it. A worker must not wait for the next request.",
        run: idle,
    },
    Check {
        id: "half",
        name: "half requests",
        points: 4,
        did: "sent the first half of a request on as many connections, and no more; then asked for \
              testfile",
        expected: "status 200 and the file",
        mend: MEND_POOL,
        run: |exam| beside(exam, exam.occupying(), b"GET /testfile HTTP/1.1\r\nHo"),
    },
];

/// Asks for the file while clients are connected that have sent this.
fn beside(exam: &mut Exam, clients: usize, sent: &[u8]) -> Came {
    let mut connections = Vec::with_capacity(clients);
    for _ in 0..clients {
        match Connection::open(exam.server, exam.patience(1)) {
            Ok(mut connection) => {
                // A server may have closed it.
                let _ = connection.send(sent);
                connections.push(connection);
                thread::sleep(PAUSE);
            }
            Err(error) => {
                let number = connections.len();
                return Came::none(format!("beside {number} of them, none can connect: {error}"));
            }
        }
    }
    let heard = exam.ask(2);
    exam.look();
    Came::whether(heard.is_ok(), heard.to_string())
}

fn idle(exam: &mut Exam) -> Came {
    let (host, port) = (&exam.args.host, exam.args.port);
    let request = format!("GET /testfile HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    let mut connections = Vec::new();
    for number in 1..=exam.occupying() {
        let heard = match Connection::open(exam.server, exam.patience(2)) {
            Err(_) => Heard::Nothing(End::Refused),
            Ok(mut connection) => {
                let _ = connection.send(request.as_bytes());
                let heard = connection.hear(false);
                connections.push(connection);
                heard
            }
        };
        if !heard.is_ok() {
            return Came::none(format!("client {number}: {heard}"));
        }
    }
    let heard = exam.ask(2);
    exam.look();
    Came::whether(heard.is_ok(), heard.to_string())
}
