//! Limits on the server's memory and disk speed by control groups, which are removed on drop.

use super::{PATIENCE, RealServer, Reply, TESTFILE, command, connect, wait_for};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time between two requests of the polite client.
const POLITE_INTERVAL: Duration = Duration::from_millis(10);

/// A control group of either version, removed on drop. Stop its processes first.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
}

/// A controller, and the values of its files. The first file must accept its value. The kernel may
/// not know the others, such as the swap limit.
type Settings<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// The two versions of control groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Version 1: a hierarchy for each controller.
    One,
    /// Version 2: one hierarchy.
    Two,
}

impl Group {
    /// A group with this memory limit in bytes. `None` if it cannot be created.
    pub fn with_memory(bytes: u64) -> Option<Self> {
        let bytes = &*bytes.to_string();
        let one = [("memory.limit_in_bytes", bytes), ("memory.memsw.limit_in_bytes", bytes)];
        let two = [("memory.max", bytes), ("memory.swap.max", "0")];
        Self::with(Version::One, ("memory", &one))
            .or_else(|| Self::with(Version::Two, ("memory", &two)))
    }

    /// A group with this limit in bytes per second for reads from the disk that holds `path`.
    /// `None` if it cannot be created.
    pub fn with_slow_disk(path: &Path, rate: u64) -> Option<Self> {
        let disk = disk_of(path)?;
        let (one, two) = (format!("{disk} {rate}"), format!("{disk} rbps={rate}"));
        Self::with(Version::One, ("blkio", &[("blkio.throttle.read_bps_device", &one)]))
            .or_else(|| Self::with(Version::Two, ("io", &[("io.max", &two)])))
    }

