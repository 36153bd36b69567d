//! A server with one thread per connection, and the back-end that both servers use.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The limit of a request head in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// The read timeout.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A back-end with a limited number of concurrent requests, such as a database with a limited
/// number of connections. Other requests wait.
pub struct BackEnd {
    free: Mutex<usize>,
    freed: Condvar,
    delay: Duration,
}

impl BackEnd {
    pub fn new(places: usize, delay: Duration) -> Self {
        Self { free: Mutex::new(places), freed: Condvar::new(), delay }
    }

    /// Waits for a free place, then for the delay.
    pub fn ask(&self) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.freed.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        thread::sleep(self.delay);
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }
}

/// A server with one thread per connection.
pub struct ThreadServer {
    pub address: SocketAddr,
    alive: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

/// Counts a thread while it lives.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl ThreadServer {
    pub fn start(back_end: Arc<BackEnd>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (alive, stopped) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (count, stop): (Arc<AtomicUsize>, _) = (Arc::clone(&alive), Arc::clone(&stopped));
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if stop.load(SeqCst) {
                    return;
                }
                count.fetch_add(1, SeqCst);
                let (alive, back_end) = (Alive(Arc::clone(&count)), Arc::clone(&back_end));
                let serve = move || {
                    let _alive = alive;
                    // An error of one client does not concern the server.
                    let _ = serve(stream, &back_end);
                };
                // If no thread can be started, this client is dropped. Its count goes with the
                // closure.
                drop(thread::Builder::new().name("connection".to_owned()).spawn(serve));
            }
        };
        thread::Builder::new().name("acceptor".to_owned()).spawn(accept)?;
        Ok(Self { address, alive, stopped })
    }

    /// The number of threads that serve a connection.
    pub fn threads(&self) -> usize {
        self.alive.load(SeqCst)
    }
}

impl Drop for ThreadServer {
    /// The acceptor blocks in `accept`, so connect to wake it.
    fn drop(&mut self) {
        self.stopped.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Serves one request after another until the connection ends.
fn serve(mut stream: TcpStream, back_end: &BackEnd) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut some = [0; 1024];
    loop {
        let count = stream.read(&mut some)?;
        if count == 0 || head.len() > HEAD_BYTES {
            return Ok(());
        }
        head.extend_from_slice(&some[..count]);
        if head.ends_with(b"\r\n\r\n") {
            back_end.ask();
            let is_last = head.windows(17).any(|part| part == b"Connection: close");
            let connection = if is_last { "Connection: close\r\n" } else { "" };
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{connection}\r\ndone\n")?;
            if is_last {
                return Ok(());
            }
            head.clear();
        }
    }
}
