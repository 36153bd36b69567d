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

/// Picoseconds, in which also a byte at 10 Gbit/s takes a whole number.
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
    lost: u64,
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
        // Beside the packets there is room for the next one, and for what is lost at the ring's end.
        let bytes = vec![0; wire.most() + 8 * LARGEST];
        Self { wire, bytes, packets: VecDeque::new(), head: 0, lost: 0 }
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

    /// A packet of this length has arrived in the room.
    pub fn push(&mut self, length: usize, now: u64) {
        let read = &self.bytes[self.head..self.head + length];
        match self.wire.accept(now, on_wire(read)) {
            Some(due) => {
                self.packets.push_back(Packet { due, start: self.head, length });
                self.head += length;
            }
            None => self.lost += 1,
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

    /// The packets that found the queue full.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
