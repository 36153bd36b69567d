//! The configuration of HAProxy: the file of `examples/deploy`.

/// The file, which is for three servers.
const FILE: &str = include_str!("../deploy/haproxy/haproxy.cfg");

/// The number of servers of the file.
const SERVERS: usize = 3;

/// The file as it is if there are three servers, and with a line for each server otherwise.
pub fn committed(servers: usize) -> String {
    if servers == SERVERS {
        return FILE.to_owned();
    }
    let is_server = |line: &&str| line.trim_start().starts_with("server ");
    let first = FILE.lines().find(is_server).unwrap_or_default();
    let mut lines: Vec<String> =
        FILE.lines().filter(|line| !is_server(line)).map(str::to_owned).collect();
    for (small, large) in ('a'..).zip('A'..).take(servers) {
        let line = first.replace("server a ", &format!("server {small} "));
        lines.push(line.replace("CWS_A", &format!("CWS_{large}")));
    }
    lines.join("\n") + "\n"
}

/// The same without a second try of requests that have been sent.
pub fn without_retries_of_requests(servers: usize) -> String {
    let lines = committed(servers);
    let kept = lines.lines().filter(|line| {
        let word = line.split_whitespace().next();
        word != Some("retry-on") && !line.contains("disable-l7-retry")
    });
    kept.map(|line| format!("{line}\n")).collect()
}
