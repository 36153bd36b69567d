//! Sequential: one thread, one client after another.
//!
//! It carries 1/D requests per second. A client that sends nothing blocks all others.

use crate::conversation::converse;
use crate::duty::Duty;
use std::io;
use std::net::TcpListener;

pub fn serve(listener: &TcpListener, duty: &Duty) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // An error of one client does not concern the server.
        let _ = converse(stream, duty);
    }
}
