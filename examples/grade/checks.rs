//! The checks of what a server does for one ordinary client, and those that look back at the end.

use crate::exam::{Came, Check, Exam};
use crate::process::Process;
use crate::talk::{End, Heard, Reply, ask, ask_large};
use std::thread;
use std::time::{Duration, Instant};

/// How many threads a server may start after many clients were there: for its own purposes.
const THREADS_MORE: u64 = 2;

/// How many descriptors it may keep, and how much memory in KiB.
const DESCRIPTORS_MORE: u64 = 8;
const MEMORY_MORE: u64 = 64 << 10;

/// How long it may take to close the connections of clients that have gone.
const CLOSING: Duration = Duration::from_secs(1);

pub const BASICS: [Check; 6] = [
    Check {
        id: "slash",
        name: "testfile, with a slash",
        points: 4,
        did: "sent: GET /testfile HTTP/1.1, with Host and Connection: close",
        expected: "status 200 and the file",
        mend: "Take the second word of the request line as the path, drop the slash at its start, \
               and look for the file in the folder in which the server was started.",
        run: |exam| served(&exam.heard[0]),
    },
    Check {
        id: "slashless",
        name: "testfile, as the classroom client asks",
        points: 4,
        did: "sent: GET testfile HTTP/1.0, without a slash and without fields",
        expected: "status 200 and the file; then the connection ends",
        mend: "Do not require a slash at the start of the path, nor any field. HTTP/1.0 has no \
               Host. Close the connection after the answer.",
        run: |exam| match &exam.heard[1] {
            Heard::Reply(reply) if reply.status == 200 && reply.end == End::Complete => {
                Came::part(0.5, format!("{}, but the connection stays open", exam.heard[1]))
            }
            heard => served(heard),
        },
    },
    Check {
        id: "head",
        name: "the form of the answer",
        points: 3,
        did: "read the head of the answer",
        expected: "HTTP/1.1 200 OK (or 1.0), lines \"Name: value\", each with \\r\\n, then an \
                   empty one",
        mend: "End every line of the head with \\r\\n, and write the empty line before the file.",
        run: |exam| match answered(exam) {
            None => Came::none(exam.heard[0].to_string()),
            Some(Reply { flaw: Some(flaw), .. }) => Came::none(*flaw),
            Some(reply) => Came::all(reply.line.clone()),
        },
    },
    Check {
        id: "length",
        name: "the length and the bytes of the file",
        points: 4,
        did: "counted the bytes of the file, and compared them",
        expected: "Content-Length is the number of bytes behind the head, and they are those of \
                   the file",
        mend: "Send the size of the file in bytes (not in characters), and open it as binary. \
               Without a length a client cannot tell a whole file from one that was cut.",
        run: length,
    },
    Check {
        id: "missing",
        name: "a file that is not there",
        points: 4,
        did: "sent: GET /no-such-file-here HTTP/1.1",
        expected: "status 404, with a short text",
        mend: "If the file cannot be opened, answer 404 and go on. It is no error of the server.",
        run: |exam| {
            let heard = ask(exam.server, &get(exam, "/no-such-file-here"), exam.patience(2));
            match heard.status() {
                Some(404) => Came::all(heard.to_string()),
                Some(400..=499) => Came::part(0.5, heard.to_string()),
                _ => Came::none(heard.to_string()),
            }
        },
    },
    Check {
        id: "methods",
        name: "other methods",
        points: 3,
        did: "sent HEAD, POST, DELETE and BREW for testfile",
        expected: "HEAD: a head alone, or 405 or 501. The others: 405 or 501, or another 4xx",
        mend: "Compare the first word of the request line. Answer 405 or 501 to what the server \
               does not do. HEAD is GET without the file.",
        run: methods,
    },
];

pub const LAST: [Check; 4] = [
    Check {
        id: "large",
        name: "a large file",
        points: 3,
        did: "asked for a file of some megabytes",
        expected: "all bytes, and the right ones",
        mend: "A write may take only a part of the bytes: repeat it until all are sent. Read and \
               send the file in pieces.",
        run: large,
    },
    Check {
        id: "threads",
        name: "the number of threads stays",
        points: 4,
        did: "counted its threads and processes after many clients, and again with clients \
              connected",
        expected: "as many as before, and two more at most",
        mend: "Start W threads once, at the start. Let them take their work from a queue, and \
               start none for a connection.",
        run: threads,
    },
    Check {
        id: "resources",
        name: "memory and descriptors stay",
        points: 1,
        did: "compared its memory and its open descriptors before and after all this",
        expected: "64 MiB and 8 descriptors more at most",
        mend: "Close each connection and each file, also when an error ends the request early.",
        run: resources,
    },
    Check {
        id: "alive",
        name: "it does not exit",
        points: 3,
        did: "asked for testfile once more, after everything",
        expected: "status 200 and the file",
        mend: "An error of one client ends that connection, never the process. Look for exit, \
               unwrap, uncaught exceptions and SIGPIPE.",
        run: |exam| {
            let heard = exam.ask(2);
            Came::whether(heard.is_ok(), heard.to_string())
        },
    },
];

