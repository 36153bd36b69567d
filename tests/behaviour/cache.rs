//! The file cache: a change shows within a second, and no response mixes two versions.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]

use crate::support::{RealServer, Reply, Site, command, connect, exchange, get, wait_for};
use cws::internals::config;
use cws::{CacheLimits, Config, Server, StaticFiles};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A size that is too large for the cache to keep in memory.
const LARGE: usize = 100_000;

fn start(site: &Site) -> Server {
    let files = StaticFiles::new(site.path()).unwrap();
    Server::start(Config::default().workers(2), files).unwrap()
}

/// Requests `path` until the response is new. Until then every response must be the old one, for at
/// most a second, plus the time that one exchange takes on a busy machine.
fn wait_for_change(address: SocketAddr, path: &str, is_new: impl Fn(&Reply) -> bool) -> Reply {
    let changed = Instant::now();
    let mut before = None;
    loop {
        let asked = Instant::now();
        let reply = get(address, path);
        if is_new(&reply) {
            return reply;
        }
        let age = asked.duration_since(changed);
        assert!(age <= Duration::from_secs(1), "{path} is served {age:?} after it was changed");
        let before = before.get_or_insert(reply.body.clone());
        assert_eq!(*before, reply.body, "{path} is neither the old version nor the new one");
    }
}

#[test]
fn every_change_shows_within_a_second() {
    let site = Site::new();
    for length in [1000, LARGE] {
        let path = site.put("changed", vec![b'a'; length]);
        site.put("replaced", vec![b'a'; length]);
        site.put("truncated", vec![b'a'; length]);
        site.put("removed", vec![b'a'; length]);
        site.put("target-a", vec![b'a'; length]);
        site.put("target-b", vec![b'b'; length]);
        let link = site.path().join("link");
        let _ = fs::remove_file(&link);
        symlink("target-a", &link).unwrap();
        let server = start(&site);
        let address = server.addresses()[0];
        for name in ["changed", "replaced", "truncated", "removed", "link"] {
            assert_eq!(get(address, &format!("/{name}")).body, vec![b'a'; length], "{name}");
        }

        fs::write(&path, vec![b'b'; length]).unwrap();
        wait_for_change(address, "/changed", |reply| reply.body == vec![b'b'; length]);

        let new = site.put("new", vec![b'b'; length + 1]);
        fs::rename(new, site.path().join("replaced")).unwrap();
        wait_for_change(address, "/replaced", |reply| reply.body == vec![b'b'; length + 1]);

        let file = File::options().write(true).open(site.path().join("truncated")).unwrap();
        file.set_len(length as u64 / 2).unwrap();
        wait_for_change(address, "/truncated", |reply| reply.body.len() == length / 2);

        fs::remove_file(site.path().join("removed")).unwrap();
        wait_for_change(address, "/removed", |reply| reply.status == 404);

        symlink("target-b", site.path().join("new-link")).unwrap();
        fs::rename(site.path().join("new-link"), &link).unwrap();
        wait_for_change(address, "/link", |reply| reply.body == vec![b'b'; length]);
        let _ = fs::remove_file(&link);
        symlink("/etc/passwd", &link).unwrap();
        wait_for_change(address, "/link", |reply| reply.status == 403);
    }
}

/// The head of a response that is sent from an open file describes the file at that moment.
#[test]
fn a_truncated_large_file_gets_new_header_fields_at_once() {
    let site = Site::new();
    let path = site.put("large", vec![b'a'; LARGE]);
    let server = start(&site);
    let address = server.addresses()[0];
    let etag = get(address, "/large").field("ETag").unwrap().to_owned();
    File::options().write(true).open(path).unwrap().set_len(50_000).unwrap();
    let reply = get(address, "/large");
    assert_eq!(reply.body.len(), 50_000);
    assert_ne!(reply.field("ETag"), Some(etag.as_str()));
}

/// The response to a request for the last bytes of `/file`.
struct Tail {
    status: u16,
    etag: Option<String>,
    body: Vec<u8>,
}

