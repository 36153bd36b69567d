//! Checks that the model's poller reports what epoll(7) reports, as often and under the same key.

use crate::kernel::{File, Numbers};
use crate::poller::{Poller, Readiness, ReadyKeys, Trigger};
use crate::primitives::{TcpListener, TcpStream};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fs::Timespec;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Arc;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const INTERESTS: [Option<Readiness>; 4] =
    [None, Some(Readiness::Readable), Some(Readiness::Writable), Some(Readiness::Either)];

/// The same connection in the model and in the system.
struct Twins {
    poller: Poller,
    stream: TcpStream,
    peer: Arc<File>,
    epoll: OwnedFd,
    real_stream: UnixStream,
    real_peer: Option<UnixStream>,
    /// The peer after it has ended its stream; kept open.
    ended: Option<UnixStream>,
    history: Vec<String>,
}

impl Twins {
    fn new() -> Self {
        let listener = TcpListener::new(&Numbers::new());
        let peer = listener.address().connect(1);
        let (real_peer, real_stream) = UnixStream::pair().expect("two sockets");
        real_stream.set_nonblocking(true).expect("a socket");
        Self {
            poller: Poller::new().expect("a poller"),
            stream: listener.accept().expect("connected"),
            peer,
            epoll: epoll::create(CreateFlags::CLOEXEC).expect("a poller"),
            real_stream,
            real_peer: Some(real_peer),
            ended: None,
            history: Vec::new(),
        }
    }

    /// Watches both with the same interest.
    fn arm(&mut self, is_new: bool, key: usize, interest: Option<Readiness>) {
        let flags = EventFlags::ET
            | match interest {
                None => EventFlags::empty(),
                Some(Readiness::Readable) => EventFlags::IN,
                Some(Readiness::Writable) => EventFlags::OUT,
                Some(Readiness::Either) => EventFlags::IN | EventFlags::OUT,
            };
        let data = EventData::new_u64(key as u64);
        if is_new {
            self.poller.add(&self.stream, key, interest, Trigger::Edge).expect("a poller");
            epoll::add(&self.epoll, &self.real_stream, data, flags).expect("a poller");
        } else {
            self.poller.modify(&self.stream, key, interest, Trigger::Edge).expect("a poller");
            epoll::modify(&self.epoll, &self.real_stream, data, flags).expect("a poller");
        }
        self.note(("arm", key, interest));
    }

    /// Makes both peers send a byte, end the stream or leave.
    fn peers_act(&mut self, leaves: bool) {
        let Some(mut real_peer) = self.real_peer.take() else { return };
        match thread_rng().gen_range(0..10) {
            0 if leaves => {
                self.peer.end();
                real_peer.shutdown(Shutdown::Write).expect("connected");
                self.ended = Some(real_peer);
                self.note("end");
            }
            1 if leaves => {
                self.peer.reset();
                drop(real_peer);
                self.note("reset");
            }
            _ => {
                self.peer.send(1);
                real_peer.write_all(b"1").expect("connected");
                self.real_peer = Some(real_peer);
                self.note("send");
            }
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 2];
        let found = (&self.stream).read(&mut buffer);
        let real = self.real_stream.read(&mut buffer);
        self.note(("read", &found, &real));
        if !self.peer.is_reset() {
            assert_eq!(found.ok(), real.ok(), "{:?}", self.history);
        }
    }

    fn compare(&mut self) {
        let mut ready = ReadyKeys::with_capacity(8);
        self.poller.wait(&mut ready, Some(Duration::ZERO)).expect("a poller");
        let mut events: Vec<Event> = Vec::with_capacity(8);
        let room = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&self.epoll, room, Some(&Timespec::default())).expect("a poller");
        let real: Vec<_> = events.iter().map(|event| event.data.u64() as usize).collect();
        let found: Vec<_> = ready.iter().collect();
        self.note(("wait", &found));
        assert_eq!(found, real, "{:?}", self.history);
    }

    fn note(&mut self, what: impl Debug) {
        self.history.push(format!("{what:?}"));
    }
}

#[test]
fn the_model_poller_behaves_as_epoll() {
    let run = || {
        let mut twins = Twins::new();
        for step in 0..30 {
            match thread_rng().gen_range(0..4) {
                0 => twins.peers_act(step > 15),
                1 => twins.read(),
                2 => twins.compare(),
                _ => {}
            }
            if step == 3 || step > 3 && thread_rng().gen_bool(0.3) {
                let interest = INTERESTS[thread_rng().gen_range(0..INTERESTS.len())];
                twins.arm(step == 3, step, interest);
            }
        }
        twins.poller.delete(&twins.stream).expect("it was added");
    };
    shuttle::check_random_with_seed(run, 3, 500);
}
