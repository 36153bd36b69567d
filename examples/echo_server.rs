//! The server of the echo pair: serves one client at a time and sends its message back.
//!
//! ```text
//! cargo run --example echo_server [PORT] [DELAY_MS]
//! ```
//!
//! It shows why a server needs concurrency. One thread does everything in turn, so n clients take n
//! delays even if the machine is idle. A client that connects and sends nothing blocks the thread,
//! and all other clients wait. A pool of threads divides the first wait by its size. To solve the
//! second problem, a server must not give a thread to a silent client at all.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

/// Not 8080, which is the web server's default.
const DEFAULT_PORT: u16 = 8081;
const DEFAULT_DELAY_MS: u64 = 1000;

/// The longest message in bytes. Bytes beyond it are not echoed.
const MAX_MESSAGE: usize = 4096;

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let port = args.next().map_or(Ok(DEFAULT_PORT), |text| text.parse());
    let delay = args.next().map_or(Ok(DEFAULT_DELAY_MS), |text| text.parse());
    let (Ok(port), Ok(delay), None) = (port, delay, args.next()) else {
        eprintln!("usage: echo_server [PORT] [DELAY_MS] (PORT: 0 to 65535; 0 chooses a free port)");
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

/// Serves one client after another. Only an error of the listener ends it.
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

/// Serves one client while the next one waits.
fn echo(mut client: TcpStream, delay: Duration) -> io::Result<()> {
    let message = read_message(&mut client)?;
    thread::sleep(delay);
    client.write_all(&message)
}

/// A message ends with a line end, or when the client stops sending. One `read` may return less
/// than one `write` sent.
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
