//! What a link does with packets, without any system call: it takes the time to send them at its
//! rate, keeps a bounded queue in front of that, and delivers them after its delay.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

/// The length of the header in front of each packet (`struct virtio_net_hdr` of the kernel's
/// `linux/virtio_net.h`). It tells the segments of which a packet consists.
pub const HEADER: usize = 10;

/// The most bytes that one read from a device returns.
pub const LARGEST: usize = HEADER + 64 * 1024;

/// What Ethernet adds to each segment: the frame's header and checksum, the preamble and the gap
/// (IEEE 802.3).
pub const FRAME: u64 = 14 + 4 + 8 + 12;

/// The queue holds at least this many of the largest packets.
const QUEUED_LEAST: u64 = 4;

/// Times are in picoseconds since the start: a byte at 10 Gbit/s takes 800 of them.
const PER_SECOND: u64 = 1_000_000_000_000;

/// The rate and the delay of a link, such as `1gbit,50ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// Bits per second in each direction, with all that Ethernet adds to a packet.
    pub rate: u64,
    /// The time from one end to the other: half of the round-trip time.
    pub delay: Duration,
}

impl FromStr for Conditions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no link: write RATE,DELAY such as 1gbit,50ms");
        let (rate, delay) = text.split_once(',').ok_or_else(wrong)?;
        let digits = rate.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let unit = match &rate[digits..] {
            "mbit" => 1_000_000,
            "gbit" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        let count: u64 = rate[..digits].parse().map_err(|_| wrong())?;
        let delay = humantime::parse_duration(delay).map_err(|_| wrong())?;
        let rate = count.checked_mul(unit).filter(|rate| (1..=100_000_000_000).contains(rate));
        match rate {
            Some(rate) if delay <= Duration::from_secs(1) => Ok(Self { rate, delay }),
            _ => Err(format!("{text} is no link: at most 100gbit and 1s")),
        }
    }
}

/// A transmitter: it sends one packet after the other at a rate, and drops a packet that would wait
/// too long for its turn.
#[derive(Debug)]
pub struct Wire {
    conditions: Conditions,
    /// The longest time from a packet's arrival until it has been sent.
    longest: u64,
    /// When all that was accepted so far has been sent.
    free: u64,
}

impl Wire {
    /// The queue is as long as the link's round-trip time, at least a few of the largest packets.
    pub fn new(conditions: Conditions) -> Self {
        let least = send_time(QUEUED_LEAST * LARGEST as u64, conditions.rate);
        let longest = least.max(2 * picoseconds(conditions.delay));
        Self { conditions, longest, free: 0 }
    }

    /// When a packet of so many bytes that arrives now is delivered. `None`: the queue is full, and
    /// the packet is lost.
    pub fn accept(&mut self, now: u64, bytes: u64) -> Option<u64> {
        let sent = self.free.max(now) + send_time(bytes, self.conditions.rate);
        if sent - now > self.longest {
            return None;
        }
        self.free = sent;
        Some(sent + picoseconds(self.conditions.delay))
    }

    /// The most bytes that can be in the queue and on the way.
    fn most(&self) -> usize {
        let time = u128::from(self.longest + picoseconds(self.conditions.delay));
        (time * u128::from(self.conditions.rate) / 8 / u128::from(PER_SECOND)) as usize
    }
}

/// Rounded up: the rate is never exceeded.
fn send_time(bytes: u64, rate: u64) -> u64 {
    let time = u128::from(bytes) * 8 * u128::from(PER_SECOND);
    time.div_ceil(u128::from(rate)) as u64
}

/// A time as the line counts it.
pub fn picoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64 * 1000
}

/// The bytes that a packet takes on the wire. A packet with its header is one read from a device.
/// The kernel hands over up to 64 KiB at once, which the hardware would cut into segments.
pub fn on_wire(read: &[u8]) -> u64 {
    let Some((header, packet)) = read.split_at_checked(HEADER) else { return 0 };
    let field = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    let (kind, segment, transport) = (header[1], field(4), field(6));
    let whole = packet.len() as u64 + FRAME;
    if kind == 0 || segment == 0 {
        return whole;
    }
    // The upper half of this byte is the length of the TCP header in words (RFC 9293, 3.1).
    let words = packet.get(transport + 12).map_or(0, |byte| usize::from(byte >> 4));
    let heads = transport + 4 * words;
    let segments = packet.len().saturating_sub(heads).div_ceil(segment).max(1) as u64;
    whole + (segments - 1) * (heads as u64 + FRAME)
}

/// One direction of a link: the packets in the queue and on the way, in a ring of bytes.
#[derive(Debug)]
pub struct Line {
    wire: Wire,
    bytes: Vec<u8>,
    /// In the order of their delivery.
    packets: VecDeque<Packet>,
    /// Where the next packet goes.
    head: usize,
}

