//! The README of a directory below its listing: `--readme`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::browser::Page;
use crate::support::{RealServer, Site, get, installed, wait_for};
use serde_json::json;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// What is in the article of a page, if it has one.
fn article(server: &RealServer, path: &str) -> Option<String> {
    let reply = get(server.address(), path);
    assert_eq!(reply.status, 200, "{path}");
    let page = String::from_utf8(reply.body).unwrap();
    assert!(page.ends_with("</script></body></html>\n"), "the page is whole: {page}");
    let article = page.split_once("<article>")?.1.split_once("</article>")?.0;
    Some(article.to_owned())
}

#[test]
fn a_readme_is_shown_below_its_listing_if_it_may_be_served() {
    let outside = Site::new();
    outside.put("secret", "a secret");
    let site = Site::new();
    site.put("md/README.md", "# Title\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n");
    site.put("text/readme.txt", "a <b>\n\tc\n");
    site.put("both/README", "plain");
    site.put("both/Readme.md", "*marked*");
    site.put("none/a.txt", "a");
    site.put("long/README.md", "a line of text\n\n".repeat(10_000));
    site.put("linked/docs/text", "linked text");
    symlink("docs/text", site.path().join("linked/README")).unwrap();
    site.put("out/a.txt", "a");
    symlink(outside.path().join("secret"), site.path().join("out/README.md")).unwrap();
    std::fs::create_dir_all(site.path().join("folder/README.md")).unwrap();
    site.put("indexed/index.html", "the index");
    site.put("indexed/README.md", "unseen");
    site.put(".hidden/README.md", "unseen");
    let server = RealServer::start(&site, &["--readme"]);

    let md = article(&server, "/md/").unwrap();
    assert!(md.contains("<h1>Title</h1>") && md.contains("&lt;script&gt;alert(1)"), "{md}");
    assert!(!md.contains("<script") && !md.contains("javascript:"), "{md}");
    let rows = [
        ("/text/", "<pre class=\"t\">a &lt;b&gt;\n\tc\n</pre>"),
        ("/both/", "<em>marked</em>"),
        ("/linked/", "linked text"),
        ("/long/", "<p>There is more in <a href=\"./README.md\">README.md</a>.</p>"),
    ];
    for (path, shown) in rows {
        let article = article(&server, path).unwrap();
        assert!(article.contains(shown), "{path}: {article}");
    }
    for path in ["/none/", "/out/", "/folder/", "/"] {
        assert_eq!(article(&server, path), None, "{path}");
    }
    assert_eq!(get(server.address(), "/indexed/").body, b"the index");
    assert_eq!(get(server.address(), "/.hidden/").status, 404);
    let json = get(server.address(), "/md/?format=json").body;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), 1);

    // A change shows within a second, although the directory is as before.
    site.put("text/readme.txt", "changed");
    wait_for("the new text", || article(&server, "/text/")?.contains("changed").then_some(()));
    let without = RealServer::start(&site, &[]);
    assert_eq!(article(&without, "/md/"), None, "it is off by default");
}

/// A FIFO has a reader only if somebody opens it, which would hold a worker.
#[test]
fn a_readme_that_is_no_file_is_not_opened() {
    let site = Site::new();
    site.put("dir/a.txt", "a");
    let fifo = site.path().join("dir/README");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let server = RealServer::start(&site, &["--readme", "--workers", "1"]);
    assert_eq!(article(&server, "/dir/"), None);
}

/// The policy of the page allows what the page needs, and nothing else: nothing of a hostile README
/// runs or is loaded.
#[test]
fn a_readme_is_drawn_and_nothing_of_it_runs_in_a_browser() {
    let Some(chromium) = installed("chromium") else { return };
    let site = Site::new();
    let markdown = "# Holiday pictures\n\nThe pictures of *2026*, with `notes`. See [the list]\
        (docs/list.md), [elsewhere](https://other.example/) or ![a picture](lake.png).\n\n\
        | day | place | what |\n|--|:-:|--:|\n| 1 | Lake | swimming and a very long walk |\n\
        \n```sh\ncurl -O http://server.example/a/very/long/path/to/a/picture/that/is/wide\n```\n\
        \n> A quote.\n\n1. one\n2. two\n\n<script>window.ran = 1</script>\n\n\
        <img src=x onerror='window.ran = 1'> [x](javascript:window.ran=1)\n\n\
        ![x](https://other.example/pixel.png)\n";
    site.put("shared/README.md", markdown);
    for name in ["lake.png", "notes.txt", "docs/list.md"] {
        site.put(&format!("shared/{name}"), name);
    }
    let server = RealServer::start(&site, &["--readme", "--archive"]);
    let mut page = Page::open(chromium);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("readme");
    std::fs::create_dir_all(&folder).unwrap();
    for (width, scheme) in [(1000, "light"), (1000, "dark"), (390, "light"), (390, "dark")] {
        page.resize(width, 700, scheme);
        page.go(&format!("http://{}/shared/", server.address()));
        page.wait_until("document.querySelector('footer i')?.textContent === 'times are local'");
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(page.value(fits), json!(true), "{width} {scheme}");
        page.draw(&folder.join(format!("{width}-{scheme}.png")));
    }
    // All columns of its tables are there, on a phone as well.
    let cells = "[...document.querySelectorAll('article th')]\
                 .filter(cell => getComputedStyle(cell).display === 'table-cell').length";
    assert_eq!(page.value(cells), json!(3));
    page.value(
        "document.querySelectorAll('article a').forEach(link => \
                link.href.startsWith('javascript') && link.click())",
    );
    assert_eq!(page.value("typeof window.ran"), json!("undefined"));
    let own = format!("http://{}/", server.address());
    assert!(page.requests().iter().all(|url| url.starts_with(&own)), "{:?}", page.requests());
    let complaints: Vec<_> =
        page.complaints().into_iter().filter(|of| !of.to_string().contains("favicon")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
