//! Directories as archives: `?archive=tar` and `?archive=zip`, with `--archive`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, connect, exchange, get, installed, wait_for};
use cws::{Config, Server, StaticFiles};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// Makes all directories as old as [`Site::put`] makes files, so that they have validators.
fn settle(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            settle(&path);
        }
    }
    #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
    let then = SystemTime::now() - Duration::from_secs(3600);
    File::open(folder).unwrap().set_modified(then).unwrap();
}

/// Bytes that differ from place to place.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A tree with all that is hard on an archive.
fn tree() -> Site {
    let site = Site::new();
    let put = |name: &str, length: usize| site.put(&format!("a tree/{name}"), noise(length));
    // Around a block, a copied file, and a piece.
    for length in [0, 1, 511, 512, 513, 65_535, 65_536, 65_537, 262_144, 262_145, 700_000] {
        put(&format!("sizes/{length}"), length);
    }
    put("with space/\u{fc}n\u{ef}c\u{f6}de \u{1f980}.txt", 10);
    put(&format!("long/{}", "n".repeat(255)), 20);
    put(&format!("{}/{}/x", "d".repeat(120), "e".repeat(120)), 30);
    // One byte less and one more than a header holds.
    put(&format!("edge/{}", "n".repeat(87)), 1);
    put(&format!("edge/{}", "n".repeat(88)), 2);
    put(&format!("edge/{}", "n".repeat(89)), 3);
    put("quote\"'<b>&;$(x)", 5);
    for number in 0..300 {
        put(&format!("many/{number:03}"), number);
    }
    fs::create_dir_all(site.path().join("a tree/no/files/here")).unwrap();
    settle(site.path());
    site
}

/// The files beneath a folder, and its directories with no content.
fn contents(folder: &Path) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    fn add(folder: &Path, at: &Path, found: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let at = at.join(entry.file_name());
            let name = at.as_os_str().as_bytes().to_vec();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                found.insert(name, None);
                add(&entry.path(), &at, found);
            } else {
                assert!(kind.is_file(), "{at:?} is neither");
                found.insert(name, Some(fs::read(entry.path()).unwrap()));
            }
        }
    }
    let mut found = BTreeMap::new();
    add(folder, Path::new(""), &mut found);
    found
}

/// Unpacks a tar, and returns what was in it.
fn untar(tar: &[u8]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar");
    fs::write(&file, tar).unwrap();
    let into = folder.path().join("into");
    fs::create_dir(&into).unwrap();
    let mut command = installed("tar").expect("tar is everywhere");
    let output = command.arg("-xf").arg(&file).arg("-C").arg(&into).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    contents(&into)
}

/// Unpacks a zip with `program`, and returns what was in it.
fn unzip(zip: &[u8], program: &str) -> Option<BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.zip");
    fs::write(&file, zip).unwrap();
    let into = folder.path().join("into");
    fs::create_dir(&into).unwrap();
    let mut command = installed(program)?;
    match program {
        "unzip" => command.arg("-q").arg(&file).arg("-d").arg(&into),
        _ => command.args(["-m", "zipfile", "-e"]).arg(&file).arg(&into),
    };
    let output = command.env("LC_ALL", "C.UTF-8").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    Some(contents(&into))
}

fn length(reply: &Reply) -> usize {
    reply.field("Content-Length").unwrap().parse().unwrap()
}

fn head(address: SocketAddr, path: &str) -> Reply {
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    Reply::all(&exchange(address, request.as_bytes()), true).remove(0)
}

fn with(address: SocketAddr, path: &str, fields: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    Reply::all(&exchange(address, request.as_bytes()), false).remove(0)
}

