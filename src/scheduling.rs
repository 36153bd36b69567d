//! What threads ask of the system's scheduler.

use crate::notes::note;

/// The slice of a thread that runs in short turns, in nanoseconds: the shortest that Linux takes
/// (`kernel/sched/syscalls.c` clamps it to .1 to 100 ms; the usual one is 1 to 3 ms).
#[cfg(target_os = "linux")]
const SHORT_SLICE: u64 = 100_000;

/// Has the scheduler run this thread as soon as it is woken, for a short turn.
///
/// Linux hands out processor time by virtual deadlines (EEVDF). A thread that asks for shorter
/// slices gets no more time in all, but gets it earlier: whoever runs when it is woken makes way at
/// once, instead of at the end of a slice of milliseconds. This needs Linux 6.12 or later and no
/// privilege. Earlier kernels ignore it. A thread with another policy, such as one that runs in
/// real time, keeps what it has.
pub fn run_soon() {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::ask_for_slice(SHORT_SLICE) {
        note!(Debug, "cannot ask for short slices of processor time: {error}");
    }
}

/// Makes sleeps of this thread precise. With the default timer slack a sleep of D takes 50
/// microseconds or more too long, and the pool would miss W/D by that much.
pub fn sleep_precisely() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        note!(Debug, "cannot set the timer slack: {error}");
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no crate that is used here wraps these calls")]
mod linux {
    use std::io;

    const SIZE: u32 = size_of::<libc::sched_attr>() as u32;

    /// Asks for slices of this many nanoseconds, if the thread has the usual policy.
    pub(super) fn ask_for_slice(nanoseconds: u64) -> io::Result<()> {
        let attributes = attributes()?;
        if attributes.sched_policy.cast_signed() != libc::SCHED_OTHER {
            return Ok(());
        }
        // The rest stays, the niceness above all.
        let wanted = libc::sched_attr { sched_runtime: nanoseconds, ..attributes };
        // SAFETY: the kernel reads `SIZE` bytes of `wanted`, which lives until the call returns.
        let outcome = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The attributes of this thread (`sched_getattr(2)`).
    pub(super) fn attributes() -> io::Result<libc::sched_attr> {
        let mut attributes = libc::sched_attr {
            size: SIZE,
            sched_policy: 0,
            sched_flags: 0,
            sched_nice: 0,
            sched_priority: 0,
            sched_runtime: 0,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: the kernel writes at most `SIZE` bytes to `attributes`, which lives until the
        // call returns.
        let outcome =
            unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
        if outcome == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_that_runs_soon_has_short_slices_and_else_what_it_had() {
        let (before, after) = thread::spawn(|| {
            let before = linux::attributes().expect("a thread may ask for its own");
            linux::ask_for_slice(SHORT_SLICE).expect("it needs no privilege");
            (before, linux::attributes().expect("a thread may ask for its own"))
        })
        .join()
        .expect("no panic");
        assert_eq!(
            (after.sched_policy, after.sched_nice, after.sched_flags),
            (before.sched_policy, before.sched_nice, before.sched_flags)
        );
        // Kernels before 6.12 tell no slice.
        if before.sched_runtime != 0 {
            assert!(before.sched_runtime > SHORT_SLICE, "{}", before.sched_runtime);
            assert_eq!(after.sched_runtime, SHORT_SLICE);
        }
    }
}
