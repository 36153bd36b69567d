//! What is outside of the folder must not be served.

use crate::checks::get;
use crate::exam::{Came, Check, Exam, FILE};
use crate::talk::{Heard, ask};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

/// A file that every UNIX system has outside of the folder.
const SECRET: &str = "etc/passwd";

/// The most time for one of these requests: most servers refuse them at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ways out of a folder, with `UP` for the way up and for the file there.
const WAYS: [&str; 9] = [
    "/../../../../../../../../../../FILE",
    "../../../../../../../../../../FILE",
    "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/FILE",
    "/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fFILE",
    "/%252e%252e/%252e%252e/%252e%252e/%252e%252e/%252e%252e/%252e%252e/FILE",
    "/testfile/../../../../../../../../../../FILE",
    "/....//....//....//....//....//....//....//FILE",
    "//FILE",
    "/%2fFILE",
];

pub const CHECKS: [Check; 1] = [Check {
    id: "confinement",
    name: "nothing outside of the folder",
    points: 6,
    did: "asked for /etc/passwd, and for the folder by way of the one above it, with .., encoded, \
          absolute and mixed",
    expected: "no byte of it: 400, 403 or 404",
    mend: "Decode the path first. Then refuse each .. in it, and each path that is absolute. \
           Better still, open files relative to the folder and let the system refuse to leave it \
           (openat2, cap-std).",
    run: confinement,
}];

fn confinement(exam: &mut Exam) -> Came {
    let mut leaks = Vec::new();
    let (mut refused, mut other) = (0, 0);
    let mut ways: Vec<(String, bool)> =
        WAYS.iter().map(|way| (way.replace("FILE", SECRET), false)).collect();
    if let Some(root) = &exam.root {
        // By way of the folder above. If the file comes, the server has left its folder.
        if let Some(name) = root.file_name().and_then(|name| name.to_str()) {
            for up in ["/..", "..", "/%2e%2e", "/testfile/../.."] {
                ways.push((format!("{up}/{name}/{FILE}"), true));
            }
        }
        if let Some(root) = root.to_str().filter(|root| !root.contains(' ')) {
            ways.extend(
                [format!("{root}/{FILE}"), format!("/{root}/{FILE}")].map(|way| (way, true)),
            );
        }
    }
    for (way, by_file) in &ways {
        let heard = ask(exam.server, &get(exam, way), PATIENCE.min(exam.patience(1)));
        let body = match &heard {
            Heard::Reply(reply) => &reply.body[..],
            Heard::Rubbish(bytes) => &bytes[..],
            Heard::Nothing(_) => &[],
        };
        let leaks_secret = contains(body, b"root:") && contains(body, b":0:0:");
        let leaks_file = *by_file && !exam.body.is_empty() && contains(body, &exam.body);
        if leaks_secret || leaks_file {
            leaks.push(way.clone());
        } else if matches!(heard.status(), Some(300..=499)) {
            refused += 1;
        } else {
            other += 1;
        }
    }
    note_link(exam);
    match leaks.first() {
        Some(way) => {
            Came::none(format!("{} of {} ways lead outside: {way}", leaks.len(), ways.len()))
        }
        None => {
            Came::all(format!("{refused} of {} ways are refused, {other} lead nowhere", ways.len()))
        }
    }
}

/// A link is the folder's owner's doing, so it costs no points.
fn note_link(exam: &mut Exam) {
    let Some(root) = &exam.args.root else { return };
    let name = format!("grade-{}-link", std::process::id());
    let link = root.join(&name);
    if symlink(format!("/{SECRET}"), &link).is_err() {
        return;
    }
    let heard = ask(exam.server, &get(exam, &format!("/{name}")), exam.patience(1));
    // If somebody has removed it, there is nothing to do.
    let _ = fs::remove_file(link);
    let note = match heard.status() {
        Some(200) => {
            "It follows a symbolic link out of its folder. That is right where everybody who \
                      can write there may show what the server can read."
        }
        _ => "It does not follow a symbolic link out of its folder.",
    };
    exam.notes.push(note.to_owned());
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
