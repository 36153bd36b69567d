//! The live page in a real browser, while the pool is idle, saturated, gone and back.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use support::browser::Page;
use support::{RealServer, Site, exchange, installed};

/// Two workers that carry 40 a second, and few places to wait.
const POOL: [&str; 8] =
    ["--workers", "2", "--delay", "50ms", "--queue", "4", "--access-log", "off"];

fn start(site: &Site, admin: &str) -> RealServer {
    RealServer::start(site, &[&POOL[..], &["--quiet", "--admin", admin]].concat())
}

/// Where pictures go that a person should look at.
fn picture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("live-page");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Clients that ask again and again until told to stop; those who are refused take a breath.
fn crowd(server: &RealServer, stop: &AtomicBool) {
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let request = b"GET /testfile HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                    let reply = exchange(server.address(), request);
                    if !reply.starts_with(b"HTTP/1.1 200") {
                        std::thread::sleep(Duration::from_millis(25));
                    }
                }
            });
        }
    });
}

fn sentence(word: &str) -> String {
    format!("document.getElementById('sentence').textContent.startsWith('{word}')")
}

/// Tells the crowd to stop when it is dropped, be it by a test that fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

const LANES_BUSY: &str = "document.querySelectorAll('.lane.delay').length === 2";
const LANES_IDLE: &str = "document.querySelectorAll('.lane.idle').length === 2";
const LOST: &str = "document.getElementById('lost').textContent === 'Lost the server.'";
const FOUND: &str = "document.getElementById('contact').hidden";

#[test]
fn the_page_shows_the_pool_at_work() {
    let Some(chromium) = installed("chromium") else { return };
    let site = Site::new();
    let mut server = start(&site, "0");
    let admin = server.admin();
    let mut page = Page::open(chromium);
    page.resize(1280, 900, "light");
    page.go(&format!("http://{admin}/"));
    page.wait_until(&sentence("idle"));
    page.wait_until(LANES_IDLE);

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| crowd(&server, &stop));
        let _stop = Stop(&stop);
        page.wait_until(&sentence("saturated: "));
        page.wait_until(LANES_BUSY);
        page.wait_until("Number(document.getElementById('refused').textContent) > 0");
        let said = page.value("document.getElementById('sentence').textContent");
        let said = said.as_str().unwrap();
        assert!(said.contains(" requests/s is the most 2 workers carry at "), "{said}");
        assert!(said.contains("% are refused; add workers or cut the delay"), "{said}");
        // Widths in the order of those that are looked at: a desk, a phone, each by day and night.
        for (name, width, height, scheme) in [
            ("phone-dark.png", 390, 844, "dark"),
            ("phone-light.png", 390, 844, "light"),
            ("desk-dark.png", 1280, 900, "dark"),
            ("desk-light.png", 1280, 900, "light"),
        ] {
            page.resize(width, height, scheme);
            let fits = "document.documentElement.scrollWidth <= window.innerWidth";
            assert_eq!(page.value(fits), json!(true), "{name}: nothing sticks out");
            page.draw(&picture(name));
        }
    });
    page.wait_until(&sentence("idle"));
    page.wait_until(LANES_IDLE);

    // Nothing is wrong so far; a server that is gone is one that the browser complains of.
    assert_eq!(page.complaints(), Vec::<&serde_json::Value>::new());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    page.wait_until(LOST);
    page.draw(&picture("lost.png"));
    let again = start(&site, &admin.to_string());
    page.wait_until(FOUND);
    page.wait_until(&sentence("idle"));
    // The browser itself complains of a server that is gone; the page must not.
    let is_own = |event: &&&serde_json::Value| event["method"] != "Log.entryAdded";
    assert_eq!(page.complaints().iter().filter(is_own).count(), 0);
    drop(again);

    let own = format!("http://{admin}/");
    let strange = |url: &&&str| !url.starts_with(&own) && !url.starts_with("data:");
    let requests = page.requests();
    assert!(requests.len() > 10);
    assert_eq!(requests.iter().filter(strange).collect::<Vec<_>>(), Vec::<&&str>::new());
}
