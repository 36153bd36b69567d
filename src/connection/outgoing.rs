//! The unsent rest of a response, and the writing of as much as the socket has room for.

use super::allowance::Allowance;
use super::sending::{Failure, Progress, send_file};
use super::threads::Thread;
use crate::config;
use crate::files::residency::is_in_memory;
use crate::handler::{Body, Made};
use crate::lane::Wait;
use crate::parking::Socket;
use crate::throttle::Asks;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::time::{Duration, Instant};

/// The unsent rest of a head and its content.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The head, and small content behind it.
    head: Vec<u8>,
    /// The length of the head alone.
    head_length: usize,
    /// What has been sent of `head`.
    head_sent: usize,
    /// The part of the content that is being sent: bytes, a piece of a file, or nothing.
    body: Body,
    /// The parts behind it.
    behind: VecDeque<Part>,
    /// The content is sent in chunks (RFC 9112, section 7.1).
    is_chunked: bool,
    /// The connection closes after it.
    is_last: bool,
    sent: u64,
    /// The most bytes of the next piece of a file.
    piece: usize,
    /// What the next piece waits for.
    wait: Option<Wait>,
}

/// A part of the content.
#[derive(Debug)]
enum Part {
    /// Sent as it is.
    Raw(Body),
    /// Sent within a chunk, if the content is chunked.
    Content(Body),
    /// The last chunk.
    End,
}

/// Parts that are not sent, with streams among them: dropping it runs code of a handler.
#[derive(Debug)]
pub struct Unsent {
    _parts: VecDeque<Part>,
}

impl Outgoing {
    /// A response. If it is the last one of its connection, its last bytes may wait for the FIN,
    /// which must follow at once.
    pub(super) fn new(mut head: Vec<u8>, body: Body, is_chunked: bool, is_last: bool) -> Self {
        let mut behind = VecDeque::new();
        let head_length = head.len();
        let body = match body {
            // A copy costs less than a call with two buffers.
            Body::Bytes(bytes) if bytes.len() <= config::COPIED_BYTES && !is_chunked => {
                head.extend_from_slice(&bytes);
                Body::Empty
            }
            // Most responses have one part and need no queue.
            Body::Empty | Body::Bytes(_) | Body::File(_) if !is_chunked => body,
            body => {
                behind.push_back(Part::Content(body));
                Body::Empty
            }
        };
        if is_chunked {
            behind.push_back(Part::End);
        }
        let (head_sent, sent, piece, wait) = (0, 0, config::SEND_PIECE, None);
        Self { head, head_length, head_sent, body, behind, is_chunked, is_last, sent, piece, wait }
    }

    /// Moves on to the next part with content. Returns why not, if there is none for this thread.
    fn next_part(&mut self, thread: Thread) -> Result<Option<Progress>, Failure> {
        while self.body.length() == Some(0) {
            let Some(part) = self.behind.pop_front() else { return Ok(Some(Progress::Done)) };
            match part {
                Part::Raw(body) => self.body = body,
                Part::End => self.body = Body::Bytes(Bytes::from_static(b"0\r\n\r\n")),
                Part::Content(Body::Sequence(parts)) => {
                    for part in parts.into_iter().rev() {
                        self.behind.push_front(Part::Content(part));
                    }
                }
                Part::Content(Body::Stream(stream)) if !thread.runs_handlers() => {
                    self.behind.push_front(Part::Content(Body::Stream(stream)));
                    return Ok(Some(Progress::AtHandler));
                }
                Part::Content(Body::Stream(mut stream)) => {
                    let Some(piece) = stream.next_piece().map_err(Failure::Content)? else {
                        continue;
                    };
                    // A stream that is over is dropped here, by a worker.
                    if !stream.is_over() {
                        self.behind.push_front(Part::Content(Body::Stream(stream)));
                    }
                    match piece {
                        Made::Bytes(bytes) if bytes.is_empty() => {
                            return Ok(Some(Progress::NothingYet));
                        }
                        Made::Bytes(bytes) => self.begin(Body::Bytes(bytes)),
                        Made::File(slice) => self.begin(Body::File(slice)),
                        Made::Wait(wait) => {
                            self.wait = Some(wait);
                            return Ok(Some(Progress::AtPermit));
                        }
                        Made::Failed(error) => return Err(Failure::Content(error)),
                    }
                }
                Part::Content(body) => self.begin(body),
            }
        }
        Ok(None)
    }

