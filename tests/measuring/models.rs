//! The six servers of `models`, measured and alone.
#![cfg(all(target_os = "linux", feature = "cli"))]
#![allow(clippy::unwrap_used)]

use crate::lab_programs::{example, refuses, run};
use crate::support::{RealServer, Site, exchange, get};

const MODELS: [&str; 6] =
    ["sequential", "process", "thread", "pool-connection", "pool-request", "event-loop"];

#[test]
fn models_runs_and_its_checks_hold() {
    let said = run("models", &["--quick"], true);
    for part in ["Few: 4 clients", "Many: 32 clients", "100 that send nothing", "KiB a client"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// The same duty: file, missing file, method, way out, and two requests on one connection.
#[test]
fn each_model_gives_the_same_answers() {
    let site = Site::new();
    site.put("folder/testfile", "inner\n");
    std::os::unix::fs::symlink("/etc/passwd", site.path().join("link")).unwrap();
    for model in MODELS {
        let mut command = example("models");
        let root = site.path().to_str().unwrap();
        command.args(["--serve", model, "0", "--root", root, "--delay", "1ms"]);
        let server = RealServer::spawn(command);
        let address = server.address();
        let status = |path: &str| get(address, path).status;
        assert_eq!(get(address, "/folder/testfile?a=b").body, b"inner\n", "{model}");
        assert_eq!(get(address, "/%74estfile").body, crate::support::TESTFILE, "{model}");
        let ways =
            ["/missing", "/folder", "/../../../../../../etc/passwd", "//etc/passwd", "/link"];
        assert_eq!(ways.map(status), [404; 5], "{model}");
        let both = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\nHEAD testfile HTTP/1.0\r\n\r\n";
        let said = String::from_utf8(exchange(address, both)).unwrap();
        assert_eq!(said.matches(" 200 OK\r\n").count(), 2, "{model}: {said}");
        assert!(said.ends_with("\r\n\r\n"), "{model}: the answer to HEAD has no body: {said}");
        let post = exchange(address, b"POST /testfile HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
        assert!(post.starts_with(b"HTTP/1.") && post[8..].starts_with(b" 501 "), "{model}");
    }
}

#[test]
fn wrong_options_of_models_are_one_line_errors() {
    refuses("models", &["8080"], 2, "--serve");
    refuses("models", &["--serve", "magic"], 2, "sequential");
    refuses("models", &["--serve", "thread", "--quick"], 2, "cannot be used with");
    refuses(
        "models",
        &["--serve", "thread", "0", "--root", "/no/such"],
        1,
        "cannot serve /no/such",
    );
    refuses("models", &["--workers", "0"], 2, "at least 1");
}
