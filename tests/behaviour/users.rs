//! The server becomes another user once it listens (`--user`). These tests need root; without it
//! they check what the server says.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::print_stderr)]

use crate::support::{Site, TESTFILE, command, get, listening_address, wait_for};
use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A user and a group that need no name.
const USER: u32 = 4711;
const GROUP: u32 = 4712;

/// A folder that only its owner may write to, and all may pass.
struct Folder {
    site: Site,
    folder: tempfile::TempDir,
    /// A copy of the server that everybody may execute.
    binary: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let (site, folder) = (Site::new(), tempfile::tempdir().unwrap());
        let binary = folder.path().join("server");
        // Not by this process: what another test starts meanwhile would inherit the open file, and
        // a file that is open for writing cannot be executed.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_server")).arg(&binary).status();
        assert!(copied.unwrap().success());
        for path in [site.path(), folder.path()] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(folder.path().join("own")).unwrap();
        Self { site, folder, binary }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, options: &[&str]) -> Command {
        let mut server = command(self.binary.to_str().unwrap());
        server.args(["--root", self.site.path().to_str().unwrap(), "0"]).args(options);
        server.stdin(Stdio::null());
        server
    }
}

/// A server, killed on drop.
struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    fn start(mut server: Command, folder: &Folder, name: &str) -> Self {
        let (out, err) = (folder.path(&format!("{name}.out")), folder.path(&format!("{name}.err")));
        server.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: server.spawn().unwrap(), out, err }
    }

    fn address(&self) -> SocketAddr {
        wait_for("an address", || {
            let text = fs::read_to_string(&self.out).unwrap();
            text.ends_with('\n').then(|| listening_address(text.lines().next().unwrap()))
        })
    }

    fn logs(&self, text: &str) {
        wait_for(text, || fs::read_to_string(&self.err).unwrap().contains(text).then_some(()));
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &process]).status().unwrap().success());
    }

    /// The lines of all its threads that begin with this.
    fn lines(&self, name: &str) -> Vec<String> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let statuses = threads.map(|of| fs::read_to_string(of.unwrap().path().join("status")));
        statuses
            .filter_map(|status| {
                let status = status.ok()?;
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                Some(line.trim().to_owned())
            })
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root becomes another user");
    }
    is_root
}

fn refused(mut server: Command) -> String {
    let Output { status, stderr, .. } = server.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_ne!(status.code(), Some(0), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn every_thread_is_the_users_and_files_go_on_working() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    let (own, log) = (folder.path("own"), folder.path("own/access.log"));
    chown(&own, Some(USER), Some(GROUP)).unwrap();
    fs::set_permissions(&own, Permissions::from_mode(0o700)).unwrap();
    let user = format!("{USER}:{GROUP}");
    let (http, takeover) = (folder.path("own/http.sock"), folder.path("own/takeover"));
    let unix = format!("unix:{}", http.display());
    let options = ["--user", &user, "--admin", "0", "--bind", "127.0.0.1", "--bind", &unix];
    let server = |name: &str| {
        let mut server = folder.server(&options);
        server.arg("--access-log-file").arg(&log).arg("--takeover").arg(&takeover);
        Running::start(server, &folder, name)
    };
    let first = server("first");
    assert_eq!(get(first.address(), "/testfile").body, TESTFILE);
    let ids = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    for (name, expected) in [
        ("Uid:", ids(USER)),
        ("Gid:", ids(GROUP)),
        ("Groups:", GROUP.to_string()),
        ("CapPrm:", "0".repeat(16)),
        ("CapEff:", "0".repeat(16)),
    ] {
        let lines = first.lines(name);
        assert!(lines.len() > 5 && lines.iter().all(|line| *line == expected), "{name} {lines:?}");
    }
    for path in [&log, &http, &takeover] {
        let found = fs::metadata(path).unwrap();
        assert_eq!((found.uid(), found.gid()), (USER, GROUP), "{}", path.display());
    }
    let is_logged = || fs::read_to_string(&log).is_ok_and(|text| text.contains("testfile"));
    wait_for("a line", || is_logged().then_some(()));
    fs::rename(&log, folder.path("own/access.log.1")).unwrap();
    first.signal("HUP");
    wait_for("the new file", || log.exists().then_some(()));
    assert_eq!(fs::metadata(&log).unwrap().uid(), USER);

    // The next one is root's at first, like this one was.
    let mut second = server("second");
    second.logs("took over from process");
    first.logs("has taken over");
    assert_eq!(second.address(), first.address());
    assert_eq!(get(second.address(), "/testfile").body, TESTFILE);
    wait_for("lines of the second", || is_logged().then_some(()));
    assert!(second.lines("Uid:").iter().all(|line| *line == ids(USER)));
    second.signal("TERM");
    assert_eq!(second.child.wait().unwrap().code(), Some(0));
    assert!(!http.exists() && !takeover.exists(), "it removes its own sockets");
}

#[test]
fn what_the_user_may_not_use_is_an_error_at_the_start() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    let user = format!("{USER}:{GROUP}");
    let log = folder.path("own/access.log");
    let mut server = folder.server(&["--user", &user]);
    server.arg("--access-log-file").arg(&log);
    let said = refused(server);
    assert!(said.starts_with("server: cannot log to ") && said.contains("denied"), "{said}");
    fs::set_permissions(folder.site.path(), Permissions::from_mode(0o700)).unwrap();
    let said = refused(folder.server(&["--user", &user]));
    let expected = format!("as {user}: Permission denied");
    assert!(said.starts_with("server: cannot serve ") && said.contains(&expected), "{said}");
}

#[test]
fn wrong_users_are_errors() {
    let folder = Folder::new();
    for (user, expected) in [
        ("no-such-user", "there is no user no-such-user"),
        ("0:0", "root has all privileges: name another user"),
        ("nobody:no-such-group", "there is no group no-such-group"),
    ] {
        let said = refused(folder.server(&["--user", user]));
        assert!(said.contains(expected), "{said}");
    }
    let mut server = folder.server(&["--user", "4711:4712"]);
    if is_root() {
        server.uid(USER).gid(GROUP);
    }
    let said = refused(server);
    assert!(said.contains("cannot become user 4711:4712: only root can"), "{said}");
}

/// Root may bind any port; who is not root learns why not.
#[test]
fn a_denied_port_is_explained() {
    let start = Path::new("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let start: u16 = fs::read_to_string(start).unwrap().trim().parse().unwrap();
    if start == 0 {
        return eprintln!("skipped: all ports are for everybody");
    }
    let folder = Folder::new();
    let mut server = command(folder.binary.to_str().unwrap());
    server.args(["--root", folder.site.path().to_str().unwrap(), &(start - 1).to_string()]);
    if is_root() {
        server.uid(USER).gid(GROUP);
    }
    let said = refused(server);
    let expected = format!("permission denied (ports below {start} are for privileged users");
    assert!(said.contains(&expected) && said.contains("CAP_NET_BIND_SERVICE"), "{said}");
}
