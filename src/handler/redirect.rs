//! Redirects from the path of a directory to the same path with a slash at its end.

use super::response::Response;
use crate::http::status::Status;
use crate::http::target::{SEGMENT, Target};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// The bytes to percent-encode in a query, which otherwise stays the same: a field cannot contain
/// them.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// The redirect for a target that names a directory without a slash. With the slash, relative links
/// on its page lead to the right place.
pub(crate) fn redirect_to_slash(target: &Target<'_>) -> Response {
    // The location is relative, so that it is right under any prefix of a mount or a proxy. It is
    // made from the decoded name, so that it cannot lead to another host.
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
    Response::error(Status::MOVED_PERMANENTLY, "This is a directory. Its address ends in a slash.")
        .with_known_field("Location", &location)
}
