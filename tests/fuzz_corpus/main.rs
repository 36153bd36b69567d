//! Runs the fuzz targets without a fuzzer, on their corpus and on a fixed number of mutations.
#![cfg(feature = "proxy")]
#![allow(clippy::unwrap_used)]

mod mutations;
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use targets::{TARGETS, Target};

/// Mutated inputs for all targets together.
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

/// Runs the target, and shows the input if the target fails.
#[track_caller]
fn check(name: &str, target: Target, input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(outcome.is_ok(), "{name} fails on b\"{}\"", input.escape_ascii());
}

#[test]
fn every_target_holds_for_its_corpus() {
    for (name, target) in TARGETS {
        for input in corpus(name) {
            check(name, target, &input);
        }
    }
}

#[test]
fn every_target_holds_for_mutations_of_its_corpus() {
    let mut random = fastrand::Rng::with_seed(9112);
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        for _ in 0..MUTATIONS / TARGETS.len() {
            check(name, target, &mutations::mutated(&corpus, &mut random));
        }
    }
}

#[test]
fn targets_and_corpora_have_the_same_names() {
    let folders = fs::read_dir(corpora()).unwrap();
    let mut found: Vec<String> =
        folders.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    let mut names = TARGETS.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(found, names);
}
