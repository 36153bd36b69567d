//! The client of the echo pair: sends one message and prints the reply.
//!
//! ```text
//! cargo run --example echo_client [HOST] [PORT]
//! ```
//!
//! It waits as long as the server takes. Start several at once: they are answered one delay after
//! another, because the echo server serves one client at a time.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 8081;
const MESSAGE: &str = "hello, is anybody there?\n";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let host = args.next().unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let port = args.next().map_or(Ok(DEFAULT_PORT), |text| text.parse::<u16>());
    let (Ok(port), None) = (port, args.next()) else {
        eprintln!("usage: echo_client [HOST] [PORT] (PORT: 1 to 65535)");
        return ExitCode::from(2);
    };
    match exchange(&host, port) {
        Ok(reply) => {
            print!("{}", String::from_utf8_lossy(&reply));
            if reply == MESSAGE.as_bytes() {
                return ExitCode::SUCCESS;
            }
            eprintln!("echo_client: {host}:{port} sent different bytes (is it an echo server?)");
        }
        Err(error) => {
            eprintln!("echo_client: cannot reach {host}:{port}: {error} (is echo_server running?)");
        }
    }
    ExitCode::FAILURE
}

/// Sends the message. Returns the reply, up to twice the message's length.
fn exchange(host: &str, port: u16) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect((host, port))?;
    server.write_all(MESSAGE.as_bytes())?;
    let mut reply = Vec::new();
    server.take(2 * MESSAGE.len() as u64).read_to_end(&mut reply)?;
    Ok(reply)
}
