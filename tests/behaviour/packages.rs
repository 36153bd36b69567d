//! What a package has beside the binary: completions, the manual page, the Debian package itself.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use crate::support::{command, is_installed};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What the server prints with these arguments.
fn printed(arguments: &[&str]) -> Vec<u8> {
    let output = command(env!("CARGO_BIN_EXE_server")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a program with this input.
fn feed(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn shells_load_the_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["--completions", shell]);
        let text = String::from_utf8(script.clone()).unwrap();
        assert!(text.contains("takeover") && text.contains("print-config"), "{shell}");
        if !is_installed(shell) {
            continue;
        }
        let checked = feed(shell, &["-n", "/dev/stdin"], &script);
        assert!(checked.status.success(), "{shell}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    // It completes: bash asks the function for what `server --print` can become.
    let mut script = printed(&["--completions", "bash"]);
    script.extend_from_slice(
        b"\nCOMP_WORDS=(server --print)\nCOMP_CWORD=1\n_server server --print server\n\
          echo \"${COMPREPLY[@]}\"\n",
    );
    let completed = feed("bash", &["--norc"], &script);
    assert_eq!(String::from_utf8_lossy(&completed.stdout), "--print-config\n");
}

#[test]
fn the_manual_page_is_rendered_without_a_complaint() {
    let page = printed(&["--man"]);
    if !is_installed("man") {
        return;
    }
    let rendered = feed("man", &["--warnings", "-l", "-"], &page);
    let text = String::from_utf8_lossy(&rendered.stdout).into_owned();
    assert_eq!(String::from_utf8_lossy(&rendered.stderr), "");
    for part in ["NAME", "OPTIONS", "EXAMPLES", "serve ./public on port 3000", "Exit code"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

fn packaging(name: &str) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/debian");
    std::fs::read_to_string(top.join(name)).unwrap()
}

/// The package's options, without the paths that only a system has.
#[test]
fn the_options_of_the_debian_package_are_correct() {
    let folder = tempfile::tempdir().unwrap();
    let text = packaging("cws.toml");
    let root = folder.path().to_str().unwrap();
    assert_eq!(text.matches("/srv/www").count(), 1);
    // The example of a site, too.
    let example = text.split_once("# [[site]]").unwrap().1.replace("# ", "");
    let text = format!("{text}[[site]]{example}").replace("/srv/www", root);
    let text = text.replace("root = \"/srv/downloads\"", &format!("root = \"{root}\""));
    std::fs::write(folder.path().join("cws.toml"), text).unwrap();
    let file = folder.path().join("cws.toml");
    assert_eq!(
        printed(&["--check", "--config", file.to_str().unwrap()]),
        b"the options are correct\n"
    );
    if is_installed("logrotate") {
        let rules = folder.path().join("logrotate");
        std::fs::write(&rules, packaging("logrotate").replace("su cws cws", "su root root"))
            .unwrap();
        let state = folder.path().join("state");
        let mut logrotate = Command::new("logrotate");
        let output = logrotate.args(["--debug", "--state"]).arg(state).arg(rules).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !told.contains("error:"), "{told}");
    }
}

/// Builds the package of these binaries, and unpacks it.
#[test]
fn the_debian_package_has_what_a_system_needs() {
    if !is_installed("cargo-deb") || !is_installed("dpkg-deb") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = folder.path().join("cws.deb");
    let binaries = Path::new(env!("CARGO_BIN_EXE_server")).parent().unwrap();
    let mut build = Command::new(top.join("packaging/build-deb"));
    build.arg(&package).env("BINARIES", binaries).env("FAST", "1").env_remove("CARGO_TARGET_DIR");
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let root = folder.path().join("root");
    let done = Command::new("dpkg-deb").arg("-x").args([&package, &root]).status().unwrap();
    assert!(done.success());
    for file in [
        "usr/bin/cws-client",
        "usr/share/man/man1/cws.1.gz",
        "usr/share/bash-completion/completions/cws",
        "usr/share/zsh/vendor-completions/_cws",
        "usr/share/fish/vendor_completions.d/cws.fish",
        "usr/lib/systemd/system/cws.service",
        "usr/lib/systemd/system/cws.socket",
        "usr/lib/systemd/system/cws.service.d/package.conf",
        "usr/lib/sysusers.d/cws.conf",
        "etc/logrotate.d/cws",
        "etc/cws/cws.toml",
        "usr/share/doc/cws/copyright",
    ] {
        assert!(root.join(file).is_file(), "{file}");
    }
    let version = Command::new(root.join("usr/bin/cws")).arg("-V").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert_eq!(version, format!("server {}\n", env!("CARGO_PKG_VERSION")));
    let control = Command::new("dpkg-deb").arg("-I").arg(&package).output().unwrap();
    let control = String::from_utf8(control.stdout).unwrap();
    for part in ["Package: cws", "libc6", "postinst", "conffiles"] {
        assert!(control.contains(part), "{part} in {control}");
    }
}
