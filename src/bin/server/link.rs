//! The messages between a running server and its successor: lines of text on a UNIX socket, one of
//! them with the listeners.

use crate::listeners::{Copied, Passed, Role};
use cws::Listener;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How a successor begins its first line, with the version of the protocol. The number of its
/// process follows.
pub(crate) const HELLO: &str = "cws-takeover 1";
/// The successor serves.
pub(crate) const READY: &str = "ready";
/// The running server has heard that.
pub(crate) const GO: &str = "go";
/// From now on the listeners are the successor's.
pub(crate) const TAKEN: &str = "taken";
/// What the line begins with that has the listeners.
const LISTENERS: &str = "listeners";
/// What a refusal begins with.
const ERROR: &str = "error ";

/// The shortest wait for bytes: zero would mean no limit.
const LOOK: Duration = Duration::from_millis(1);

/// The longest line, in bytes.
const LINE: usize = 4096;

/// The most listeners that are passed.
pub(crate) const LISTENERS_MOST: usize = 64;

/// A connection to the other process.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    /// What has come of the next line.
    buffer: Vec<u8>,
    sockets: Vec<OwnedFd>,
}

/// What a running server passes.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The number of its process.
    pub(crate) process: u32,
    pub(crate) passed: Vec<Passed>,
    /// The interval in which its service manager expects a sign of life.
    pub(crate) watchdog: Option<Duration>,
}

impl Link {
    /// A link to a process of the same user, or of root, who starts a server with `--user`. It is
    /// an error if it is another's.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        // Elsewhere the permissions of the path keep others away.
        #[cfg(target_os = "linux")]
        {
            let theirs = rustix::net::sockopt::socket_peercred(&stream)?.uid;
            if theirs != rustix::process::geteuid() && !theirs.is_root() {
                let reason = format!("it is the process of another user ({})", theirs.as_raw());
                return Err(io::Error::new(ErrorKind::PermissionDenied, reason));
            }
        }
        Ok(Self { stream, buffer: Vec::new(), sockets: Vec::new() })
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    /// Says why the other process gets nothing.
    pub(crate) fn refuse(&mut self, reason: &str) {
        // If it has gone, it needs no reason.
        let _ = self.say(&format!("{ERROR}{reason}"));
    }

    /// Waits for a line, at most for `patience`.
    pub(crate) fn hear(&mut self, patience: Duration) -> io::Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                let line = String::from_utf8(line).map_err(|_| unknown("a line"))?;
                return match line.trim_end().strip_prefix(ERROR) {
                    Some(reason) => Err(io::Error::other(reason.to_owned())),
                    None => Ok(line.trim_end().to_owned()),
                };
            }
            if self.buffer.len() >= LINE {
                return Err(unknown("a long line"));
            }
            // What has come counts, even if this process was stopped meanwhile and looks late.
            let left = deadline.saturating_duration_since(Instant::now()).max(LOOK);
            self.stream.set_read_timeout(Some(left))?;
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a certain line.
    pub(crate) fn expect(&mut self, line: &str, patience: Duration) -> io::Result<()> {
        let heard = self.hear(patience)?;
        if heard == line { Ok(()) } else { Err(unknown(&format!("{:?}", heard.escape_debug()))) }
    }

    /// Waits until the other process closes the link. It is an error if it says why it refuses.
    pub(crate) fn wait_for_end(&mut self, patience: Duration) -> io::Result<()> {
        match self.hear(patience) {
            Err(error) if error.kind() == ErrorKind::Other => Err(error),
            _ => Ok(()),
        }
    }

    /// Passes listeners.
    pub(crate) fn pass(
        &mut self,
        listeners: &[Copied],
        watchdog: Option<Duration>,
    ) -> io::Result<()> {
        let roles = listeners.iter().map(|listener| {
            let kept = if listener.is_kept { ":kept" } else { "" };
            format!(" {}{kept}", listener.role.name())
        });
        let watchdog = watchdog.map_or(0, |interval| interval.as_micros());
        let (own, roles) = (std::process::id(), roles.collect::<String>());
        let line = format!("{LISTENERS} {own} {watchdog}{roles}\n");
        let sockets: Vec<_> = listeners.iter().map(|listener| listener.socket.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MOST))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::Error::other("there are too many listeners"));
        }
        let slices = [IoSlice::new(line.as_bytes())];
        let sent = sendmsg(&self.stream, &slices, &mut control, SendFlags::empty())?;
        // A line is much shorter than the socket's buffer.
        if sent == line.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// Waits for the listeners.
    pub(crate) fn take(&mut self, patience: Duration) -> io::Result<Offer> {
        let line = self.hear(patience)?;
        let mut words = line.split(' ');
        if words.next() != Some(LISTENERS) {
            return Err(unknown(&format!("{:?}", line.escape_debug())));
        }
        let mut number = || words.next().and_then(|number| number.parse().ok());
        let process = number().and_then(|process: u64| u32::try_from(process).ok());
        let process = process.ok_or_else(|| unknown("a line"))?;
        let watchdog = number().ok_or_else(|| unknown("a line"))?;
        let sockets = std::mem::take(&mut self.sockets);
        let roles: Vec<&str> = words.collect();
        if roles.len() != sockets.len() {
            return Err(unknown("another number of listeners than it says"));
        }
        let mut passed = Vec::with_capacity(roles.len());
        for (role, socket) in roles.into_iter().zip(sockets) {
            let (name, is_kept) = match role.strip_suffix(":kept") {
                Some(name) => (name, true),
                None => (role, false),
            };
            // A later version may have more kinds of listeners.
            let Some(role) = Role::named(name) else { continue };
            let listener = Listener::adopt(socket)?;
            let listener = if is_kept { listener.kept_elsewhere() } else { listener };
            passed.push(Passed { role, listener });
        }
        let watchdog = Some(Duration::from_micros(watchdog)).filter(|of| !of.is_zero());
        Ok(Offer { process, passed, watchdog })
    }

    /// Reads bytes, and the sockets that come with them.
    fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; LINE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MOST))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        #[cfg(target_os = "linux")]
        let flags = RecvFlags::CMSG_CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = RecvFlags::empty();
        let message = match recvmsg(&self.stream, &mut slices, &mut control, flags) {
            // The other process ended with lines of ours unread.
            Err(Errno::CONNRESET) => return Err(ErrorKind::UnexpectedEof.into()),
            message => message?,
        };
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = part {
                self.sockets.extend(sockets);
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) || self.sockets.len() > LISTENERS_MOST {
            self.sockets.clear();
            return Err(unknown("too many descriptors"));
        }
        if message.bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(&bytes[..message.bytes]);
        Ok(())
    }
}

