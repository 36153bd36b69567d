//! What a confined process is denied, what works inside, and what the server says of it.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::print_stderr, clippy::print_stdout)]

use crate::support::{RealServer, Site, TESTFILE, ask, command, get, wait_for};
use cws::{Accepts, Config, Confinement, Handler, Listener, Request, Response, Sandbox, Server};
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A process of its own that runs one of the ignored tests of this file: what it does to itself
/// lasts.
fn own_process(test: &str) -> Command {
    let mut process = command(std::env::current_exe().unwrap().to_str().unwrap());
    process.args(["--exact", &format!("sandbox::{test}"), "--ignored", "--nocapture"]);
    process.stdin(Stdio::null());
    process
}

/// What each thread of a process says of itself in a line of its status.
fn statuses(process: u32, name: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let status = |thread: PathBuf| fs::read_to_string(thread.join("status")).ok();
    let line = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.map(str::to_owned)
    };
    threads.filter_map(|thread| status(thread.unwrap().path()).and_then(line)).collect()
}

/// Tries what its path names.
#[derive(Debug)]
struct Trying {
    inside: PathBuf,
    outside: PathBuf,
    port: u16,
    socket: PathBuf,
    parent: rustix::process::Pid,
}

impl Trying {
    fn attempt(&self, what: &str) -> io::Result<()> {
        let program = || Command::new("/bin/true").stdin(Stdio::null()).status().map(drop);
        match what {
            "read-inside" => fs::read(&self.inside).map(drop),
            "list-inside" => fs::read_dir(self.inside.parent().unwrap()).map(drop),
            "read-outside" => fs::read(&self.outside).map(drop),
            "list-outside" => fs::read_dir("/").map(drop),
            "read-passwd" => fs::read("/etc/passwd").map(drop),
            "write-inside" => File::options().write(true).open(&self.inside).map(drop),
            "truncate-inside" => {
                File::options().write(true).truncate(true).open(&self.inside).map(drop)
            }
            "make-inside" => fs::write(self.inside.with_file_name("new"), "x"),
            "make-outside" => fs::write(self.outside.with_file_name("new"), "x"),
            "folder" => fs::create_dir(self.inside.with_file_name("folder")),
            "rename" => fs::rename(&self.inside, self.inside.with_file_name("other")),
            "remove" => fs::remove_file(&self.inside),
            "link" => std::os::unix::fs::symlink("/", self.inside.with_file_name("link")),
            "mode" => fs::set_permissions(&self.inside, fs::metadata(&self.inside)?.permissions()),
            "connect" => TcpStream::connect(("127.0.0.1", self.port)).map(drop),
            "connect-unix" => UnixStream::connect(&self.socket).map(drop),
            "bind" => TcpListener::bind("127.0.0.1:0").map(drop),
            "datagram" => UdpSocket::bind("127.0.0.1:0").map(drop),
            "datagram-unix" => UnixDatagram::unbound().map(drop),
            "execute" => program(),
            "signal" => rustix::process::kill_process(self.parent, rustix::process::Signal::CONT)
                .map_err(Into::into),
            "limit" => {
                use rustix::process::{Resource, getrlimit, setrlimit};
                setrlimit(Resource::Nofile, getrlimit(Resource::Nofile)).map_err(Into::into)
            }
            "root" => rustix::process::chroot("/").map_err(Into::into),
            "thread" => std::thread::Builder::new().spawn(|| ()).map(drop),
            other => Err(io::Error::other(other.to_owned())),
        }
    }
}

impl Handler for Trying {
    type State = ();

    fn state(&self, _: usize) {}

    fn accepts(&self) -> Accepts {
        Accepts::nothing()
    }

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, cws::Error> {
        let path = String::from_utf8_lossy(request.target.path.as_bytes()).into_owned();
        Ok(Response::text(match self.attempt(&path) {
            Ok(()) => "done".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        }))
    }
}