#[derive(Debug)]
struct Packet {
    due: u64,
    start: usize,
    length: usize,
}

impl Line {
    /// Without packets.
    pub fn new(conditions: Conditions) -> Self {
        let wire = Wire::new(conditions);
        // Beside the packets there is room for the next one, and for what a wrap leaves unused.
        let bytes = vec![0; wire.most() + 8 * LARGEST];
        Self { wire, bytes, packets: VecDeque::new(), head: 0 }
    }

    /// Where to read the next packet to. `None` while deliveries are late and the ring is full.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        let tail = match self.packets.front() {
            // Start again at the front: memory that was just used is in the processor's cache.
            None => {
                self.head = 0;
                self.bytes.len()
            }
            Some(oldest) if oldest.start < self.head => {
                if self.bytes.len() - self.head >= LARGEST {
                    self.bytes.len()
                } else {
                    self.head = 0;
                    oldest.start
                }
            }
            Some(oldest) => oldest.start,
        };
        let has_room = tail >= self.head + LARGEST;
        has_room.then(|| &mut self.bytes[self.head..self.head + LARGEST])
    }

    /// A packet of this length has arrived in the room. It is lost if the queue is full.
    pub fn push(&mut self, length: usize, now: u64) {
        let read = &self.bytes[self.head..self.head + length];
        if let Some(due) = self.wire.accept(now, on_wire(read)) {
            self.packets.push_back(Packet { due, start: self.head, length });
            self.head += length;
        }
    }

    /// When the next packet is to be delivered.
    pub fn due(&self) -> Option<u64> {
        self.packets.front().map(|packet| packet.due)
    }

    /// A packet that is to be delivered by now.
    pub fn pop(&mut self, now: u64) -> Option<&[u8]> {
        self.due().filter(|due| *due <= now)?;
        let Packet { start, length, .. } = self.packets.pop_front()?;
        Some(&self.bytes[start..start + length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MILLISECOND: u64 = PER_SECOND / 1000;

    fn conditions(text: &str) -> Conditions {
        text.parse().unwrap()
    }

    /// A read of a TCP packet over IPv4 with this payload; 20 bytes of IP and 32 of TCP.
    fn packet(payload: usize, segment: u16) -> Vec<u8> {
        let mut read = vec![0; HEADER + 52 + payload];
        read[1] = u8::from(segment > 0);
        read[4..6].copy_from_slice(&segment.to_ne_bytes());
        read[6..8].copy_from_slice(&20_u16.to_ne_bytes());
        read[HEADER + 20 + 12] = 8 << 4;
        read
    }

    #[test]
    fn links_are_read_from_the_command_line() {
        let one = Conditions { rate: 1_000_000_000, delay: Duration::from_millis(50) };
        assert_eq!(conditions("1gbit,50ms"), one);
        assert_eq!(conditions("1000mbit,50ms"), one);
        assert_eq!(conditions("10gbit,0ms").delay, Duration::ZERO);
        for wrong in
            ["", "1gbit", "1,1ms", "gbit,1ms", "0gbit,1ms", "101gbit,1ms", "1gbit,2s", "1gbit,1"]
        {
            wrong.parse::<Conditions>().unwrap_err();
        }
    }

    #[test]
    fn a_packet_takes_on_the_wire_what_its_segments_take() {
        // Payload, segment size, bytes: a full Ethernet frame takes 1538.
        for (payload, segment, bytes) in [
            (0, 0, 52 + 38),
            (1448, 0, 1538),
            (1448, 1448, 1538),
            (1449, 1448, 1538 + 52 + 1 + 38),
            (44 * 1448, 1448, 44 * 1538),
        ] {
            assert_eq!(on_wire(&packet(payload, segment)), bytes, "{payload} {segment}");
        }
        assert_eq!(on_wire(&[1; 3]), 0, "less than a header");
        let mut cut = packet(0, 1448);
        cut.truncate(HEADER + 21);
        assert_eq!(on_wire(&cut), 21 + 38, "less than a head is one segment");
    }

    #[test]
    fn packets_leave_one_after_the_other_and_arrive_after_the_delay() {
        let mut wire = Wire::new(conditions("1gbit,1ms"));
        // 1250 bytes take 10 us.
        let us = MILLISECOND / 1000;
        for (now, due) in [(0, 1010), (0, 1020), (5, 1030), (30, 1040), (100, 1110), (105, 1120)] {
            assert_eq!(wire.accept(now * us, 1250), Some(due * us), "at {now} us");
        }
    }

    #[test]
    fn the_queue_is_a_round_trip_long_and_what_exceeds_it_is_lost() {
        let mut wire = Wire::new(conditions("1gbit,50ms"));
        // 12,500,000 bytes take 100 ms, as a round trip does.
        assert_eq!(wire.accept(0, 12_500_001), None);
        assert_eq!(wire.accept(0, 12_499_000), Some(149_992 * MILLISECOND / 1000));
        assert_eq!(wire.accept(0, 1001), None);
        assert_eq!(wire.accept(0, 1000), Some(150 * MILLISECOND));
        assert_eq!(wire.accept(0, 1), None);
        assert_eq!(wire.accept(8000, 1), Some(150 * MILLISECOND + 8000), "a byte has left");
        // Without a delay there is still room for a few packets.
        let mut wire = Wire::new(conditions("1gbit,0ms"));
        let accepted = (0..9).filter(|_| wire.accept(0, LARGEST as u64).is_some()).count();
        assert_eq!(accepted as u64, QUEUED_LEAST);
    }

    proptest! {
        /// Any load: nothing is faster than the rate or the delay, nothing waits longer than the
        /// queue, the wire is never idle while a packet waits, and nothing is lost that had room.
        #[test]
        fn the_rate_and_the_delay_are_exact(
            rate in 1_000_000..20_000_000_000_u64,
            delay in 0..100_u64,
            load in vec((0..2_000_000_000_u64, 90..70_000_u64), 1..200),
        ) {
            let delay_time = delay * MILLISECOND;
            let mut wire = Wire::new(Conditions { rate, delay: Duration::from_millis(delay) });
            let least = (QUEUED_LEAST * LARGEST as u64) as f64 * 8.0 / rate as f64;
            let bound = least.max(2.0 * delay as f64 / 1e3) * 1e12;
            let (mut now, mut sent_before) = (0, 0);
            for (gap, bytes) in load {
                now += gap;
                let takes = bytes as f64 * 8.0 / rate as f64 * 1e12;
                let waits = sent_before.max(now) - now;
                match wire.accept(now, bytes) {
                    Some(due) => {
                        let sent = due - delay_time;
                        let busy = (sent - sent_before.max(now)) as f64;
                        prop_assert!((busy - takes).abs() < 2.0 + takes * 1e-12, "{busy} {takes}");
                        prop_assert!((sent - now) as f64 <= bound + 2.0);
                        sent_before = sent;
                    }
                    None => prop_assert!(waits as f64 + takes > bound - 2.0),
                }
            }
        }

        /// The bytes leave as they came and in their order, wherever the ring's end is.
        #[test]
        fn a_line_delivers_what_it_accepted(
            steps in vec((0..65_000_usize, 0..500_000_000_u64), 1..400),
        ) {
            let mut line = Line::new(conditions("1gbit,1ms"));
            let (mut now, mut expected, mut number) = (0, VecDeque::new(), 0_u8);
            for (payload, gap) in steps {
                now += gap;
                let read = packet(payload.min(LARGEST - HEADER - 52), 1448);
                let Some(room) = line.room() else {
                    return Err(TestCaseError::fail("a ring has room for all that may wait"));
                };
                room[..read.len()].copy_from_slice(&read);
                number = number.wrapping_add(1);
                room[read.len() - 1] = number;
                let before = line.packets.len();
                line.push(read.len(), now);
                if line.packets.len() > before {
                    expected.push_back((number, read.len()));
                }
                while let Some(due) = line.due().filter(|due| *due <= now) {
                    prop_assert!(line.pop(due - 1).is_none(), "not before it is due");
                    let packet = line.pop(due).unwrap();
                    let got = (packet[packet.len() - 1], packet.len());
                    prop_assert_eq!(Some(got), expected.pop_front());
                }
            }
            prop_assert_eq!(line.packets.len(), expected.len());
        }
    }

    #[test]
    fn a_line_without_deliveries_runs_out_of_room_and_overwrites_nothing() {
        let mut line = Line::new(conditions("10gbit,0ms"));
        let read = packet(60_000, 1448);
        let mut accepted = 0_u64;
        // One packet each 100 us: the queue has room, and nobody takes the packets out.
        while let Some(room) = line.room() {
            room[..read.len()].copy_from_slice(&read);
            room[HEADER + 40] = accepted as u8;
            line.push(read.len(), accepted * MILLISECOND / 10);
            accepted += 1;
        }
        assert_eq!(line.packets.len() as u64, accepted);
        assert!(accepted > QUEUED_LEAST);
        for number in 0..accepted {
            assert_eq!(line.pop(u64::MAX).unwrap()[HEADER + 40], number as u8);
        }
        assert!(line.room().is_some());
    }
}
