//! Who may take over, what is passed, and what does not change anything.

use super::chain::Place;
use crate::support::{self, Reply, TESTFILE, connect, get, wait_for};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_new_server_takes_the_listeners_over_and_the_old_one_drains() {
    let place = Place::new();
    let (unix, admin) = (place.file("http.sock"), place.file("admin.sock"));
    let bind = format!("127.0.0.1,unix:{}", unix.display());
    let admin_place = format!("unix:{}", admin.display());
    let options = ["0", "--bind", &bind, "--admin", &admin_place, "--agent", "0"];
    let options = [&options[..], &["--delay", "100ms"]].concat();
    let mut old = place.start(&options);
    wait_for("its lines", || (old.printed().lines().count() == 4).then_some(()));
    let address = old.address();
    let inodes = || [&unix, &admin, &place.path()].map(|path| fs::metadata(path).unwrap().ino());
    let before = inodes();
    // In service, and idle, when the new one comes.
    let mut idle = connect(address);
    let ask = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";
    idle.write_all(ask).unwrap();
    assert_eq!(Reply::read(&mut idle).body, TESTFILE);
    let mut busy: Vec<_> = (0..5).map(|_| connect(address)).collect();
    busy.iter_mut().for_each(|stream| stream.write_all(ask).unwrap());
    let mut new = place.start(&options);
    for stream in &mut busy {
        assert_eq!(Reply::read(stream).body, TESTFILE);
    }
    assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0, "an idle connection is closed");
    assert_eq!(old.code(), Some(0));
    wait_for("its lines", || (new.printed().lines().count() == 4).then_some(()));
    assert_eq!(new.printed(), old.printed());
    let agent = new.printed().lines().find_map(|line| line.strip_prefix("agent on ")?.parse().ok());
    let mut told = String::new();
    connect(agent.unwrap()).read_to_string(&mut told).unwrap();
    assert!(told.starts_with("ready up "), "a balancer hears of no drain: {told}");
    assert_eq!(inodes(), before, "the files stay");
    assert_eq!(get(address, "/testfile").body, TESTFILE);
    new.logs(&format!("took over from process {}", old.pid()));
    old.logs(&format!("process {} has taken over", new.pid()));
    new.signal("TERM");
    assert_eq!(new.code(), Some(0));
    assert!([unix, admin, place.path()].iter().all(|path| !path.exists()), "they are removed");
}

