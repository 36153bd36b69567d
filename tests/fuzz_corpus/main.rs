//! The fuzz targets without a fuzzer: their corpus, and a bounded number of its mutations.
#![allow(clippy::unwrap_used)]

mod mutations;
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use targets::{TARGETS, Target};

/// Mutated inputs, over all targets.
const MUTATIONS: usize = 20_000;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz_corpus/corpus")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = fs::read_dir(corpora().join(target)).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "a corpus for {target}");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs the target, and shows the input that it breaks at.
#[track_caller]
fn check(name: &str, target: Target, input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(outcome.is_ok(), "{name} breaks at b\"{}\"", input.escape_ascii());
}

#[test]
fn the_corpus_breaks_nothing() {
    for (name, target) in TARGETS {
        for input in corpus(name) {
            check(name, target, &input);
        }
    }
}

#[test]
fn no_mutation_of_the_corpus_breaks_anything() {
    let mut random = fastrand::Rng::with_seed(9112);
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        for _ in 0..MUTATIONS / TARGETS.len() {
            check(name, target, &mutations::mutated(&corpus, &mut random));
        }
    }
}

#[test]
fn each_target_has_its_corpus_and_each_corpus_its_target() {
    let folders = fs::read_dir(corpora()).unwrap();
    let mut found: Vec<String> =
        folders.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    let mut names = TARGETS.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(found, names);
}
