//! The signals that stop the server, and the one that reopens its log.

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::{io, process, thread};

/// Why a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A signal.
    Signal,
    /// Another process, with this number, has its listeners.
    TakenOver(u32),
}

/// The signals from now on.
#[derive(Debug)]
pub struct Caught {
    signals: Signals,
    /// While this is true, a signal that stops the server ends the process at once, as if nobody
    /// caught it: nothing is served yet.
    is_starting: Arc<AtomicBool>,
}

/// Catches SIGHUP, and SIGINT and SIGTERM from the moment at which somebody waits for them.
pub fn catch() -> io::Result<Caught> {
    let is_starting = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_default(signal, Arc::clone(&is_starting))?;
    }
    Ok(Caught { signals: Signals::new([SIGHUP, SIGINT, SIGTERM])?, is_starting })
}

impl Caught {
    /// Waits for SIGINT and SIGTERM. `ends` gets the first one. The second one ends the process at
    /// once, with the shell's exit code for it. SIGHUP calls `hung_up` and ends nothing.
    pub fn wait(self, ends: Sender<End>, hung_up: impl Fn() + Send + 'static) -> io::Result<()> {
        let Self { mut signals, is_starting } = self;
        // This thread does little else: it must handle the second signal even if all other threads
        // hang.
        let wait = move || {
            let mut arrived = signals.forever().filter(|&signal| {
                if signal == SIGHUP {
                    hung_up();
                }
                signal != SIGHUP
            });
            if arrived.next().is_some() {
                let _ = ends.send(End::Signal);
            }
            if let Some(signal) = arrived.next() {
                process::exit(128 + signal);
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        is_starting.store(false, SeqCst);
        Ok(())
    }
}
