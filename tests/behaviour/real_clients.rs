//! Common client programs: resumed downloads, benchmarks, a browser.
//!
//! A test whose program is not installed prints a message and passes, except with `CI=true`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Site, installed};
use std::path::Path;
use std::process::{Command, Output};

fn output(mut command: Command) -> Output {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

/// A site with a file of some megabytes, and a download folder that contains half of it.
fn half_downloaded(download: &Path) -> (Site, Vec<u8>) {
    let content: Vec<u8> = (0..3_000_001_u32).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect();
    let site = Site::new();
    site.put("large.bin", &content);
    std::fs::write(download, &content[..content.len() / 2]).unwrap();
    (site, content)
}

#[test]
fn downloads_are_resumed() {
    for (program, arguments) in [
        ("curl", &["-sS", "-f", "-C", "-", "-o", "large.bin"][..]),
        ("wget", &["-q", "-c"]),
        ("aria2c", &["-q", "-c", "-x4", "-k1M", "--file-allocation=none"]),
    ] {
        let Some(mut command) = installed(program) else { continue };
        let dir = tempfile::tempdir().unwrap();
        let download = dir.path().join("large.bin");
        let (site, content) = half_downloaded(&download);
        let server = RealServer::start(&site, &[]);
        let url = format!("http://{}/large.bin", server.address());
        command.args(arguments).arg(url).current_dir(dir.path());
        output(command);
        assert!(std::fs::read(&download).unwrap() == content, "{program}");
        let log = crate::support::wait_for("the log", || {
            Some(server.stderr()).filter(|log| log.contains("large.bin"))
        });
        assert!(log.contains(" 206 "), "{program} got a part: {log}");
    }
}

#[test]
fn several_connections_share_a_download() {
    let Some(mut command) = installed("aria2c") else { return };
    let dir = tempfile::tempdir().unwrap();
    let download = dir.path().join("large.bin");
    let (site, content) = half_downloaded(&download);
    std::fs::remove_file(&download).unwrap();
    let server = RealServer::start(&site, &["--workers", "1"]);
    command.args(["-q", "-x4", "-s4", "-k1M", "--file-allocation=none"]);
    command.arg(format!("http://{}/large.bin", server.address())).current_dir(dir.path());
    output(command);
    assert!(std::fs::read(&download).unwrap() == content);
}

#[test]
fn curl_gets_the_expected_responses() {
    let Some(_) = installed("curl") else { return };
    let site = Site::new();
    site.put("dir/index.html", "<p>index</p>");
    let server = RealServer::start(&site, &[]);
    let curl = |arguments: &[&str], path: &str| {
        let mut command = installed("curl").unwrap();
        command.args(["-sS", "-m", "20"]).args(arguments);
        command.arg(format!("http://{}{path}", server.address()));
        String::from_utf8(output(command).stdout).unwrap()
    };
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(curl(&["-L"], "/dir"), "<p>index</p>");
    assert_eq!(curl(&["--http1.0"], "/testfile"), "Hello, test!\n");
    let both = curl(&["-I", "-L"], "/dir");
    assert!(both.contains("301") && both.contains("200 OK"), "{both}");
    let big = "x".repeat(50_000);
    let post = [&status[..], &["-d", &big]].concat();
    assert_eq!(curl(&post, "/testfile"), "405");
    let expecting = [&status[..], &["-d", &big, "-H", "Expect: 100-continue"]].concat();
    assert_eq!(curl(&expecting, "/testfile"), "405");
    let weird = [&status[..], &["--path-as-is"]].concat();
    assert_eq!(curl(&weird, "/../../etc/passwd"), "404");
}

#[test]
fn benchmarks_report_no_errors() {
    let site = Site::new();
    let server = RealServer::start(&site, &["--quiet"]);
    let url = format!("http://{}/testfile", server.address());
    for arguments in [&["-q", "-n", "500", "-c", "8"][..], &["-q", "-k", "-n", "500", "-c", "8"]] {
        let Some(mut ab) = installed("ab") else { break };
        ab.args(arguments).arg(&url);
        let text = String::from_utf8(output(ab).stdout).unwrap();
        assert!(text.contains("Complete requests:      500"), "{text}");
        assert!(text.contains("Failed requests:        0"), "{text}");
        assert!(!text.contains("Non-2xx"), "{text}");
    }
    if let Some(mut wrk) = installed("wrk") {
        wrk.args(["-t1", "-c8", "-d1s"]).arg(&url);
        let text = String::from_utf8(output(wrk).stdout).unwrap();
        assert!(text.contains("requests in") && !text.contains("Socket errors"), "{text}");
        assert!(!text.contains("Non-2xx"), "{text}");
    }
    if let Some(mut h2load) = installed("h2load") {
        h2load.args(["--h1", "-n", "400", "-c", "4", "-m", "4"]).arg(&url);
        let text = String::from_utf8(output(h2load).stdout).unwrap();
        assert!(text.contains("400 succeeded, 0 failed, 0 errored"), "{text}");
    }
}

const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>t</title>
<link rel="icon" href="data:,"><script src="script.js" defer></script></head>
<body><img id="image" src="image.svg" alt=""><p id="result">nothing</p></body></html>
"#;

const SCRIPT: &str = r#"
addEventListener("load", async () => {
  const part = await fetch("large.bin", { headers: { Range: "bytes=1000-1999" } });
  const bytes = await part.arrayBuffer();
  const image = document.getElementById("image");
  document.getElementById("result").textContent =
    `image ${image.naturalWidth} part ${part.status} ${bytes.byteLength}`;
});
"#;

const IMAGE: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="42" height="7"></svg>"#;

#[test]
fn a_browser_loads_a_page_with_its_resources() {
    let Some(mut chromium) = installed("chromium") else { return };
    let site = Site::new();
    site.put("index.html", PAGE);
    site.put("script.js", SCRIPT);
    site.put("image.svg", IMAGE);
    site.put("large.bin", vec![7; 100_000]);
    let server = RealServer::start(&site, &[]);
    let profile = tempfile::tempdir().unwrap();
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
    chromium.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
    chromium.args(["--disable-component-update", "--enable-logging=stderr", "--dump-dom"]);
    chromium.arg("--virtual-time-budget=10000");
    chromium.arg(format!("--user-data-dir={}", profile.path().display()));
    chromium.arg(format!("http://{}/", server.address()));
    let output = output(chromium);
    let dom = String::from_utf8(output.stdout).unwrap();
    assert!(dom.contains("image 42 part 206 1000"), "{dom}");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:?}");
}