/// What a handler does in [`a_handler_is_denied_what_its_server_does_not_need`], and whether it
/// may.
const ATTEMPTS: [(&str, bool); 24] = [
    ("read-inside", true),
    ("list-inside", true),
    ("thread", true),
    ("read-outside", false),
    ("list-outside", false),
    ("read-passwd", false),
    ("write-inside", false),
    ("truncate-inside", false),
    ("make-inside", false),
    ("make-outside", false),
    ("folder", false),
    ("rename", false),
    ("remove", false),
    ("link", false),
    ("mode", false),
    ("connect", false),
    ("connect-unix", false),
    ("bind", false),
    ("datagram", false),
    ("datagram-unix", false),
    ("execute", false),
    ("signal", false),
    ("limit", false),
    ("root", false),
];

#[test]
#[ignore = "a process of its own, which another test starts"]
fn a_confined_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("root")).unwrap();
    fs::write(path("root/file"), TESTFILE).unwrap();
    fs::write(path("secret"), "secret").unwrap();
    let others = TcpListener::bind("127.0.0.1:0").unwrap();
    let _unix = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    let trying = Trying {
        inside: path("root/file"),
        outside: path("secret"),
        port: others.local_addr().unwrap().port(),
        socket: path("socket"),
        parent: rustix::process::getppid().unwrap(),
    };
    for (what, _) in ATTEMPTS.iter().filter(|(what, _)| !["rename", "remove"].contains(what)) {
        let before = trying.attempt(what);
        assert!(before.is_ok(), "{what} works before: {before:?}");
    }
    for made in ["root/new", "root/link", "new"] {
        fs::remove_file(path(made)).unwrap();
    }
    fs::remove_dir(path("root/folder")).unwrap();
    fs::write(path("root/file"), TESTFILE).unwrap();

    let listeners = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].address().unwrap();
    // The client is confined, too, so its connection is there before.
    let mut client = TcpStream::connect(address).unwrap();
    assert_eq!(Confinement::in_force(), None);
    let confinement = Sandbox::new().reading(path("root")).enter();
    assert_eq!(confinement.missing(), None, "{confinement}");
    assert_eq!(Confinement::in_force(), Some(&confinement));
    let server = Server::start_on(listeners, Config::default().workers(2), trying).unwrap();
    let mut ask = |what: &str| {
        use std::io::Write;
        write!(client, "GET /{what} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        String::from_utf8(crate::support::Reply::read(&mut client).body).unwrap()
    };
    for (what, may) in ATTEMPTS {
        let expected = if may { "done" } else { "PermissionDenied" };
        assert_eq!(ask(what).trim(), expected, "{what}");
        assert_eq!(ask("read-inside").trim(), "done", "after {what}");
    }
    assert_eq!(server.workers_alive(), 2);
    let replaced = server.snapshot().get(cws::Counter::WorkersReplaced);
    assert_eq!(replaced, 0);
    assert_eq!(fs::read(path("root/file")).unwrap(), TESTFILE);
    // It cannot remove its own folder.
    std::mem::forget(folder);
    println!("all attempts were made");
}