#[test]
fn archives_unpack_to_what_was_in_the_directory() {
    let site = tree();
    let server = RealServer::start(&site, &["--archive", "--workers", "2", "--sandbox", "auto"]);
    let mut expected = contents(site.path());
    expected.retain(|name, _| name.starts_with(b"a tree"));
    let mut formats = 0;
    for format in ["tar", "zip"] {
        let path = format!("/a%20tree/?archive={format}");
        let reply = get(server.address(), &path);
        assert_eq!(reply.status, 200);
        let before = head(server.address(), &path);
        assert_eq!((length(&before), before.status), (reply.body.len(), 200), "{format}");
        assert_eq!(before.field("ETag"), reply.field("ETag"));
        assert!(reply.field("ETag").is_some());
        let name = format!("attachment; filename=\"a tree.{format}\"");
        assert_eq!(reply.field("Content-Disposition"), Some(&name[..]));
        match format {
            "tar" => assert!(untar(&reply.body) == expected),
            _ => {
                for program in ["python3", "unzip"] {
                    let Some(found) = unzip(&reply.body, program) else { continue };
                    assert!(found == expected, "{program}");
                    formats += 1;
                }
            }
        }
    }
    assert!(formats > 0, "a program unpacks zips");
    // In HTTP/1.0, on one connection with another request behind it.
    let two = "GET /a%20tree/?archive=tar HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
               GET /a%20tree/many/001 HTTP/1.0\r\n\r\n";
    let replies = Reply::all(&exchange(server.address(), two.as_bytes()), false);
    assert!(replies.len() == 2 && untar(&replies[0].body) == expected);
    assert_eq!(replies[1].body, noise(1));
    // The root itself, whose name is not told.
    let root = get(server.address(), "/?archive=tar");
    assert_eq!(root.field("Content-Disposition"), Some("attachment; filename=\"files.tar\""));
    let found = untar(&root.body);
    assert_eq!(found.len(), contents(site.path()).len() + 1);
    for (name, content) in &expected {
        assert_eq!(found.get(&[b"files/", &name[..]].concat()), Some(content));
    }
}

#[test]
fn an_archive_has_what_would_be_served_and_nothing_else() {
    let outside = Site::new();
    outside.put("secret", "a secret");
    let site = Site::new();
    site.put("d/file", "a file");
    site.put("d/.hidden", "hidden");
    site.put("d/.folder/file", "hidden");
    site.put("d/index.html", "an index");
    symlink("file", site.path().join("d/link")).unwrap();
    symlink(outside.path().join("secret"), site.path().join("d/out")).unwrap();
    symlink(outside.path(), site.path().join("d/out-folder")).unwrap();
    symlink(".", site.path().join("d/loop")).unwrap();
    symlink("nowhere", site.path().join("d/dangling")).unwrap();
    let fifo = site.path().join("d/fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let bytes = OsStr::from_bytes(b"d/not \xff utf-8");
    fs::write(site.path().join(bytes), "bytes").unwrap();
    for (options, hidden) in [(&["--archive"][..], false), (&["--archive", "--hidden"][..], true)] {
        let server = RealServer::start(&site, options);
        let mut names: Vec<&[u8]> =
            vec![b"d", b"d/file", b"d/index.html", b"d/link", b"d/not \xff utf-8"];
        if hidden {
            names.extend([&b"d/.folder"[..], b"d/.folder/file", b"d/.hidden"]);
            names.sort_unstable();
        }
        let tar = untar(&get(server.address(), "/d/?archive=tar").body);
        assert_eq!(tar.keys().map(Vec::as_slice).collect::<Vec<_>>(), names);
        assert_eq!(tar[&b"d/link"[..]], Some(b"a file".to_vec()));
        wait_for("the log to say so", || {
            let log = server.stderr();
            (log.contains("an archive leaves out") && log.contains("d/loop")).then_some(())
        });
        let zip = get(server.address(), "/d/?archive=zip").body;
        for program in ["python3", "unzip"] {
            let Some(zip) = unzip(&zip, program) else { continue };
            assert_eq!(zip.len(), names.len(), "{program}");
            assert_eq!(zip[&b"d/link"[..]], Some(b"a file".to_vec()));
        }
    }
}

#[test]
fn a_file_that_may_not_be_read_is_left_out() {
    let site = Site::new();
    site.put("d/file", "a file");
    let closed = site.put("d/closed", "closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&closed).is_ok() {
        // The superuser reads everything: another user serves.
        let Some(mut runuser) = installed("setpriv") else { return };
        fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
        runuser.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        let program = tempfile::tempdir().unwrap();
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let copy = program.path().join("server");
        // Copied by another process: see `support::command`.
        assert!(
            installed("cp")
                .unwrap()
                .arg(env!("CARGO_BIN_EXE_server"))
                .arg(&copy)
                .status()
                .unwrap()
                .success()
        );
        runuser.arg(&copy).arg("--root").arg(site.path()).args(["0", "--archive"]);
        let server = RealServer::spawn(runuser);
        check_closed(&server);
    } else {
        check_closed(&RealServer::start(&site, &["--archive"]));
    }
}

fn check_closed(server: &RealServer) {
    assert_eq!(get(server.address(), "/d/closed").status, 403);
    let found = untar(&get(server.address(), "/d/?archive=tar").body);
    let names: Vec<_> = found.keys().map(|name| String::from_utf8_lossy(name)).collect();
    assert_eq!(names, ["d", "d/file"]);
    wait_for("the log to name it", || server.stderr().contains("d/closed").then_some(()));
}

#[test]
fn a_tar_resumes_at_any_byte_and_a_zip_says_that_it_does_not() {
    let site = tree();
    let server = RealServer::start(&site, &["--archive"]);
    let (address, path) = (server.address(), "/a%20tree/?archive=tar");
    let whole = get(address, path);
    assert_eq!(whole.field("Accept-Ranges"), Some("bytes"));
    let (tag, length) = (whole.field("ETag").unwrap(), whole.body.len());
    let if_range = format!("If-Range: {tag}\r\n");
    let steps = (0..length).step_by(length / 61);
    let edges = [1, 100, 511, 512, 513, length - 1025, length - 1024, length - 512, length - 1];
    for first in steps.chain(edges) {
        let rest = with(address, path, &format!("{if_range}Range: bytes={first}-\r\n"));
        assert_eq!(rest.status, 206, "{first}");
        let range = format!("bytes {first}-{}/{length}", length - 1);
        assert_eq!(rest.field("Content-Range"), Some(&range[..]));
        assert!(rest.body == whole.body[first..], "from {first}");
        let last = (first + 70_000).min(length - 1);
        let part = with(address, path, &format!("Range: bytes={first}-{last}\r\n"));
        assert!(part.status == 206 && part.body == whole.body[first..=last], "{first}-{last}");
    }
    let last = with(address, path, "Range: bytes=-700\r\n");
    assert!(last.status == 206 && last.body == whole.body[length - 700..]);
    let beyond = with(address, path, &format!("Range: bytes={length}-\r\n"));
    assert_eq!(
        (beyond.status, beyond.field("Content-Range")),
        (416, Some(&format!("bytes */{length}")[..]))
    );
    let several = with(address, path, "Range: bytes=0-1,5-6\r\n");
    assert!(several.status == 200 && several.body == whole.body);
    assert_eq!(with(address, path, &format!("If-None-Match: {tag}\r\n")).status, 304);
    assert_eq!(with(address, path, "If-Match: \"other\"\r\n").status, 412);
    let zip = with(address, "/a%20tree/?archive=zip", "Range: bytes=5-\r\n");
    assert_eq!((zip.status, zip.field("Accept-Ranges")), (200, Some("none")));
    assert_ne!(zip.field("ETag"), Some(tag), "it is another representation");

    // A change gives another tag, and so the whole.
    site.put("a tree/many/007", "changed");
    settle(site.path());
    let changed = wait_for("the change to show", || {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{if_range}\
             Range: bytes=512-\r\n\r\n"
        );
        // A walk of a moment ago may not know of the change: then nothing comes.
        let reply = Reply::all(&exchange(address, request.as_bytes()), false).pop()?;
        (reply.status == 200).then_some(reply)
    });
    assert_ne!(changed.field("ETag"), Some(tag));
    // What may be changing has no tag.
    site.put_now("a tree/many/007", "again");
    wait_for("the tag to go", || head(address, path).field("ETag").is_none().then_some(()));
}

