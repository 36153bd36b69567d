//! The command line: invalid arguments, version and help.

use super::support::run;

#[test]
fn wrong_usage_is_exit_code_2_without_output() {
    for args in [
        &[][..],
        &["localhost"],
        &["localhost", "0"],
        &["localhost", "65536"],
        &["localhost", "http"],
        &["localhost", "80", "0"],
        &["localhost", "80", "81", "82"],
        &["", "80"],
        &["local host", "80"],
        &["localhost", "80", "--timeout", "0s"],
        &["localhost", "80", "--timeout", "30"],
        &["localhost", "80", "--timeout=-1s"],
        &["localhost", "80", "--path", ""],
        &["localhost", "80", "--path", "a b"],
        &["localhost", "80", "--path", "a\rb"],
        &["localhost", "80", "--path", "a\nb"],
        &["localhost", "80", "--path", "a\tb"],
        &["localhost", "80", "--path", "a\u{7f}b"],
        &["localhost", "80", "--what"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn version_and_help_are_printed() {
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    let expected = concat!("client ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8_lossy(&version.stdout), expected);

    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("Usage: client [OPTIONS] <HOST> <PORT> [CLIENT_PORT]"), "{text}");
    assert!(text.contains("Examples:\n  client localhost 8080"), "{text}");
    assert!(text.contains("[default: testfile]") && text.contains("30s"), "{text}");
}
