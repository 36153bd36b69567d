//! A socket registered with the `polling` crate in level-triggered mode.

use polling::{Event, PollMode, Poller};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

/// A registered socket. Dropping it removes the registration.
#[derive(Debug)]
pub struct Watched {
    stream: TcpStream,
    key: usize,
    poller: Arc<Poller>,
}

/// The event to wait for. Errors and hang-ups are reported with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Bytes or an end have arrived.
    Readable,
    /// There is room for bytes, or bytes or an end have arrived.
    Any,
}

impl Watched {
    /// Registers the socket with this key.
    ///
    /// # Errors
    ///
    /// If the system cannot watch it.
    #[allow(unsafe_code, reason = "the poller cannot know how long a descriptor stays open")]
    pub fn new(
        stream: TcpStream,
        key: usize,
        readiness: Readiness,
        poller: &Arc<Poller>,
    ) -> io::Result<Self> {
        // SAFETY: a descriptor must be deleted from the poller before it is closed. `drop` does so:
        // this owns both the socket and a handle on the poller, and gives neither away.
        unsafe { poller.add_with_mode(&stream, event(key, readiness), PollMode::Level)? };
        Ok(Self { stream, key, poller: Arc::clone(poller) })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Changes the event to wait for.
    ///
    /// # Errors
    ///
    /// If the system cannot watch it.
    pub fn set_readiness(&self, readiness: Readiness) -> io::Result<()> {
        let event = event(self.key, readiness);
        self.poller.modify_with_mode(&self.stream, event, PollMode::Level)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Err(error) = self.poller.delete(&self.stream) {
            log::debug!("cannot stop watching a socket: {error}");
        }
    }
}

fn event(key: usize, readiness: Readiness) -> Event {
    match readiness {
        Readiness::Readable => Event::readable(key),
        Readiness::Any => Event::all(key),
    }
}