#[test]
fn a_handler_is_denied_what_its_server_does_not_need() {
    let folder = tempfile::tempdir().unwrap();
    let output = own_process("a_confined_process").env("TMPDIR", folder.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.contains("no Landlock") || said.contains("no seccomp") {
        assert!(std::env::var_os("CI").is_none(), "{said}");
        return eprintln!("skipped: {said}");
    }
    assert!(output.status.success() && said.contains("all attempts were made"), "{said}");
}

#[test]
fn each_allowed_call_has_a_reason() {
    let calls: Vec<_> = Sandbox::calls().collect();
    assert!(calls.len() > 50, "{}", calls.len());
    for (at, (name, reason)) in calls.iter().enumerate() {
        assert!(reason.len() > 5, "{name}: {reason}");
        assert!(!calls[..at].iter().any(|(other, _)| other == name), "{name} is there once");
    }
    for denied in [
        "socket",
        "bind",
        "connect",
        "listen",
        "execve",
        "fork",
        "vfork",
        "clone3",
        "ptrace",
        "kill",
        "mount",
        "chroot",
        "setuid",
        "chmod",
        "rename",
        "bpf",
        "io_uring_setup",
        "keyctl",
        "memfd_create",
    ] {
        assert!(!calls.iter().any(|(name, _)| *name == denied), "{denied}");
    }
}

/// The answers of the admin page.
fn stats(server: &RealServer) -> serde_json::Value {
    serde_json::from_slice(&get(server.admin(), "/stats.json").body).unwrap()
}

#[test]
fn all_threads_of_the_server_are_confined_and_it_says_so() {
    let (site, folder) = (Site::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let unix = format!("unix:{}", at("http.sock").display());
    let log = at("access.log");
    let options = ["0", "--admin", "0", "--agent", "0", "--bind", "127.0.0.1", "--bind", &unix];
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    server.args(["--root", site.path().to_str().unwrap()]).args(options);
    server.args(["--sandbox", "strict"]).arg("--takeover").arg(at("takeover"));
    let mut server = RealServer::spawn({
        server.arg("--access-log-file").arg(&log);
        server
    });
    assert_eq!(get(server.address(), "/testfile").body, TESTFILE);
    // The files of another directory are as they were.
    let line = wait_for("its line", || {
        let said = server.stderr();
        said.lines().find(|line| line.contains("confined: Landlock (version ")).map(str::to_owned)
    });
    assert!(line.contains(" system calls allowed"), "{line}");
    let stats = stats(&server);
    assert!(stats["sandbox"]["landlock"].as_u64() >= Some(1), "{}", stats["sandbox"]);
    assert!(stats["sandbox"]["seccomp"].as_u64() > Some(50), "{}", stats["sandbox"]);
    assert!(stats["sandbox"]["missing"].is_null());
    let seccomp = statuses(server.pid(), "Seccomp");
    assert!(seccomp.len() > 10 && seccomp.iter().all(|mode| mode == "2"), "{seccomp:?}");
    let privileges = statuses(server.pid(), "NoNewPrivs");
    assert!(privileges.iter().all(|of| of == "1"), "{privileges:?}");
    // The figures of the process come from /proc.
    let metrics = get(server.admin(), "/metrics").body;
    let metrics = String::from_utf8(metrics).unwrap();
    for name in ["process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds"]
    {
        assert!(metrics.contains(name), "{name}");
    }
    // Rotation, and the sockets' files at the end.
    wait_for("a line", || fs::read_to_string(&log).ok().filter(|text| text.contains("testfile")));
    fs::rename(&log, at("access.log.1")).unwrap();
    server.signal("HUP");
    wait_for("the new file", || log.exists().then_some(()));
    assert!(ask(&at("http.sock"), "/testfile").contains("200 OK"));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    assert!(!at("http.sock").exists() && !at("takeover").exists());
    assert!(!server.stderr().contains("denied") && !server.stderr().contains("not permitted"));
}

/// True if the kernel filters the calls of all threads of a process.
fn is_filtered(process: u32) -> bool {
    let modes = statuses(process, "Seccomp");
    modes.len() > 5 && modes.iter().all(|mode| mode == "2")
}

/// The servers of the other tests, which name no option for it, are confined.
#[test]
fn a_server_confines_itself_unless_it_is_told_not_to() {
    let site = Site::new();
    let server = RealServer::start(&site, &[]);
    let line = wait_for("its line", || {
        server.stderr().lines().find(|line| line.contains(" confined")).map(str::to_owned)
    });
    if line.contains("in part") {
        assert!(std::env::var_os("CI").is_none(), "{line}");
        return eprintln!("skipped: {line}");
    }
    assert!(is_filtered(server.pid()), "{line}");
}

/// The slice of processor time of each thread with this name, as the kernel tells it.
fn slices(process: u32, name: &str) -> Vec<u64> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let slice = |thread: PathBuf| {
        let about = fs::read_to_string(thread.join("sched")).ok()?;
        let line = about.lines().find_map(|line| line.strip_prefix("se.slice"));
        about.starts_with(name).then_some(line?.trim_start().trim_start_matches(':').trim().parse())
    };
    threads.filter_map(|thread| slice(thread.unwrap().path())).map(Result::unwrap).collect()
}

/// The pages for operators have an acceptor of their own, which starts under the filter.
#[test]
fn acceptors_have_shorter_slices_of_processor_time_than_workers() {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let version: Vec<u32> = kernel.split('.').map_while(|part| part.parse().ok()).collect();
    if version < vec![6, 12] {
        return eprintln!("skipped: Linux {kernel} gives no slices of a thread's choice");
    }
    let site = Site::new();
    let server = RealServer::start(&site, &["--sandbox", "strict", "--admin", "0"]);
    let workers = slices(server.pid(), "worker-1");
    if workers.is_empty() {
        return eprintln!("skipped: this kernel does not tell slices");
    }
    assert!(workers.iter().all(|&slice| slice > 100_000), "{workers:?}");
    wait_for("both acceptors", || {
        (slices(server.pid(), "acceptor") == [100_000, 100_000]).then_some(())
    });
}

#[test]
fn the_cache_a_reload_and_a_takeover_work_inside() {
    let (site, folder) = (Site::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let options = |number: usize| fs::write(at("s.toml"), format!("header = 'X-A: {number}'\n"));
    options(1).unwrap();
    let start = || {
        let mut server = command(env!("CARGO_BIN_EXE_server"));
        server.args(["0", "--sandbox", "strict", "--root", site.path().to_str().unwrap()]);
        server.arg("--config").arg(at("s.toml")).arg("--takeover").arg(at("takeover"));
        RealServer::spawn(server)
    };
    let reload = |server: &RealServer, number: usize| {
        options(number).unwrap();
        server.signal("HUP");
        wait_for("the new field", || {
            let reply = get(server.address(), "/testfile");
            (reply.field("X-A") == Some(&number.to_string()[..])).then_some(())
        });
    };
    let mut first = start();
    assert!(is_filtered(first.pid()));
    let address = first.address();
    // From the cache, from the disk, by `sendfile`, as a listing; then what is new.
    let large = vec![b'x'; 3 << 20];
    site.put("large", &large);
    assert!(get(address, "/large").body == large);
    for content in ["old", "newer"] {
        site.put_now("a.txt", content);
        wait_for(content, || (get(address, "/a.txt").body == content.as_bytes()).then_some(()));
        wait_for("a listing", || {
            String::from_utf8(get(address, "/?format=json").body)
                .unwrap()
                .contains("a.txt")
                .then_some(())
        });
    }
    reload(&first, 2);
    let second = start();
    assert_eq!(second.address(), address);
    assert_eq!(first.wait().code(), Some(0), "{}", first.stderr());
    assert!(is_filtered(second.pid()));
    assert_eq!(get(address, "/testfile").field("X-A"), Some("2"));
    reload(&second, 3);
    assert!(get(address, "/large").body == large);
    for log in [first.stderr(), second.stderr()] {
        assert!(!log.contains("denied") && !log.contains("not permitted"), "{log}");
    }
}

/// Without it there is nothing of it.
#[test]
fn the_sandbox_can_be_off() {
    let site = Site::new();
    let server = RealServer::start(&site, &["--sandbox", "off", "--admin", "0"]);
    assert!(statuses(server.pid(), "Seccomp").iter().all(|mode| mode == "0" || mode == "2"));
    assert!(stats(&server)["sandbox"].is_null());
    wait_for("its line", || server.stderr().contains("not confined (--sandbox off)").then_some(()));
}

/// Becomes the server, on a kernel that lacks what `LACKS` names.
#[test]
#[ignore = "a process of its own, which another test starts"]
fn a_server_on_another_kernel() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
    use std::collections::BTreeMap;
    let (call, errno) = match std::env::var("LACKS").unwrap().as_str() {
        "landlock" => (libc::SYS_landlock_create_ruleset, libc::ENOSYS),
        "seccomp" => (libc::SYS_seccomp, libc::ENOSYS),
        "bind" => (libc::SYS_bind, libc::EPERM),
        "ports" => {
            use landlock::{AccessNet, Ruleset, RulesetAttr};
            let rules = Ruleset::default().handle_access(AccessNet::BindTcp).unwrap();
            rules.create().unwrap().restrict_self().unwrap();
            // A call that nobody makes.
            (libc::SYS_acct, libc::ENOSYS)
        }
        other => panic!("{other}"),
    };
    let missing = SeccompAction::Errno(errno as u32);
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let calls = BTreeMap::from([(call, Vec::new())]);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, missing, arch).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
    let options = std::env::var("OPTIONS").unwrap();
    let error = command(env!("CARGO_BIN_EXE_server")).args(options.split(' ')).exec();
    panic!("{error}");
}

