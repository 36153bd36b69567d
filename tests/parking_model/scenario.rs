//! A scenario with all threads that use parking: peers, an acceptor, workers and a thread that
//! nudges.
//!
//! The server's side follows the rules of `src/connection`: a connection with nothing to read is
//! parked; a worker parks it without another read if its last read was short; and an event only
//! means "read again". A lost wakeup leaves both the acceptor and the peer waiting, which `shuttle`
//! reports as a deadlock. A connection that is dropped without having been closed is lost.

use super::socket::{Interest, Socket};
use super::table::{Parked, Parking};
use crate::kernel::{File, Numbers};
use crate::plan::{Act, Plan};
use crate::poller::{ReadyKeys, Watched};
use crate::primitives::{TcpListener, TcpStream};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::thread::{self, JoinHandle};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

/// The size of the read buffer in bytes.
const BUFFER: usize = 3;

/// Runs a plan once.
pub fn run(plan: Plan) {
    let numbers = Numbers::new();
    let listener = TcpListener::new(&numbers);
    let address = listener.address();
    let parking = Arc::new(Parking::<Connection>::new(16).expect("a poller"));
    let listener = parking.watch_listener(listener).expect("a poller");
    let connections = plan.peers.iter().map(|peer| peer.len()).sum();
    let world = World { plan, parking, open: Arc::new(AtomicUsize::new(connections)) };
    let mut threads = Vec::new();
    for scripts in plan.peers {
        let address = Arc::clone(&address);
        threads
            .push(thread::spawn(move || scripts.iter().for_each(|s| run_peer(&address, s, plan))));
    }
    if plan.strays > 0 {
        let world = world.clone();
        threads.push(thread::spawn(move || world.stray()));
    }
    let (errand, errands) = channel();
    threads.push(world.start_nudger(errands));
    let mut jobs = Vec::new();
    for _ in 0..plan.workers {
        let (job, queue) = channel();
        jobs.push(job);
        threads.push(world.start_worker(queue, errand.clone()));
    }
    drop(errand);
    Acceptor { world: world.clone(), listener, jobs, accepted: 0, line: VecDeque::new() }.run();
    threads.into_iter().for_each(|thread| thread.join().expect("the thread does not panic"));
    world.parking.for_each(|_, _| panic!("a connection is left"));
}

/// Runs one connection of a peer, from connect to close.
fn run_peer(address: &Arc<File>, script: &[Act], plan: Plan) {
    let connection = address.connect(plan.room);
    for act in script {
        match *act {
            Act::Send(count) => connection.send(count),
            Act::Leave => connection.wait_for_answer(),
            Act::End => connection.end(),
            Act::Reset => connection.reset(),
            Act::Receive(count) => {
                if !(0..count).all(|_| connection.receive()) {
                    assert!(plan.sweeps, "an answer is missing");
                    return;
                }
            }
        }
    }
    connection.wait_for_close();
}

/// A connection, on the server's side.
struct Connection {
    socket: Socket,
    accepted: u64,
    /// Requests that were read and not served yet.
    requests: usize,
    /// Answers that are not written yet.
    unsent: usize,
    /// Set by the thread that the request waits for.
    errand: Option<Arc<AtomicBool>>,
    is_drained: bool,
    /// A worker has parked it before.
    is_known: bool,
    /// The acceptor has its key in the line of those that write.
    is_in_line: bool,
    is_closed: bool,
}

enum Flow {
    Park(Interest),
    /// It has a request to serve.
    Serve,
    /// It has nothing to do.
    Idle,
    Close,
}

impl Parked for Connection {
    fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        assert!(self.is_closed || std::thread::panicking(), "a connection is lost");
    }
}

impl Connection {
    fn new(stream: TcpStream, accepted: u64) -> Box<Self> {
        Box::new(Self {
            socket: Socket::new(stream),
            accepted,
            requests: 0,
            unsent: 0,
            errand: None,
            is_drained: false,
            is_known: false,
            is_in_line: false,
            is_closed: false,
        })
    }

