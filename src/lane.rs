//! Limits on expensive work: requests wait for a permit, or for the result of another request,
//! without a worker.

use crate::lock::lock;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};

/// Requests that may wait for the result of work that is under way.
const MAX_SHARERS: usize = 1024;

/// A limit on how many workers do expensive work at once, and on how often they do the same work.
///
/// A key, a number, names each piece of work. [`enter`](Self::enter) grants a [`Permit`] for a key
/// while fewer permits than the limit are out and none of them has that key. Otherwise it returns
/// a [`Wait`], and the handler returns `Response::deferred` with it. The server then parks the
/// connection and calls the handler again when a permit is free, or when the work on the same key
/// has ended. So requests for one key share one result, requests for other keys queue, and neither
/// holds a worker.
///
/// # Example
///
/// At most two workers render reports, and each report is rendered once:
///
/// ```
/// use cws::{Lane, NoPermit, Request, Response, Status};
/// use std::collections::HashMap;
/// use std::hash::{BuildHasher, RandomState};
/// use std::sync::Mutex;
///
/// let lane = Lane::new(2, 100);
/// let hasher = RandomState::new();
/// let reports = Mutex::new(HashMap::<Vec<u8>, String>::new());
/// let handler = move |request: &Request<'_>| {
///     let path = request.target.path.as_bytes();
///     let known = || reports.lock().unwrap().get(path).cloned();
///     if let Some(report) = known() {
///         return Response::text(report);
///     }
///     match lane.enter(hasher.hash_one(path)) {
///         Ok(_permit) => {
///             // Look again: another request may have finished the report in between.
///             let report = known().unwrap_or_else(|| format!("report on {path:?}"));
///             reports.lock().unwrap().insert(path.to_vec(), report.clone());
///             Response::text(report)
///         }
///         Err(NoPermit::Wait(wait)) => Response::deferred(wait),
///         Err(NoPermit::Full) => {
///             Response::error(Status::SERVICE_UNAVAILABLE, "Too many reports. Try again later.")
///         }
///     }
/// };
/// # fn accept(_: impl Fn(&Request<'_>) -> Response + Send + Sync + 'static) {}
/// # accept(handler);
/// ```
#[derive(Debug)]
pub struct Lane {
    state: Arc<Mutex<LaneState>>,
}

/// The right to work on one key. Dropping it wakes the requests that wait for this key, and hands
/// the permit to the next request in the queue.
#[derive(Debug)]
pub struct Permit {
    state: Arc<Mutex<LaneState>>,
    key: u64,
}

/// Why [`Lane::enter`] granted no permit.
#[derive(Debug)]
pub enum NoPermit {
    /// Others hold the permits: return `Response::deferred` with this.
    Wait(Wait),
    /// The queue is full: refuse the request.
    Full,
}

/// What a deferred request waits for: a permit, or the end of the work on the same key.
#[derive(Debug)]
pub struct Wait {
    state: Arc<Mutex<LaneState>>,
    key: u64,
    /// The request waits for the end of work on its key, which is under way.
    shares: bool,
}

/// A request's place in the queue. If the request was woken and leaves without taking its permit,
/// dropping this wakes the next request.
#[derive(Debug)]
pub(crate) struct Waiting {
    state: Arc<Mutex<LaneState>>,
    number: u64,
}

type Wake = Box<dyn FnOnce() + Send>;

struct LaneState {
    limit: usize,
    queue_limit: usize,
    /// The keys of the permits that are out.
    active: Vec<u64>,
    queue: VecDeque<Waiter>,
    /// Permits that are kept for requests which were woken and have not taken them yet: the number
    /// of the waiter, and its key.
    reserved: Vec<(u64, u64)>,
    next_number: u64,
}

struct Waiter {
    number: u64,
    key: u64,
    wake: Wake,
}

