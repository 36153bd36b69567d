//! The page of a directory in a real browser: for a phone and a desk, by day and by night.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::browser::Page;
use crate::support::{RealServer, Site, get, installed};
use serde_json::json;
use std::path::PathBuf;

const NAMES: [&str; 14] = [
    "IMG_2.jpg",
    "IMG_10.jpg",
    "IMG_1.jpg",
    "notes.txt",
    "song.ogg",
    "film.mp4",
    "backup.tar.gz",
    "chapter 9.pdf",
    "chapter 10.pdf",
    "<b>&amp;.txt",
    "README.md",
    "a%20b.html",
    "albums/summer/IMG_7.jpg",
    "talks/1.txt",
];

fn site() -> Site {
    let site = Site::new();
    for name in NAMES {
        site.put(&format!("shared/{name}"), name);
    }
    site
}

#[test]
fn names_with_numbers_are_in_natural_order_and_directories_have_no_size() {
    let site = site();
    let server = RealServer::start(&site, &[]);
    let listing = get(server.address(), "/shared/?format=json").body;
    let listing: serde_json::Value = serde_json::from_slice(&listing).unwrap();
    let entries = listing["entries"].as_array().unwrap();
    let names: Vec<_> = entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    let place = |name: &str| names.iter().position(|found| *found == name).unwrap();
    assert_eq!(names[..2], ["albums", "talks"]);
    assert!(place("IMG_1.jpg") < place("IMG_2.jpg") && place("IMG_2.jpg") < place("IMG_10.jpg"));
    assert!(place("chapter 9.pdf") < place("chapter 10.pdf"));
    assert!(entries[0]["size"].is_null() && entries[2]["size"].is_u64(), "{entries:?}");
}

/// The page for readers of a browser that is 4 hours east of UTC.
#[test]
fn the_page_filters_names_and_shows_local_times() {
    let Some(chromium) = installed("chromium") else { return };
    let site = site();
    let server = RealServer::start(&site, &[]);
    let mut page = Page::open(chromium);
    page.call("Emulation.setTimezoneOverride", json!({ "timezoneId": "Asia/Dubai" }));
    page.resize(1000, 700, "light");
    page.go(&format!("http://{}/shared/", server.address()));
    page.wait_until("document.querySelector('footer i')?.textContent === 'times are local'");
    let hours = "(() => { const time = document.querySelector('time'); \
                 const at = text => Date.parse(text.replace(' ', 'T') + ':00Z'); \
                 return (at(time.textContent) - at(time.title.slice(0, 16))) / 3600000 })()";
    assert_eq!(page.value(hours), json!(4));
    let shown = "[...document.querySelectorAll('tr[data-e]:not([hidden]) bdi')]\
                 .map(name => name.textContent).join()";
    let filter = |text: &str| {
        format!(
            "(() => {{ const box = document.querySelector('input'); box.value = '{text}'; \
             box.dispatchEvent(new Event('input')); return {shown} }})()"
        )
    };
    assert_eq!(page.value(&filter("img_1")), json!("IMG_1.jpg,IMG_10.jpg"));
    assert_eq!(
        page.value("document.querySelector('footer span').textContent"),
        json!("2 of 14 entries")
    );
    assert_eq!(page.value(&filter("<b>")), json!("<b>&amp;.txt"));
    assert_eq!(page.value(&filter("no such name")), json!(""));
    page.value(&filter(""));
    assert_eq!(
        page.value("document.querySelectorAll('tr[data-e]:not([hidden])').length"),
        json!(14)
    );
    // The page is no wider than a phone, and nothing is loaded from elsewhere.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("listing");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, width, scheme) in [
        ("desk-light", 1000, "light"),
        ("desk-dark", 1000, "dark"),
        ("phone-light", 390, "light"),
        ("phone-dark", 390, "dark"),
    ] {
        page.resize(width, 700, scheme);
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(page.value(fits), json!(true), "{name}");
        page.draw(&folder.join(format!("{name}.png")));
    }
    let own = format!("http://{}/", server.address());
    assert!(page.requests().iter().all(|url| url.starts_with(&own)), "{:?}", page.requests());
    let complaints: Vec<_> =
        page.complaints().into_iter().filter(|of| !of.to_string().contains("favicon")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
