//! The live page: its markup, style and script, put into one.

use crate::handler::Response;

const MARKUP: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page asks nobody but its own server for anything, whatever might be put into it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'";

/// The answer to `/`.
pub(super) fn response() -> Response {
    let page = MARKUP.replacen("/* style */", STYLE, 1).replacen("/* script */", SCRIPT, 1);
    Response::ok("text/html; charset=utf-8", page)
        .with_known_field("Content-Security-Policy", POLICY)
}
