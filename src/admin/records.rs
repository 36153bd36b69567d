//! What the live page draws and `/stats.json` has no room for: strips, heat map, curve, hour.

use super::Watch;
use super::curve::{Curve, Measured};
use super::history::History;
use crate::handler::{Body, Response};
use crate::http::status::Status;
use crate::lock::lock;
use bytes::Bytes;
use serde_json::json;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// The text of the latest sample, so that many open pages cost one text for each sample.
#[derive(Debug, Default)]
pub(super) struct Records {
    curve: OnceLock<Curve>,
    /// The moment of its sample, and the text.
    latest: Mutex<Option<(Duration, Bytes)>>,
}

/// The response to `/history.json`.
pub(super) fn response(watch: &Watch) -> Response {
    let history = watch.history();
    let at = history.latest().at;
    let mut latest = lock(&watch.records.latest);
    let text = match &*latest {
        Some((of, text)) if *of == at => text.clone(),
        _ => {
            let text = Bytes::from(text(watch, &history));
            *latest = Some((at, text.clone()));
            text
        }
    };
    drop((latest, history));
    Response::new(Status::OK)
        .with_known_field("Content-Type", "application/json")
        .with_body(Body::Bytes(text))
}

fn text(watch: &Watch, history: &History) -> String {
    let snapshot = history.latest();
    let workers = snapshot.workers.len();
    let minute = history.minute(snapshot);
    let measured = minute.service.mean.zip(minute.service_variation);
    // Where requests are shed there is no expected wait, and the gaps between those that are not
    // say nothing about the load.
    let arrivals = match minute.expected_queue_wait {
        Some(_) => history.arrival_variation().unwrap_or(1.0),
        None => 1.0,
    };
    let measured = measured.map(|(mean, services)| {
        let mean = mean.as_secs_f64();
        Measured { arrivals, services, mean }
    });
    let curve = watch.records.curve.get_or_init(|| Curve::new(workers));
    json!({
        "started": watch.started,
        "at": snapshot.at.as_secs_f64(),
        "curve": curve.json(measured),
        "strips": history.strips.json(workers),
        "heat": history.heat.json(),
        "hour": history.hour.json(),
    })
    .to_string()
}