#[test]
fn a_new_server_that_cannot_start_leaves_the_old_one_serving() {
    let place = Place::new();
    let mut old = place.start(&["0", "--admin", "0"]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port().to_string();
    let rows: [(&[&str], i32, &str); 4] = [
        (&["0", "--root", "/no/such"], 1, "cannot serve /no/such: no such directory"),
        (&["0", "--workers", "many"], 2, "it must be a whole number"),
        (&[&taken], 1, "address already in use"),
        (&["0", "--admin", &taken], 1, "cannot start the admin page"),
    ];
    for (options, code, reason) in rows {
        let mut command = support::command(env!("CARGO_BIN_EXE_server"));
        command.arg("--takeover").arg(place.path()).args(options);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{options:?}: {}", errors(&output));
        let error = errors(&output);
        assert!(error.contains(reason), "{error}");
        assert!(code == 2 || error.ends_with("; the server that runs goes on\n"), "{error}");
        assert!(old.is_running());
        assert_eq!(get(old.address(), "/testfile").body, TESTFILE);
    }
    wait_for("what the old one says of it", || {
        let line = "has ended before it took over (this server goes on)";
        (old.log().matches(line).count() == 3).then_some(())
    });
    // More listeners than can be passed on.
    let many = (0..64).map(|at| format!("unix:{}", place.file(&format!("{at}.sock")).display()));
    let many = many.collect::<Vec<_>>().join(",");
    let output = place.command(&["0", "--bind", &many]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("cannot pass 64 listeners"), "{}", errors(&output));
    assert!(old.is_running() && get(old.address(), "/testfile").body == TESTFILE);
    // And it can still be taken over.
    let new = place.start(&["0"]);
    assert_eq!(old.code(), Some(0));
    assert_eq!(get(new.address(), "/testfile").body, TESTFILE);
}

#[test]
fn other_options_bind_what_was_not_passed_and_close_what_is_not_wanted() {
    let place = Place::new();
    let unix = place.file("http.sock");
    let bind = format!("unix:{}", unix.display());
    let mut old = place.start(&["0", "--bind", &bind, "--bind", "127.0.0.1"]);
    let address = old.address();
    let mut new = place.start(&["0", "--bind", "127.0.0.1", "--admin", "0"]);
    assert_eq!(old.code(), Some(0));
    assert_eq!(new.address(), address);
    wait_for("its admin page", || new.printed().contains("admin page on").then_some(()));
    wait_for("the end of the other one", || UnixStream::connect(&unix).is_err().then_some(()));
    assert!(!unix.exists());
    new.logs(&format!("no longer listening on unix:{}", unix.display()));
    new.signal("TERM");
    assert_eq!(new.code(), Some(0));
    assert!(std::net::TcpStream::connect(address).is_err(), "it is the last one");
}

#[test]
fn strangers_at_the_path_cost_nothing() {
    let place = Place::new();
    let mut old = place.start(&["0"]);
    let mode = fs::metadata(place.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let say = |bytes: &[u8]| {
        let mut link = UnixStream::connect(place.path()).unwrap();
        link.set_read_timeout(Some(support::PATIENCE)).unwrap();
        link.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // It may be closed with bytes unread.
        let _ = link.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    let refusal = "error the running server speaks \"cws-takeover 1\"\n";
    assert_eq!(say(b"cws-takeover 2\n"), refusal);
    assert_eq!(say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), refusal);
    assert_eq!(say(&[b'x'; 20_000]), "");
    assert_eq!(say(b"\xff\n"), "");
    assert_eq!(say(b"sil"), "", "one that says no more is let go");
    let _silent: Vec<_> = (0..2).map(|_| UnixStream::connect(place.path()).unwrap()).collect();
    assert_eq!(get(old.address(), "/testfile").body, TESTFILE);
    // A successor has to wait for the silent ones to be let go, and no longer.
    let _new = place.start(&["0"]);
    assert_eq!(old.code(), Some(0));
}

/// Only root can be somebody else. Elsewhere the permissions of the path are all that is tested.
#[test]
fn the_process_of_another_user_gets_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: this needs root");
        return;
    }
    if ["setpriv", "curl"].iter().any(|program| support::installed(program).is_none()) {
        return;
    }
    let place = Place::new();
    let old = place.start(&["0"]);
    let folder = place.path().parent().unwrap().to_owned();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let connects = |mode| {
        fs::set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
        let mut other = Command::new("setpriv");
        other.args(["--reuid", "65534", "--clear-groups", "curl", "-s", "--max-time", "20"]);
        other.arg("--unix-socket").arg(place.path()).arg("http://localhost/");
        other.stdout(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(connects(0o600), Some(7), "cannot connect");
    assert!(!old.log().contains("another user"));
    assert_ne!(connects(0o666), Some(0), "it gets nothing");
    old.logs("it is the process of another user (65534)");
    assert_eq!(get(old.address(), "/testfile").body, TESTFILE);
}

#[test]
fn what_listens_at_the_path_and_is_no_server_is_an_error() {
    let place = Place::new();
    fs::write(place.path(), "a file").unwrap();
    let output = place.command(&["0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("a file that is no socket is there"), "{}", errors(&output));
    fs::remove_file(place.path()).unwrap();
    let other = std::os::unix::net::UnixListener::bind(place.path()).unwrap();
    let server = place.command(&["0"]).stderr(Stdio::piped()).spawn().unwrap();
    let (mut link, _) = other.accept().unwrap();
    link.write_all(b"hello\n").unwrap();
    let output = server.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("is not of this protocol"), "{}", errors(&output));
}

/// Sends listeners as a running server does, and then these lines.
fn offer(link: &UnixStream, listener: &TcpListener, lines: &str) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [listener.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)));
    let text = format!("listeners 1 0 http\n{lines}");
    let bytes = [std::io::IoSlice::new(text.as_bytes())];
    sendmsg(link, &bytes, &mut control, SendFlags::empty()).unwrap();
}

/// The running server says `go`, and hears nothing for too long: it keeps its listeners. Two
/// servers must not both go on.
#[test]
fn a_server_that_is_too_late_to_take_over_ends() {
    let place = Place::new();
    let old = std::os::unix::net::UnixListener::bind(place.path()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut server = place.command(&[&port]);
    let server = server.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (link, _) = old.accept().unwrap();
    offer(&link, &listener, "go\nerror it took too long to start\n");
    let output = server.wait_with_output().unwrap();
    let error = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("it took too long to start; the server that runs goes on"), "{error}");
}

/// The new process has closed what it does not want, and is killed before it has taken over.
#[test]
fn a_new_server_that_is_killed_late_leaves_the_listeners_open() {
    let place = Place::new();
    let old = place.start(&["0"]);
    let mut link = UnixStream::connect(place.path()).unwrap();
    link.set_read_timeout(Some(support::PATIENCE)).unwrap();
    link.write_all(format!("cws-takeover 1 {}\n", std::process::id()).as_bytes()).unwrap();
    let listener = receive(&link);
    link.write_all(b"ready\n").unwrap();
    let mut go = [0; 3];
    link.read_exact(&mut go).unwrap();
    assert_eq!(&go, b"go\n");
    cws::Listener::adopt(listener).unwrap().close();
    drop(link);
    old.logs("has ended before it took over (this server goes on)");
    let again = std::net::TcpStream::connect_timeout(&old.address(), support::PATIENCE);
    drop(again.expect("it still listens"));
    assert_eq!(get(old.address(), "/testfile").body, TESTFILE);
}

/// The first of the listeners that a running server passes; the others are closed.
fn receive(link: &UnixStream) -> std::os::fd::OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 1000];
    let mut slices = [std::io::IoSliceMut::new(&mut bytes)];
    recvmsg(link, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut sockets = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => sockets.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    sockets.next().unwrap()
}
