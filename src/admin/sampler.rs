//! The thread that samples an observed server.

use super::Watch;
use crate::server::StartError;
use crossbeam_channel::{Sender, bounded};
use std::convert::Infallible;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// The running thread. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Sampler {
    // Dropped first: the thread sees that it is gone, and can be joined.
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    pub(super) fn start(watch: Arc<Watch>) -> Result<Self, StartError> {
        let (stop, stopped) = bounded(0);
        let thread = thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || watch.sample_until(&stopped))
            .map_err(StartError::System)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the sampler of the admin server panicked");
        }
    }
}
