//! Error pages: they look like listings, and lead to the parent directory.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::browser::Page;
use crate::support::{RealServer, Reply, Site, exchange, get, installed};
use serde_json::json;
use std::path::PathBuf;

/// The references on a page.
fn links(page: &[u8]) -> Vec<String> {
    let page = String::from_utf8(page.to_vec()).unwrap();
    let behind = page.split("href=\"").skip(1);
    behind.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn an_error_page_leads_to_the_parent_of_what_was_asked_for() {
    let site = Site::new();
    std::fs::create_dir_all(site.path().join("a/b")).unwrap();
    let server = RealServer::start(&site, &["--no-listing"]);
    let rows = [
        ("/a/b/none", 404, Some("./")),
        ("/a/b/none/", 404, Some("../")),
        ("/none", 404, Some("./")),
        ("/none/", 404, Some("../")),
        ("/none?a=b", 404, Some("./")),
        ("/no/such/place/at/all", 404, Some("./")),
        ("/.hidden", 404, Some("./")),
        // The listing is off. The root has no parent.
        ("/a/b/", 403, Some("../")),
        ("/", 403, None),
        // Nothing of a path is on the page.
        ("/%22%3E%3Cscript%3Ealert(1)%3C/script%3E", 404, Some("./")),
        ("/\"><script>alert(1)</script>", 404, Some("./")),
        ("//evil.example/x", 404, Some("./")),
        ("/javascript:alert(1)/", 404, Some("../")),
    ];
    for (path, status, parent) in rows {
        let reply = get(server.address(), path);
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(links(&reply.body), Vec::from_iter(parent), "{path}");
        let page = String::from_utf8(reply.body).unwrap();
        assert!(page.contains("name=\"viewport\"") && !page.contains("<script"), "{page}");
    }
    let other = exchange(server.address(), b"PUT /a/x HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    let other = Reply::all(&other, false);
    assert_eq!((other[0].status, links(&other[0].body)), (405, vec!["./".to_owned()]));
    // A request that names no file has no parent.
    let malformed = Reply::all(&exchange(server.address(), b"GET /%zz HTTP/1.0\r\n\r\n"), false);
    assert_eq!((malformed[0].status, links(&malformed[0].body)), (400, vec![]));
}

#[test]
fn beneath_a_prefix_the_parent_stays_within_the_site() {
    let site = Site::new();
    site.put("docs/a.txt", "a");
    let file = format!("root = {:?}\n[[site]]\nprefix = \"/docs\"\n", site.path());
    let settings = Site::new();
    settings.put("cws.toml", &file);
    let settings = settings.path().join("cws.toml");
    let server = RealServer::start(&site, &["--config", settings.to_str().unwrap()]);
    for (path, parent) in [("/docs/none", "./"), ("/docs/none/", "../"), ("/docs/b/c", "./")] {
        let reply = get(server.address(), path);
        assert_eq!((reply.status, links(&reply.body)), (404, vec![parent.to_owned()]), "{path}");
    }
}

/// The colours and the font of an error page are those of a listing, by day and by night, and a
/// click leads to the parent.
#[test]
fn an_error_page_looks_like_a_listing_in_a_browser() {
    let Some(chromium) = installed("chromium") else { return };
    let site = Site::new();
    site.put("shared/a.txt", "a");
    let server = RealServer::start(&site, &[]);
    let mut page = Page::open(chromium);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("error_pages");
    std::fs::create_dir_all(&folder).unwrap();
    let look = "(() => { const of = (name, more) => { \
                const style = getComputedStyle(document.querySelector(name)); \
                return [style.color, style.backgroundColor, style.fontFamily].concat(more(style)) \
                .join() }; const sizes = style => [style.fontSize, style.maxWidth, style.margin]; \
                return [of('html', sizes), of('body', sizes), of('h1', sizes), of('a', () => [])] \
                .join(';') })()";
    for (width, scheme) in [(1000, "light"), (1000, "dark"), (390, "light"), (390, "dark")] {
        page.resize(width, 700, scheme);
        page.go(&format!("http://{}/shared/", server.address()));
        page.wait_until("document.title.startsWith('Index of') && !!document.querySelector('h1')");
        let listing = page.value(look);
        page.go(&format!("http://{}/shared/none", server.address()));
        page.wait_until("document.title.startsWith('404') && !!document.querySelector('a')");
        assert_eq!(page.value(look), listing, "{width} {scheme}");
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(page.value(fits), json!(true));
        page.draw(&folder.join(format!("{width}-{scheme}.png")));
    }
    page.value("document.querySelector('a').click()");
    page.wait_until("location.pathname === '/shared/' && document.title.startsWith('Index of')");
}
