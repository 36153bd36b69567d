//! The redirect from a directory's name to the same with a slash behind it.

use super::response::Response;
use crate::http::status::Status;
use crate::http::target::{SEGMENT, Target};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// A query passes as it is, but for bytes that cannot stand in a field.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// A directory is named with a slash, so that relative links in it lead to the right place.
pub(crate) fn redirect_to_slash(target: &Target<'_>) -> Response {
    // Relative, so that it holds under any prefix, of a mount or of a proxy; made from the decoded
    // name, so that it cannot lead to another host.
    let mut location = String::from("./");
    let prefix = target.path.prefix().rsplit(|&byte| byte == b'/').next();
    let name = target.path.segments().last().or(prefix).unwrap_or_default();
    if !name.is_empty() {
        location.extend(percent_encode(name, SEGMENT));
        location.push('/');
    }
    if let Some(query) = target.query {
        location.push('?');
        location.extend(percent_encode(query, QUERY));
    }
    Response::error(Status::MOVED_PERMANENTLY, "This is a directory; its name ends in a slash.")
        .with_known_field("Location", &location)
}
