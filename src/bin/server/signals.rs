//! The signals that stop the server, and the one that reopens its log.

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{io, process, thread};

/// Why a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A signal.
    Signal,
    /// Another process, with this number, has its listeners.
    TakenOver(u32),
}

/// Waits for SIGINT and SIGTERM. `ends` gets the first one. The second one ends the process at
/// once, with the shell's exit code for it. SIGHUP calls `hung_up` and ends nothing.
pub fn watch(ends: Sender<End>, hung_up: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
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
    Ok(())
}
