//! The link's ends: TUN devices (`Documentation/networking/tuntap.rst` of the kernel), and the
//! threads that carry packets between them.

use super::wire::{Line, picoseconds};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Updater, ioctl, opcode};
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// The most packets that are read before those that are due are delivered.
const BATCH: usize = 16;

/// Opens a new device in the network namespace of the calling thread. It takes packets of up to
/// 64 KiB, as hardware with segmentation offload does, each with a header.
pub fn open(name: &str) -> io::Result<File> {
    let device = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_flags: flags as libc::c_short };
    let mut request = libc::ifreq { ifr_name, ifr_ifru };
    attach(&device, &mut request, libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6)?;
    Ok(device)
}

#[allow(unsafe_code, reason = "no crate that is used here wraps these two requests")]
fn attach(device: &File, request: &mut libc::ifreq, offload: libc::c_uint) -> io::Result<()> {
    const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<libc::c_int>(b'T', 202);
    const TUNSETOFFLOAD: rustix::ioctl::Opcode = opcode::write::<libc::c_uint>(b'T', 208);
    // SAFETY: TUNSETIFF takes a pointer to an `ifreq`, which it also writes, and TUNSETOFFLOAD a
    // number (`drivers/net/tun.c`).
    unsafe {
        ioctl(device, Updater::<TUNSETIFF, libc::ifreq>::new(request))?;
        ioctl(device, IntegerSetter::<TUNSETOFFLOAD>::new_usize(offload as usize))?;
    }
    Ok(())
}

/// Carries packets in one direction until the other end of `stop` is closed.
pub fn carry(from: &File, to: &File, mut line: Line, stop: BorrowedFd<'_>) -> io::Result<()> {
    // Request precise timers, so that deliveries are on time.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let start = Instant::now();
    let now = || picoseconds(start.elapsed());
    loop {
        let wait = line.due().map(|due| Duration::from_nanos(due.saturating_sub(now()) / 1000));
        let arrivals = if line.room().is_some() { PollFlags::IN } else { PollFlags::empty() };
        let mut ends =
            [PollFd::from_borrowed_fd(stop, PollFlags::empty()), PollFd::new(from, arrivals)];
        let timeout = wait.map(|wait| Timespec {
            tv_sec: wait.as_secs() as _,
            tv_nsec: wait.subsec_nanos().into(),
        });
        match poll(&mut ends, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !ends[0].revents().is_empty() {
            return Ok(());
        }
        if ends[1].revents().contains(PollFlags::IN) {
            for _ in 0..BATCH {
                let Some(room) = line.room() else { break };
                match rustix::io::read(from, room) {
                    Ok(length) => line.push(length, now()),
                    Err(Errno::AGAIN | Errno::INTR) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let by = now();
        while let Some(packet) = line.pop(by) {
            // A packet that the receiving end refuses is lost, as on any link.
            let _ = rustix::io::write(to, packet);
        }
    }
}
