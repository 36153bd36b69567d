//! The figures of `load` beside the server's own counters and its access log.

use super::program::saved;
use crate::support::{RealServer, Site, get, wait_for};
use std::collections::BTreeMap;

/// The values of the server's metrics.
fn metrics(server: &RealServer) -> BTreeMap<String, f64> {
    let text = String::from_utf8(get(server.admin(), "/metrics").body).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(pair).collect()
}

/// The lines of the server's log in JSON, by the status.
fn logged(server: &RealServer) -> BTreeMap<u64, u64> {
    let mut statuses = BTreeMap::new();
    for line in server.stderr().lines().filter(|line| line.starts_with('{')) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        *statuses.entry(line["status"].as_u64().unwrap()).or_default() += 1;
    }
    statuses
}

/// Whatever the way of connections: each request is one request of the server, one line of its log,
/// and its bytes are the server's.
#[test]
fn counts_are_those_of_the_server() {
    let site = Site::new();
    site.put("large", vec![b'x'; 300_000]);
    for connections in [&["-c", "7"][..], &[]] {
        let options = ["--admin", "127.0.0.1:0", "--access-log", "json", "--delay", "1ms"];
        let server = RealServer::start(&site, &options);
        let folder = tempfile::tempdir().unwrap();
        let targets = [
            "-t",
            "/testfile 4",
            "-t",
            "/none",
            "-t",
            "HEAD /testfile",
            "-t",
            "/large",
            "-t",
            "POST /testfile",
        ];
        let more = ["-n", "300", "--rate", "600", "--body", "abc"];
        let url = format!("http://{}/", server.address());
        let all = [&targets[..], &more, connections, &[&url]].concat();
        let (saved, said) = saved(folder.path(), &all);
        let by_status: BTreeMap<u64, u64> = saved
            .answers
            .iter()
            .map(|(answer, &count)| {
                (answer.strip_prefix("status ").unwrap().parse().unwrap(), count)
            })
            .collect();
        assert_eq!(by_status.keys().copied().collect::<Vec<_>>(), [200, 404, 405], "{said}");
        let log = wait_for("all lines", || {
            Some(logged(&server)).filter(|log| log.values().sum::<u64>() == 300)
        });
        assert_eq!(by_status, log, "{said}");
        let metrics = wait_for("all to be counted", || {
            let metrics = metrics(&server);
            let classes =
                ["2xx", "4xx"].map(|of| metrics[&format!("cws_responses_total{{class=\"{of}\"}}")]);
            (classes[0] + classes[1] >= 300.0).then_some((metrics, classes))
        });
        let (metrics, [good, bad]) = metrics;
        assert_eq!((good, bad), (saved.successes as f64, saved.failures as f64), "{said}");
        // The first connection finds out whether the server is there.
        let accepted = metrics["cws_connections_accepted_total"];
        match connections {
            [] => assert_eq!(accepted, 301.0 + saved.reconnects as f64),
            _ => assert!(
                (2.0..=8.0 + saved.reconnects as f64 + bad).contains(&accepted),
                "{accepted}"
            ),
        }
        let bytes = saved.bytes_per_second * saved.seconds;
        let sent = metrics["cws_sent_bytes_total"];
        assert!((bytes - sent).abs() < 1.0, "{bytes} {sent}");
    }
}