impl Lane {
    /// A lane with `limit` permits (at least one) and room for `queue_limit` requests that wait for
    /// one. Requests that wait for the result of work under way do not count against
    /// `queue_limit`; up to 1024 of them may wait.
    pub fn new(limit: usize, queue_limit: usize) -> Self {
        let state = LaneState {
            limit: limit.max(1),
            queue_limit,
            active: Vec::new(),
            queue: VecDeque::new(),
            reserved: Vec::new(),
            next_number: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Asks for a permit to work on `key`. The key may be a hash: if two pieces of work collide,
    /// they only wait for one another needlessly.
    ///
    /// # Errors
    ///
    /// [`NoPermit`], if no permit is free or the work on this key is under way.
    pub fn enter(&self, key: u64) -> Result<Permit, NoPermit> {
        let mut state = lock(&self.state);
        if state.may_enter(key) {
            state.active.push(key);
            state.reserved.retain(|&(_, reserved)| reserved != key);
            return Ok(Permit { state: Arc::clone(&self.state), key });
        }
        let shares = state.active.contains(&key);
        let is_alike = |waiter: &&Waiter| state.active.contains(&waiter.key) == shares;
        let queue_limit = if shares { MAX_SHARERS } else { state.queue_limit };
        if state.queue.iter().filter(is_alike).count() >= queue_limit {
            return Err(NoPermit::Full);
        }
        Err(NoPermit::Wait(Wait { state: Arc::clone(&self.state), key, shares }))
    }

    /// Waits for the end of the work on `key`. For a handler that has passed its permit to another
    /// thread.
    pub fn wait_for(&self, key: u64) -> Wait {
        Wait { state: Arc::clone(&self.state), key, shares: true }
    }
}

impl LaneState {
    /// True if work on `key` may begin now. Permits that are reserved for other keys do not count
    /// as free, so that a new request cannot overtake one that was woken.
    fn may_enter(&self, key: u64) -> bool {
        let is_reserved = self.reserved.iter().any(|&(_, reserved)| reserved == key);
        let kept = if is_reserved { 0 } else { self.reserved.len() };
        self.active.len() + kept < self.limit && !self.active.contains(&key)
    }

    /// Removes from the queue those that can go on: all that wait for `ended`, whose result may
    /// serve them, and one request for each free permit, in order of arrival.
    fn next(&mut self, ended: Option<u64>) -> Vec<Wake> {
        let mut free = self.limit.saturating_sub(self.active.len() + self.reserved.len());
        let mut woken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for waiter in mem::take(&mut self.queue) {
            if ended == Some(waiter.key) {
                woken.push(waiter.wake);
            } else if free > 0 && !self.active.contains(&waiter.key) {
                free -= 1;
                self.reserved.push((waiter.number, waiter.key));
                woken.push(waiter.wake);
            } else {
                kept.push_back(waiter);
            }
        }
        self.queue = kept;
        woken
    }
}

impl fmt::Debug for LaneState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneState")
            .field("active", &self.active)
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(at) = state.active.iter().position(|key| *key == self.key) {
            state.active.swap_remove(at);
        }
        let woken = state.next(Some(self.key));
        drop(state);
        woken.into_iter().for_each(|wake| wake());
    }
}

impl Wait {
    /// Joins the queue. Calls `wake` once, when the request should ask again; that may be before
    /// this returns.
    pub(crate) fn join(self, wake: impl FnOnce() + Send + 'static) -> Waiting {
        let mut state = lock(&self.state);
        let number = state.next_number;
        state.next_number += 1;
        // The work may have ended since `enter` returned.
        let has_ended = self.shares && !state.active.contains(&self.key);
        let may_enter = state.may_enter(self.key);
        if may_enter {
            state.reserved.push((number, self.key));
        }
        if has_ended || may_enter {
            drop(state);
            wake();
        } else {
            let wake = Box::new(wake);
            state.queue.push_back(Waiter { number, key: self.key, wake });
            drop(state);
        }
        Waiting { state: self.state, number }
    }
}

