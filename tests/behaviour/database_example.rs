//! The example before a database, run as a program: what it serves, stores and leaves behind.
#![cfg(feature = "cli")]
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, get};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The running program.
struct Database {
    child: Child,
    address: SocketAddr,
}

fn command(folder: &Path, archive: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let program = this.parent().unwrap().parent().unwrap().join("examples").join("database");
    let mut command = Command::new(program);
    command.arg("--serve").arg(folder).arg("--archive").arg(archive).arg("0");
    command
}

impl Database {
    fn start(folder: &Path, archive: &Path) -> Self {
        let mut child = command(folder, archive).stdout(Stdio::piped()).spawn().expect("a program");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, url) = line.trim().split_once("http://").expect("an address");
        Self { address: url.trim_end_matches('/').parse().unwrap(), child }
    }

    fn send(&self, line: &str, body: &[u8]) -> Reply {
        let mut stream = connect(self.address);
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        Reply::read(&mut stream)
    }

    fn found(&self, words: &str) -> Vec<String> {
        let reply = get(self.address, &format!("/search?q={words}"));
        assert_eq!(reply.status, 200, "{words}");
        let found: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
        found.iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Ends it as a terminal does, and sees that it ends well.
    fn end(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // It has ended already where the test passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Files of all kinds, by their names.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..50_000).map(|_| random.u8(..)).collect();
    let rows: [(&str, Vec<u8>); 5] = [
        ("text.txt", "a fox and a goose, ".repeat(1000).into()),
        ("noise.bin", noise),
        ("empty", Vec::new()),
        ("deep/er/caf\u{e9} au lait.html", "<p>a goose</p>".into()),
        ("deep/short.txt", "fox".into()),
    ];
    rows.into_iter().map(|(name, content)| (name.to_owned(), content)).collect()
}

fn write_all(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// What stands in an archive, read as its format says and by nothing of the program.
fn read_archive(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut rows = connection.prepare("SELECT name, mode, sz, data FROM sqlar").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    let mut files = BTreeMap::new();
    for row in rows.unwrap() {
        let (name, mode, size, data): (String, u32, u32, Option<Vec<u8>>) = row.unwrap();
        match mode & 0o170_000 {
            0o040_000 => assert_eq!((size, data), (0, None), "{name}"),
            0o100_000 => {
                let data = data.unwrap();
                let mut content = Vec::new();
                if data.len() == size as usize {
                    content = data;
                } else {
                    flate2::read::ZlibDecoder::new(&data[..]).read_to_end(&mut content).unwrap();
                }
                assert_eq!(content.len(), size as usize, "{name}");
                files.insert(name, content);
            }
            _ => panic!("{name} has the mode {mode:o}"),
        }
    }
    files
}

#[test]
fn files_are_served_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let expected = files();
    write_all(folder.path(), &expected);
    std::fs::write(folder.path().join(".hidden"), "secret fox").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let archive = kept.path().join("archive.db");
    let database = Database::start(folder.path(), &archive);

    for (path, name, media_type) in [
        ("text.txt", "text.txt", "text/plain"),
        ("noise.bin", "noise.bin", "application/octet-stream"),
        ("empty", "empty", "application/octet-stream"),
        ("deep/er/caf%C3%A9%20au%20lait.html", "deep/er/caf\u{e9} au lait.html", "text/html"),
    ] {
        let reply = get(database.address, &format!("/files/{path}"));
        assert_eq!((reply.status, reply.field("Content-Type")), (200, Some(media_type)), "{path}");
        assert!(reply.body == expected[name], "{path}");
    }
    for path in ["deep", "deep/", "no", ".hidden", "link", "text.txt/", "x'%20OR%201=1%20--"] {
        assert_eq!(get(database.address, &format!("/files/{path}")).status, 404, "{path}");
    }

    let mut both = database.found("fox");
    both.sort();
    assert_eq!(both, ["deep/short.txt", "text.txt"]);
    assert_eq!(database.found("goose+fox"), ["text.txt"]);
    let none: [&str; 0] = [];
    for words in
        ["", "+", "fo", "%22", "fox+AND+nothing", "*", "fo*", "NEAR(fox", "a%22b", "text:x"]
    {
        assert_eq!(database.found(words), none, "{words}");
    }

    database.end();
}

#[test]
fn what_is_stored_is_served_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = files();
    write_all(folder.path(), &expected);
    let kept = tempfile::tempdir().unwrap();
    let archive = kept.path().join("archive.db");
    let database = Database::start(folder.path(), &archive);

    let made = database.send("POST /files", b"a heron");
    let place = made.field("Location").unwrap().to_owned();
    assert!(made.status == 201 && place.starts_with("/files/uploads/"), "{place}");
    assert_eq!(get(database.address, &place).body, b"a heron");
    expected.insert(place.strip_prefix("/files/").unwrap().to_owned(), b"a heron".to_vec());
    assert_eq!(database.found("heron").len(), 1);
    let again = database.send("POST /files", b"a heron");
    assert_ne!(again.field("Location"), Some(&place[..]), "each gets a name of its own");
    let again = again.field("Location").unwrap().strip_prefix("/files/").unwrap().to_owned();
    expected.insert(again, b"a heron".to_vec());

    let put = database.send("PUT /files/new%20one.txt", b"a stork");
    assert_eq!((put.status, put.field("Location")), (201, Some("/files/new%20one.txt")));
    assert_eq!(database.send("PUT /files/new%20one.txt", b"a crane").status, 204);
    assert_eq!((database.found("stork").len(), database.found("crane").len()), (0, 1));
    expected.insert("new one.txt".to_owned(), b"a crane".to_vec());
    for (path, status) in
        [("a/.b", 403), ("a/", 403), ("a%0Ab", 403), ("a%2Fb", 400), ("", 404), ("%ff", 404)]
    {
        assert_eq!(database.send(&format!("PUT /files/{path}"), b"x").status, status, "{path}");
    }
    // It leads to a name within the archive, as all dot segments do.
    assert_eq!(database.send("PUT /files/../../files/../files/in.txt", b"in").status, 201);
    expected.insert("in.txt".to_owned(), b"in".to_vec());
    assert_eq!(database.send("POST /files", &vec![b'x'; (1 << 20) + 1]).status, 413);
    assert_eq!(database.send("DELETE /files/text.txt", b"").status, 405);
    database.end();

    let left: Vec<_> = std::fs::read_dir(kept.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, std::slice::from_ref(&archive), "one file, with no log beside it");
    assert!(read_archive(&archive) == expected, "{:?}", read_archive(&archive).keys());
    extracts(&archive, &expected);

    let refused = command(folder.path(), &archive).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("exists already"));
}