/// A GET for a path, in HTTP/1.1.
pub fn get(exam: &Exam, path: &str) -> Vec<u8> {
    request(exam, "GET", path)
}

fn request(exam: &Exam, method: &str, path: &str) -> Vec<u8> {
    let (host, port) = (&exam.args.host, exam.args.port);
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{length}Connection: close\r\n\r\n")
        .into_bytes()
}

fn served(heard: &Heard) -> Came {
    Came::whether(heard.is_ok(), heard.to_string())
}

/// The first answer to either form that is a 200.
fn answered(exam: &Exam) -> Option<&Reply> {
    exam.heard.iter().find_map(|heard| match heard {
        Heard::Reply(reply) if reply.status == 200 => Some(reply),
        _ => None,
    })
}

fn length(exam: &mut Exam) -> Came {
    let Some(reply) = answered(exam) else { return Came::none(exam.heard[0].to_string()) };
    let count = reply.body.len();
    if let Some(error) = reply.length_error() {
        return Came::none(error);
    }
    if reply.body != exam.body {
        return Came::none(format!("{count} bytes, which differ from those in the folder"));
    }
    if count == 0 {
        return Came::none("no bytes");
    }
    match reply.length() {
        None => Came::part(0.5, format!("{count} bytes, without a Content-Length")),
        Some(_) if exam.root.is_some() => Came::all(format!("{count} bytes, those of the file")),
        Some(_) => Came::all(format!("{count} bytes")),
    }
}

fn methods(exam: &mut Exam) -> Came {
    let ask_with =
        |method: &str| ask(exam.server, &request(exam, method, "/testfile"), exam.patience(2));
    let head = ask_with("HEAD");
    let head_is_right = match &head {
        Heard::Reply(reply) => reply.body.is_empty() || matches!(reply.status, 405 | 501),
        _ => false,
    };
    if !head_is_right {
        return Came::none(format!("HEAD: {head}"));
    }
    for method in ["POST", "DELETE", "BREW"] {
        let heard = ask_with(method);
        if !matches!(heard.status(), Some(400..=599)) {
            return Came::part(0.34, format!("{method}: {heard}"));
        }
    }
    let heard = exam.ask(2);
    let said = format!("HEAD: {}", head.status().map_or_else(String::new, |s| s.to_string()));
    Came::whether(heard.is_ok(), format!("{said}; the others are refused"))
}

fn large(exam: &mut Exam) -> Came {
    let Some(file) = &exam.large else {
        return Came::unjudged("no large file is known (--root or --file)");
    };
    let heard = ask_large(exam.server, &get(exam, &format!("/{}", file.name)), exam.patience(2));
    let Heard::Reply(reply) = &heard else { return Came::none(heard.to_string()) };
    if let (200, Some(error)) = (reply.status, reply.length_error()) {
        return Came::none(error);
    }
    let is_right = file.content.as_ref().is_none_or(|content| *content == reply.body);
    let said = if is_right { heard.to_string() } else { format!("{heard}, which differ") };
    Came::whether(reply.status == 200 && is_right, said)
}

fn threads(exam: &mut Exam) -> Came {
    let Some((rest, most)) = exam.rest.zip(exam.most) else {
        return Came::unjudged("its process is not known (it runs elsewhere, or use --pid)");
    };
    let said = match most.processes > rest.processes {
        true => format!("processes: {}, later {} at most", rest.processes, most.processes),
        false => format!("{} threads, later {} at most", rest.threads, most.threads),
    };
    Came::whether(most.threads <= rest.threads + THREADS_MORE, said)
}

fn resources(exam: &mut Exam) -> Came {
    let Some(rest) = exam.rest else {
        return Came::unjudged("its process is not known (it runs elsewhere, or use --pid)");
    };
    let deadline = Instant::now() + CLOSING;
    loop {
        let Some(now) = exam.process.as_ref().and_then(Process::held) else {
            return Came::none("its process has ended");
        };
        let most = exam.most.map_or(now.resident, |most| most.resident.max(now.resident));
        let more = now.descriptors.saturating_sub(rest.descriptors);
        let memory = most.saturating_sub(rest.resident);
        if more <= DESCRIPTORS_MORE || Instant::now() >= deadline {
            return Came::whether(
                more <= DESCRIPTORS_MORE && memory <= MEMORY_MORE,
                format!("{:.1} MiB and {more} descriptors more", memory as f64 / 1024.0),
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
}
