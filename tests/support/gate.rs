//! A server with one worker that a test holds.

use super::{Reply, connect, wait_for};
use crossbeam_channel::{Receiver, Sender, unbounded};
use cws::{Accepts, Config, Handler, Request, Response, Server};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A handler that holds its worker at `/` until it is released, and counts its calls.
struct Gate {
    entered: Arc<AtomicUsize>,
    released: Receiver<()>,
}

impl Handler for Gate {
    type State = ();

    fn state(&self, _: usize) {}

    fn accepts(&self) -> Accepts {
        Accepts::nothing().with_bodies("/kept", 4096)
    }

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, cws::Error> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        if request.target.raw == b"/" {
            let _ = self.released.recv();
        }
        Ok(Response::ok("text/plain", "released"))
    }
}

/// The server, and what holds its worker.
pub struct Gated {
    // First: the worker is released before the server waits for it.
    pub release: Sender<()>,
    pub server: Server,
    /// The number of calls of the handler.
    pub entered: Arc<AtomicUsize>,
}

impl Gated {
    pub fn start(config: Config) -> Self {
        let entered = Arc::new(AtomicUsize::new(0));
        let (release, released) = unbounded();
        let gate = Gate { entered: Arc::clone(&entered), released };
        // A slow test is not an idle client.
        let config = config.workers(1).idle_timeout(Duration::from_secs(3600));
        let server = Server::start(config, gate).unwrap();
        Self { release, server, entered }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// The number of calls of the handler.
    pub fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }

    /// A connection whose request holds the only worker.
    pub fn hold_the_worker(&self) -> TcpStream {
        let before = self.entered();
        let stream = self.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_for("the worker to be held", || (self.entered() > before).then_some(()));
        stream
    }

    /// A connection that has sent these bytes.
    pub fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = connect(self.address());
        stream.write_all(bytes).unwrap();
        stream
    }

    /// Sends a request on `stream` until it is not refused any more.
    pub fn ask_until_served(&self, stream: &mut TcpStream) -> Reply {
        wait_for("room for a request", || {
            stream.write_all(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            Some(Reply::read(stream)).filter(|reply| reply.status != 503)
        })
    }
}