    /// Writes as much as there is room for.
    fn answer(&mut self) -> Flow {
        if let Some(errand) = &self.errand {
            if !errand.load(SeqCst) {
                let is_reset = self.socket.take_error().is_err();
                return if is_reset { Flow::Close } else { Flow::Park(Interest::Nudge) };
            }
            self.errand = None;
            self.unsent += 1;
        }
        while self.unsent > 0 {
            match self.socket.write(&[IoSlice::new(b"!")]) {
                Ok(_) => self.unsent -= 1,
                Err(error) => return or_close(&error, Interest::Writable),
            }
        }
        if self.requests > 0 { Flow::Serve } else { Flow::Idle }
    }

    /// Runs until it would block, has a request for a worker, or its turn is over.
    fn advance(&mut self) -> Flow {
        self.is_in_line = false;
        loop {
            if self.is_sending() && coin() {
                // Its turn is over before anything is written.
                return Flow::Park(Interest::Turn);
            }
            let answers = self.unsent > 0;
            match self.answer() {
                Flow::Idle => {}
                Flow::Serve if coin() => {
                    // This request needs no worker.
                    self.requests -= 1;
                    self.unsent += 1;
                    continue;
                }
                flow => return flow,
            }
            if answers && self.is_drained {
                return Flow::Park(self.interest_in_more());
            }
            match self.socket.read(&mut [0; BUFFER]) {
                Ok(0) => return Flow::Close,
                Ok(count) => {
                    self.requests = count;
                    self.is_drained = count < BUFFER;
                }
                Err(error) => {
                    self.is_drained = true;
                    return or_close(
                        &error,
                        if coin() { Interest::News } else { Interest::Readable },
                    );
                }
            }
        }
    }

    /// What is reported after an answer, without another read.
    fn interest_in_more(&mut self) -> Interest {
        let was_known = std::mem::replace(&mut self.is_known, true);
        if was_known && self.is_drained { Interest::News } else { Interest::Readable }
    }

    /// Serves a request, and writes as much as there is room for.
    fn serve(&mut self, plan: Plan, errands: &Sender<Errand>) -> Flow {
        self.requests -= 1;
        if plan.errands && coin() {
            let done = Arc::new(AtomicBool::new(false));
            self.errand = Some(Arc::clone(&done));
            let errand = Errand { done, key: self.socket.key() };
            errands.send(errand).expect("the nudger ends after the workers");
        } else {
            self.unsent += 1;
        }
        if coin() {
            // Let another connection go first.
            return Flow::Park(Interest::Writable);
        }
        match self.answer() {
            Flow::Idle => Flow::Park(self.interest_in_more()),
            flow => flow,
        }
    }

    /// It has answers to write, or waits for one.
    fn is_sending(&self) -> bool {
        self.unsent > 0 || self.errand.is_some()
    }

    fn joins_line(&mut self) -> bool {
        !std::mem::replace(&mut self.is_in_line, true)
    }

    fn is_idle(&self) -> bool {
        self.requests == 0 && self.unsent == 0 && self.errand.is_none()
    }
}

fn or_close(error: &io::Error, interest: Interest) -> Flow {
    match error.kind() {
        ErrorKind::WouldBlock => Flow::Park(interest),
        _ => Flow::Close,
    }
}

fn coin() -> bool {
    thread_rng().gen_bool(0.5)
}

/// A request to the nudger.
struct Errand {
    done: Arc<AtomicBool>,
    key: usize,
}

#[derive(Clone)]
struct World {
    plan: Plan,
    parking: Arc<Parking<Connection>>,
    /// The number of connections that are not closed yet.
    open: Arc<AtomicUsize>,
}

impl World {
    fn park(&self, connection: Box<Connection>, interest: Interest) {
        let parked = self.parking.park(connection, interest);
        parked.map_err(|(_, error)| error).expect("there are enough slots");
    }

    fn close(&self, mut connection: Box<Connection>) {
        connection.is_closed = true;
        drop(connection);
        if self.open.fetch_sub(1, SeqCst) == 1 {
            self.parking.waker().wake();
        }
    }

