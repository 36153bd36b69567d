//! Restarts each server under load, and kills one.

use crate::balancer::Balancer;
use crate::measure::{Bench, COMMITTED, KEPT, WITHOUT};
use crate::options::{LOAD, LOAD_OF_KILL};
use crate::policy::Policy;
use crate::servers::{PATIENCE, Server, until};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Connections, Group, Outcome, Starts, run_together};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// The load begins this long before the first event, and goes on after the last one.
const BEFORE: Duration = Duration::from_millis(600);

/// A killed server stays away for this long.
const AWAY: Duration = Duration::from_millis(1500);

/// The longest times that a restart and the kill take: the loads last as long.
const RESTART: Duration = Duration::from_millis(3500);
const KILL: Duration = Duration::from_millis(3400);

/// The time in which a server was stopping, away, or not yet known to be back.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// When it was told to stop, or killed.
    pub from: Duration,
    /// When its process had ended.
    pub ended: Duration,
    /// When HAProxy sent requests to it again.
    pub to: Duration,
}

/// The load of the rolling restart.
pub struct Restart {
    pub gaps: Vec<Gap>,
    pub outcomes: Vec<Outcome>,
    pub retries: u64,
    /// Requests that the clients sent again, because their connection was closed.
    pub sent_again: u64,
    /// When the last request was due.
    pub last: Duration,
}

/// One of two HAProxies in front of the server that is killed.
pub struct Front {
    pub name: &'static str,
    pub outcomes: Vec<Outcome>,
    pub retries: u64,
    pub redispatches: u64,
    /// When it stopped sending requests to the server.
    pub down: Duration,
}

/// The load while a server is killed.
pub struct Kill {
    pub gap: Gap,
    pub fronts: Vec<Front>,
}

/// Restarts each server in turn, as soon as the one before is back; in the short form the first one
/// alone.
pub fn restart(bench: &Bench) -> io::Result<Restart> {
    let mut servers = bench.start_servers()?;
    let balancer = bench.balancer(COMMITTED, &servers, Policy::LeastConnections, true)?;
    let count = if bench.args.common.quick { 1 } else { servers.len() };
    let length = BEFORE * 2 + RESTART * count as u32;
    let rate = LOAD * bench.capacity();
    let starts = Arrivals::poisson(rate, bench.args.common.seed).starts(Stop::After(length));
    let client = bench.client(&balancer, KEPT);
    let (run, gaps) = beside(
        || client.open_loop(&starts),
        |clock| {
            thread::sleep(BEFORE);
            let restart = |(place, server)| restart_one(place, server, &balancer, clock);
            servers.iter_mut().take(count).enumerate().map(restart).collect::<io::Result<Vec<_>>>()
        },
    )?;
    let retries = balancer.stats()?.sum("wretr");
    let last = starts.last().copied().unwrap_or_default();
    let sent_again = run.conduct.reconnects();
    Ok(Restart { gaps, outcomes: run.outcomes, retries, sent_again, last })
}

fn restart_one(
    place: usize,
    server: &mut Server,
    balancer: &Balancer,
    clock: Instant,
) -> io::Result<Gap> {
    let from = clock.elapsed();
    let status = server.stop()?;
    if !status.success() {
        return Err(io::Error::other(format!("a server ended with {status}")));
    }
    let ended = clock.elapsed();
    server.start_again()?;
    until("the server to be back", || Ok(balancer.has_up(place)?.then_some(())))?;
    Ok(Gap { from, ended, to: clock.elapsed() })
}

