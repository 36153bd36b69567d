//! The system calls that a server makes after its start, with a reason for each.

use libc::{
    AF_UNIX, CLONE_THREAD, FIONBIO, PR_SET_NAME, PR_SET_TIMERSLACK, PROT_EXEC, TCGETS, TIOCOUTQ,
};

/// Reads the auxiliary vector of this process (`linux/prctl.h`).
const PR_GET_AUXV: u32 = 0x4155_5856;

/// A system call that is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its name in section 2 of the manual.
    pub name: &'static str,
    /// Its number on this machine.
    pub number: i64,
    /// The arguments with which it is allowed.
    pub with: With,
    /// Who makes it, and what for.
    pub reason: &'static str,
}

/// The arguments with which a call is allowed. Pointers are not followed.
#[derive(Debug, Clone, Copy)]
pub enum With {
    /// Any.
    Any,
    /// The low 32 bits of this argument are one of these.
    One(u8, &'static [u32]),
    /// This argument has all of the bits of the mask (`true`), or none (`false`).
    Bits(u8, u64, bool),
    /// This argument is a null pointer.
    Null(u8),
    /// This argument is the number of this process.
    Own(u8),
}

/// Rows with these names. `libc` has the numbers.
macro_rules! calls {
    ($($(#[$on:meta])* $name:ident $with:expr, $reason:literal;)*) => {
        &[$($(#[$on])* Call {
            name: stringify!($name),
            number: numbers::$name as i64,
            with: $with,
            reason: $reason,
        },)*]
    };
}

/// The numbers, by the names of the calls.
mod numbers {
    pub(super) use libc::{
        SYS_accept as accept, SYS_accept4 as accept4, SYS_brk as brk,
        SYS_clock_gettime as clock_gettime, SYS_clock_nanosleep as clock_nanosleep,
        SYS_clone as clone, SYS_close as close, SYS_epoll_create1 as epoll_create1,
        SYS_epoll_ctl as epoll_ctl, SYS_epoll_pwait as epoll_pwait, SYS_eventfd2 as eventfd2,
        SYS_exit as exit, SYS_exit_group as exit_group, SYS_faccessat2 as faccessat2,
        SYS_fcntl as fcntl, SYS_flock as flock, SYS_fstat as fstat, SYS_futex as futex,
        SYS_getcwd as getcwd, SYS_getdents64 as getdents64, SYS_geteuid as geteuid,
        SYS_getpid as getpid, SYS_getrandom as getrandom, SYS_getsockopt as getsockopt,
        SYS_gettid as gettid, SYS_ioctl as ioctl, SYS_lseek as lseek, SYS_madvise as madvise,
        SYS_mmap as mmap, SYS_mprotect as mprotect, SYS_mremap as mremap, SYS_munmap as munmap,
        SYS_newfstatat as newfstatat, SYS_openat as openat, SYS_openat2 as openat2,
        SYS_pipe2 as pipe2, SYS_ppoll as ppoll, SYS_prctl as prctl, SYS_pread64 as pread64,
        SYS_preadv2 as preadv2, SYS_prlimit64 as prlimit64, SYS_read as read,
        SYS_readlinkat as readlinkat, SYS_recvfrom as recvfrom, SYS_recvmsg as recvmsg,
        SYS_restart_syscall as restart_syscall, SYS_rseq as rseq, SYS_rt_sigaction as rt_sigaction,
        SYS_rt_sigprocmask as rt_sigprocmask, SYS_rt_sigreturn as rt_sigreturn,
        SYS_sched_getaffinity as sched_getaffinity, SYS_sched_getattr as sched_getattr,
        SYS_sched_setattr as sched_setattr, SYS_sched_yield as sched_yield,
        SYS_sendfile as sendfile, SYS_sendmsg as sendmsg, SYS_sendto as sendto,
        SYS_set_robust_list as set_robust_list, SYS_setsockopt as setsockopt,
        SYS_shutdown as shutdown, SYS_sigaltstack as sigaltstack, SYS_socketpair as socketpair,
        SYS_statx as statx, SYS_sysinfo as sysinfo, SYS_tgkill as tgkill,
        SYS_timerfd_create as timerfd_create, SYS_timerfd_settime as timerfd_settime,
        SYS_uname as uname, SYS_unlinkat as unlinkat, SYS_write as write, SYS_writev as writev,
    };
    #[cfg(target_arch = "x86_64")]
    pub(super) use libc::{
        SYS_lstat as lstat, SYS_open as open, SYS_readlink as readlink, SYS_stat as stat,
        SYS_unlink as unlink,
    };
}

/// All of them. What is not here fails with `EPERM`.
pub const ALLOWED: &[Call] = calls! {
    // Connections of the listeners that are open already.
    accept With::Any, "the takeover's thread, and the acceptor elsewhere than on Linux";
    accept4 With::Any, "the acceptor takes connections";
    epoll_create1 With::Any, "the admin page and the agent start with pollers of their own";
    epoll_ctl With::Any, "connections are registered with the poller";
    epoll_pwait With::Any, "the acceptor waits for clients";
    timerfd_create With::Any, "each poller has an alarm";
    timerfd_settime With::Any, "the acceptor's next look at deadlines";
    eventfd2 With::Any, "workers wake the acceptor";
    getsockopt With::Any, "TCP_INFO, SO_PEERCRED and errors of sockets";
    setsockopt With::Any, "options of connections, and the filter that ends a listener";
    shutdown With::Any, "the end of a connection";
    ioctl With::One(1, &[FIONBIO as u32, TIOCOUTQ as u32, TCGETS as u32]),
        "non-blocking sockets, unacknowledged bytes, whether the log goes to a terminal; \
         not TIOCSTI, which types into the terminal";
    socketpair With::One(0, &[AF_UNIX as u32]), "threads of this process wake one another";
    pipe2 With::Any, "the same, for the agent";
    // Bytes.
    read With::Any, "requests, files, wake-ups";
    recvfrom With::Any, "requests";
    recvmsg With::Any, "a takeover's messages";
    write With::Any, "responses, log lines, wake-ups";
    writev With::Any, "a response's head with its content";
    sendto With::Null(4),
        "responses, and messages to the service manager: to connected peers alone";
    sendmsg With::Any,
        "responses that more follows, a takeover's listeners; the filter does not see addresses";
    sendfile With::Any, "files go to sockets";
    pread64 With::Any, "files are read at a place";
    preadv2 With::Any, "files are read if they are in memory (RWF_NOWAIT)";
    ppoll With::Any, "waits for one socket";
    // Files. Landlock says which.
    openat With::Any, "files, and the log when it is reopened";
    openat2 With::Any, "files beneath the root (RESOLVE_BENEATH)";
    close With::Any, "descriptors";
    fcntl With::Any, "flags of descriptors, and copies of them";
    fstat With::Any, "size and date of an open file";
    newfstatat With::Any, "size and date of a file";
    statx With::Any, "the same";
    faccessat2 With::Any, "an archive leaves out files that may not be read";
    lseek With::Any, "the place in a file that is read to its end";
    getdents64 With::Any, "listings, and the count of open descriptors";
    readlinkat With::Any, "symbolic links are resolved beneath the root";
    getcwd With::Any, "the start line has the whole path of the root";
    flock With::Any, "servers take turns at the folder of a UNIX socket";
    unlinkat With::Any, "a UNIX socket's file is removed at the end";
    #[cfg(target_arch = "x86_64")]
    open With::Any, "openat, as some C libraries make it";
    #[cfg(target_arch = "x86_64")]
    stat With::Any, "newfstatat, as some C libraries make it";
    #[cfg(target_arch = "x86_64")]
    lstat With::Any, "the same";
    #[cfg(target_arch = "x86_64")]
    readlink With::Any, "readlinkat, as some C libraries make it";
    #[cfg(target_arch = "x86_64")]
    unlink With::Any, "unlinkat, as some C libraries make it";
    // Memory, without code: nothing becomes executable.
    brk With::Any, "the heap";
    mmap With::Bits(2, PROT_EXEC as u64, false), "the heap and stacks of threads; no code";
    mprotect With::Bits(2, PROT_EXEC as u64, false), "guard pages of stacks; no code";
    mremap With::Any, "large blocks of the heap grow";
    munmap With::Any, "memory is given back";
    madvise With::Any, "the same, while addresses are kept";
    // Threads of this process.
    clone With::Bits(0, CLONE_THREAD as u64, true), "threads; no processes";
    exit With::Any, "a thread ends";
    exit_group With::Any, "the process ends";
    futex With::Any, "locks and channels";
    sched_yield With::Any, "a short wait for another thread";
    sched_getaffinity With::Any, "the number of processors";
    sched_getattr With::One(0, &[0]), "a thread looks at its own slice of processor time";
    sched_setattr With::One(0, &[0]), "an acceptor asks for a short one";
    set_robust_list With::Any, "the C library starts a thread";
    rseq With::Any, "the same";
    sigaltstack With::Any, "the same: a stack for the report of a stack overflow";
    prctl With::One(0, &[PR_SET_NAME as u32, PR_SET_TIMERSLACK as u32, PR_GET_AUXV]),
        "names of threads, precise sleeps, and the size of pages";
    getpid With::Any, "the number of this process";
    gettid With::Any, "the number of a thread";
    tgkill With::Own(0), "abort: a signal to this process alone";
    // Signals.
    rt_sigaction With::Any, "the handlers of signals";
    rt_sigprocmask With::Any, "the C library starts a thread";
    rt_sigreturn With::Any, "a handler returns";
    restart_syscall With::Any, "a wait goes on after a signal";
    // Time.
    clock_gettime With::Any, "the time, where the machine has no faster way";
    clock_nanosleep With::Any, "sleeps: --delay, pauses of threads";
    // What this process may know.
    getrandom With::Any, "seeds of hash tables and of random numbers";
    geteuid With::Any, "whose process a takeover's is";
    prlimit64 With::Null(2), "limits are read, and not set";
    sysinfo With::Any, "the machine's memory";
    uname With::Any, "the machine's name, to which the admin page answers";
};