/// Requests the last bytes, unless the client knows this state.
fn tail(stream: &mut TcpStream, known: Option<&str>) -> Tail {
    let condition = known.map(|tag| format!("If-None-Match: {tag}\r\n")).unwrap_or_default();
    let range = format!("Range: bytes=-{TAIL}\r\n");
    write!(stream, "GET /file HTTP/1.1\r\nHost: a\r\n{range}{condition}\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let (reply, _) = Reply::first(&head, true).unwrap();
    let length = match reply.field("Content-Length") {
        Some(length) if reply.status != 304 => length.parse().unwrap(),
        _ => 0,
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    // If the response is the whole file, compare its end.
    body.drain(..length.saturating_sub(TAIL));
    let etag = reply.field("ETag").filter(|_| reply.status != 304).map(str::to_owned);
    Tail { status: reply.status, etag, body }
}

const TAIL: usize = 100;

/// The kernel sets the time of a file before it copies the written bytes. A read in between sees
/// the new time and the old content.
#[test]
fn no_entity_tag_names_two_contents_while_a_file_is_overwritten() {
    let site = Site::new();
    let path = site.put("file", vec![b'a'; 8 << 20]);
    let server = start(&site);
    let address = server.addresses()[0];
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = Mutex::new(HashMap::<String, Vec<u8>>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut stream = connect(address);
                let mut known = None;
                while !is_over.load(Relaxed) {
                    let Tail { status, etag, body } = tail(&mut stream, known.as_deref());
                    asked.fetch_add(1, Relaxed);
                    assert!(matches!(status, 200 | 206 | 304), "{status}");
                    known = if status == 304 { known } else { etag.clone() };
                    if let Some(etag) = etag {
                        let mut seen = seen.lock().unwrap();
                        let before = seen.entry(etag.clone()).or_insert_with(|| body.clone());
                        assert!(*before == body, "{etag} names two contents");
                    }
                }
            });
        }
        let few_more = || {
            let enough = asked.load(Relaxed) + 6;
            wait_for("answers", || (asked.load(Relaxed) >= enough).then_some(()));
        };
        for number in 0..12 {
            few_more();
            let mut file = File::options().write(true).open(&path).unwrap();
            file.write_all(&vec![b'b' + number; 8 << 20]).unwrap();
            few_more();
            // The write is over. Pretend that it was long ago.
            let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000 + u64::from(number));
            file.set_modified(long_ago).unwrap();
        }
        few_more();
        is_over.store(true, Relaxed);
    });
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() >= 8, "only {} states had a tag", seen.len());
    let mut stream = connect(address);
    for (etag, body) in seen {
        let now = tail(&mut stream, Some(&etag));
        assert_eq!(
            now.status == 304,
            body[0] == b'b' + 11,
            "a conditional request with {etag} got the wrong status"
        );
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
fn a_file_has_validators_once_it_is_unchanged_for_the_settling_time() {
    let site = Site::new();
    for length in [100, LARGE] {
        let path = site.put_now("file", vec![b'a'; length]);
        let server = start(&site);
        let address = server.addresses()[0];
        let ask = |fields: &str| {
            let request =
                format!("GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
            Reply::all(&exchange(address, request.as_bytes()), false).remove(0)
        };
        // Set the time a minute ahead, so that the file does not settle during the requests.
        let ahead = SystemTime::now() + Duration::from_secs(60);
        File::options().write(true).open(&path).unwrap().set_modified(ahead).unwrap();
        let date = httpdate::fmt_http_date(ahead);
        for (fields, status, bytes) in [
            ("".to_owned(), 200, length),
            ("Range: bytes=0-9\r\n".to_owned(), 206, 10),
            (format!("If-Modified-Since: {date}\r\n"), 200, length),
            (format!("Range: bytes=0-9\r\nIf-Range: {date}\r\n"), 200, length),
            ("If-Match: *\r\n".to_owned(), 200, length),
        ] {
            let reply = ask(&fields);
            assert_eq!((reply.status, reply.body.len()), (status, bytes), "{fields:?}");
            assert_eq!((reply.field("ETag"), reply.field("Last-Modified")), (None, None));
        }
        assert_eq!(ask(&format!("If-Unmodified-Since: {date}\r\n")).status, 412);
        assert_eq!(ask("If-Match: \"tag\"\r\n").status, 412);
        // Shortly before it settles.
        let ago = SystemTime::now() - config::CACHE_SETTLE + Duration::from_millis(300);
        File::options().write(true).open(&path).unwrap().set_modified(ago).unwrap();
        let etag = wait_for("a tag", || ask("").field("ETag").map(str::to_owned));
        assert!(SystemTime::now() >= ago + config::CACHE_SETTLE, "it got its tag too early");
        let request = format!("GET /file HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n");
        assert!(exchange(address, request.as_bytes()).starts_with(b"HTTP/1.1 304"));
        let part = ask(&format!("Range: bytes=0-9\r\nIf-Range: {etag}\r\n"));
        assert_eq!((part.status, part.field("ETag")), (206, Some(etag.as_str())));
    }
}

/// Servers behind one load balancer have copies of the same tree.
#[test]
fn copies_with_the_same_time_have_the_same_entity_tag() {
    let sites = [Site::new(), Site::new()];
    let modified = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let tags = sites.each_ref().map(|site| {
        for name in ["b", "a"] {
            let path = site.put(name, "content");
            File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        let server = start(site);
        get(server.addresses()[0], "/a").field("ETag").unwrap().to_owned()
    });
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn a_new_index_and_a_new_precompressed_form_are_found() {
    let site = Site::new();
    site.put("dir/index.htm", "second");
    site.put("a.js", "plain");
    let server = start(&site);
    let address = server.addresses()[0];
    let zipped = b"GET /a.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\
        Connection: close\r\n\r\n";
    let body_of_zipped = || Reply::all(&exchange(address, zipped), false).remove(0).body;
    assert_eq!(get(address, "/dir/").body, b"second");
    assert_eq!(body_of_zipped(), b"plain");
    site.put("dir/index.html", "first");
    site.put("a.js.gz", "gzipped");
    wait_for_change(address, "/dir/", |reply| reply.body == b"first");
    wait_for("the precompressed form", || (body_of_zipped() == b"gzipped").then_some(()));
    fs::remove_file(site.path().join("a.js.gz")).unwrap();
    wait_for("its removal to show", || (body_of_zipped() == b"plain").then_some(()));
    fs::remove_dir_all(site.path().join("dir")).unwrap();
    wait_for_change(address, "/dir/", |reply| reply.status == 404);
}

/// The superuser may read everything, so run the server as another user.
#[test]
fn a_revoked_permission_is_noticed() {
    let site = Site::new();
    let home = tempfile::tempdir().unwrap();
    let binary = home.path().join("server");
    // Not by this process: what another test starts meanwhile would inherit the open file, and
    // a file that is open for writing cannot be executed.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_server")).arg(&binary).status();
    assert!(copied.unwrap().success());
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(home.path(), 0o755);
    allow(site.path(), 0o755);
    let path = site.put("file", "content");
    let inner = site.put("dir/file", "content");
    let mut command = command(binary.to_str().unwrap());
    command.args(["--root", site.path().to_str().unwrap(), "0"]);
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if is_root {
        command.uid(65534).gid(65534);
    }
    let server = RealServer::spawn(command);
    let address = server.address();
    for name in ["/file", "/dir/file"] {
        assert_eq!(get(address, name).status, 200);
    }
    allow(&path, 0);
    allow(inner.parent().unwrap(), 0);
    wait_for_change(address, "/file", |reply| reply.status == 403);
    wait_for_change(address, "/dir/file", |reply| reply.status == 403);
    allow(inner.parent().unwrap(), 0o755);
}

/// Each version has a letter and a length of its own.
fn version(letter: u8) -> Vec<u8> {
    let lengths = [0, 1, 5000, 16 * 1024, 16 * 1024 + 1, LARGE];
    vec![letter; lengths[usize::from(letter - b'a') % lengths.len()]]
}

#[test]
fn no_response_mixes_versions_while_a_file_is_replaced() {
    let site = Site::new();
    site.put("file", version(b'a'));
    let server = start(&site);
    let address = server.addresses()[0];
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut tags: HashMap<String, Vec<u8>> = HashMap::new();
                    let mut stream = connect(address);
                    while !is_over.load(Relaxed) {
                        stream.write_all(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                        let reply = Reply::read(&mut stream);
                        assert_eq!(reply.status, 200);
                        let expected = reply.body.first().map_or(vec![], |&first| version(first));
                        assert!(reply.body == expected, "{} mixed bytes", reply.body.len());
                        let tag = reply.field("ETag").unwrap().to_owned();
                        let known = tags.entry(tag).or_insert_with(|| reply.body.clone());
                        assert!(*known == reply.body, "one entity tag names two contents");
                    }
                    tags.len()
                })
            })
            .collect();
        let end = Instant::now() + Duration::from_secs(3);
        for number in (0..).take_while(|_| Instant::now() < end) {
            let new = site.put("new", version(b'a' + (number % 6) as u8));
            fs::rename(new, site.path().join("file")).unwrap();
            std::thread::sleep(Duration::from_micros(500));
        }
        is_over.store(true, Relaxed);
        let seen: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(seen >= 6, "{seen} states were seen");
    });
}