/// SQLite's own program reads the archive, where it is installed.
fn extracts(archive: &Path, expected: &BTreeMap<String, Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut command) = crate::support::installed("sqlite3") else { return };
    let command = command.arg(archive).args(["-A", "--extract", "--directory"]).arg(folder.path());
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    for (name, content) in expected {
        assert!(std::fs::read(folder.path().join(name)).unwrap() == *content, "{name}");
    }
}

/// Whoever waits for the one writer waits, and loses nothing.
#[test]
fn uploads_at_the_same_time_are_all_stored() {
    const CLIENTS: usize = 8;
    const EACH: usize = 10;
    let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = kept.path().join("archive.db");
    let database = Database::start(folder.path(), &archive);
    let mut stored: Vec<(String, Vec<u8>)> = std::thread::scope(|scope| {
        let upload = |client: usize| {
            let database = &database;
            let one = move |number: usize| {
                let content = json!([client, number]).to_string().into_bytes();
                let reply = database.send("POST /files", &content);
                assert_eq!(reply.status, 201);
                let place = reply.field("Location").unwrap();
                (place.strip_prefix("/files/").unwrap().to_owned(), content)
            };
            scope.spawn(move || (0..EACH).map(one).collect::<Vec<_>>())
        };
        let clients: Vec<_> = (0..CLIENTS).map(upload).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    database.end();
    stored.sort();
    assert_eq!(read_archive(&archive).into_iter().collect::<Vec<_>>(), stored);
}
