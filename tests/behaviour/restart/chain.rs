//! Servers that follow one another.

use crate::support::{Site, command, listening_address, wait_for};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A folder with a site, and the path by which servers follow one another.
pub struct Place {
    pub site: Site,
    folder: tempfile::TempDir,
    started: std::cell::Cell<usize>,
}

/// A server, killed on drop.
pub struct Running {
    child: Child,
    folder: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { site: Site::new(), folder, started: 0.into() }
    }

    /// The path of `--takeover`.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("takeover")
    }

    /// The file of this name beside it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with these options.
    pub fn command(&self, options: &[&str]) -> Command {
        let mut server = command(env!("CARGO_BIN_EXE_server"));
        server.args(["--root", self.site.path().to_str().unwrap()]);
        server.arg("--takeover").arg(self.path()).args(options).stdin(Stdio::null());
        server
    }

    /// Starts a server, and does not wait for it.
    pub fn spawn(&self, mut server: Command) -> Running {
        let number = self.started.replace(self.started.get() + 1);
        let folder = self.folder.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        server.stdout(File::create(folder.join("out")).unwrap());
        server.stderr(File::create(folder.join("err")).unwrap());
        Running { child: server.spawn().unwrap(), folder }
    }

    /// Starts a server, and waits until it listens, and the next one can take over.
    pub fn start(&self, options: &[&str]) -> Running {
        let server = self.spawn(self.command(options));
        server.printed();
        wait_for("a listener at the path", || UnixStream::connect(self.path()).ok());
        server
    }
}

impl Running {
    /// What it has printed, as soon as it listens.
    pub fn printed(&self) -> String {
        wait_for("its first line", || {
            let text = self.read("out");
            text.ends_with('\n').then_some(text)
        })
    }

    pub fn address(&self) -> SocketAddr {
        listening_address(self.printed().lines().next().unwrap())
    }

    pub fn log(&self) -> String {
        self.read("err")
    }

    /// Waits for this in its log.
    pub fn logs(&self, text: &str) {
        wait_for(&format!("{text:?}"), || self.log().contains(text).then_some(()));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        // It may have ended.
        let _ = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .stderr(Stdio::null())
            .status()
            .unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end. `None` if a signal killed it.
    pub fn code(&mut self) -> Option<i32> {
        wait_for("the end of a server", || self.child.try_wait().unwrap()).code()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(Path::new(&self.folder).join(name)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
