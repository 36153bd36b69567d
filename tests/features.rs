//! How many crates each set of features brings, and what these crates ask for.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

/// The crates that the library is compiled from with these features, itself included.
fn crates(features: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    tree.args(["--no-default-features", "--features", features]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_pool_alone_is_made_of_twenty_crates_at_most() {
    let core = crates("");
    assert!(core.iter().any(|name| name.starts_with("concurrent-web-server ")), "{core:#?}");
    assert!(core.len() <= 20, "{} crates: {core:#?}", core.len());
}

#[test]
fn each_feature_brings_its_own_crates_and_no_others() {
    let core = crates("");
    let rows = [
        ("files", "cap-std", 28),
        ("markdown", "pulldown-cmark", 32),
        ("auth", "bcrypt", 12),
        ("admin", "prometheus-client", 18),
        ("client", "humantime", 1),
        ("json-log", "serde_json", 5),
        ("proxy", "ppp", 8),
        ("service-time", "humantime", 6),
        ("routes", "matchit", 1),
        ("http", "http", 3),
        ("sandbox", "landlock", 12),
    ];
    for (feature, own, most) in rows {
        let with = crates(feature);
        let has =
            |set: &BTreeSet<String>| set.iter().any(|name| name.split(' ').next() == Some(own));
        assert!(has(&with) && !has(&core), "{feature} is what brings {own}");
        let more: Vec<_> = with.difference(&core).collect();
        assert!(more.len() <= most, "{feature} brings {}: {more:#?}", more.len());
    }
    let library =
        crates("files,auth,admin,client,json-log,markdown,proxy,routes,service-time,http");
    for command_line in ["clap", "env_logger", "signal-hook", "bytesize"] {
        assert!(!library.iter().any(|name| name.starts_with(command_line)), "{command_line}");
    }
}

/// All packages that anything here is compiled from.
fn packages() -> Vec<serde_json::Value> {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--locked", "--format-version=1"]);
    let output = metadata.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    found["packages"].as_array().unwrap().clone()
}

/// A version's numbers: 1.88 is 1, 88.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|number| number.parse().unwrap()).collect()
}

#[test]
fn no_dependency_needs_a_newer_compiler_than_the_manifest_says() {
    let own = numbers(env!("CARGO_PKG_RUST_VERSION"));
    let (mut told, packages) = (0, packages());
    for package in &packages {
        let Some(needed) = package["rust_version"].as_str() else { continue };
        told += 1;
        assert!(numbers(needed)[..2] <= own[..2], "{} needs {needed}", package["name"]);
    }
    assert!(told > packages.len() / 2, "most packages say it: {told} of {}", packages.len());
}

/// The same as `cargo deny check licenses sources`, for those who have no cargo-deny.
#[test]
fn licences_and_sources_are_those_that_are_allowed() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/.cargo/deny.toml");
    let rules = std::fs::read_to_string(rules).unwrap();
    let (_, list) = rules.split_once("allow = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let allowed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let mut used = BTreeSet::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let source = package["source"].as_str();
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(source.is_none_or(|source| source == registry), "{name} comes from {source:?}");
        let licence = package["license"].as_str().unwrap_or_default().replace('/', " OR ");
        for choices in licence.replace(['(', ')'], "").split(" AND ") {
            let chosen = choices.split(" OR ").find(|choice| allowed.contains(choice));
            used.insert(chosen.unwrap_or_else(|| panic!("{name}: {licence}")).to_owned());
        }
    }
    assert!(used.len() > 3, "{used:?}");
}
