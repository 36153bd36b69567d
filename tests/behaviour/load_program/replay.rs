//! Replays of access logs.

use super::program::{refuses, run, saved, text};
use super::recorder::Recorder;
use crate::support::{RealServer, Site, wait_for};
use std::time::{Duration, SystemTime};

/// A line of JSON at this time in milliseconds.
fn line(millis: u64, request: &str) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis);
    let time = humantime::format_rfc3339_millis(time);
    format!("{{\"queue_wait_us\":0,\"request\":\"{request} HTTP/1.1\",\"time\":\"{time}\"}}\n")
}

/// The intended starts in a file of outcomes, in seconds.
fn intended(path: &std::path::Path) -> Vec<f64> {
    let text = std::fs::read_to_string(path).unwrap();
    let cell = |line: &str| line.split(',').nth(1).unwrap().parse().unwrap();
    let mut starts: Vec<f64> = text.lines().skip(1).map(cell).collect();
    starts.sort_by(f64::total_cmp);
    starts
}

#[test]
fn requests_arrive_in_the_order_and_at_the_times_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let lines = [
        "the server starts\n".to_owned(),
        line(100, "GET /b?x=1"),
        line(0, "GET /a"),
        line(350, "POST /form"),
        line(300, "HEAD /c"),
        line(401, "DELETE /d"),
        "{\"time\":\"2023\",\"request\":\"GET / HTTP/1.1\"}\n".to_owned(),
        line(400, "GET /e"),
        "the server stops".to_owned(),
    ];
    std::fs::write(&log, lines.concat()).unwrap();
    let (log, csv) = (log.to_str().unwrap(), folder.path().join("run.csv"));
    let replay = |more: &[&str]| {
        let server = Recorder::start();
        let options = ["--replay", log, "--csv", csv.to_str().unwrap(), "-c", "9"];
        let (saved, said) =
            saved(folder.path(), &[&options[..], more, &[&server.url("/")]].concat());
        let arrived = server.arrived();
        let heard: Vec<String> = arrived.iter().map(|request| request.line().to_owned()).collect();
        assert_eq!(saved.requests, arrived.len() as u64);
        let last = arrived.last().unwrap().at - server.before_the_load();
        (heard, intended(&csv), last, said)
    };
    let (heard, starts, last, said) = replay(&[]);
    assert_eq!(
        heard,
        ["GET /a HTTP/1.1", "GET /b?x=1 HTTP/1.1", "HEAD /c HTTP/1.1", "GET /e HTTP/1.1"]
    );
    assert_eq!(starts, [0.0, 0.1, 0.3, 0.4]);
    // By the server's own clock, no request is early.
    assert!(last >= Duration::from_millis(400), "{last:?}");
    for part in [
        "at its times: 4 requests in 0.4s",
        "2 lines are left out, the first is line 1: not a line of an access log",
        "line 7 is left out: its time is not a date",
        "2 requests are left out: they have other methods",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let more = ["--speed", "4", "--replay-methods", "GET,POST", "--body", "xyz", "-H", "A: b"];
    let (heard, starts, _, said) = replay(&more);
    assert_eq!((heard.len(), heard[2].as_str()), (4, "POST /form HTTP/1.1"));
    assert_eq!(starts, [0.0, 0.025, 0.0875, 0.1]);
    assert!(said.contains("4 times as fast"), "{said}");
    let (heard, ..) = replay(&["-n", "2"]);
    assert_eq!(heard.len(), 2);
    let (_, starts, ..) = replay(&["--duration", "300ms"]);
    assert_eq!(starts, [0.0, 0.1]);
}

/// The server's logs in each format name the requests that it got, and the replay sends them again.
#[test]
fn logs_of_the_server_come_back() {
    for format in ["json", "common", "combined"] {
        let site = Site::new();
        let server = RealServer::start(&site, &["--access-log", format]);
        let targets = ["-t", "/testfile 3", "-t", "/none?a=%20b", "-t", "HEAD /testfile"];
        let url = format!("http://{}/", server.address());
        let options = ["--rate", "400", "-n", "60", "--allow-failures", "100", &url];
        run(&[&targets[..], &options].concat());
        let requests = |log: &str| {
            let mut found: Vec<String> = log
                .lines()
                .filter_map(|line| {
                    Some(line.split_once(" HTTP/1.1\"")?.0.rsplit_once('"')?.1.to_owned())
                })
                .collect();
            found.sort();
            found
        };
        let log =
            wait_for("all lines", || Some(server.stderr()).filter(|log| requests(log).len() == 60));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        std::fs::write(&path, &log).unwrap();
        let recorder = Recorder::start();
        let options = ["--replay", path.to_str().unwrap(), "--speed", "10", "-c", "20"];
        let (saved, said) = saved(folder.path(), &[&options[..], &[&recorder.url("/")]].concat());
        let mut heard: Vec<String> = recorder
            .arrived()
            .iter()
            .map(|request| request.line().trim_end_matches(" HTTP/1.1").to_owned())
            .collect();
        heard.sort();
        assert_eq!(heard, requests(&log), "{format}");
        assert_eq!(saved.requests, 60, "{format}");
        // The server's other lines are no requests.
        assert!(
            said.contains("left out") && said.contains("not a line of an access log"),
            "{said}"
        );
    }
}

#[test]
fn logs_without_requests_are_one_line_errors() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let posts = folder.path().join("posts");
    std::fs::write(&posts, line(0, "POST /")).unwrap();
    let of = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    refuses(&["--replay", "/no/such"], 1, "cannot read /no/such");
    refuses(&["--replay", &of(&empty)], 1, "has no request to send");
    refuses(&["--replay", &of(&posts)], 1, "1 requests are left out: they have other methods");
    refuses(&["--replay", &of(&posts), "--rate", "5"], 2, "cannot be used with");
    refuses(&["--speed", "5"], 2, "--replay");
    refuses(&["--replay", &of(&posts), "--speed", "0"], 2, "at least 0.001");
    let output = run(&["--replay", &of(&posts), "--replay-methods", "POST"]);
    assert!(text(&output.stdout).contains("1 requests in 0.0s"));
}
