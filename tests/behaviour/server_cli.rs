//! The `server` command: its output, its options, its errors.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{
    RealServer, Reply, Site, TESTFILE, command, connect, get, listening_address, wait_for,
};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output};

fn server() -> Command {
    command(env!("CARGO_BIN_EXE_server"))
}

/// Runs the command, which must exit by itself.
fn run(arguments: &[&str]) -> Output {
    server().args(arguments).output().unwrap()
}

fn one_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "one line: {text:?}");
    assert!(output.stdout.is_empty(), "nothing on standard output");
    text.trim_end().to_owned()
}

/// Most of the memory of a large pool is that of the workers' measurements, which are made when
/// they are used.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr)]
#[test]
fn a_worker_that_has_not_worked_takes_little_memory() {
    const WORKERS: usize = 4096;
    // The kernel's limits, without room for as many others.
    let limit = |file: &str| std::fs::read_to_string(file).ok()?.trim().parse::<usize>().ok();
    let files =
        ["/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max", "/sys/fs/cgroup/pids.max"];
    let most = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    let limits = files.into_iter().filter_map(limit).chain(most.map(|most| most as usize));
    if limits.min().is_some_and(|least| least < 2 * WORKERS) {
        eprintln!("skipped: the system does not allow so many threads");
        return;
    }
    let site = Site::new();
    let resident = |workers: usize| {
        let server = RealServer::start(&site, &["--workers", &workers.to_string()]);
        assert_eq!(get(server.address(), "/testfile").body, TESTFILE);
        server.resident_bytes()
    };
    let each = resident(WORKERS).saturating_sub(resident(1)) / WORKERS;
    assert!(each < 40 << 10, "{each} bytes a worker");
}

#[test]
fn it_prints_its_address_and_logs_its_capacity() {
    let site = Site::new();
    let server = RealServer::start(&site, &["--workers", "4", "--delay", "50ms"]);
    assert_eq!(get(server.address(), "/testfile").body, TESTFILE);
    let log = wait_for("the start line", || {
        let log = server.stderr();
        log.contains("serving").then_some(log)
    });
    let root = site.path().canonicalize().unwrap();
    let expected = format!(
        "serving {}: 4 workers, delay 50ms: at most 80 requests/s; queue 1024",
        root.display()
    );
    assert!(log.contains(&expected), "{log}");
}

#[test]
fn every_request_is_logged_unless_quiet() {
    let site = Site::new();
    let server = RealServer::start(&site, &[]);
    get(server.address(), "/testfile?q=%22");
    get(server.address(), "/no\"such");
    let log = wait_for("two log lines", || {
        let log = server.stderr();
        (log.matches("HTTP/1.1").count() == 2).then_some(log)
    });
    assert!(log.contains("\"GET /testfile?q=%22 HTTP/1.1\" 200 13 "), "{log}");
    assert!(log.contains("\"GET /no\\\"such HTTP/1.1\" 404 "), "escaped: {log}");

    let quiet = RealServer::start(&site, &["--quiet"]);
    get(quiet.address(), "/testfile");
    assert_eq!(quiet.stderr(), "");
}

#[test]
fn rust_log_is_respected() {
    let site = Site::new();
    let mut command = server();
    command.args(["--root", site.path().to_str().unwrap(), "0"]).env("RUST_LOG", "error");
    let server = RealServer::spawn(command);
    get(server.address(), "/testfile");
    assert_eq!(server.stderr(), "");
}

#[test]
fn options_come_from_the_environment_too() {
    let site = Site::new();
    let mut command = server();
    command.envs([("CWS_ROOT", site.path().to_str().unwrap()), ("CWS_PORT", "0")]);
    command.envs([("CWS_WORKERS", "3"), ("CWS_DELAY", "1.5s"), ("CWS_QUEUE", "7")]);
    command.envs([("CWS_NO_LISTING", "yes"), ("CWS_HIDDEN", "1"), ("CWS_QUIET", "off")]);
    site.put("empty/.hidden", "x");
    let server = RealServer::spawn(command);
    assert_eq!(get(server.address(), "/empty/").status, 403);
    assert_eq!(get(server.address(), "/empty/.hidden").status, 200);
    wait_for("the start line", || {
        let log = server.stderr();
        log.contains("3 workers, delay 1s 500ms: at most 2 requests/s; queue 7").then_some(())
    });
}

