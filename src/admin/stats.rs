//! The snapshot and the figures as JSON, for programs and for the live page.

use super::history::Point;
use super::strips::Shares;
use super::{Watch, seconds};
use crate::connection::Transfer;
use crate::figures::{Figures, Times};
use crate::handler::Response;
use crate::memory::MemoryUse;
use crate::metrics::{Activity, CloseReason, ConnectionPhase, Counter, Snapshot, WorkerTimes};
use crate::observer::Observer;
use crate::queue::ClientLoad;
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// The response to `/stats.json`. Times are in seconds, rates in requests per second.
pub(super) fn response(watch: &Watch) -> Response {
    let observed = &watch.observed;
    // The history is locked before the snapshot is taken, so that no sample is newer.
    let history = watch.history();
    let snapshot = observed.snapshot();
    let (now, minute) = (history.now(&snapshot), history.minute(&snapshot));
    let points: Vec<Value> = history.points().map(point).collect();
    let [rates, minute_rates] = history.rates(&snapshot).map(|rates| rates.json());
    let (shares, cores) = (history.shares(&snapshot), history.cores());
    drop(history);
    let condition = now.condition();
    let stats = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": watch.started,
        "uptime": snapshot.at.as_secs_f64(),
        "ready": observed.is_ready(),
        "sandbox": sandbox(),
        "condition": condition.kind.label(),
        "sentence": condition.to_string(),
        "workers": snapshot.workers.iter().zip(&shares).map(worker).collect::<Vec<_>>(),
        "queue": {
            "waiting": snapshot.queue.waiting,
            "bound": snapshot.queue.bound,
            "high_water": snapshot.queue.high_water,
            "oldest": seconds(snapshot.queue.oldest),
            "age": snapshot.queue.age.as_secs_f64(),
            "service": seconds(snapshot.queue.service),
        },
        "accept_queue": snapshot.accept_queue.map(|queue| json!({
            "waiting": queue.waiting,
            "bound": queue.bound,
        })),
        "memory": memory(&snapshot),
        "connections": connections(&snapshot, observed),
        "clients": watch.clients().iter().map(client).collect::<Vec<_>>(),
        "transfers": watch.transfers().iter().map(transfer).collect::<Vec<_>>(),
        "totals": totals(&snapshot),
        "now": figures(&now),
        "minute": figures(&minute),
        "rates": { "now": rates, "minute": minute_rates },
        "cpu": { "used": cores, "available": available_cores() },
        "history": points,
    });
    Response::ok("application/json", stats.to_string())
}

/// What confines this process: null if nothing does. Of Landlock the version, of the filter of
/// system calls the number that it allows, or null.
#[cfg(all(feature = "sandbox", target_os = "linux"))]
fn sandbox() -> Option<Value> {
    let confinement = crate::sandbox::Confinement::in_force()?;
    Some(json!({
        "landlock": confinement.landlock.as_ref().ok(),
        "seccomp": confinement.seccomp.as_ref().ok(),
        "missing": confinement.missing(),
    }))
}

/// Without the feature, nothing does.
#[cfg(not(all(feature = "sandbox", target_os = "linux")))]
fn sandbox() -> Option<Value> {
    None
}

/// The date now, to the millisecond.
pub(super) fn date() -> String {
    #[allow(clippy::disallowed_methods, reason = "a date")]
    let now = SystemTime::now();
    humantime::format_rfc3339_millis(now).to_string()
}

/// The cores that this process may use; none if the system does not tell.
fn available_cores() -> Option<usize> {
    std::thread::available_parallelism().ok().map(usize::from)
}

fn worker((times, shares): (&WorkerTimes, &Shares)) -> Value {
    let spent = Activity::ALL.map(|of| (of.label(), times.spent(of).as_secs_f64()));
    json!({
        "activity": times.activity.label(),
        "lasting": times.lasting.as_secs_f64(),
        "spent": object(spent),
        "now": { "parse": shares[0], "handle": shares[1], "respond": shares[2] },
    })
}

