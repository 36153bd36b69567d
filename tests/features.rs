//! How many crates each set of features brings.
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
        ("files", "cap-std", 24),
        ("auth", "bcrypt", 12),
        ("admin", "prometheus-client", 18),
        ("client", "humantime", 1),
        ("json-log", "serde_json", 5),
        ("proxy", "ppp", 8),
        ("service-time", "humantime", 6),
        ("routes", "matchit", 1),
        ("http", "http", 3),
    ];
    for (feature, own, most) in rows {
        let with = crates(feature);
        let has =
            |set: &BTreeSet<String>| set.iter().any(|name| name.split(' ').next() == Some(own));
        assert!(has(&with) && !has(&core), "{feature} is what brings {own}");
        let more: Vec<_> = with.difference(&core).collect();
        assert!(more.len() <= most, "{feature} brings {}: {more:#?}", more.len());
    }
    let library = crates("files,auth,admin,client,json-log,proxy,routes,service-time,http");
    for command_line in ["clap", "env_logger", "signal-hook", "bytesize"] {
        assert!(!library.iter().any(|name| name.starts_with(command_line)), "{command_line}");
    }
}
