//! Texts of made-up words, some common and most rare, as a language has them.

use fastrand::Rng;

/// Different words.
const VOCABULARY: usize = 3000;

/// Words of a text.
const WORDS: usize = 300;

/// The texts, always the same for a seed.
#[derive(Debug)]
pub struct Corpus {
    pub texts: Vec<String>,
    /// The words, by how common they are.
    pub words: Vec<String>,
}

impl Corpus {
    pub fn new(texts: usize, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let words: Vec<String> = (0..VOCABULARY).map(|number| word(number, &mut random)).collect();
        let mut text = || {
            // The frequency of a word falls with its rank (G. K. Zipf, 1935).
            let pick = |random: &mut Rng| {
                let rank = (VOCABULARY as f64).powf(random.f64()) as usize - 1;
                &words[rank.min(VOCABULARY - 1)][..]
            };
            (0..WORDS).map(|_| pick(&mut random)).collect::<Vec<_>>().join(" ")
        };
        let texts = (0..texts).map(|_| text()).collect();
        Self { texts, words }
    }

    /// The word whose share of the texts is the nearest to `share`, and that share.
    pub fn word_in(&self, share: f64) -> (&str, f64) {
        let of = |word: &str| {
            let has = |text: &&String| text.split(' ').any(|each| each == word);
            self.texts.iter().filter(has).count() as f64 / self.texts.len().max(1) as f64
        };
        // Rarer ones than these are too rare for any share that is asked for.
        let candidates = self.words.iter().take(200).map(|word| (&word[..], of(word)));
        let off = |(_, found): &(&str, f64)| (found - share).abs();
        candidates.min_by(|one, other| off(one).total_cmp(&off(other))).unwrap_or_default()
    }
}

/// Syllables, and a number in letters that makes each word another.
fn word(number: usize, random: &mut Rng) -> String {
    let mut word = String::new();
    for _ in 0..random.usize(1..3) {
        word.push(letter(b"bdfgklmnprstvz", random));
        word.push(letter(b"aeiou", random));
    }
    let mut rest = number;
    while rest > 0 {
        word.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    word
}

fn letter(of: &[u8], random: &mut Rng) -> char {
    char::from(of[random.usize(..of.len())])
}