/// Asks for an archive, and reads nothing but the first bytes.
fn stall(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut start = [0; 15];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    stream
}

/// A directory whose archive no socket holds: of two long files, and of many short ones.
fn large() -> Site {
    let site = Site::new();
    for name in ["a", "b"] {
        let file = File::create(site.put(&format!("long/{name}"), "")).unwrap();
        file.set_len(64 << 20).unwrap();
    }
    for number in 0..1000 {
        site.put(&format!("short/{number}"), noise(40_000));
    }
    settle(site.path());
    site
}

#[test]
fn readers_that_stall_hold_no_worker_and_are_limited_in_number() {
    let site = large();
    site.put("testfile", "a file");
    let server = RealServer::start(&site, &["--archive", "--workers", "2"]);
    let address = server.address();
    let paths =
        ["/long/?archive=tar", "/long/?archive=zip", "/short/?archive=tar", "/short/?archive=zip"];
    let stalled: Vec<_> = (0..32).map(|number| stall(address, paths[number % 4])).collect();
    for _ in 0..20 {
        assert_eq!(get(address, "/testfile").body, b"a file");
        assert_eq!(get(address, "/short/?format=json").status, 200, "workers list a directory");
    }
    let refused = get(address, paths[0]);
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("1")));
    assert_eq!(head(address, paths[0]).status, 200, "HEAD needs no place");
    drop(stalled);
    wait_for("a place", || (get(address, "/short/?archive=zip").status == 200).then_some(()));
}

