//! The client's side of single exchanges: requests and responses.

use super::cases::Target;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request for a target's example.
pub fn request(target: Target, address: SocketAddr, closes: bool) -> Vec<u8> {
    let mut text = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n", target.example());
    for (name, value) in target.fields() {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if closes {
        text.push_str("Connection: close\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// The length of a whole response, and of its head, once the head has arrived. Fails for a response
/// without a length.
pub fn lengths(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(head) = whole_head(bytes) else { return Ok(None) };
    let length = field(&bytes[..head], "content-length").and_then(|length| length.parse().ok());
    let length: usize = length.ok_or_else(|| cut("it has no Content-Length"))?;
    Ok(Some((head + length, head)))
}

/// The length of the head, with the empty line behind it.
fn whole_head(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}

/// The value of a header field.
pub fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = head.split(|&byte| byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    lines
        .filter_map(|line| line.split_once(':'))
        .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value.trim()))
}

/// An error for a response that ends too early.
pub fn cut(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

/// Reads one response into `bytes`, its chunks joined. Returns the length of its head.
pub fn read_response(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    bytes.clear();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(head) = whole_head(bytes) {
            if field(&bytes[..head], "transfer-encoding") == Some("chunked") {
                if let Some(content) = joined(&bytes[head..]) {
                    bytes.truncate(head);
                    bytes.extend(content);
                    return Ok(head);
                }
            } else if lengths(bytes)?.is_some_and(|(whole, _)| bytes.len() >= whole) {
                return Ok(head);
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(cut("the response was cut")),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The content of chunks without trailers. `None` until all of them have arrived.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = chunks.windows(2).position(|window| window == b"\r\n")?;
        let size = str::from_utf8(&chunks[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let chunk = chunks.get(end + 2..)?.get(..size)?;
        chunks = chunks[end + 2 + size..].strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(chunk);
    }
}

/// Opens this many connections, each with one completed request, which then stay idle.
pub fn open_idle(address: SocketAddr, target: Target, count: usize) -> io::Result<Vec<TcpStream>> {
    let request = request(target, address, false);
    (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(&request)?;
            read_response(&mut stream, &mut Vec::new())?;
            Ok(stream)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_length() {
        let whole = b"HTTP/1.1 200 OK\r\nCONTENT-length:  3\r\nA: b\r\n\r\nabc";
        assert_eq!(lengths(whole).expect("a length"), Some((whole.len(), whole.len() - 3)));
        for end in 0..whole.len() - 3 {
            assert_eq!(lengths(&whole[..end]).expect("no error"), None, "{end} bytes");
        }
        for broken in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200\r\nContent-Length: x\r\n\r\n"] {
            assert!(lengths(broken.as_bytes()).is_err(), "{broken}");
        }
        let chunks = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(joined(chunks).as_deref(), Some(&b"abc0123456789"[..]));
        for end in 0..chunks.len() {
            assert_eq!(joined(&chunks[..end]), None, "{end} bytes");
        }
        assert_eq!(field(whole, "a"), Some("b"));
        assert_eq!(field(whole, "b"), None);
    }
}
