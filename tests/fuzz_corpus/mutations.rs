//! Mutates inputs of a corpus like a fuzzer, but without coverage feedback.

use fastrand::Rng;

/// Bytes with a meaning in HTTP/1.x, and their neighbours.
const BYTES: &[u8] = b"\r\n\t :;,=\"*/%.-[]#?@0159afF\0\x7f\x80\xff";

/// The length limit of mutated inputs; each target runs on an input several times.
const LONGEST: usize = 2048;

/// A corpus input after one to five changes.
pub fn mutated(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let any = |random: &mut Rng| &corpus[random.usize(..corpus.len())];
    let mut input = any(random).clone();
    for _ in 0..random.usize(1..=5) {
        match random.usize(..8) {
            0 if !input.is_empty() => {
                let at = random.usize(..input.len());
                input[at] ^= 1 << random.u8(..8);
            }
            1 if !input.is_empty() => {
                let at = random.usize(..input.len());
                input[at] = BYTES[random.usize(..BYTES.len())];
            }
            2 | 3 => {
                let byte = BYTES[random.usize(..BYTES.len())];
                input.insert(random.usize(..=input.len()), byte);
            }
            4 => {
                let range = stretch(&input, random);
                input.drain(range);
            }
            5 => {
                let copy = input[stretch(&input, random)].to_vec();
                insert(&mut input, &copy, random);
            }
            6 => {
                let other = any(random);
                let part = &other[stretch(other, random)];
                insert(&mut input, part, random);
            }
            7 => input.truncate(random.usize(..=input.len())),
            _ => {}
        }
    }
    input.truncate(LONGEST);
    input
}

/// A random range of the bytes, usually short.
fn stretch(bytes: &[u8], random: &mut Rng) -> std::ops::Range<usize> {
    let start = random.usize(..=bytes.len());
    let most = bytes.len() - start;
    let length = random.usize(..=most);
    start..start + if random.bool() { length } else { length.min(4) }
}

fn insert(into: &mut Vec<u8>, bytes: &[u8], random: &mut Rng) {
    let at = random.usize(..=into.len());
    into.splice(at..at, bytes.iter().copied());
}