    /// Takes what the next piece waits for.
    pub(super) fn take_wait(&mut self) -> Option<Wait> {
        self.wait.take()
    }

    /// True if the next bytes are for a handler to make.
    pub(super) fn needs_handler(&self) -> bool {
        self.body.length() == Some(0)
            && matches!(self.behind.front(), Some(Part::Content(Body::Stream(_))))
    }

    /// Sends a part next, within a chunk if the content is chunked.
    fn begin(&mut self, part: Body) {
        let length = part.length().unwrap_or(0);
        if !self.is_chunked || length == 0 {
            self.body = part;
            return;
        }
        let size = format!("{length:x}\r\n");
        let end = Bytes::from_static(b"\r\n");
        match part {
            // A copy costs less than two more system calls.
            Body::Bytes(bytes) => {
                let chunk = [size.as_bytes(), &bytes, &end].concat();
                self.body = Body::Bytes(chunk.into());
            }
            part => {
                self.body = Body::Bytes(size.into());
                self.behind.push_front(Part::Raw(Body::Bytes(end)));
                self.behind.push_front(Part::Raw(part));
            }
        }
    }

    /// The bytes of memory that it holds until it is sent.
    pub(super) fn held(&self) -> u64 {
        let held = |part: &Part| match part {
            Part::Raw(body) | Part::Content(body) => body.held(),
            Part::End => 0,
        };
        let parts = self.behind.iter().map(held).sum::<u64>();
        (self.head.capacity() + self.behind.capacity() * size_of::<Part>()) as u64
            + self.body.held()
            + parts
    }

    /// Takes out what is not sent, if dropping it would run code of a handler.
    pub(super) fn take_unsent(&mut self) -> Option<Unsent> {
        let has_stream = |part: &Part| matches!(part, Part::Content(body) if body.has_stream());
        let parts = self.behind.iter().any(has_stream).then(|| std::mem::take(&mut self.behind));
        parts.map(|parts| Unsent { _parts: parts })
    }

    /// The bytes of content given to the kernel so far.
    pub(super) fn content_sent(&self) -> u64 {
        self.sent.saturating_sub(self.head_length as u64)
    }

    /// The bytes given to the kernel so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The bytes of content that are not sent yet; none if nobody knows.
    pub(super) fn content_left(&self) -> Option<u64> {
        let of_part = |part: &Part| match part {
            Part::Raw(body) | Part::Content(body) => body.length(),
            Part::End => None,
        };
        if self.is_chunked {
            return None;
        }
        let of_head = self.head.len().saturating_sub(self.head_sent.max(self.head_length)) as u64;
        let first = of_head.checked_add(self.body.length()?)?;
        self.behind.iter().try_fold(first, |sum, part| sum.checked_add(of_part(part)?))
    }

    /// The bytes that can be sent next without anything else, and as whom it asks for a part of the
    /// limit of all together.
    fn asks(&self) -> (u64, Asks) {
        let head = (self.head.len() - self.head_sent) as u64;
        let at_hand = head.saturating_add(self.body.length().unwrap_or(0));
        let is_whole = self.sent == 0 && self.behind.is_empty();
        match is_whole && at_hand <= config::LIMIT_SMALL {
            true => (at_hand, Asks::Small),
            false => (at_hand, Asks::Large),
        }
    }

