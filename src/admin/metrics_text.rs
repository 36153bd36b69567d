//! The snapshot and the figures in Prometheus' text format.
//!
//! Names follow the labels of the counters and the keys of `/stats.json`, with the unit at the end.

use super::Watch;
use super::exposition::{Out, ratio};
use super::process::Process;
use crate::config;
use crate::figures::Figures;
use crate::handler::Response;
use crate::memory::MemoryUse;
use crate::metrics::{Activity, CloseReason, ConnectionPhase, Counter, Snapshot};
use crate::observer::Observer;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// The response to `/metrics`.
pub(super) fn response(watch: &Watch) -> Response {
    let snapshot = watch.observed.snapshot();
    let minute = watch.history().minute(&snapshot);
    let mut registry = Registry::default();
    let observed = watch.observed.clone();
    let own = registry.sub_registry_with_prefix("cws");
    let clients = observed.busiest_clients(config::RECENT_CLIENTS);
    let busiest = clients.iter().filter_map(|client| client.service_share).fold(0.0, f64::max);
    own.register_collector(Box::new(Scrape { observed, snapshot, minute, busiest }));
    registry.register_collector(Box::new(Process));
    let mut text = String::new();
    match prometheus_text::encode(&mut text, &registry) {
        Ok(()) => Response::ok(prometheus_text::CONTENT_TYPE, text),
        Err(fmt::Error) => {
            let status = crate::http::status::Status::INTERNAL_SERVER_ERROR;
            Response::error(status, "The metrics could not be formatted.")
        }
    }
}

/// The data of one scrape.
#[derive(Debug)]
struct Scrape {
    observed: Observer,
    snapshot: Snapshot,
    minute: Figures,
    /// The largest share of the service time of all requests that have waited. It is a number, so
    /// it names nobody. 0 while nobody has waited.
    busiest: f64,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        let help = "The version of this server; the value is always 1";
        let build = [(env!("CARGO_PKG_VERSION"), ConstGauge::new(1.0))];
        out.labelled(("build_info", help), None, MetricType::Gauge, "version", build)?;
        self.requests(&mut out)?;
        self.times(&mut out)?;
        self.workers(&mut out)?;
        self.queues(&mut out)?;
        self.memory(&mut out)?;
        self.connections(&mut out)?;
        self.saturation(&mut out)
    }
}

impl Scrape {
    fn requests(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let of = |counter| self.snapshot.get(counter);
        let help =
            "Requests that asked for a worker, including those refused as the queue was full";
        out.counter("requests_offered", help, of(Counter::Offered))?;
        let help = "Requests that a handler answered on a worker";
        out.counter("requests_handled", help, of(Counter::Handled))?;
        let help = "Requests that a handler answered at once, without a worker";
        out.counter("requests_immediate", help, of(Counter::Immediate))?;
        let refused = Counter::REASONS.iter().map(|&reason| (reason.label(), of(reason)));
        let help = "Requests that the server refused, by reason";
        out.counters("requests_refused", help, "reason", refused)?;
        let help = "Requests for the health path, answered without a handler";
        out.counter("requests_health", help, of(Counter::Health))?;
        let help = "Requests still queued at the drain timeout, dropped without a response";
        out.counter("requests_abandoned", help, of(Counter::Abandoned))?;
        let classes = [("2xx", 2), ("3xx", 3), ("4xx", 4), ("5xx", 5)];
        let classes = classes.map(|(label, class)| (label, self.snapshot.responses(class)));
        out.counters("responses", "Responses, by status class", "class", classes)?;
        let help = "Requests dropped because their client had closed its connection";
        out.counter("requests_gone", help, of(Counter::Gone))?;
        out.counter("handler_panics", "Handlers that panicked", of(Counter::Panics))?;
        let help = "Requests that entered the system: queued, or pipelined and taken directly";
        out.counter("arrivals", help, self.snapshot.arrivals())?;
        let help = "Requests that left the system: answered, refused by a worker, or dropped";
        out.counter("departures", help, self.snapshot.departures())
    }

    fn times(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let Snapshot { queue_wait, service, head_read, response_write, .. } = &self.snapshot;
        let help = "Time from queued to taken by a worker";
        out.histogram("queue_wait", help, queue_wait)?;
        let help = "Time from taken by a worker to released by it, of handled requests";
        out.histogram("service", help, service)?;
        let help = "Time from the first byte of a request head to its last";
        out.histogram("head_read", help, head_read)?;
        let help = "Time from the start of a response to its last byte";
        out.histogram("response_write", help, response_write)
    }

    fn workers(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let workers = &self.snapshot.workers;
        out.gauge("workers", "Worker threads", workers.len() as f64)?;
        // In erlangs a pool can carry as much as it has workers, whatever a service takes.
        let help = "Largest load that the workers can carry: the number of busy workers";
        out.gauge_of("capacity", help, &erlangs(), workers.len() as f64)?;
        let spent = Activity::ALL.map(|activity| {
            let spent = workers.iter().map(|worker| worker.spent(activity).as_secs_f64());
            (activity.label(), ConstCounter::new(spent.sum::<f64>()))
        });
        let help = "Time that workers spent, by activity";
        let (texts, unit) = (("worker", help), Some(&Unit::Seconds));
        out.labelled(texts, unit, MetricType::Counter, "activity", spent)?;
        let replaced = self.snapshot.get(Counter::WorkersReplaced);
        out.counter("workers_replaced", "Workers that died and were replaced", replaced)
    }

