//! A link of a given rate and delay on one machine: two network namespaces, each with a TUN device,
//! and two threads that carry the packets between them.
//!
//! The namespaces have no names. They end with the processes in them and with this one, however it
//! ends.

mod tun;
mod wire;

pub use wire::Conditions;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, PipeWriter, Write};
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use wire::Line;

/// The clients' address: like the servers', of a network for measurements (RFC 2544, C.2.2).
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// The name of each end's device.
const DEVICE: &str = "link0";

/// What is missing if a link cannot be made.
const NEEDS: &str = "a link needs Linux, root, /dev/net/tun and the program ip (iproute2)";

/// A link. The thread that opened it is in the namespace of the clients while this exists, and so
/// is all that it starts.
#[derive(Debug)]
pub struct Link {
    conditions: Conditions,
    /// The namespace of the servers.
    servers: File,
    /// The namespace in which this thread was before.
    before: File,
    /// Closing it ends the carriers.
    stop: Option<PipeWriter>,
    carriers: Vec<JoinHandle<io::Result<()>>>,
    /// A thread is in a namespace, not a process: this stays in its thread.
    of_thread: PhantomData<*const ()>,
}

impl Link {
    /// The servers' address.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

    /// Makes the namespaces and the link, and moves the calling thread to the clients.
    pub fn open(conditions: Conditions) -> Result<Self, String> {
        make(conditions).map_err(|error| format!("{NEEDS}: {error}"))
    }

    /// Runs `work` in the namespace of the servers, on a thread of its own. The processes that it
    /// starts are there, too.
    pub fn at_servers<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let servers = &self.servers;
        thread::scope(|scope| {
            let work = scope.spawn(|| enter(servers).map(|()| work()));
            work.join().unwrap_or_else(|_| Err(io::Error::other("the work panicked")))
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conditions { rate, delay } = self.conditions;
        let delay = humantime::format_duration(delay);
        write!(f, "a link of {} Mbit/s with {delay} each way", rate / 1_000_000)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop = None;
        for carrier in self.carriers.drain(..) {
            match carrier.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("versus: the link has failed: {error}"),
                Err(_) => eprintln!("versus: the link has failed: a thread panicked"),
            }
        }
        // It fails in a process that has lost its privileges, and changes nothing then.
        let _ = enter(&self.before);
    }
}

fn make(conditions: Conditions) -> io::Result<Link> {
    let before = namespace()?;
    let far = thread::spawn(|| {
        let device = make_end(Link::SERVER, CLIENT)?;
        Ok::<_, io::Error>((namespace()?, device))
    });
    let (servers, server) =
        far.join().unwrap_or_else(|_| Err(io::Error::other("cannot make a namespace")))?;
    let client = make_end(CLIENT, Link::SERVER).inspect_err(|_| drop(enter(&before)))?;
    let (stopped, stop) = io::pipe()?;
    let ends = [(server.try_clone()?, client.try_clone()?), (client, server)];
    let (stop, carriers) = (Some(stop), Vec::new());
    let mut link = Link { conditions, servers, before, stop, carriers, of_thread: PhantomData };
    for (from, to) in ends {
        let (line, stopped) = (Line::new(conditions), stopped.try_clone()?);
        link.carriers.push(thread::spawn(move || tun::carry(&from, &to, line, stopped.as_fd())));
    }
    Ok(link)
}

/// Moves the calling thread to a new namespace, with one end of the link in it.
fn make_end(own: Ipv4Addr, other: Ipv4Addr) -> io::Result<File> {
    use rustix::thread::UnshareFlags;
    #[allow(unsafe_code, reason = "some other flags of this call are not safe")]
    // SAFETY: a new network namespace shares no memory and no descriptors.
    unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)?;
    }
    let device = tun::open(DEVICE)?;
    // What one connection learns of the path would be the next one's start.
    fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")?;
    ip(&format!(
        "link set lo up\naddress add {own} peer {other} dev {DEVICE}\nlink set dev {DEVICE} up\n"
    ))?;
    Ok(device)
}

fn ip(commands: &str) -> io::Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut ip = command.stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = ip.stdin.take() {
        input.write_all(commands.as_bytes())?;
    }
    let output = ip.wait_with_output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

fn namespace() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

fn enter(namespace: &File) -> io::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}
