//! Properties that hold for any bytes: one function per fuzz target, for fuzzers and plain tests.
//!
//! An input consists of the bytes on the wire and nothing else, so that the files of a corpus are
//! readable. Random choices, such as where to split the bytes, are derived from the input.

mod heads;
mod lists;
mod proxies;
mod streams;

/// A target. It panics if its property does not hold.
pub type Target = fn(&[u8]);

/// All targets with their names. The corpus of a target has the same name.
pub const TARGETS: [(&str, Target); 11] = [
    ("head", heads::head),
    ("request", heads::request),
    ("target", heads::target),
    ("range", lists::range),
    ("conditional", lists::conditional),
    ("coding", lists::coding),
    ("announcement", proxies::announcement),
    ("forwarded", proxies::forwarded),
    ("body", streams::body),
    ("client", streams::client),
    ("dialogue", streams::dialogue),
];

/// Runs the target with this name, for the programs of the fuzzer.
#[allow(dead_code, reason = "the plain test iterates over the table")]
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(other, _)| *other == name).expect("a known target");
    target(bytes);
}

/// A random generator whose seed is the FNV-1a hash of the bytes, so that failures are repeatable.
fn choices(bytes: &[u8]) -> fastrand::Rng {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    fastrand::Rng::with_seed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// Some ways to split the bytes: once, in several places and, for short inputs, after each byte. A
/// way is an ordered list of the ends of the pieces.
fn ways_to_split(bytes: &[u8]) -> Vec<Vec<usize>> {
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

/// The pieces with these ends.
fn pieces<'b>(bytes: &'b [u8], ends: &[usize]) -> Vec<&'b [u8]> {
    let starts = [0].iter().chain(ends);
    starts.zip(ends).map(|(&start, &end)| &bytes[start..end]).collect()
}
