//! What proxies in front of the server say of their clients, as pure functions on bytes.
//!
//! - `header`: the PROXY protocol, in front of a connection.
//! - `forwarded`: the fields `Forwarded` and `X-Forwarded-For` of a request.
//! - `request_id`: identifiers of requests.

#[cfg(feature = "proxy")]
pub mod forwarded;
#[cfg(feature = "proxy")]
pub mod header;
pub mod request_id;

use crate::http::request::split_request_line;

/// The values of the fields with this name in a complete head, the last one first, with the white
/// space around them removed. Names are case-insensitive.
pub fn values_from_last<'b>(head: &'b [u8], name: &str) -> impl Iterator<Item = &'b [u8]> {
    let (_, fields) = split_request_line(head);
    fields.rsplit(|&byte| byte == b'\n').filter_map(move |line| {
        let (found, rest) = line.split_at_checked(name.len())?;
        let is_named = found.eq_ignore_ascii_case(name.as_bytes());
        Some(rest.strip_prefix(b":").filter(|_| is_named)?.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names_from_the_last() {
        let head = b"GET /A:0 HTTP/1.1\r\nA: 1\r\na:2\nAB: 3\r\nA : 4\r\nB: A: 5\r\nA:\t6 \r\n\r\n";
        let values: Vec<&[u8]> = values_from_last(head, "A").collect();
        assert_eq!(values, [&b"6"[..], b"2", b"1"]);
        assert_eq!(values_from_last(b"GET /\n", "A").count(), 0, "HTTP/0.9 has no fields");
        assert_eq!(values_from_last(b"", "A").count(), 0);
    }
}
