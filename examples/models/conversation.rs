//! One connection from its first request to its end, by a thread that waits for the client.

use crate::duty::{Answer, Duty, HEAD_BYTES, head_length};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// How long it waits for bytes of the client, a common default of servers of this kind.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves one request after another until the connection ends. The thread belongs to this client
/// for all that time.
pub fn converse(mut stream: TcpStream, duty: &Duty) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    loop {
        let answer = match read_head(&mut stream, &mut read)? {
            None => return Ok(()),
            Some(length) => {
                let head: Vec<u8> = read.drain(..length).collect();
                duty.answer(&head)
            }
        };
        thread::sleep(answer.delay);
        stream.write_all(&answer.bytes)?;
        if answer.is_last {
            return Ok(());
        }
    }
}

/// Reads until a head is whole. Returns its length, or `None` at the end of the connection.
fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut some = [0; 1024];
    loop {
        if let Some(length) = head_length(read) {
            return Ok(Some(length));
        }
        if read.len() > HEAD_BYTES {
            let answer = Answer::error("431 Request Header Fields Too Large", true);
            stream.write_all(&answer.bytes)?;
            return Ok(None);
        }
        match stream.read(&mut some)? {
            0 => return Ok(None),
            count => read.extend_from_slice(&some[..count]),
        }
    }
}