/// Memory held for clients, in bytes.
fn memory(snapshot: &Snapshot) -> Value {
    let state = &snapshot.memory;
    let held = MemoryUse::ALL.iter().zip(state.held).map(|(of, held)| (of.label(), held));
    json!({
        "held": state.held_in_all(),
        "bound": state.bound,
        "refused": state.refused,
        "uses": object(held),
    })
}

fn connections(snapshot: &Snapshot, observed: &Observer) -> Value {
    let (open, bound) = (observed.open_connections(), observed.config().max_connections);
    let phases = ConnectionPhase::ALL.iter().map(|&of| (of.label(), snapshot.connections(of)));
    json!({ "open": open, "bound": bound, "phases": object(phases) })
}

fn client(load: &ClientLoad) -> Value {
    json!({
        "client": load.name(),
        "waiting": load.waiting,
        "in_service": load.in_service,
        "refused": load.refused,
        "service_share": load.service_share,
    })
}

/// A response under way. Lengths are in bytes of content, and the rate in bytes per second.
fn transfer(transfer: &Transfer) -> Value {
    let Transfer { client, target, sent, length, rate, .. } = transfer;
    json!({ "client": client, "target": target, "sent": sent, "length": length, "rate": rate })
}

fn totals(snapshot: &Snapshot) -> Value {
    let counters = Counter::ALL.iter().map(|&of| (of.label(), snapshot.get(of)));
    let closed = CloseReason::ALL.iter().map(|&of| (of.label(), snapshot.closed(of)));
    let classes = [("2xx", 2), ("3xx", 3), ("4xx", 4), ("5xx", 5)];
    let responses = classes.map(|(label, class)| (label, snapshot.responses(class)));
    let mut totals = object(counters);
    totals.insert("responses".to_owned(), object(responses).into());
    totals.insert("closed".to_owned(), object(closed).into());
    totals.into()
}

fn figures(figures: &Figures) -> Value {
    let Figures { utilisation, little, .. } = figures;
    json!({
        "elapsed": figures.elapsed.as_secs_f64(),
        "offered": figures.offered,
        "handled": figures.handled,
        "immediate": figures.immediate,
        "shed": figures.shed,
        "shed_share": figures.shed_share(),
        "queue_full": figures.queue_full,
        "expired": figures.expired,
        "too_many_connections": figures.too_many_connections,
        "no_memory": figures.no_memory,
        "utilisation": {
            "total": utilisation.total(),
            "parse": utilisation.parse,
            "handle": utilisation.handle,
            "respond": utilisation.respond,
        },
        "capacity": figures.capacity,
        "load": figures.load(),
        "erlangs": figures.erlangs(),
        "queue_wait": times(&figures.queue_wait),
        "expected_queue_wait": seconds(figures.expected_queue_wait),
        "expected_queue_wait_range": figures.expected_queue_wait_range
            .map(|(least, most)| [least.as_secs_f64(), most.as_secs_f64()]),
        "service_variation": figures.service_variation,
        "service": times(&figures.service),
        "little": little.map(|little| json!({
            "in_system": little.in_system,
            "rate": little.rate,
            "time": little.time.as_secs_f64(),
            "residual": little.residual(),
        })),
    })
}

fn times(times: &Times) -> Value {
    json!({
        "count": times.count,
        "mean": seconds(times.mean),
        "p50": seconds(times.p50),
        "p90": seconds(times.p90),
        "p99": seconds(times.p99),
    })
}

fn point(point: &Point) -> Value {
    json!({
        "at": point.at.as_secs_f64(),
        "offered": point.offered,
        "handled": point.handled,
        "shed": point.shed,
        "utilisation": point.utilisation,
        "waiting": point.waiting,
        "capacity": point.capacity,
        "recent_utilisation": point.recent_utilisation,
        "queue_wait": seconds(point.wait),
        "queue_wait_p99": seconds(point.late),
    })
}

fn object<V: Into<Value>>(
    pairs: impl IntoIterator<Item = (&'static str, V)>,
) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}