#[test]
fn a_kernel_without_it_is_named_and_strict_refuses_to_start() {
    let site = Site::new();
    let rows = [
        ("landlock", "no Landlock: the kernel has none, or hides it"),
        ("seccomp", "no seccomp filter: the kernel has none"),
    ];
    for (lacks, expected) in rows {
        let process = |more: &str| {
            let root = site.path().display();
            let mut process = own_process("a_server_on_another_kernel");
            process.env("LACKS", lacks);
            process.env("OPTIONS", format!("--root {root} 0 --admin 0 --sandbox {more}"));
            process
        };
        let Output { status, stderr, .. } = process("strict").output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{lacks}: {said}");
        let line = format!("server: cannot confine the server: {expected}");
        assert!(said.contains(&line) && said.contains("--sandbox auto"), "{lacks}: {said}");

        let folder = tempfile::tempdir().unwrap();
        let (out, err) = (folder.path().join("out"), folder.path().join("err"));
        let mut process = process("auto");
        process.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut running = process.spawn().unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let address = wait_for("an address", || {
            let text = read(&out);
            let line = text.lines().find(|line| line.starts_with("listening on"))?.to_owned();
            text.contains("admin page on").then(|| crate::support::listening_address(&line))
        });
        assert_eq!(get(address, "/testfile").body, TESTFILE, "{lacks}");
        wait_for("its line", || read(&err).contains("confined in part: ").then_some(()));
        assert!(read(&err).contains(expected), "{}", read(&err));
        running.kill().unwrap();
        running.wait().unwrap();
    }
}

/// What denies a port is named, where the system lets a process know it.
#[test]
fn a_bind_that_a_sandbox_around_the_server_denies_is_explained() {
    let site = Site::new();
    let rows = [
        ("bind", "a filter of system calls (seccomp) denies it (have the sandbox or the container"),
        ("ports", "permission denied (a security policy forbids it, such as Landlock: have it"),
    ];
    for (lacks, expected) in rows {
        let mut process = own_process("a_server_on_another_kernel");
        let options = format!("--root {} 0 --sandbox off", site.path().display());
        let output = process.env("LACKS", lacks).env("OPTIONS", options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{lacks}: {said}");
        let line = format!("server: cannot listen on 127.0.0.1:0: {expected}");
        assert!(said.contains(&line), "{lacks}: {said}");
    }
}

#[test]
fn what_is_no_choice_is_an_error() {
    let output =
        command(env!("CARGO_BIN_EXE_server")).args(["--sandbox", "maybe"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("it must be auto, strict or off"), "{said}");
}
