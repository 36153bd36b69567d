//! One piece of a file on its way to a socket, within the kernel or through a buffer, and how the
//! sending of a response ends.

use crate::config;
use crate::handler::FileSlice;
use crate::parking::Socket;
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::FileExt;

/// How far the sending of a response came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The kernel has everything.
    Done,
    /// The socket is full: the peer must read first.
    Blocked,
    /// The socket has room, but it is another connection's turn.
    Yielded,
    /// It has sent what the limits leave to it for now.
    Paused,
    /// The next piece is not in memory, and this thread may not wait for a disk.
    OnDisk,
    /// The handler has to make the next piece, and this thread runs no code of a handler.
    AtHandler,
    /// The handler has no next piece yet.
    NothingYet,
    /// The handler makes the next piece at the end of a wait: see `Outgoing::take_wait`.
    AtPermit,
}

/// Why a response cannot be finished.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection broke.
    Peer(io::Error),
    /// The content could not be read or made.
    Content(io::Error),
}

/// Sends a piece of a file, of `most` bytes, without copying it to user space. Returns the bytes
/// wanted and sent.
#[cfg(target_os = "linux")]
pub(super) fn send_file(
    socket: &Socket,
    slice: &mut FileSlice,
    most: usize,
) -> Result<(usize, usize), Failure> {
    use rustix::io::Errno;
    let wanted = piece_of(slice, most);
    let mut offset = slice.offset;
    match rustix::fs::sendfile(socket, &*slice.file, Some(&mut offset), wanted) {
        Ok(sent) => advance(slice, sent, wanted),
        // Some file systems do not support it.
        Err(Errno::INVAL | Errno::NOSYS) => copy_file(socket, slice, most),
        Err(errno @ (Errno::AGAIN | Errno::INTR | Errno::PIPE | Errno::CONNRESET)) => {
            Err(Failure::Peer(errno.into()))
        }
        Err(errno @ (Errno::TIMEDOUT | Errno::NOTCONN | Errno::CONNABORTED)) => {
            Err(Failure::Peer(errno.into()))
        }
        Err(errno @ (Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN | Errno::NOBUFS)) => {
            Err(Failure::Peer(errno.into()))
        }
        Err(errno) => Err(Failure::Content(errno.into())),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn send_file(
    socket: &Socket,
    slice: &mut FileSlice,
    most: usize,
) -> Result<(usize, usize), Failure> {
    copy_file(socket, slice, most)
}

/// Sends a piece of a file through a buffer.
fn copy_file(
    socket: &Socket,
    slice: &mut FileSlice,
    most: usize,
) -> Result<(usize, usize), Failure> {
    let wanted = piece_of(slice, most.min(config::COPY_PIECE));
    let mut buffer = vec![0; wanted];
    let read = loop {
        match slice.file.read_at(&mut buffer, slice.offset) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => break outcome.map_err(Failure::Content)?,
        }
    };
    if read == 0 {
        return advance(slice, 0, wanted);
    }
    let sent = socket.write(&[IoSlice::new(&buffer[..read])]).map_err(Failure::Peer)?;
    advance(slice, sent, wanted)
}

fn piece_of(slice: &FileSlice, most: usize) -> usize {
    usize::try_from(slice.length).unwrap_or(most).min(most)
}

/// A file that has become shorter than announced ends the response: nothing can replace the missing
/// bytes.
fn advance(slice: &mut FileSlice, sent: usize, wanted: usize) -> Result<(usize, usize), Failure> {
    if sent == 0 {
        let error = io::Error::new(ErrorKind::UnexpectedEof, "the file became shorter");
        return Err(Failure::Content(error));
    }
    slice.offset += sent as u64;
    slice.length -= sent as u64;
    Ok((wanted, sent))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    /// A socket with small buffers, and its peer.
    pub fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let reader = TcpStream::connect(address).expect("listening");
        let (writer, _) = listener.accept().expect("connected");
        // Small, so that a file of a few pieces fills them.
        let small = config::SEND_PIECE / 4;
        socket2::SockRef::from(&writer).set_send_buffer_size(small).expect("a socket");
        socket2::SockRef::from(&reader).set_recv_buffer_size(small).expect("a socket");
        writer.set_nonblocking(true).expect("a socket");
        (Socket::new(writer), reader)
    }

    /// A file of this length, and its content.
    pub fn file_of(length: usize) -> (Arc<File>, Vec<u8>) {
        let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&content).expect("written");
        (Arc::new(file), content)
    }

    type Sender = fn(&Socket, &mut FileSlice, usize) -> Result<(usize, usize), Failure>;

    /// Both ways of sending give the same bytes. A peer that reads late blocks the sender, then
    /// gets the rest.
    #[test]
    fn both_ways_of_sending_a_file_agree() {
        for send in [send_file as Sender, copy_file as Sender] {
            let (file, content) = file_of(8 * config::SEND_PIECE + 7);
            let (socket, mut reader) = pair();
            let mut slice = FileSlice { file, offset: 0, length: content.len() as u64 };
            let mut received = Vec::new();
            let mut blocked = false;
            while slice.length > 0 {
                match send(&socket, &mut slice, config::SEND_PIECE) {
                    Ok(_) => {}
                    Err(Failure::Peer(error)) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        blocked = true;
                        let mut buffer = vec![0; config::SEND_PIECE];
                        let read = reader.read(&mut buffer).expect("connected");
                        received.extend_from_slice(&buffer[..read]);
                    }
                    Err(failure) => panic!("{failure:?}"),
                }
            }
            drop(socket);
            reader.read_to_end(&mut received).expect("a clean end");
            assert!(blocked, "the file is larger than the socket");
            assert!(received == content);
        }
    }

    #[test]
    fn a_file_that_shrank_is_a_failure() {
        for send in [send_file as Sender, copy_file as Sender] {
            let (file, _) = file_of(10);
            let (socket, _reader) = pair();
            let mut slice = FileSlice { file, offset: 0, length: 20 };
            assert!(send(&socket, &mut slice, usize::MAX).is_ok());
            assert!(matches!(send(&socket, &mut slice, usize::MAX), Err(Failure::Content(_))));
        }
    }
}