#[test]
fn the_root_is_the_current_directory_by_default() {
    let site = Site::new();
    let mut command = server();
    command.arg("0").current_dir(site.path());
    assert_eq!(get(RealServer::spawn(command).address(), "/testfile").body, TESTFILE);
}

#[test]
fn it_listens_on_the_given_address() {
    let site = Site::new();
    for bind in ["127.0.0.2", "localhost"] {
        let server = RealServer::start(&site, &["--bind", bind]);
        assert!(server.address().ip().is_loopback());
        assert_eq!(get(server.address(), "/testfile").body, TESTFILE, "{bind}");
    }
    if TcpListener::bind("[::1]:0").is_err() {
        return; // A machine without IPv6.
    }
    for bind in ["::1", "[::1]", "::"] {
        let server = RealServer::start(&site, &["--bind", bind]);
        assert!(server.address().is_ipv6());
        let port = server.address().port();
        assert_eq!(get(([0, 0, 0, 0, 0, 0, 0, 1], port).into(), "/testfile").body, TESTFILE);
        if bind == "::" {
            let by_ipv4 = get(([127, 0, 0, 1], port).into(), "/testfile");
            assert_eq!(by_ipv4.body, TESTFILE, ":: accepts IPv4, too");
        }
    }
}

/// It listens on all addresses of a name, on one port, and prints a line for each.
#[test]
fn each_address_has_its_line() {
    use std::io::{BufRead, BufReader};
    use std::net::ToSocketAddrs;
    let mut expected: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    expected.sort();
    expected.dedup();
    expected.retain(|address| TcpListener::bind(address).is_ok());
    let mut command = server();
    command.args(["--bind", "localhost", "--quiet", "0"]).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told: Vec<_> =
        lines.take(expected.len()).map(|line| listening_address(&line.unwrap())).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let hosts = |addresses: &[std::net::SocketAddr]| {
        addresses.iter().map(|address| address.ip()).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&told), hosts(&expected));
    assert!(told.iter().all(|address| address.port() == told[0].port() && address.port() != 0));
}

