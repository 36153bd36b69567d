//! The live page in every state, with data made for it: labels, pictures, reading without eyes.
#![cfg(feature = "cli")]

use crate::support::browser::Page;
use crate::support::{RealServer, Site, installed};
use serde_json::{Value, json};
use std::path::PathBuf;

const STATES: [&str; 8] =
    ["idle", "normal", "knee", "saturation", "refusing", "unfair", "draining", "lost"];

/// Sizes and schemes of pictures, for manual inspection.
const SCREENS: [(&str, u32, u32, &str); 3] = [
    ("desk-light", 1280, 900, "light"),
    ("desk-dark", 1280, 900, "dark"),
    ("phone-dark", 390, 844, "dark"),
];

/// One browser serves all of them: it takes longer to start than they do.
#[test]
fn the_page_in_every_state() {
    let Some((_server, mut page)) = open() else { return };
    transfers_are_listed_if_there_are_any(&mut page);
    no_label_covers_another(&mut page);
    each_kind_of_figure_of_the_last_hour_is_drawn(&mut page);
    more_workers_than_strips_are_sorted_bands(&mut page);
    drawings_can_be_read_without_eyes_and_without_a_pointer(&mut page);
    each_state_fits_its_screen_and_says_no_nonsense(&mut page);
}

fn open() -> Option<(RealServer, Page)> {
    let chromium = installed("chromium")?;
    let site = Site::new();
    let pool = ["--workers", "4", "--quiet", "--access-log", "off", "--admin", "0"];
    let server = RealServer::start(&site, &pool);
    let mut page = Page::open(chromium);
    page.resize(1280, 900, "light");
    page.go(&format!("http://{}/", server.admin()));
    page.wait_until("typeof records === 'object' && records !== null");
    page.value(include_str!("live_page.js"));
    page.wait_until("window.paused === true");
    Some((server, page))
}

/// The file name of a picture, if they are asked for: drawing takes time.
fn picture(name: &str) -> Option<PathBuf> {
    std::env::var_os("LIVE_PAGE_PICTURES")?;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("live-page");
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder.join(format!("{name}.png")))
}

fn show(page: &mut Page, state: &str) {
    page.value(&format!("showState('{state}')"));
    if state == "lost" {
        page.wait_until("document.body.className === 'lost'");
    }
}

fn no_label_covers_another(page: &mut Page) {
    for (_, width, height, scheme) in &SCREENS[1..] {
        page.resize(*width, *height, scheme);
        for step in 0..20 {
            // Most of them just below and above the capacity.
            let load =
                [0.0, 0.05, 0.2, 0.25, 0.26, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98]
                    .get(step)
                    .copied()
                    .unwrap_or(0.99 + 0.2 * (step as f64 - 14.0));
            page.value(&format!("showState('load', {{ load: {load} }})"));
            let found = page.value("overlapping()");
            assert_eq!(found, json!([]), "at a load of {load}, {width} pixels wide");
        }
    }
}

fn each_state_fits_its_screen_and_says_no_nonsense(page: &mut Page) {
    for (screen, width, height, scheme) in SCREENS {
        page.resize(width, height, scheme);
        for state in STATES {
            show(page, state);
            let fits = "document.documentElement.scrollWidth <= window.innerWidth";
            assert_eq!(page.value(fits), json!(true), "{state} on {screen}");
            let words = page.value("/undefined|NaN|null/.exec(document.body.innerText)");
            assert_eq!(words, Value::Null, "{state} on {screen}");
            if let Some(to) = picture(&format!("{state}-{screen}")) {
                page.draw(&to);
            }
        }
    }
    assert_eq!(page.complaints(), Vec::<&Value>::new());
}

/// Each drawing has a name, can be reached and read by keys, and has the same data as a table.
fn drawings_can_be_read_without_eyes_and_without_a_pointer(page: &mut Page) {
    show(page, "knee");
    for id in ["curve", "minute", "strips", "wait", "service", "hour"] {
        let area = format!("document.querySelector('#{id} .area')");
        let named = format!(
            "{area}.getAttribute('role') === 'img' && {area}.getAttribute('aria-label').length > 9 \
             && {area}.tabIndex === 0"
        );
        assert_eq!(page.value(&named), json!(true), "{id}");
        page.value(&format!("{area}.focus()"));
        for key in ["ArrowLeft", "ArrowLeft", "ArrowUp"] {
            page.call("Input.dispatchKeyEvent", json!({ "type": "keyDown", "key": key }));
        }
        let value = page.value(&format!("document.getElementById('{id}-value').textContent"));
        let value = value.as_str().unwrap();
        assert!(value.contains(':') && value.contains(char::is_numeric), "{id}: {value}");
        let table = format!("document.getElementById('{id}-table')");
        page.value(&format!("{table}.open = true; showState('knee')"));
        let rows = page.value(&format!("{table}.querySelectorAll('tbody tr').length"));
        assert!(rows.as_u64() >= Some(4), "{id} has {rows} rows");
    }
}

/// The last hour of each kind of figure.
fn each_kind_of_figure_of_the_last_hour_is_drawn(page: &mut Page) {
    show(page, "refusing");
    let kinds = page.value("Object.keys(HOURLY)");
    for kind in kinds.as_array().unwrap() {
        page.value(&format!(
            "{{ const what = document.getElementById('hour-what'); what.value = {kind}; \
             what.dispatchEvent(new Event('change')) }}"
        ));
        assert_eq!(page.value("overlapping()"), json!([]), "{kind}");
        let drawn = "[...document.querySelectorAll('#hour polyline')]\
                     .every((of) => !/NaN|Infinity/.test(of.getAttribute('points')))";
        assert_eq!(page.value(drawn), json!(true), "{kind}");
        let named = "document.querySelectorAll('#hour-legend .key').length === \
                     Object.keys(HOURLY[document.getElementById('hour-what').value].lines).length";
        assert_eq!(page.value(named), json!(true), "{kind}");
    }
    assert!(kinds.as_array().is_some_and(|kinds| kinds.len() >= 6));
}

fn more_workers_than_strips_are_sorted_bands(page: &mut Page) {
    page.value("showState('many', { load: 0.6, workers: 300 })");
    let labels = page.value("document.querySelector('#strips .ys').innerText.split(/\\s+/)");
    assert_eq!(labels, json!(["busiest", "idlest"]));
    if let Some(to) = picture("bands") {
        page.draw(&to);
    }
}

/// Transfers are shown where the server reports them, and what they are called is text.
fn transfers_are_listed_if_there_are_any(page: &mut Page) {
    let hidden = "document.getElementById('transfers').hidden";
    assert_eq!(page.value(hidden), json!(true));
    page.value(
        "latest.transfers = [{ client: '192.0.2.1', target: '/<b>film</b>.mkv', sent: 5e7, \
         length: 2e8, rate: 1e6 }]; show(latest)",
    );
    let text = page.value("document.getElementById('transfers').innerText");
    let text = text.as_str().unwrap();
    for part in ["192.0.2.1", "/<b>film</b>.mkv", "50 MB", "200 MB (25 %)", "1 MB/s"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    page.value("latest.transfers = []; show(latest)");
    assert_eq!(page.value(hidden), json!(true));
}