    /// The buffer of the head, for the next response.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.head
    }

    /// Writes until everything is sent, the socket is full, nothing more is allowed, the next piece
    /// is not available to this thread, or `may_continue` is false after a piece.
    pub(super) fn write(
        &mut self,
        socket: &Socket,
        thread: Thread,
        allowance: &mut Allowance<'_>,
        mut may_continue: impl FnMut() -> bool,
    ) -> Result<Progress, Failure> {
        let mut had_turn = false;
        // The piece of the file before this one was in memory.
        let mut goes_on = false;
        loop {
            // Not one piece more than this turn can send.
            if had_turn && self.needs_handler() && !may_continue() {
                return Ok(Progress::Yielded);
            }
            let at_end = self.next_part(thread)?;
            let is_content = self.head_sent == self.head.len();
            if let (Some(progress), true) = (at_end, is_content) {
                return Ok(progress);
            }
            let Some(mut most) = allowance.most(|| self.asks()) else {
                return Ok(Progress::Paused);
            };
            if had_turn && !self.ends_in_this_turn(thread) && !may_continue() {
                return Ok(Progress::Yielded);
            }
            let mut begun = None;
            if let (Body::File(slice), true) = (&self.body, is_content) {
                most = most.min(self.piece);
                let piece = slice.length.min(most as u64);
                if !thread.reads_disks() && !is_in_memory(&slice.file, slice.offset, piece, goes_on)
                {
                    return Ok(Progress::OnDisk);
                }
                goes_on = slice.length > piece;
                // The speed of a last piece matters to nobody.
                begun = goes_on.then(|| (Instant::now(), most));
            }
            match self.write_piece(socket, most, allowance) {
                Ok(true) => {
                    had_turn = is_content;
                    if let Some((begun, sent)) = begun {
                        self.piece = next_piece(sent, begun.elapsed());
                    }
                }
                // After a short write the socket is full; another call would only say so.
                Ok(false) => return Ok(Progress::Blocked),
                Err(Failure::Peer(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Progress::Blocked);
                }
                Err(Failure::Peer(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// True if this thread sends the rest of a file even though other connections wait.
    fn ends_in_this_turn(&self, thread: Thread) -> bool {
        matches!((&self.body, thread), (Body::File(slice), Thread::Worker(_))
            if slice.length <= config::SEND_REST)
    }

    /// One system call for the next bytes, at most so many; true if the kernel took all of them.
    fn write_piece(
        &mut self,
        socket: &Socket,
        most: usize,
        allowance: &mut Allowance<'_>,
    ) -> Result<bool, Failure> {
        let head = &self.head[self.head_sent..];
        let head = &head[..head.len().min(most)];
        let (wanted, sent) = match &mut self.body {
            Body::File(slice) if head.is_empty() => send_file(socket, slice, most)?,
            Body::File(_) => {
                let wanted = head.len();
                let sent = send_more(socket, &[IoSlice::new(head)]).map_err(Failure::Peer)?;
                self.head_sent += sent;
                (wanted, sent)
            }
            body => {
                let content = match body {
                    Body::Bytes(bytes) => &bytes[..],
                    _ => &[],
                };
                let whole = content.len();
                let content = &content[..whole.min(most - head.len())];
                let slices = [IoSlice::new(head), IoSlice::new(content)];
                let wanted = head.len() + content.len();
                let is_rest = wanted == self.head.len() - self.head_sent + whole;
                let sent = match self.is_last && is_rest && self.behind.is_empty() {
                    true => send_more(socket, &slices),
                    false if content.is_empty() => socket.send(head),
                    false => socket.write(&slices),
                };
                let sent = sent.map_err(Failure::Peer)?;
                let of_head = sent.min(head.len());
                self.head_sent += of_head;
                if let Body::Bytes(bytes) = body {
                    bytes.advance(sent - of_head);
                }
                (wanted, sent)
            }
        };
        self.sent += sent as u64;
        allowance.sent(sent);
        Ok(sent == wanted)
    }
}

/// The bytes that go out in a turn, if so many take this time.
fn next_piece(sent: usize, time: Duration) -> usize {
    let turns = time.as_secs_f64() / config::SEND_TURN.as_secs_f64();
    // An immeasurably short time gives infinity, and the most.
    ((sent as f64 / turns) as usize).clamp(config::SEND_PIECE, config::SEND_PIECE_MOST)
}

/// Writes bytes that content or the FIN follows at once, so that both share a segment.
#[cfg(target_os = "linux")]
fn send_more(socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

#[cfg(not(target_os = "linux"))]
fn send_more(socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    socket.write(slices)
}

#[cfg(test)]
mod tests;