/// With one worker, pieces of archives and the requests of others take turns, although the readers
/// are fast enough to keep the worker busy.
#[test]
fn one_worker_serves_others_between_two_pieces() {
    let site = large();
    let server = RealServer::start(&site, &["--archive", "--workers", "1"]);
    let (address, is_over) = (server.address(), AtomicBool::new(false));
    let came = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for path in ["/short/?archive=zip", "/long/?archive=zip"] {
            let (is_over, came) = (&is_over, &came);
            scope.spawn(move || {
                while !is_over.load(Relaxed) {
                    let mut stream = stall(address, path);
                    let mut buffer = vec![0; 1 << 16];
                    while !is_over.load(Relaxed) && stream.read(&mut buffer).unwrap_or(0) > 0 {
                        came.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        for _ in 0..15 {
            let before = came.load(Relaxed);
            assert_eq!(get(address, "/short/?format=json").status, 200);
            wait_for("more of the archives", || (came.load(Relaxed) > before).then_some(()));
        }
        is_over.store(true, Relaxed);
    });
}

/// Many at once, on one worker and on three, get what one alone gets.
#[test]
fn archives_side_by_side_are_whole() {
    let site = tree();
    for workers in ["1", "3"] {
        let server = RealServer::start(&site, &["--archive", "--workers", workers]);
        let address = server.address();
        let alone = ["tar", "zip"].map(|of| get(address, &format!("/?archive={of}")).body);
        std::thread::scope(|scope| {
            for number in 0..12 {
                let alone = &alone;
                scope.spawn(move || {
                    let of = number % 2;
                    let format = ["tar", "zip"][of];
                    let reply = get(address, &format!("/?archive={format}"));
                    assert!(reply.status == 200 && reply.body == alone[of], "{format}");
                });
            }
        });
    }
}

#[test]
fn a_file_that_shrinks_ends_the_archive_and_one_that_grows_does_not_change_it() {
    for format in ["tar", "zip"] {
        let site = large();
        let server = RealServer::start(&site, &["--archive", "--workers", "2"]);
        let path = format!("/long/?archive={format}");
        let mut stream = stall(server.address(), &path);
        let file = File::options().write(true).open(site.path().join("long/b")).unwrap();
        file.set_len(10).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 128 << 20, "{} bytes came", rest.len());
        wait_for("the log to say so", || {
            server.stderr().contains("long/b became shorter").then_some(())
        });

        let expected = head(server.address(), "/short/?archive=zip");
        let mut stream = stall(server.address(), &format!("/short/?archive={format}"));
        for number in 0..1000 {
            let name = site.path().join(format!("short/{number}"));
            File::options().append(true).open(name).unwrap().write_all(b"more").unwrap();
        }
        let mut rest = b"HTTP/1.1 200 OK".to_vec();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut rest).unwrap();
        let reply = Reply::all(&rest, false).remove(0);
        assert_eq!(reply.body.len(), length(&reply));
        let found = match format {
            "tar" => untar(&reply.body),
            _ => {
                assert_eq!(length(&reply), length(&expected));
                let Some(found) = unzip(&reply.body, "python3") else { continue };
                found
            }
        };
        assert!(found[&b"short/999"[..]] == Some(noise(40_000)));
    }
}

/// A range is of the state that its tag names, or it ends.
#[test]
fn the_rest_of_an_archive_is_never_of_another_state() {
    let site = tree();
    let server = RealServer::start(&site, &["--archive"]);
    let address = server.address();
    let path = "/a%20tree/?archive=tar";
    let whole = get(address, path);
    // The walk before is used again for a second, and the file changes meanwhile.
    let file = site.path().join("a tree/sizes/700000");
    fs::write(&file, vec![b'x'; 700_000]).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                           Range: bytes=512-\r\n\r\n"
    );
    let reply = exchange(address, request.as_bytes());
    let body = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let got = &reply[body..];
    let is_prefix = whole.body[512..].starts_with(got);
    let is_of_new_walk = got.windows(100).any(|part| part == [b'x'; 100]);
    assert!(is_prefix != is_of_new_walk, "it is of one state");
}

