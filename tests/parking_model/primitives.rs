//! Simulated locks, sockets and listeners for the parking code.

use crate::kernel::{File, Numbers, Source};
use shuttle::sync::Arc;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

pub use shuttle::sync::Mutex;
pub use shuttle::sync::atomic::AtomicUsize;
pub use std::net::Shutdown;

/// Small, so that some connections share a chunk and others do not.
pub const CHUNK: usize = 2;

/// The type of the standard library, with a point for context switches until it has its value.
#[derive(Debug)]
pub struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    switch: Mutex<()>,
}

impl<T> OnceLock<T> {
    pub fn new() -> Self {
        Self { value: std::sync::OnceLock::new(), switch: Mutex::new(()) }
    }

    pub fn get(&self) -> Option<&T> {
        if self.value.get().is_none() {
            drop(self.switch.lock());
        }
        self.value.get()
    }

    pub fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        let _switch = self.value.get().is_none().then(|| self.switch.lock());
        self.value.get_or_init(init)
    }
}

/// A descriptor of the server.
#[derive(Debug)]
struct Descriptor {
    file: Arc<File>,
    number: usize,
    numbers: Arc<Numbers>,
}

impl Descriptor {
    fn open(file: Arc<File>, numbers: &Arc<Numbers>) -> Self {
        Self { file, number: numbers.lowest(), numbers: Arc::clone(numbers) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.file.close();
        self.numbers.free(self.number);
    }
}

/// The server's side of a connection.
#[derive(Debug)]
pub struct TcpStream(Descriptor);

impl TcpStream {
    pub fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
        Ok(())
    }

    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.0.file.is_reset().then(|| io::ErrorKind::ConnectionReset.into()))
    }
}

impl Read for &TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.file.read(into.len())
    }
}

impl Write for &TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file.write(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(&slices[0])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The name that parking has for it.
pub type Listener = TcpListener;

/// A simulated listener.
#[derive(Debug)]
pub struct TcpListener(Descriptor);

impl TcpListener {
    pub fn new(numbers: &Arc<Numbers>) -> Self {
        Self(Descriptor::open(File::new(0), numbers))
    }

    /// The file that peers connect to.
    pub fn address(&self) -> Arc<File> {
        Arc::clone(&self.0.file)
    }

    pub fn accept(&self) -> Option<TcpStream> {
        let file = self.0.file.accept()?;
        Some(TcpStream(Descriptor::open(file, &self.0.numbers)))
    }
}

macro_rules! descriptor {
    ($kind:ty) => {
        impl Source for $kind {
            fn file(&self) -> &Arc<File> {
                &self.0.file
            }
        }

        impl AsRawFd for $kind {
            fn as_raw_fd(&self) -> RawFd {
                self.0.number as RawFd
            }
        }

        impl AsFd for $kind {
            fn as_fd(&self) -> BorrowedFd<'_> {
                panic!("the model has no real descriptors")
            }
        }
    };
}

descriptor!(TcpStream);
descriptor!(TcpListener);
