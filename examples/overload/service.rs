//! The back-end: how long a service takes, and when that changes.

use lab::chance::exponential;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the back-end takes for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// D for each.
    Constant,
    /// An exponential time with mean D.
    Exponential,
    /// D for each, and this many times D from a moment within the run on. Nobody tells the server.
    Slower(u32),
}

impl Service {
    pub const ALL: [Self; 4] =
        [Self::Constant, Self::Exponential, Self::Slower(3), Self::Slower(6)];

    pub fn name(self) -> String {
        match self {
            Self::Constant => "D constant".to_owned(),
            Self::Exponential => "D exponential".to_owned(),
            Self::Slower(factor) => format!("D x {factor}"),
        }
    }

    /// The mean service time in the part of the run that is judged, over D.
    pub fn factor(self) -> u32 {
        match self {
            Self::Constant | Self::Exponential => 1,
            Self::Slower(factor) => factor,
        }
    }
}

/// The back-end of one run, which notes what it does.
#[derive(Debug)]
pub struct Backend {
    service: Service,
    delay: Duration,
    /// When it becomes slower, from the start of the load.
    change: Duration,
    begun: OnceLock<Instant>,
    random: Mutex<fastrand::Rng>,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    worker: usize,
    drawn: Duration,
    start: Instant,
    end: Instant,
}

/// One service of a worker. Times count from the start of the load.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    pub worker: usize,
    pub start: Duration,
    pub end: Duration,
    /// How long it was meant to take.
    pub drawn: Duration,
}

impl Backend {
    pub fn new(service: Service, delay: Duration, change: Duration, seed: u64) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let (begun, seen) = (OnceLock::new(), Mutex::default());
        Self { service, delay, change, begun, random, seen }
    }

    /// The load starts now.
    pub fn begin(&self) -> Instant {
        *self.begun.get_or_init(Instant::now)
    }

    /// Serves a request of a worker.
    pub fn serve(&self, worker: usize) {
        let drawn = self.draw();
        let start = Instant::now();
        thread::sleep(drawn);
        lock(&self.seen).push(Seen { worker, drawn, start, end: Instant::now() });
    }

    fn draw(&self) -> Duration {
        match self.service {
            Service::Constant => self.delay,
            Service::Exponential => self.delay.mul_f64(exponential(&mut lock(&self.random))),
            Service::Slower(factor) if self.begin().elapsed() >= self.change => self.delay * factor,
            Service::Slower(_) => self.delay,
        }
    }

    /// All services in the order of their starts.
    pub fn served(&self) -> Vec<Served> {
        let begun = self.begin();
        let since = |moment: Instant| moment.saturating_duration_since(begun);
        let served = |seen: &Seen| Served {
            worker: seen.worker,
            start: since(seen.start),
            end: since(seen.end),
            drawn: seen.drawn,
        };
        let mut all: Vec<Served> = lock(&self.seen).iter().map(served).collect();
        all.sort_unstable_by_key(|each| each.start);
        all
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
