//! The signals that end the server, and the one that says that its log was moved away.

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{io, process, thread};

/// Waits for SIGINT and SIGTERM: the receiver gets the first one, and the second one ends the
/// process at once, with the shell's code for it. SIGHUP calls `hung_up`, and ends nothing.
pub fn watch(hung_up: impl Fn() + Send + 'static) -> io::Result<Receiver<()>> {
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (first, received) = bounded(1);
    // Little else in this thread: it must get to the second signal whatever else hangs.
    let wait = move || {
        let mut arrived = signals.forever().filter(|&signal| {
            if signal == SIGHUP {
                hung_up();
            }
            signal != SIGHUP
        });
        if arrived.next().is_some() {
            let _ = first.send(());
        }
        if let Some(signal) = arrived.next() {
            process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(received)
}
