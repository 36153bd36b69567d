//! Long work that only so many may do at a time; a request that finds it taken waits without a
//! worker.

use crate::lock::lock;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};

/// Requests that may wait for what another does for them.
const SHARERS_MOST: usize = 1024;

/// A kind of work that takes long: only so many may be at it at a time, and only one at each
/// piece of it.
///
/// A handler asks for a turn. Where there is none, it gives back [`Wait`] in its response
/// (`Response::deferred`): the server parks the connection, and asks the handler again when a turn
/// has ended that it waited for. So requests for the same piece share one's work, and requests for
/// other pieces wait in line; none of them holds a worker meanwhile.
#[derive(Debug)]
pub struct Lane {
    state: Arc<Mutex<State>>,
}

/// The right to do a piece of work; the next one's begins when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the turn"]
pub struct Turn {
    state: Arc<Mutex<State>>,
    piece: u64,
}

/// Why there is no turn.
#[derive(Debug)]
pub enum Taken {
    /// It will be free: come back when told.
    Wait(Wait),
    /// As many wait as may.
    Full,
}

/// What a request waits for.
#[derive(Debug)]
pub struct Wait {
    state: Arc<Mutex<State>>,
    piece: u64,
    /// The piece is worked at, and what comes of it is what is waited for.
    shares: bool,
}

/// A request's place in the line. When it is dropped, the next one gets the chance that this one
/// had and has not taken.
#[derive(Debug)]
pub(crate) struct Waiting {
    state: Arc<Mutex<State>>,
    number: u64,
}

type Wake = Box<dyn FnOnce() + Send>;

struct State {
    most: usize,
    waiting_most: usize,
    /// The pieces that are worked at.
    pieces: Vec<u64>,
    line: VecDeque<Waiter>,
    /// Those who were called because a turn was free, and have not taken it yet: their numbers and
    /// their pieces.
    called: Vec<(u64, u64)>,
    next_number: u64,
}

struct Waiter {
    number: u64,
    piece: u64,
    wake: Wake,
}

