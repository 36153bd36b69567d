//! What must hold for any bytes: one function a fuzz target, for the fuzzer and for ordinary tests.
//!
//! An input is what comes over the wire and nothing else, so that every file of a corpus can be
//! read. What is chosen at random beside it (where to cut) follows from its bytes.

mod heads;
mod lists;
mod streams;

/// One target: it panics where a promise is broken.
pub type Target = fn(&[u8]);

/// All targets by name; each has a corpus of that name.
pub const TARGETS: [(&str, Target); 9] = [
    ("head", heads::head),
    ("request", heads::request),
    ("target", heads::target),
    ("range", lists::range),
    ("conditional", lists::conditional),
    ("coding", lists::coding),
    ("body", streams::body),
    ("client", streams::client),
    ("dialogue", streams::dialogue),
];

/// The target of that name, for the fuzzer's programs.
#[allow(dead_code, reason = "the ordinary test goes through the table")]
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(other, _)| *other == name).expect("a known target");
    target(bytes);
}

/// Random choices that are the same each time for the same bytes (seeded by FNV-1a of them).
fn choices(bytes: &[u8]) -> fastrand::Rng {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    fastrand::Rng::with_seed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// Some ways to cut the bytes: once, in several places, and, where they are few, everywhere. Each
/// is a list of ends, in order, the last of which is the end of all.
fn ways_to_cut(bytes: &[u8]) -> Vec<Vec<usize>> {
    let mut random = choices(bytes);
    let mut ways = Vec::new();
    for cuts in [1, 1, 4] {
        let mut ends: Vec<usize> = (0..cuts).map(|_| random.usize(..=bytes.len())).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        ways.push(ends);
    }
    if bytes.len() <= 256 {
        ways.push((1..=bytes.len()).collect());
    }
    ways
}

/// The pieces between these ends.
fn pieces<'b>(bytes: &'b [u8], ends: &[usize]) -> Vec<&'b [u8]> {
    let starts = [0].iter().chain(ends);
    starts.zip(ends).map(|(&start, &end)| &bytes[start..end]).collect()
}