impl Waiting {
    /// True once the request was woken.
    pub(crate) fn is_over(&self) -> bool {
        !lock(&self.state).queue.iter().any(|waiter| waiter.number == self.number)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.queue.retain(|waiter| waiter.number != self.number);
        let before = state.reserved.len();
        state.reserved.retain(|&(number, _)| number != self.number);
        let passes_on = state.reserved.len() < before;
        let woken = if passes_on { state.next(None) } else { Vec::new() };
        drop(state);
        woken.into_iter().for_each(|wake| wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn wait(lane: &Lane, key: u64) -> (Waiting, Arc<AtomicUsize>) {
        let Err(NoPermit::Wait(wait)) = lane.enter(key) else { panic!("{key} must wait") };
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let waiting = wait.join(move || {
            count.fetch_add(1, SeqCst);
        });
        (waiting, woken)
    }

    #[test]
    fn requests_for_one_key_share_its_result_and_others_queue() {
        let lane = Lane::new(1, 10);
        let permit = lane.enter(1).expect("free");
        let (same, same_woken) = wait(&lane, 1);
        let (_other, other_woken) = wait(&lane, 2);
        let (also_same, _) = wait(&lane, 1);
        let (_third, third_woken) = wait(&lane, 3);
        assert!(!same.is_over());
        drop(permit);
        assert!(same.is_over() && also_same.is_over());
        let counts = [&same_woken, &other_woken, &third_woken].map(|woken| woken.load(SeqCst));
        assert_eq!(counts, [1, 1, 0], "key 3 waits for key 2");
        let _permit = lane.enter(2).expect("free");
        assert!(matches!(lane.enter(3), Err(NoPermit::Wait(_))));
    }

    #[test]
    fn a_reserved_permit_that_is_not_taken_goes_to_the_next_request() {
        let lane = Lane::new(1, 10);
        let permit = lane.enter(1).expect("free");
        let (first, _) = wait(&lane, 2);
        let (second, woken) = wait(&lane, 3);
        let (third, _) = wait(&lane, 4);
        drop(third);
        drop(permit);
        assert!(first.is_over() && !second.is_over());
        drop(first);
        assert!(second.is_over());
        assert_eq!(woken.load(SeqCst), 1);
    }

    #[test]
    fn a_permit_dropped_between_enter_and_join_wakes_the_request() {
        let lane = Lane::new(1, 10);
        let permit = lane.enter(1).expect("free");
        let Err(NoPermit::Wait(wait)) = lane.enter(1) else { panic!("it must wait") };
        drop(permit);
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let waiting = wait.join(move || {
            count.fetch_add(1, SeqCst);
        });
        assert!(waiting.is_over());
        assert_eq!(woken.load(SeqCst), 1);
    }

    #[test]
    fn a_new_request_does_not_overtake_one_that_was_woken() {
        let lane = Lane::new(1, 10);
        let permit = lane.enter(1).expect("free");
        let (called, woken) = wait(&lane, 2);
        drop(permit);
        assert_eq!(woken.load(SeqCst), 1);
        let (newcomer, _) = wait(&lane, 3);
        let permit = lane.enter(2).expect("reserved for key 2");
        drop(called);
        assert!(!newcomer.is_over());
        drop(permit);
        assert!(newcomer.is_over());
    }

    #[test]
    fn a_request_is_woken_if_its_work_ended_and_other_work_began_before_it_joins() {
        let lane = Lane::new(1, 10);
        let permit = lane.enter(1).expect("free");
        let Err(NoPermit::Wait(wait)) = lane.enter(1) else { panic!("it must wait") };
        drop(permit);
        let _other = lane.enter(2).expect("free");
        assert!(wait.join(|| ()).is_over());
    }

    #[test]
    fn permits_and_the_queue_are_limited_but_a_result_may_be_shared() {
        let lane = Lane::new(2, 1);
        let _permits = [lane.enter(1).expect("free"), lane.enter(2).expect("free")];
        let (_waiting, _) = wait(&lane, 3);
        assert!(matches!(lane.enter(4), Err(NoPermit::Full)));
        assert!(matches!(lane.enter(1), Err(NoPermit::Wait(_))), "it shares the result of key 1");
    }
}
