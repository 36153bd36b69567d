//! Opens connections that are served once and then stay idle.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Opens this many connections, each with one completed request.
pub fn open(address: SocketAddr, path: &str, count: usize) -> io::Result<Vec<TcpStream>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(request.as_bytes())?;
            read_response(&mut stream, &mut Vec::new())?;
            Ok(stream)
        })
        .collect()
}

/// Reads one response with a Content-Length into `bytes`. Returns the length of its head.
pub fn read_response(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let cut = |what| io::Error::new(io::ErrorKind::UnexpectedEof, what);
    bytes.clear();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = length.and_then(|length| length.trim().parse::<usize>().ok());
            let whole = at + 4 + length.ok_or_else(|| cut("it has no Content-Length"))?;
            while bytes.len() < whole {
                match stream.read(&mut buffer)? {
                    0 => return Err(cut("the content was cut")),
                    count => bytes.extend_from_slice(&buffer[..count]),
                }
            }
            return Ok(at + 4);
        }
        match stream.read(&mut buffer)? {
            0 => return Err(cut("the head was cut")),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