    fn queues(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let queue = &self.snapshot.queue;
        let help = "Requests that wait for a worker";
        out.gauge("queue_waiting_requests", help, queue.waiting as f64)?;
        let help = "Largest number of requests that may wait for a worker";
        out.gauge("queue_bound_requests", help, queue.bound as f64)?;
        let help = "Largest number of requests that have waited so far";
        out.gauge("queue_high_water_requests", help, queue.high_water as f64)?;
        let oldest = queue.oldest.unwrap_or_default().as_secs_f64();
        let help = "Time that the oldest waiting request has waited";
        out.gauge_of("queue_oldest", help, &Unit::Seconds, oldest)?;
        let help = "Longest wait: requests that have waited longer are refused";
        out.gauge_of("queue_age", help, &Unit::Seconds, queue.age.as_secs_f64())?;
        if let Some(service) = queue.service {
            let help = "Moving average of the service time, from which bound and age can follow";
            out.gauge_of("queue_service", help, &Unit::Seconds, service.as_secs_f64())?;
        }
        let Some(accept) = self.snapshot.accept_queue else { return Ok(()) };
        let help = "Connections in the kernel that wait to be accepted";
        out.gauge("accept_queue_waiting_connections", help, accept.waiting as f64)?;
        let help = "Largest number of connections that may wait to be accepted";
        out.gauge("accept_queue_bound_connections", help, accept.bound as f64)
    }

    fn memory(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let state = &self.snapshot.memory;
        let held = MemoryUse::ALL.iter().zip(state.held);
        let held = held.map(|(of, held)| (of.label(), ConstGauge::new(held as f64)));
        let help = "Memory held for clients, by use";
        let texts = ("memory_held", help);
        out.labelled(texts, Some(&Unit::Bytes), MetricType::Gauge, "use", held)?;
        let help = "Largest amount of memory that may be held for clients";
        out.gauge_of("memory_bound", help, &Unit::Bytes, state.bound as f64)?;
        let help = "Claims of memory that were refused because they exceeded the bound";
        out.counter("memory_claims_refused", help, state.refused)
    }

    fn connections(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let snapshot = &self.snapshot;
        let phases = ConnectionPhase::ALL.iter();
        let phases =
            phases.map(|&of| (of.label(), ConstGauge::new(snapshot.connections(of) as f64)));
        let texts = ("connections", "Open connections, by phase");
        out.labelled(texts, None, MetricType::Gauge, "phase", phases)?;
        let bound = self.observed.config().max_connections;
        out.gauge(
            "connections_bound",
            "Largest number of connections that may be open",
            bound as f64,
        )?;
        let accepted = snapshot.get(Counter::Accepted);
        out.counter("connections_accepted", "Connections accepted", accepted)?;
        let closed = CloseReason::ALL.iter().map(|&of| (of.label(), snapshot.closed(of)));
        let help = "Connections closed, by reason";
        out.counters("connections_closed", help, "reason", closed)?;
        let received = snapshot.get(Counter::BytesReceived);
        out.counter_of("received", "Bytes read from clients", &Unit::Bytes, received)?;
        let sent = snapshot.get(Counter::BytesSent);
        out.counter_of("sent", "Bytes sent to clients, heads included", &Unit::Bytes, sent)
    }

    /// Figures over the last minute. Prometheus could derive them, but a person who reads the text
    /// could not.
    fn saturation(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let minute = &self.minute;
        let help = "Share of the workers' time that they had a job, over the last minute";
        out.gauge_of("utilisation", help, &ratio(), minute.utilisation.total())?;
        if let Some(capacity) = minute.capacity {
            let help = "Workers divided by the mean service time, over the last minute";
            out.gauge("capacity_requests_per_second", help, capacity)?;
        }
        if let Some(load) = minute.load() {
            let help = "Offered rate divided by capacity, over the last minute";
            out.gauge_of("load", help, &ratio(), load)?;
        }
        if let Some(offered) = minute.erlangs() {
            let help = "Offered rate times mean service time, over the last minute";
            out.gauge_of("offered_load", help, &erlangs(), offered)?;
        }
        let help =
            "Largest share of the service time that one client had lately, of those that waited";
        out.gauge_of("busiest_client_service_share", help, &ratio(), self.busiest)?;
        if let Some(wait) = minute.expected_queue_wait {
            let help = "Mean queue wait that theory expects for the load of the last minute";
            out.gauge_of("expected_queue_wait", help, &Unit::Seconds, wait.as_secs_f64())?;
        }
        if let Some(little) = minute.little {
            let help = "Relative difference of both sides of Little's law, over the last minute";
            out.gauge_of("little_residual", help, &ratio(), little.residual())?;
        }
        Ok(())
    }
}

/// The unit of load: the mean number of workers that it keeps busy.
fn erlangs() -> Unit {
    Unit::Other("erlangs".to_owned())
}