/// Kills the last server. Two HAProxies are in front of the same servers, each with half of the
/// load: one with the committed configuration, and one that never sends a request twice.
pub fn kill(bench: &Bench) -> io::Result<Kill> {
    let mut servers = bench.start_servers()?;
    let names = [("as committed", COMMITTED), ("without retry-on", WITHOUT)];
    let balancer = |(_, file)| bench.balancer(file, &servers, Policy::LeastConnections, true);
    let balancers: Vec<Balancer> = names.into_iter().map(balancer).collect::<io::Result<_>>()?;
    let length = BEFORE * 2 + KILL;
    let rate = LOAD_OF_KILL * bench.capacity() / balancers.len() as f64;
    let seeds = (0..).map(|number| bench.args.common.seed.wrapping_add(number));
    let starts: Vec<_> = seeds
        .take(balancers.len())
        .map(|seed| Arrivals::poisson(rate, seed).starts(Stop::After(length)))
        .collect();
    let group = |(balancer, starts)| {
        // Where a connection is kept, the client itself sends a request again on a new one.
        let client = bench.client(balancer, Connections::NewEach);
        Group { client, starts: Starts::Open(starts) }
    };
    let starts = starts.iter().map(Vec::as_slice);
    let groups: Vec<Group<'_>> = balancers.iter().zip(starts).map(group).collect();
    let place = servers.len() - 1;
    let (runs, (gap, downs)) = beside(
        || run_together(&groups),
        |clock| {
            thread::sleep(BEFORE);
            if let Some(careless) = balancers.last() {
                await_request(careless, place)?;
            }
            kill_one(place, &mut servers[place], &balancers, clock)
        },
    )?;
    let fronts = names.into_iter().zip(&balancers).zip(runs).zip(downs);
    let fronts = fronts.map(|((((name, _), balancer), run), down)| {
        let stats = balancer.stats()?;
        Ok(Front {
            name,
            outcomes: run.outcomes,
            retries: stats.sum("wretr"),
            redispatches: stats.sum("wredis"),
            down,
        })
    });
    Ok(Kill { gap, fronts: fronts.collect::<io::Result<_>>()? })
}

/// Returns as soon as the server has got a request: without one, there would be nothing to lose.
fn await_request(balancer: &Balancer, place: usize) -> io::Result<()> {
    let requests = || Ok::<_, io::Error>(balancer.stats()?.server(place, "scur"));
    until("an idle server", || Ok((requests()? == 0).then_some(())))?;
    let begun = Instant::now();
    // Without a pause: it must be killed while it works.
    while requests()? == 0 {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other("the server gets no requests"));
        }
    }
    Ok(())
}

fn kill_one(
    place: usize,
    server: &mut Server,
    balancers: &[Balancer],
    clock: Instant,
) -> io::Result<(Gap, Vec<Duration>)> {
    let from = clock.elapsed();
    server.kill()?;
    let ended = clock.elapsed();
    let mut downs = Vec::new();
    for balancer in balancers {
        until("HAProxy to see it", || Ok((!balancer.has_up(place)?).then_some(())))?;
        // HAProxy counts it as down only after the last of several failed checks.
        until("HAProxy to take it out", || {
            Ok((balancer.stats()?.server(place, "chkdown") > 0).then_some(()))
        })?;
        downs.push(clock.elapsed());
    }
    thread::sleep((from + AWAY).saturating_sub(clock.elapsed()));
    server.start_again()?;
    for balancer in balancers {
        until("the server to be back", || Ok(balancer.has_up(place)?.then_some(())))?;
    }
    Ok((Gap { from, ended, to: clock.elapsed() }, downs))
}

/// Runs a load on a thread of its own, and what happens beside it on this one, with the time since
/// the load's start.
pub fn beside<R: Send, T>(
    load: impl FnOnce() -> io::Result<R> + Send,
    events: impl FnOnce(Instant) -> io::Result<T>,
) -> io::Result<(R, T)> {
    thread::scope(|scope| {
        let clock = Instant::now();
        let load = scope.spawn(load);
        let happened = events(clock);
        let load = load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((load, happened?))
    })
}

/// The requests that got no 200.
pub fn lost(outcomes: &[Outcome]) -> Vec<&Outcome> {
    outcomes.iter().filter(|outcome| !outcome.is_success()).collect()
}