impl Lane {
    /// A lane for `most` at a time, at which `waiting_most` may wait for their turn. Many more may
    /// wait for what another does for them.
    pub fn new(most: usize, waiting_most: usize) -> Self {
        let state = State {
            most: most.max(1),
            waiting_most,
            pieces: Vec::new(),
            line: VecDeque::new(),
            called: Vec::new(),
            next_number: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A turn at `piece`, a number that stands for it; two pieces of one number only wait for one
    /// another without need.
    pub fn enter(&self, piece: u64) -> Result<Turn, Taken> {
        let mut state = lock(&self.state);
        if state.is_free(piece) {
            state.pieces.push(piece);
            state.called.retain(|&(_, called)| called != piece);
            return Ok(Turn { state: Arc::clone(&self.state), piece });
        }
        let shares = state.pieces.contains(&piece);
        let is_alike = |waiter: &&Waiter| state.pieces.contains(&waiter.piece) == shares;
        let waiting_most = if shares { SHARERS_MOST } else { state.waiting_most };
        if state.line.iter().filter(is_alike).count() >= waiting_most {
            return Err(Taken::Full);
        }
        Err(Taken::Wait(Wait { state: Arc::clone(&self.state), piece, shares }))
    }

    /// What waits for the end of the turn at `piece`, for whoever had the work done elsewhere.
    pub fn wait_for(&self, piece: u64) -> Wait {
        Wait { state: Arc::clone(&self.state), piece, shares: true }
    }
}

impl State {
    /// True where a turn at `piece` may begin now. Who was called for one is not passed by.
    fn is_free(&self, piece: u64) -> bool {
        let is_called = self.called.iter().any(|&(_, called)| called == piece);
        let kept = if is_called { 0 } else { self.called.len() };
        self.pieces.len() + kept < self.most && !self.pieces.contains(&piece)
    }

    /// Takes those out of the line who have a chance now: all who wait for `ended`, whose work may
    /// serve them, and as many others as there are free turns, the first ones first.
    fn next(&mut self, ended: Option<u64>) -> Vec<Wake> {
        let mut free = self.most.saturating_sub(self.pieces.len() + self.called.len());
        let mut woken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.line.len());
        for waiter in mem::take(&mut self.line) {
            if ended == Some(waiter.piece) {
                woken.push(waiter.wake);
            } else if free > 0 && !self.pieces.contains(&waiter.piece) {
                free -= 1;
                self.called.push((waiter.number, waiter.piece));
                woken.push(waiter.wake);
            } else {
                kept.push_back(waiter);
            }
        }
        self.line = kept;
        woken
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("pieces", &self.pieces)
            .field("waiting", &self.line.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(at) = state.pieces.iter().position(|piece| *piece == self.piece) {
            state.pieces.swap_remove(at);
        }
        let woken = state.next(Some(self.piece));
        drop(state);
        woken.into_iter().for_each(|wake| wake());
    }
}

impl Wait {
    /// Joins the line; `wake` is called once, when there is a chance, which may be at once.
    pub(crate) fn join(self, wake: impl FnOnce() + Send + 'static) -> Waiting {
        let mut state = lock(&self.state);
        let number = state.next_number;
        state.next_number += 1;
        // It may have ended since it was asked for.
        let has_ended = self.shares && !state.pieces.contains(&self.piece);
        let is_free = state.is_free(self.piece);
        if is_free {
            state.called.push((number, self.piece));
        }
        if has_ended || is_free {
            drop(state);
            wake();
        } else {
            let wake = Box::new(wake);
            state.line.push_back(Waiter { number, piece: self.piece, wake });
            drop(state);
        }
        Waiting { state: self.state, number }
    }
}

impl Waiting {
    /// True when it has been its turn to ask again.
    pub(crate) fn is_over(&self) -> bool {
        !lock(&self.state).line.iter().any(|waiter| waiter.number == self.number)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.line.retain(|waiter| waiter.number != self.number);
        let before = state.called.len();
        state.called.retain(|&(number, _)| number != self.number);
        let passes_on = state.called.len() < before;
        let woken = if passes_on { state.next(None) } else { Vec::new() };
        drop(state);
        woken.into_iter().for_each(|wake| wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn wait(lane: &Lane, piece: u64) -> (Waiting, Arc<AtomicUsize>) {
        let Err(Taken::Wait(wait)) = lane.enter(piece) else { panic!("{piece} is taken") };
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let waiting = wait.join(move || {
            count.fetch_add(1, SeqCst);
        });
        (waiting, woken)
    }

    #[test]
    fn the_same_piece_is_shared_and_others_wait_in_line() {
        let lane = Lane::new(1, 10);
        let turn = lane.enter(1).expect("free");
        let (same, same_woken) = wait(&lane, 1);
        let (_other, other_woken) = wait(&lane, 2);
        let (also_same, _) = wait(&lane, 1);
        let (_third, third_woken) = wait(&lane, 3);
        assert!(!same.is_over());
        drop(turn);
        assert!(same.is_over() && also_same.is_over());
        let counts = [&same_woken, &other_woken, &third_woken].map(|woken| woken.load(SeqCst));
        assert_eq!(counts, [1, 1, 0], "the third waits for the other");
        let _turn = lane.enter(2).expect("free");
        assert!(matches!(lane.enter(3), Err(Taken::Wait(_))));
    }

    #[test]
    fn a_chance_that_nobody_takes_is_passed_on() {
        let lane = Lane::new(1, 10);
        let turn = lane.enter(1).expect("free");
        let (first, _) = wait(&lane, 2);
        let (second, woken) = wait(&lane, 3);
        let (third, _) = wait(&lane, 4);
        drop(third);
        drop(turn);
        assert!(first.is_over() && !second.is_over());
        drop(first);
        assert!(second.is_over());
        assert_eq!(woken.load(SeqCst), 1);
    }

    #[test]
    fn a_turn_that_ends_before_one_joins_is_noticed() {
        let lane = Lane::new(1, 10);
        let turn = lane.enter(1).expect("free");
        let Err(Taken::Wait(wait)) = lane.enter(1) else { panic!("taken") };
        drop(turn);
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let waiting = wait.join(move || {
            count.fetch_add(1, SeqCst);
        });
        assert!(waiting.is_over());
        assert_eq!(woken.load(SeqCst), 1);
    }

    /// Who was called has the turn that was free, whoever comes meanwhile.
    #[test]
    fn nobody_passes_by_who_was_called() {
        let lane = Lane::new(1, 10);
        let turn = lane.enter(1).expect("free");
        let (called, woken) = wait(&lane, 2);
        drop(turn);
        assert_eq!(woken.load(SeqCst), 1);
        let (newcomer, _) = wait(&lane, 3);
        let turn = lane.enter(2).expect("kept for it");
        drop(called);
        assert!(!newcomer.is_over());
        drop(turn);
        assert!(newcomer.is_over());
    }

    /// The work that one waited for has ended, and other work has begun since.
    #[test]
    fn what_ended_before_one_joins_is_noticed_behind_other_work() {
        let lane = Lane::new(1, 10);
        let turn = lane.enter(1).expect("free");
        let Err(Taken::Wait(wait)) = lane.enter(1) else { panic!("taken") };
        drop(turn);
        let _other = lane.enter(2).expect("free");
        assert!(wait.join(|| ()).is_over());
    }

    #[test]
    fn so_many_and_no_more_may_be_at_it_and_wait() {
        let lane = Lane::new(2, 1);
        let _turns = [lane.enter(1).expect("free"), lane.enter(2).expect("free")];
        let (_waiting, _) = wait(&lane, 3);
        assert!(matches!(lane.enter(4), Err(Taken::Full)));
        assert!(matches!(lane.enter(1), Err(Taken::Wait(_))), "what is done for another is shared");
    }
}