    fn start_worker(
        &self,
        jobs: Receiver<Box<Connection>>,
        errands: Sender<Errand>,
    ) -> JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || {
            while let Ok(mut connection) = jobs.recv() {
                loop {
                    match connection.serve(world.plan, &errands) {
                        Flow::Serve => continue,
                        Flow::Park(interest) => world.park(connection, interest),
                        Flow::Idle | Flow::Close => world.close(connection),
                    }
                    break;
                }
            }
        })
    }

    fn start_nudger(&self, errands: Receiver<Errand>) -> JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || {
            while let Ok(Errand { done, key }) = errands.recv() {
                done.store(true, SeqCst);
                world.parking.nudge(key);
            }
        })
    }

    fn stray(&self) {
        for _ in 0..self.plan.strays {
            self.parking.nudge(thread_rng().gen_range(1..4));
        }
    }
}

struct Acceptor {
    world: World,
    listener: Watched<TcpListener>,
    jobs: Vec<Sender<Box<Connection>>>,
    accepted: u64,
    /// The keys of those that write, which wait for their turn.
    line: VecDeque<usize>,
}

impl Acceptor {
    fn run(mut self) {
        let mut ready = ReadyKeys::with_capacity(self.world.plan.batch);
        while self.world.open.load(SeqCst) > 0 {
            let timeout = (!self.line.is_empty()).then_some(Duration::ZERO);
            self.world.parking.wait(&mut ready, timeout).expect("a poller");
            for key in ready.iter() {
                if key == self.listener.key() {
                    self.accept();
                } else if let Some(connection) = self.take_or_line_up(key) {
                    self.go_on(connection);
                }
            }
            while let Some(key) = self.line.pop_front() {
                if let Some(connection) = self.world.parking.take(key) {
                    self.go_on(connection);
                }
                if coin() {
                    break;
                }
            }
            if self.world.plan.sweeps && coin() {
                self.sweep();
            }
        }
    }

    fn take_or_line_up(&mut self, key: usize) -> Option<Box<Connection>> {
        let line = &mut self.line;
        self.world.parking.take_unless(key, |connection| {
            let is_sending = connection.is_sending();
            if is_sending && connection.joins_line() {
                line.push_back(key);
            }
            is_sending
        })
    }

    fn accept(&mut self) {
        while let Some(stream) = self.listener.source().accept() {
            self.accepted += 1;
            self.go_on(Connection::new(stream, self.accepted));
        }
    }

    fn go_on(&mut self, mut connection: Box<Connection>) {
        let flow = connection.advance();
        self.carry_out(connection, flow);
    }

    fn carry_out(&mut self, mut connection: Box<Connection>, flow: Flow) {
        match flow {
            Flow::Park(Interest::Turn) => {
                assert!(connection.joins_line(), "whoever goes on leaves the line first");
                self.line.push_back(connection.socket.key());
                self.world.park(connection, Interest::Turn);
            }
            Flow::Park(interest) => self.world.park(connection, interest),
            Flow::Serve => {
                let job = &self.jobs[thread_rng().gen_range(0..self.jobs.len())];
                job.send(connection).unwrap_or_else(|_| panic!("workers end after the acceptor"));
            }
            Flow::Idle | Flow::Close => self.world.close(connection),
        }
    }

    /// Closes the connection that has been idle longest, or resumes a random selection. As in the
    /// real acceptor, the slot that was found may hold another connection by the time it is taken.
    fn sweep(&mut self) {
        let parking = &self.world.parking;
        if coin() {
            let mut taken = Vec::new();
            parking.take_all(|_| coin(), |connection| taken.push(connection));
            taken.into_iter().for_each(|connection| self.go_on(connection));
            return;
        }
        let mut found = Vec::new();
        parking.for_each(|key, connection| {
            found.extend(connection.is_idle().then_some((connection.accepted, key)))
        });
        let Some(&(_, key)) = found.iter().min() else { return };
        if let Some(mut connection) = parking.take_if(key, Connection::is_idle) {
            let flow = match connection.advance() {
                Flow::Park(_) if connection.is_idle() => Flow::Close,
                flow => flow,
            };
            self.carry_out(connection, flow);
        }
    }
}