fn unknown(what: &str) -> io::Error {
    let reason = format!("it sent {what}, which is not of this protocol ({HELLO})");
    io::Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const LONG: Duration = Duration::from_secs(20);

    fn pair() -> (Link, Link) {
        let (one, other) = UnixStream::pair().expect("two sockets");
        (Link::new(one).expect("our own"), Link::new(other).expect("our own"))
    }

    #[test]
    fn listeners_arrive_with_their_roles() {
        let (mut old, mut new) = pair();
        let sockets = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().expect("bound"));
        let [http, admin] = sockets.map(OwnedFd::from);
        let copies = [
            Copied { role: Role::Http, socket: http, is_kept: false },
            Copied { role: Role::Admin, socket: admin, is_kept: true },
        ];
        old.pass(&copies, Some(Duration::from_secs(3))).expect("connected");
        let offer = new.take(LONG).expect("an offer");
        let roles: Vec<_> = offer.passed.iter().map(|of| of.role).collect();
        assert_eq!(roles, [Role::Http, Role::Admin]);
        let kept: Vec<_> = offer.passed.iter().map(|of| of.listener.is_kept_elsewhere()).collect();
        assert_eq!(kept, [false, true]);
        let found: Vec<_> = offer.passed.iter().filter_map(|of| of.listener.address()).collect();
        assert_eq!(found, addresses);
        assert_eq!(offer.watchdog, Some(Duration::from_secs(3)));
        assert_eq!(offer.process, std::process::id());
    }

    #[test]
    fn lines_arrive_in_pieces_and_together() {
        let (mut old, mut new) = pair();
        for piece in ["rea", "dy\ngo\nta", "ken\n"] {
            old.stream.write_all(piece.as_bytes()).expect("connected");
        }
        for line in [READY, GO, TAKEN] {
            new.expect(line, LONG).expect("the line");
        }
        drop(old);
        let end = new.hear(LONG).expect_err("the end");
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_has_come_is_heard_however_late() {
        let (mut old, mut new) = pair();
        old.say(TAKEN).expect("connected");
        new.expect(TAKEN, Duration::ZERO).expect("the line");
        assert_eq!(new.hear(Duration::ZERO).expect_err("no line").kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn the_end_of_a_link_is_no_refusal() {
        let (old, mut new) = pair();
        drop(old);
        new.wait_for_end(LONG).expect("it has closed it");
        let (mut old, mut new) = pair();
        old.refuse("too late");
        drop(old);
        new.wait_for_end(LONG).expect_err("a refusal");
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        let hear = |bytes: &[u8]| {
            let (mut old, mut new) = pair();
            old.stream.write_all(bytes).expect("connected");
            new.take(Duration::from_millis(20)).expect_err("no listeners").kind()
        };
        assert_eq!(hear(b""), ErrorKind::TimedOut);
        assert_eq!(hear(b"listeners 1 0 http"), ErrorKind::TimedOut, "no end of the line");
        assert_eq!(hear(b"listeners 1 0 http\n"), ErrorKind::InvalidData, "no socket");
        assert_eq!(hear(b"listeners\n"), ErrorKind::InvalidData);
        assert_eq!(hear(b"listeners x 0\n"), ErrorKind::InvalidData);
        assert_eq!(hear(b"\xff\xfe\n"), ErrorKind::InvalidData);
        assert_eq!(hear(&[b'x'; 2 * LINE]), ErrorKind::InvalidData);
        assert_eq!(hear(b"error busy\n"), ErrorKind::Other);
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let (mut old, mut new) = pair();
        let socket = UnixStream::pair().expect("two sockets").0.into();
        old.pass(&[Copied { role: Role::Http, socket, is_kept: false }], None).expect("connected");
        assert_eq!(new.take(LONG).expect_err("no listener").kind(), ErrorKind::InvalidInput);
    }
}