#[test]
fn what_is_too_much_is_refused_with_the_reason() {
    let site = Site::new();
    fs::create_dir(site.path().join("wide")).unwrap();
    for number in 0..=20_000 {
        File::create(site.path().join(format!("wide/{number:0>100}"))).unwrap();
    }
    let mut deep = site.path().join("deep");
    for _ in 0..66 {
        deep.push("d");
    }
    fs::create_dir_all(deep).unwrap();
    let server = RealServer::start(&site, &["--archive"]);
    for (path, reason) in [("/wide/", "more than 20000 names"), ("/deep/", "too deep")] {
        let refused = get(server.address(), &format!("{path}?archive=tar"));
        let page = String::from_utf8(refused.body).unwrap();
        assert!(refused.status == 403 && page.contains(reason), "{page}");
    }
    assert_eq!(get(server.address(), "/deep/d/d/d/?archive=zip").status, 200);
    // A list that does not fit into the memory is refused, and nothing else is.
    let small = RealServer::start(&site, &["--archive", "--memory", "4MiB", "--no-cache"]);
    for _ in 0..3 {
        let refused = get(small.address(), "/?archive=tar");
        assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("1")));
        assert_eq!(get(small.address(), "/deep/d/").status, 200);
    }
}

#[test]
fn an_archive_is_made_where_it_is_allowed() {
    let site = Site::new();
    site.put("d/file", "a file");
    site.put("e/\u{e4} \"b\"/file", "a file");
    site.put("i/index.html", "an index");
    settle(site.path());
    let server = RealServer::start(&site, &["--archive"]);
    let address = server.address();
    let listing = String::from_utf8(get(address, "/d/").body).unwrap();
    for format in ["tar", "zip"] {
        let link = format!("<a href=\"?archive={format}\" download>{format}</a>");
        assert!(listing.contains(&link), "{listing}");
    }
    let rows = [
        ("/d/?archive=rar", 400, "archive=tar or ?archive=zip"),
        // A script of an index may have a use for the word.
        ("/i/?archive=2024", 200, "an index"),
        ("/i/?archive=zip", 200, "PK"),
        ("/d/?archive=", 400, "archive=tar or ?archive=zip"),
        ("/d?archive=tar", 301, ""),
        ("/d/file?archive=tar", 200, "a file"),
        ("/d/file/?archive=tar", 404, ""),
        ("/none/?archive=tar", 404, ""),
        ("/d/?sort=name&archive=zip", 200, "PK"),
    ];
    for (path, status, text) in rows {
        let reply = get(address, path);
        let body = String::from_utf8_lossy(&reply.body);
        assert!(reply.status == status && body.contains(text), "{path}: {body}");
    }
    assert_eq!(get(address, "/d?archive=tar").field("Location"), Some("./d/?archive=tar"));
    let named = head(address, "/e/%C3%A4%20%22b%22/?archive=tar");
    let disposition = "attachment; filename=\"__ _b_.tar\"; filename*=UTF-8''%C3%A4%20%22b%22.tar";
    assert_eq!(named.field("Content-Disposition"), Some(disposition));

    for options in [&[][..], &["--archive", "--no-listing"][..]] {
        let server = RealServer::start(&site, options);
        let reply = get(server.address(), "/d/?archive=tar");
        assert!(!reply.body.windows(6).any(|part| part == b"a file"), "{options:?}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("?archive="), "{options:?}");
    }
    // A password guards archives as it guards files.
    let hash = "u:$2y$04$KmVb9bz8XxTKXzMdIB5SXOw7JqFoyvVJyXyfjFrfMyTsgnBVBjLhy";
    let guarded = RealServer::start(&site, &["--archive", "--auth", hash]);
    assert_eq!(get(guarded.address(), "/d/?archive=tar").status, 401);
    // A site has its own.
    let settings = Site::new();
    let text = format!(
        "root = {:?}\n[[site]]\nprefix = \"/d\"\narchive = true\n[[site]]\nprefix = \"/e\"\n",
        site.path()
    );
    settings.put("cws.toml", text);
    let file = settings.path().join("cws.toml");
    let sites = RealServer::start(&site, &["--config", file.to_str().unwrap()]);
    let tar = get(sites.address(), "/d/?archive=tar");
    assert_eq!(tar.field("Content-Disposition"), Some("attachment; filename=\"d.tar\""));
    assert_eq!(get(sites.address(), "/e/?archive=tar").field("Content-Disposition"), None);
}

#[test]
fn the_drain_timeout_cuts_an_archive() {
    let site = large();
    let files = StaticFiles::new(site.path()).unwrap().with_archive(true);
    let config = Config::default().workers(1).drain_timeout(Duration::from_millis(50));
    let server = Server::start(config, files).unwrap();
    let _stalled =
        ["tar", "zip"].map(|of| stall(server.addresses()[0], &format!("/long/?archive={of}")));
    assert_eq!(server.shutdown().cut, 2);
}
