//! The live page: markup, style and script in one document.

use crate::handler::Response;

const MARKUP: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "\"use strict\";\n",
    include_str!("page/draw.js"),
    include_str!("page/lines.js"),
    include_str!("page/curve.js"),
    include_str!("page/strips.js"),
    include_str!("page/heat.js"),
    include_str!("page.js"),
);

/// The page may load data from its own server only.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'";

/// The response to `/`.
pub(super) fn response() -> Response {
    let page = MARKUP.replacen("/* style */", STYLE, 1).replacen("/* script */", SCRIPT, 1);
    Response::ok("text/html; charset=utf-8", page)
        .with_known_field("Content-Security-Policy", POLICY)
}
