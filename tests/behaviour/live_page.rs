//! The live page in a real browser, while the pool is idle, saturated, stopped and restarted.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::browser::Page;
use crate::support::{RealServer, Site, exchange, installed};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Two workers with a capacity of 40 requests/s, and a short queue.
const POOL: [&str; 8] =
    ["--workers", "2", "--delay", "50ms", "--queue", "4", "--access-log", "off"];

fn start(site: &Site, admin: &str) -> RealServer {
    RealServer::start(site, &[&POOL[..], &["--quiet", "--admin", admin]].concat())
}

/// The file name of a screenshot, for manual inspection.
fn picture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("live-page");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Clients that send requests until `stop` is set, and pause after a refusal.
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

/// Stops the crowd when it is dropped, also if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

const TILES: [(&str, &str); 5] = [
    ("handled", "handled (requests/s)"),
    ("shed", "shed (requests/s)"),
    ("utilisation", "utilisation"),
    ("capacity", "capacity (requests/s)"),
    ("load", "offered / capacity"),
];
const CLIENT_CELL: &str =
    "(at => document.getElementById('clients').rows[0]?.cells[at].textContent)";
const BUSY: &str = "document.getElementById('strips-text').textContent.startsWith('2 of 2 busy')";
const IDLE: &str = "document.getElementById('strips-text').textContent.startsWith('0 of 2 busy')";
const LOST: &str = "document.getElementById('lost').textContent === 'Connection lost.'";
const FOUND: &str = "document.getElementById('contact').hidden";

/// Each tile has its term as a label, and shows a number above 0 when the pool is saturated.
fn check_tiles(page: &mut Page) {
    for (id, label) in TILES {
        let tile = format!("document.getElementById('{id}')");
        let below = page.value(&format!("{tile}.nextElementSibling.textContent"));
        assert_eq!(below, json!(label));
        let number = format!("parseFloat({tile}.textContent.replace(/^over /, '')) > 0");
        page.wait_until(&number);
    }
}

/// What the page shows is what `/stats.json` said, to the digits that the page has.
fn check_figures(page: &mut Page) {
    let shown = page.value(
        "(() => { const text = (id) => document.getElementById(id).textContent; return { stats: \
         latest, curve: text('curve-text'), queue: text('queue-text'), tiles: Object.fromEntries(\
         ['handled', 'immediate', 'shed', 'utilisation', 'capacity', 'load', 'cpu']\
         .map((id) => [id, text(id)])) }; })()",
    );
    let (stats, tiles) = (&shown["stats"], &shown["tiles"]);
    let now = &stats["now"];
    for (id, wanted) in [
        ("handled", &now["handled"]),
        ("immediate", &now["immediate"]),
        ("shed", &now["shed"]),
        ("capacity", &now["capacity"]),
        ("cpu", &stats["cpu"]["used"]),
    ] {
        let got: f64 = tiles[id].as_str().unwrap().parse().unwrap();
        let wanted = wanted.as_f64().unwrap();
        assert!((got - wanted).abs() <= 0.006 + wanted / 180.0, "{id}: {got} for {wanted}");
    }
    let load = 100.0 * now["load"].as_f64().unwrap();
    assert_eq!(tiles["load"], json!(format!("{load:.0} %")));
    let waiting = format!("Queue: {} of 4 requests waiting", stats["queue"]["waiting"]);
    assert!(shown["queue"].as_str().unwrap().starts_with(&waiting), "{shown}");
    let utilisation = tiles["utilisation"].as_str().unwrap();
    assert!(shown["curve"].as_str().unwrap().contains(utilisation), "{shown}");
    // The shares of the workers are of the same window as the tile.
    let share = |worker: &serde_json::Value| -> f64 {
        ["parse", "handle", "respond"].iter().map(|of| worker["now"][of].as_f64().unwrap()).sum()
    };
    let mean = stats["workers"].as_array().unwrap().iter().map(share).sum::<f64>() / 2.0;
    let total = now["utilisation"]["total"].as_f64().unwrap();
    assert!((mean - total).abs() < 1e-6, "{mean} for {total}");
}

/// Takes screenshots on a desktop and on a phone, in both colour schemes.
fn draw_each_size(page: &mut Page) {
    for (name, width, height, scheme) in [
        ("phone-dark.png", 390, 844, "dark"),
        ("phone-light.png", 390, 844, "light"),
        ("desk-dark.png", 1280, 900, "dark"),
        ("desk-light.png", 1280, 900, "light"),
    ] {
        page.resize(width, height, scheme);
        let fits = "document.documentElement.scrollWidth <= window.innerWidth";
        assert_eq!(page.value(fits), json!(true), "{name}: the page fits its width");
        page.draw(&picture(name));
    }
}

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
    page.wait_until(IDLE);
    // M/M/2 at 90 %: 0.9^2 / (1 - 0.9^2) services.
    page.wait_until("document.getElementById('curve-text').textContent.endsWith('is 4.26 D')");

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| crowd(&server, &stop));
        let _stop = Stop(&stop);
        page.wait_until(&sentence("saturated: "));
        page.wait_until(BUSY);
        page.wait_until("Number(document.getElementById('shed').textContent) > 0");
        let said = page.value("document.getElementById('sentence').textContent");
        let said = said.as_str().unwrap();
        assert!(said.contains(" requests/s offered; capacity is "), "{said}");
        assert!(said.contains(" requests/s (2 workers, "), "{said}");
        let rest =
            " % shed: at most 4 wait, for at most 10 s; add workers or reduce the service time";
        assert!(said.contains(rest), "{said}");
        check_tiles(&mut page);
        page.wait_until("parseFloat(document.getElementById('load').textContent) > 100");
        page.wait_until("Number(document.getElementById('total-queue_full').textContent) > 0");
        page.wait_until(&format!(
            "{CLIENT_CELL}(0) === '127.0.0.1' && Number({CLIENT_CELL}(3)) > 0"
        ));
        let told = page.value("document.getElementById('age-text').textContent");
        let told = told.as_str().unwrap();
        assert!(told.starts_with("A request waits at most 10 s; a service takes "), "{told}");
        check_figures(&mut page);
        draw_each_size(&mut page);
    });
    page.wait_until(&sentence("idle"));
    page.wait_until(IDLE);

    // Each key that the page reads is in the data.
    for word in ["undefined", "NaN"] {
        let told =
            page.value(&format!("document.querySelector('main').innerText.includes('{word}')"));
        assert_eq!(told, json!(false), "{word}");
    }

    // So far there are no errors. The browser reports errors while the server is down.
    assert_eq!(page.complaints(), Vec::<&serde_json::Value>::new());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    page.wait_until(LOST);
    page.draw(&picture("lost.png"));
    let again = start(&site, &admin.to_string());
    page.wait_until(FOUND);
    page.wait_until(&sentence("idle"));
    // The browser reports errors while the server is down; the page itself must not.
    let is_own = |event: &&&serde_json::Value| event["method"] != "Log.entryAdded";
    assert_eq!(page.complaints().iter().filter(is_own).count(), 0);
    drop(again);

    let own = format!("http://{admin}/");
    let strange = |url: &&&str| !url.starts_with(&own) && !url.starts_with("data:");
    let requests = page.requests();
    assert!(requests.len() > 10);
    assert_eq!(requests.iter().filter(strange).collect::<Vec<_>>(), Vec::<&&str>::new());
}
