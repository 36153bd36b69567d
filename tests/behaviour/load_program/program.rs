//! Runs `load`.

use lab::saved::Saved;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary: cargo puts examples into a folder beside the tests' binaries.
pub fn load() -> Command {
    let this = std::env::current_exe().unwrap();
    let target: PathBuf = this.parent().unwrap().parent().unwrap().into();
    let path = target.join("examples/load");
    assert!(path.exists(), "{} is missing: run cargo build --examples", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs it with these options. A busy machine may make checks fail, but nothing else.
pub fn run(options: &[&str]) -> Output {
    let output = load().args(options).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{options:?}: {said}");
    output
}

/// Runs it with a file of figures in this folder; gives them and the text.
pub fn saved(folder: &Path, options: &[&str]) -> (Saved, String) {
    let path = folder.join("run.json");
    let output = run(&[&["--json", path.to_str().unwrap()], options].concat());
    let said = text(&output.stdout);
    let saved = Saved::read(&path).unwrap_or_else(|error| {
        panic!("{options:?}: {error}\n{said}{}", text(&output.stderr));
    });
    assert!(said.contains("CHECK "), "{said}");
    (saved, said)
}

/// Checks that it prints one line on standard error, and nothing else, and exits with the code.
pub fn refuses(options: &[&str], code: i32, expected: &str) {
    let Output { status, stdout, stderr } = load().args(options).output().unwrap();
    let complaint = text(&stderr);
    assert_eq!(status.code(), Some(code), "{options:?}: {complaint}");
    assert_eq!(text(&stdout), "", "{options:?}");
    assert_eq!(complaint.lines().count(), 1, "{options:?}: {complaint}");
    assert!(complaint.starts_with("load: ") && complaint.contains(expected), "{complaint}");
}