/// The files beneath `site` that a process has open.
fn open_files(process: &str, site: &Site) -> Vec<PathBuf> {
    let folder = format!("/proc/{process}/fd");
    let links = fs::read_dir(folder).unwrap().flatten();
    let files = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    files.filter(|path| path.starts_with(site.path()) && path != site.path()).collect()
}

#[test]
fn the_number_of_open_files_is_bounded() {
    let site = Site::new();
    let files = StaticFiles::new(site.path())
        .unwrap()
        .with_cache(Some(CacheLimits { bytes: 1 << 20, descriptors: 4 }));
    let server = Server::start(Config::default(), files).unwrap();
    for number in 0..50 {
        let name = format!("large{number}");
        site.put(&name, vec![b'x'; LARGE]);
        assert_eq!(get(server.addresses()[0], &format!("/{name}")).body.len(), LARGE);
    }
    let open = open_files("self", &site).len();
    assert!((1..=4).contains(&open), "{open} are open");
}

/// The file system can free the space of a removed file, even if no request asks for it again.
#[test]
fn removed_and_replaced_files_are_closed() {
    let site = Site::new();
    let names = ["removed", "replaced", "moved", "stays"];
    for name in names {
        site.put(name, vec![b'x'; LARGE]);
    }
    site.put("moved.gz", vec![b'x'; LARGE]);
    let server = start(&site);
    for name in names {
        let request = format!(
            "GET /{name} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        );
        exchange(server.addresses()[0], request.as_bytes());
    }
    assert_eq!(open_files("self", &site).len(), 5);
    let path = |name: &str| site.path().join(name);
    fs::remove_file(path("removed")).unwrap();
    fs::rename(site.put("new", "new"), path("replaced")).unwrap();
    fs::rename(path("moved"), path("elsewhere")).unwrap();
    let left = wait_for("the removed and replaced files to be closed", || {
        let open = open_files("self", &site);
        (open.len() <= 1).then_some(open)
    });
    assert_eq!(left, [path("stays")], "the unchanged file stays open");
}

#[test]
fn without_a_cache_no_file_is_kept() {
    let site = Site::new();
    site.put("large", vec![b'x'; LARGE]);
    let server = RealServer::start(&site, &["--no-cache"]);
    for _ in 0..3 {
        assert_eq!(get(server.address(), "/large").body.len(), LARGE);
        site.put("testfile", "new");
        assert_eq!(get(server.address(), "/testfile").body, b"new");
        site.put("testfile", "newer");
        assert_eq!(get(server.address(), "/testfile").body, b"newer");
    }
    let process = server.pid().to_string();
    wait_for("no open file", || open_files(&process, &site).is_empty().then_some(()));
}

/// A descriptor for a new connection is worth more than one for a cached file.
#[test]
fn cached_files_are_closed_when_connections_need_descriptors() {
    let site = Site::new();
    let mut limited = command("sh");
    limited.args(["-c", "ulimit -n 96; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_server")]);
    limited.args(["--root", site.path().to_str().unwrap(), "0", "--max-connections", "500"]);
    let server = RealServer::spawn(limited);
    let process = server.pid().to_string();
    for number in 0..4 {
        let name = format!("large{number}");
        site.put(&name, vec![b'x'; LARGE]);
        assert_eq!(get(server.address(), &format!("/{name}")).body.len(), LARGE);
    }
    assert!(!open_files(&process, &site).is_empty(), "some files are cached");
    let clients: Vec<_> = (0..100).map(|_| connect(server.address())).collect();
    wait_for("no open file", || open_files(&process, &site).is_empty().then_some(()));
    drop(clients);
}

#[test]
fn sizes_with_units_are_parsed() {
    let site = Site::new();
    for size in ["0", "500K", "64MiB", "1g"] {
        let server = RealServer::start(&site, &["--cache", size, "--memory", "4g"]);
        assert_eq!(get(server.address(), "/testfile").status, 200, "{size}");
    }
    let wrong = command(env!("CARGO_BIN_EXE_server")).args(["--cache", "much"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("64M"));
}
