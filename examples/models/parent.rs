//! A process that ends with its parent, however that ends.

/// The system kills this process when its parent has ended. Only Linux can.
pub fn follow() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(SIGNAL)) {
        log::debug!("cannot ask for the end of the parent: {error}");
    }
}

#[cfg(target_os = "linux")]
const SIGNAL: rustix::process::Signal = rustix::process::Signal::KILL;