#[test]
fn help_and_version_are_printed() {
    let output = run(&["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for word in ["--workers", "CWS_WORKERS", "--delay", "CWS_DELAY", "Examples:", "--hidden"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    let output = run(&["--version"]);
    let version = String::from_utf8(output.stdout).unwrap();
    let first = format!("server {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.lines().next(), Some(&first[..]));
    assert!(version.lines().last().unwrap().starts_with("features cli"), "{version}");
}

/// Words that look like options, in source text.
fn options_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-');
    words.filter(|word| word.starts_with("--") && word.len() > 4 && !word.starts_with("---"))
}

/// What the page, the summary, log lines and errors recommend can be done.
#[test]
fn every_option_that_the_server_names_exists() {
    let client = command(env!("CARGO_BIN_EXE_client")).arg("--help").output().unwrap();
    let help = [run(&["--help"]).stdout, client.stdout].concat();
    let help = String::from_utf8(help).unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // The commands' own files quote wrong options as well.
                folders.extend((!path.ends_with("bin")).then_some(path));
                continue;
            }
            if !path.extension().is_some_and(|ending| ending == "rs" || ending == "js") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for option in lines.flat_map(options_in) {
                assert!(help.contains(option), "{option} in {}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 6, "{count}");
}

#[test]
fn wrong_usage_is_one_line_and_code_2() {
    for (arguments, word) in [
        (&["--workers", "0"][..], "--workers"),
        (&["--workers", "many"], "--workers"),
        (&["--no-such-option"], "--no-such-option"),
        (&["--delay", "50"], "--delay"),
        (&["--header-timeout", "0s"], "--header-timeout"),
        (&["--max-connections", "0"], "--max-connections"),
        (&["--auth", "ann:secret"], "htpasswd"),
        (&["--index", "a/b"], "--index"),
        (&["--admin-host", "stats.example:80"], "--admin-host"),
        (&["--health", "healthz"], "must begin with a slash"),
        (&["--patience-field", "no token"], "the name of a header field"),
        (&["--patience-field", ""], "the name of a header field"),
        (&["--header", "no colon"], "--header"),
        (&["--header", "Content-Length: 5"], "Content-Length"),
        (&["--mime", "wasm"], "write it like wasm=application/wasm"),
        (&["--error-page", "200=ok.html"], "write it like 404=404.html"),
        (&["65536"], "65536"),
        (&["80", "81"], "81"),
    ] {
        let output = run(arguments);
        let line = one_line(&output);
        assert!(line.contains(word), "{line}");
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
}

#[test]
fn a_wrong_name_of_an_order_is_an_error_that_names_the_choices() {
    let orders = "fair, fifo, lifo or sff";
    let choices = "refuse, drop-head, drop-random or block";
    for (option, variable, value, names) in [
        ("--schedule", "CWS_SCHEDULE", "random", orders),
        ("--schedule", "CWS_SCHEDULE", "FIFO", orders),
        ("--schedule", "CWS_SCHEDULE", "", orders),
        ("--when-full", "CWS_WHEN_FULL", "drop", choices),
        ("--when-full", "CWS_WHEN_FULL", "drop_head", choices),
    ] {
        let by_option = run(&[option, value, "0"]);
        let by_environment = server().arg("0").env(variable, value).output().unwrap();
        for output in [by_option, by_environment] {
            let line = one_line(&output);
            assert!(line.contains(names) && line.contains(option), "{line}");
            assert!(line.contains(value), "{line}");
            assert_eq!(output.status.code(), Some(2), "{line}");
        }
    }
}

/// The start line tells the order.
#[test]
fn the_order_comes_from_options_and_from_the_environment() {
    let site = Site::new();
    for (order, shown) in [
        ("fair", "queue 7;"),
        ("fifo", "queue 7, fifo;"),
        ("lifo", "queue 7, lifo;"),
        ("sff", "queue 7, sff;"),
    ] {
        let by_option = RealServer::start(&site, &["--queue", "7", "--schedule", order]);
        let mut command = server();
        command.args(["--root", site.path().to_str().unwrap(), "--queue", "7", "0"]);
        command.env("CWS_SCHEDULE", order);
        let by_environment = RealServer::spawn(command);
        for server in [by_option, by_environment] {
            wait_for(shown, || server.stderr().contains(shown).then_some(()));
        }
    }
}

/// Who of three gets a 503, where the first one holds the only worker for an hour and the queue has
/// room for one.
#[test]
fn what_gives_way_follows_the_option_and_the_environment() {
    let site = Site::new();
    let options =
        ["--workers", "1", "--delay", "1h", "--queue", "1", "--schedule", "fifo", "--admin", "0"];
    for (name, refused) in [("refuse", 2), ("drop-head", 1)] {
        let by_option = RealServer::start(&site, &[&options[..], &["--when-full", name]].concat());
        let mut command = server();
        command.args(["--root", site.path().to_str().unwrap(), "0"]).args(options);
        command.env("CWS_WHEN_FULL", name);
        let by_environment = RealServer::spawn(command);
        for server in [by_option, by_environment] {
            let admin = server.admin();
            let mut streams = Vec::new();
            for before in 0..3 {
                let mut stream = connect(server.address());
                stream.write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                streams.push(stream);
                if before < 2 {
                    // The first one is in service, and the second one waits.
                    let arrived = format!("\ncws_arrivals_total {}\n", before + 1);
                    let waiting = format!("\ncws_queue_waiting_requests {before}.0\n");
                    wait_for("the request", || {
                        let metrics = String::from_utf8(get(admin, "/metrics").body).unwrap();
                        (metrics.contains(&arrived) && metrics.contains(&waiting)).then_some(())
                    });
                }
            }
            assert_eq!(Reply::read(&mut streams[refused]).status, 503, "{name}");
        }
    }
}

/// Given as an option or in the environment.
#[test]
fn errors_for_invalid_users_do_not_contain_the_secret() {
    let hash = "$2y$04$abcdefghijklmnopqrstuu5s0bVnIpGyLEpMv1JSBYdWIyPFyVOOm";
    // Each with the words that must not be printed.
    let rows = [
        ("s3cret", &["s3cret"][..]),
        (":s3cret", &["s3cret"]),
        ("ann:", &[]),
        ("ann:s3cret", &["s3cret"]),
        ("ann:s3c:ret", &["s3c", "ret"]),
        ("ann:two words", &["two", "words"]),
        ("ann:$apr1$pepper$0123456789abcdefghijkl", &["apr1", "pepper", "0123"]),
        ("ann:$2y$04$tooshort", &["2y", "tooshort"]),
        ("ann:s3cret,bob:hidden", &["s3cret", "hidden"]),
        (&format!("ann:{hash},bob:hidden"), &[hash, "hidden"]),
        (&format!("ann:hidden,bob:{hash}"), &[hash, "hidden"]),
    ];
    for (value, secrets) in rows {
        let by_option = run(&["--auth", value, "0"]);
        let by_equals = run(&[&format!("--auth={value}"), "0"]);
        let by_environment = server().arg("0").env("CWS_AUTH", value).output().unwrap();
        for output in [by_option, by_equals, by_environment] {
            let line = one_line(&output);
            assert!(line.starts_with("server: invalid value for --auth or CWS_AUTH: "), "{line}");
            assert!(line.contains("make it with: htpasswd -nB NAME"), "{line}");
            assert!(secrets.iter().all(|secret| !line.contains(secret)), "{line}");
            assert_eq!(output.status.code(), Some(2), "{line}");
        }
    }
    let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"ann:s3cret\xff");
    let bytes: &std::ffi::OsStr = bytes;
    for command in [server().arg("--auth").arg(bytes), server().env("CWS_AUTH", bytes)] {
        let line = one_line(&command.output().unwrap());
        assert!(!line.contains("s3cret") && line.contains("--auth"), "{line}");
    }
}

#[test]
fn a_failed_start_is_one_line_and_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let site = Site::new();
    let file = site.path().join("testfile");
    let file = file.to_str().unwrap();
    for (arguments, words) in [
        (&[port.as_str()][..], "address already in use"),
        (&["--root", "/no/such/directory", "0"], "/no/such/directory: no such directory"),
        (&["--root", file, "0"], "not a directory"),
        (&["--bind", "no.such.host.invalid", "0"], "cannot resolve no.such.host.invalid"),
        (&["--bind", "192.0.2.1", "0"], "no such address"),
        (&["--workers", "1000000", "0"], "1000000 workers (choose 1 to 4096)"),
        (&["--queue", "10000000", "0"], "queue"),
        (&["--workers", "2000000", "--delay", "1ms", "--deadline", "1s", "0"], "2000000 workers"),
        (&["--error-page", "404=no/such.html", "0"], "no/such.html"),
        (&["--idle-timeout", "100000years", "0"], "more than a year"),
        (&["--health", "/a//b", "0"], "the health path \"/a//b\""),
    ] {
        let output = run(arguments);
        let line = one_line(&output);
        assert!(line.starts_with("server: cannot "), "{line}");
        assert!(line.contains(words), "{line}");
        assert!(line.contains('('), "says what to do: {line}");
        assert_eq!(output.status.code(), Some(1), "{line}");
    }
}

#[test]
fn a_closed_standard_output_is_no_error() {
    let site = Site::new();
    let log = site.path().join("log");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = server()
        .args(["--root", site.path().to_str().unwrap(), "0"])
        .stdout(writer)
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_for("the start line", || {
        std::fs::read_to_string(&log).unwrap().contains("serving").then_some(())
    });
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_listening_line_is_exact() {
    let address = listening_address("listening on http://127.0.0.1:8080/\n");
    assert_eq!(address, "127.0.0.1:8080".parse().unwrap());
}
