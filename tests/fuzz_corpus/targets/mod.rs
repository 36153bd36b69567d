//! Properties that must hold for any bytes: one function per fuzz target, for the fuzzer and for
//! ordinary tests.
//!
//! An input consists only of bytes from the network, so that corpus files are readable. Random
//! choices (where to split the input) are derived from its bytes.

mod heads;
mod lists;
mod streams;

/// A target: it panics if a property does not hold.
pub type Target = fn(&[u8]);

/// All targets with their names; each has a corpus with its name.
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

/// Runs the target with this name, for the fuzzer's programs.
#[allow(dead_code, reason = "the ordinary test goes through the table")]
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(other, _)| *other == name).expect("a known target");
    target(bytes);
}

/// Random choices, seeded by the bytes (FNV-1a).
fn choices(bytes: &[u8]) -> fastrand::Rng {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    fastrand::Rng::with_seed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// Some ways to split the bytes: once, in several places, and (if they are few) everywhere. Each is
/// a list of ends in order; the last one is the end of all bytes.
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
