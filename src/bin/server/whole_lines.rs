//! Writes whole lines to a target that may take a part of them: what was cut is completed first.

use std::io::{ErrorKind, Write};

/// Bytes gathered for one write; a longer line is written by itself, without a copy.
const BATCH_BYTES: usize = 64 * 1024;

/// Lines gathered for one write.
const BATCH_LINES: usize = 1024;

/// Lines on their way to a target.
///
/// A full disk takes the first part of a batch. The line that it ends in is not lost: its rest is
/// kept, and written before anything else once there is room.
#[derive(Debug)]
pub struct WholeLines<W> {
    target: W,
    batch: Vec<u8>,
    /// Where each line of the batch ends.
    ends: Vec<usize>,
    /// What is missing of a line that was cut.
    rest: Vec<u8>,
    /// Bytes that were written, or lost, since somebody asked.
    done: usize,
}

impl<W: Write> WholeLines<W> {
    pub fn new(target: W) -> Self {
        Self { target, batch: Vec::new(), ends: Vec::new(), rest: Vec::new(), done: 0 }
    }

    pub fn target(&mut self) -> &mut W {
        &mut self.target
    }

    /// Takes a line, and writes where enough has gathered; gives the number of lines lost.
    pub fn push(&mut self, line: &[u8]) -> u64 {
        let mut lost = 0;
        let is_full = self.batch.len() + line.len() > BATCH_BYTES || self.ends.len() >= BATCH_LINES;
        if is_full {
            lost += self.write_out();
        }
        if line.len() > BATCH_BYTES {
            return lost + self.write_lines(line, &[line.len()]);
        }
        self.batch.extend_from_slice(line);
        self.ends.push(self.batch.len());
        lost
    }

    /// Writes what has gathered; gives the number of lines lost.
    pub fn write_out(&mut self) -> u64 {
        let (mut batch, mut ends) =
            (std::mem::take(&mut self.batch), std::mem::take(&mut self.ends));
        let lost = self.write_lines(&batch, &ends);
        batch.clear();
        ends.clear();
        (self.batch, self.ends) = (batch, ends);
        lost
    }

    /// Gives up the line that was cut; the number of lines lost by that.
    pub fn give_up_rest(&mut self) -> u64 {
        self.done += self.rest.len();
        let lost = u64::from(!self.rest.is_empty());
        self.rest = Vec::new();
        lost
    }

    /// The bytes that this holds no longer, since it was last asked.
    pub fn take_done(&mut self) -> usize {
        std::mem::take(&mut self.done)
    }

    fn write_lines(&mut self, lines: &[u8], ends: &[usize]) -> u64 {
        self.complete();
        let is_blocked = !self.rest.is_empty();
        let written = if is_blocked { 0 } else { write_some(&mut self.target, lines) };
        let whole = ends.partition_point(|&end| end <= written);
        // The cut is within a line unless it is where the next one begins.
        let begin = whole.checked_sub(1).map_or(0, |last| ends[last]);
        let mut lost = ends.len() - whole;
        self.done += lines.len();
        if written > begin {
            self.rest = lines[written..ends[whole]].to_vec();
            self.done -= self.rest.len();
            lost -= 1;
        }
        lost as u64
    }

    fn complete(&mut self) {
        let written = write_some(&mut self.target, &self.rest);
        self.done += written;
        self.rest.drain(..written);
        if self.rest.is_empty() {
            // One long line must not keep its memory for ever.
            self.rest = Vec::new();
        }
    }
}

/// Writes as much as the target takes; gives the number of bytes.
fn write_some(target: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match target.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever asked learns it from the lines that are lost.
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// Has so much room, and takes three bytes at a time.
    struct Disk {
        room: usize,
        content: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(3).min(self.room);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.content.extend_from_slice(&bytes[..count]);
            self.room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn disk(room: usize) -> WholeLines<Disk> {
        WholeLines::new(Disk { room, content: Vec::new() })
    }

    /// Wherever the disk is full, whole lines alone are lost, and each of them is counted.
    #[test]
    fn a_cut_line_is_completed_before_the_next_one() {
        let lines: [&[u8]; 4] = [b"first\n", b"second\n", b"two\nin one\n", b"last\n"];
        let all = lines.concat().len();
        for room in 0..=all {
            let mut log = disk(room);
            let mut lost = 0;
            for line in lines {
                lost += log.push(line);
            }
            lost += log.write_out();
            assert_eq!(log.target.content, lines.concat()[..room], "as much as there was room for");
            lost += log.push(b"no room yet\n") + log.write_out();
            log.target.room = 100;
            lost += log.push(b"behind it\n") + log.write_out();
            let mut kept = 0;
            let mut expected = Vec::new();
            for line in lines {
                // One that was begun is completed.
                if expected.len() < room {
                    expected.extend_from_slice(line);
                    kept += 1;
                }
            }
            expected.extend_from_slice(b"behind it\n");
            assert_eq!(log.target.content, expected, "room for {room}");
            assert_eq!(lost, 4 - kept + 1, "room for {room}");
            assert_eq!(log.take_done(), all + 22, "no byte is held, room for {room}");
        }
    }

    #[test]
    fn a_line_that_is_given_up_is_counted() {
        let mut log = disk(2);
        assert_eq!(log.push(b"one\n") + log.write_out(), 0);
        assert_eq!(log.take_done(), 2, "the rest is held");
        assert_eq!((log.give_up_rest(), log.take_done()), (1, 2));
        assert_eq!(log.give_up_rest(), 0);
        log.target.room = 100;
        assert_eq!(log.push(b"two\n") + log.write_out(), 0);
        assert_eq!(log.target.content, b"ontwo\n");
    }

    #[test]
    fn what_gathers_is_bounded() {
        let mut log = disk(usize::MAX);
        for length in [1, BATCH_BYTES - 1, 1, 10 * BATCH_BYTES, 100, BATCH_BYTES] {
            assert_eq!(log.push(&vec![b'x'; length]), 0);
            assert!(log.batch.capacity() <= 2 * BATCH_BYTES, "{length}");
        }
        for _ in 0..10 * BATCH_LINES {
            log.push(b"\n");
            assert!(log.ends.len() <= BATCH_LINES);
        }
        log.write_out();
        let all = 12 * BATCH_BYTES + 101 + 10 * BATCH_LINES;
        assert_eq!((log.target.content.len(), log.take_done()), (all, all));
    }
}
