//! Writes whole lines to a target that may accept only a part: a cut line is completed first.

use std::io::{ErrorKind, Write};

/// Bytes collected for one write. A longer line is written by itself, without a copy.
const BATCH_BYTES: usize = 64 * 1024;

/// Lines collected for one write.
const BATCH_LINES: usize = 1024;

/// Lines to be written to a target.
///
/// A full disk accepts only the first part of a batch. The line that is cut is not lost: its rest
/// is kept, and is written first once there is room again.
#[derive(Debug)]
pub struct WholeLines<W> {
    target: W,
    batch: Vec<u8>,
    /// The end of each line in the batch.
    ends: Vec<usize>,
    /// The missing rest of a line that was cut.
    rest: Vec<u8>,
    /// Bytes written or lost since the last call of `take_done`.
    done: usize,
}

impl<W: Write> WholeLines<W> {
    pub fn new(target: W) -> Self {
        Self { target, batch: Vec::new(), ends: Vec::new(), rest: Vec::new(), done: 0 }
    }

    pub fn target(&mut self) -> &mut W {
        &mut self.target
    }

    /// Adds a line, and writes the batch if it is full. Returns the number of lines lost.
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

    /// Writes the batch. Returns the number of lines lost.
    pub fn write_out(&mut self) -> u64 {
        let (mut batch, mut ends) =
            (std::mem::take(&mut self.batch), std::mem::take(&mut self.ends));
        let lost = self.write_lines(&batch, &ends);
        batch.clear();
        ends.clear();
        (self.batch, self.ends) = (batch, ends);
        lost
    }

    /// Gives up the rest of a line that was cut. Returns the number of lines lost by that.
    pub fn give_up_rest(&mut self) -> u64 {
        self.done += self.rest.len();
        let lost = u64::from(!self.rest.is_empty());
        self.rest = Vec::new();
        lost
    }

    /// Bytes no longer held, since the last call.
    pub fn take_done(&mut self) -> usize {
        std::mem::take(&mut self.done)
    }

    fn write_lines(&mut self, lines: &[u8], ends: &[usize]) -> u64 {
        self.complete();
        let is_blocked = !self.rest.is_empty();
        let written = if is_blocked { 0 } else { write_some(&mut self.target, lines) };
        let whole = ends.partition_point(|&end| end <= written);
        // Where the line that may be cut begins.
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
            // Free the memory of a long line.
            self.rest = Vec::new();
        }
    }
}

/// Writes as much as the target accepts. Returns the number of bytes.
fn write_some(target: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match target.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The caller sees the error as lost lines.
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// Has this much room, and accepts three bytes at a time.
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

    /// Wherever the disk fills up, only whole lines are lost, and each of them is counted.
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
            assert_eq!(log.target.content, lines.concat()[..room], "all that fits is written");
            lost += log.push(b"no room yet\n") + log.write_out();
            log.target.room = 100;
            lost += log.push(b"behind it\n") + log.write_out();
            let mut kept = 0;
            let mut expected = Vec::new();
            for line in lines {
                // A line that was begun is completed.
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
    fn the_batch_is_bounded() {
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
