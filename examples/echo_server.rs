//! The server of the echo pair: takes one client at a time and sends its message back.
//!
//! ```text
//! cargo run --example echo_server [PORT] [DELAY_MS]
//! ```
//!
//! This is where a concurrent server starts from, and what is wrong with it is the lesson. One
//! thread does everything in turn, so n clients take n delays however idle the machine is; and a
//! client that connects and says nothing holds the thread for as long as it likes, while all the
//! others wait behind it. A pool of threads divides the first by its size, and a server must
//! not give a thread to a silent client at all to be rid of the second.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

/// The web server's default is 8080; the pair keeps out of its way.
const DEFAULT_PORT: u16 = 8081;
const DEFAULT_DELAY_MS: u64 = 1000;

/// The longest message, in bytes; what a client sends beyond it is not echoed.
const MAX_MESSAGE: usize = 4096;

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let port = args.next().map_or(Ok(DEFAULT_PORT), |text| text.parse());
    let delay = args.next().map_or(Ok(DEFAULT_DELAY_MS), |text| text.parse());
    let (Ok(port), Ok(delay), None) = (port, delay, args.next()) else {
        eprintln!("usage: echo_server [PORT] [DELAY_MS] (a port is 0 to 65535; 0 takes any)");
        return ExitCode::from(2);
    };
    match serve(port, Duration::from_millis(delay)) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("echo_server: cannot serve on port {port}: {error} (choose another port)");
            ExitCode::FAILURE
        }
    }
}

/// One client after the other, for ever; only an error of the listener ends it.
fn serve(port: u16, delay: Duration) -> io::Result<std::convert::Infallible> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    loop {
        let (client, address) = listener.accept()?;
        if let Err(error) = echo(client, delay) {
            eprintln!("echo_server: cannot answer {address}: {error}");
        }
    }
}

/// Everything for one client, while the next one waits.
fn echo(mut client: TcpStream, delay: Duration) -> io::Result<()> {
    let message = read_message(&mut client)?;
    thread::sleep(delay);
    client.write_all(&message)
}

/// A message ends with a line end, or where the client stops sending: one `read` may bring
/// less than what one `write` sent.
fn read_message(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; MAX_MESSAGE];
    let mut length = 0;
    while length < MAX_MESSAGE {
        match client.read(&mut message[length..])? {
            0 => break,
            count => length += count,
        }
        if message[length - 1] == b'\n' {
            break;
        }
    }
    message.truncate(length);
    Ok(message)
}