    fn with(version: Version, (controller, settings): Settings<'_>) -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        parents(version, controller).into_iter().find_map(|parent| {
            remove_orphans(&parent);
            let number = NUMBER.fetch_add(1, Relaxed);
            let folder = parent.join(format!("cws-test-{}-{number}", std::process::id()));
            fs::create_dir(&folder).ok()?;
            // From here on, drop removes it.
            let group = Self { folder };
            let set = |(file, value): &(&str, &str)| fs::write(group.folder.join(file), value);
            let is_set: Vec<_> = settings.iter().map(|setting| set(setting).is_ok()).collect();
            (is_set[0] && group.takes_processes()).then_some(group)
        })
    }

    fn procs(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    fn takes_processes(&self) -> bool {
        self.command("true").status().is_ok_and(|status| status.success())
    }

    /// A command whose process joins the group before it executes the program.
    pub fn command(&self, program: &str) -> Command {
        let mut entering = command("sh");
        entering.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.procs()).arg(program);
        entering
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A killed process stays in its group until the kernel has released it.
        let deadline = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.folder).is_err() {
            let is_late = Instant::now() >= deadline;
            assert!(!is_late || thread::panicking(), "{} was not removed", self.folder.display());
            if is_late {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Removes groups left by killed test runs. Groups with processes stay.
fn remove_orphans(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("cws-test-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Groups that may contain a new group with this controller: this process's own, and the top one.
fn parents(version: Version, controller: &str) -> Vec<PathBuf> {
    let mine = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // Version 2 has a line without controller names.
    let name = if version == Version::One { controller } else { "" };
    let own = mine.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names.split(',').any(|known| known == name).then_some(path)
    });
    let mut found = Vec::new();
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines() {
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let (kind, options) = system.split_once(' ').unwrap_or_default();
        let is_ours = match version {
            Version::One => kind == "cgroup" && options.split([',', ' ']).any(|o| o == controller),
            Version::Two => kind == "cgroup2",
        };
        if is_ours {
            let mount: Vec<_> = mount.split(' ').collect();
            let (root, point) = (mount[3], Path::new(mount[4]));
            let beneath = own.and_then(|own| own.strip_prefix(root.trim_end_matches('/')));
            found.extend(beneath.map(|path| point.join(path.trim_start_matches('/'))));
            found.push(point.to_owned());
        }
    }
    // In version 2, a group allows its children only some controllers.
    let gives = |parent: &PathBuf| {
        let given = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
        given.split_whitespace().any(|known| known == controller)
    };
    found.retain(|parent| version == Version::One || gives(parent));
    found
}

/// The disk of a file, as `major:minor`. `None` for file systems without a disk.
pub fn disk_of(path: &Path) -> Option<String> {
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let folder = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let is_part = folder.join("partition").exists();
    let whole = if is_part { folder.parent()? } else { &*folder };
    Some(fs::read_to_string(whole.join("dev")).ok()?.trim().to_owned())
}

/// A limit on the server's memory: by a control group, or else by the kernel's data limit.
#[derive(Debug)]
pub struct MemoryLimit {
    pub bytes: u64,
    group: Option<Group>,
}

impl MemoryLimit {
    pub fn new(bytes: u64) -> Self {
        Self { bytes, group: Group::with_memory(bytes) }
    }

    /// The command of the server; complete it and pass it to [`Self::spawn`].
    pub fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_server");
        self.group.as_ref().map_or_else(|| command(program), |group| group.command(program))
    }

    /// Starts the server. The limit must outlive it.
    pub fn spawn(&self, command: Command) -> RealServer {
        let server = RealServer::spawn(command);
        if self.group.is_none() {
            // So far it has allocated the stacks of its threads, most of them untouched.
            let most = Some(status_bytes(&server, "VmData").unwrap() + self.bytes);
            let limit = rustix::process::Rlimit { current: most, maximum: most };
            let pid = rustix::process::Pid::from_raw(server.pid().try_into().unwrap());
            rustix::process::prlimit(pid, rustix::process::Resource::Data, limit).unwrap();
        }
        server
    }

    /// Fails unless the server runs and its memory never exceeded the limit.
    pub fn check(&self, server: &mut RealServer, when: &str) {
        // A process that is being killed no longer reports its memory.
        let peak = status_bytes(server, "VmHWM").filter(|_| server.is_running());
        let bytes = self.bytes;
        let peak = peak.unwrap_or_else(|| panic!("{when}: the server died at {bytes} bytes"));
        assert!(peak < bytes, "{when}: {peak} bytes of {bytes}");
    }
}

/// A value of `/proc/PID/status`. `None` if the process has ended.
fn status_bytes(server: &RealServer, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// A client that requests `testfile` repeatedly on one connection, and loses no answer.
pub struct Polite {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    asking: JoinHandle<Vec<Duration>>,
}

impl Polite {
    /// Starts the client. The file has been served once when this returns.
    pub fn start(address: SocketAddr) -> Self {
        Self::asking(address, "/testfile", Some(TESTFILE))
    }

    /// Starts a client that asks for this target, which has this content if any is given.
    pub fn asking(address: SocketAddr, target: &str, content: Option<&'static [u8]>) -> Self {
        let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
        let (is_over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut stream = connect(address);
        let ask = move || {
            let asked = Instant::now();
            stream.write_all(request.as_bytes()).unwrap();
            let reply = Reply::read(&mut stream);
            assert!(reply.status == 200 && content.is_none_or(|of| reply.body == of));
            asked.elapsed()
        };
        let asking = thread::spawn({
            let (is_over, answered, mut ask) = (is_over.clone(), answered.clone(), ask);
            move || {
                let mut times = Vec::new();
                while !is_over.load(Relaxed) {
                    times.push(ask());
                    answered.fetch_add(1, Relaxed);
                    thread::sleep(POLITE_INTERVAL);
                }
                times
            }
        });
        let polite = Self { is_over, answered, asking };
        polite.wait_for_answers(1);
        polite
    }

    /// Waits for this many more answers. Fails if the client has stopped.
    pub fn wait_for_answers(&self, count: usize) {
        let wanted = self.answered.load(Relaxed) + count;
        wait_for("the polite client's answers", || {
            let is_lost = self.asking.is_finished();
            (is_lost || self.answered.load(Relaxed) >= wanted).then_some(())
        });
        assert!(!self.asking.is_finished(), "an answer to the polite client was lost");
    }

    /// Stops the client, and returns the median wait of a client that arrives at a random time. The
    /// polite client sends rarely while answers are slow, so each wait is weighted by its length.
    pub fn finish(self) -> Duration {
        self.is_over.store(true, Relaxed);
        let times = self.asking.join().expect("no answer was lost");
        let moments = |time: Duration| {
            std::iter::successors(Some(time), |left| left.checked_sub(POLITE_INTERVAL))
        };
        let mut waits: Vec<_> = times.into_iter().flat_map(moments).collect();
        waits.sort_unstable();
        waits[waits.len() / 2]
    }
}
