//! A request can say how long its client waits, which shortens its wait in the queue.
#![allow(clippy::unwrap_used)]

use crate::support::gate::Gated;
use crate::support::{Reply, connect, wait_for};
use cws::{Config, Counter, Lane, NoPermit, Request, Response, Server};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn config() -> Config {
    Config::default().queue_timeout(HOUR).patience_field(Some("X-Request-Timeout".to_owned()))
}

/// A request with this patience.
fn request(path: &str, patience: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nx-request-timeout: {patience}\r\n\r\n").into_bytes()
}

/// Holds the worker until a request with the first patience has waited for `until`, and returns the
/// statuses of requests with each of them.
fn statuses(config: Config, patiences: &[&str], until: Duration) -> Vec<u16> {
    let gated = Gated::start(config);
    let mut held = gated.hold_the_worker();
    let mut clients = Vec::new();
    for patience in patiences {
        clients.push(gated.send(&request("/quick", patience)));
        wait_for("it to wait", || {
            (gated.server.snapshot().queue.waiting == clients.len()).then_some(())
        });
    }
    let start = std::time::Instant::now();
    wait_for("their time to pass", || (start.elapsed() > until).then_some(()));
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
    let statuses: Vec<_> = clients.iter_mut().map(|each| Reply::read(each).status).collect();
    let expired = statuses.iter().filter(|&&status| status == 503).count() as u64;
    assert_eq!(gated.server.snapshot().get(Counter::Expired), expired);
    statuses
}

#[test]
fn an_impatient_request_is_refused_in_its_turn_and_others_are_answered() {
    let until = Duration::from_millis(60);
    let patiences = ["0.1", "1000", "0", "-1", "NaN", "0.1s", "1e-3", ".1"];
    let expected = [503, 200, 200, 200, 200, 200, 200, 200];
    assert_eq!(statuses(config(), &patiences, until), expected);
    // Without the option no field is read.
    assert_eq!(statuses(config().patience_field(None), &["0.1"], until), [200]);
}

#[test]
fn it_never_lengthens_the_wait() {
    let until = Duration::from_millis(60);
    let short = config().queue_timeout(Duration::from_millis(50));
    assert_eq!(statuses(short, &["1000", "0.01"], until), [503, 503]);
    // Longer than the configured patience: as if it were not there.
    let patient = config().patience(Some(Duration::from_millis(50)));
    assert_eq!(statuses(patient, &["0.1", "0.02"], until), [200, 503]);
}

#[test]
fn the_handler_sees_how_much_of_it_is_left() {
    let handler = |request: &Request<'_>| {
        let left = request.time_left().map_or(0, |left| left.as_secs());
        Response::text(left.to_string())
    };
    let left = |config: Config, patience: &str| -> u64 {
        let server = Server::start(config.workers(1), handler).unwrap();
        let mut stream = connect(server.addresses()[0]);
        stream.write_all(&request("/", patience)).unwrap();
        String::from_utf8(Reply::read(&mut stream).body).unwrap().parse().unwrap()
    };
    let configured = || config().patience(Some(Duration::from_secs(4000)));
    assert!((500..1000).contains(&left(config(), "1000")));
    assert!((500..1000).contains(&left(configured(), "1000")));
    assert!((2000..4000).contains(&left(configured(), "9000")), "never more");
    assert!((2000..4000).contains(&left(configured(), "never")));
    assert_eq!(left(config(), "never"), 0, "not known");
}

#[test]
fn a_deferred_request_waits_no_longer_either() {
    let lane = Arc::new(Lane::new(1, 4));
    let _permit = lane.enter(7).unwrap();
    let handler = move |_: &Request<'_>| match lane.enter(7) {
        Ok(_) => Response::text("entered"),
        Err(NoPermit::Wait(wait)) => Response::deferred(wait),
        Err(NoPermit::Full) => Response::text("full"),
    };
    let server = Server::start(config().workers(1), handler).unwrap();
    let mut stream = connect(server.addresses()[0]);
    stream.write_all(&request("/", "0.1")).unwrap();
    assert_eq!(Reply::read(&mut stream).status, 503, "long before the hour has passed");
    assert_eq!(server.snapshot().get(Counter::Expired), 1);
}

#[cfg(feature = "cli")]
#[test]
fn the_command_reads_the_field() {
    use crate::support::{RealServer, Site};
    let site = Site::new();
    let options = ["--workers", "1", "--delay", "200ms", "--patience-field", "X-Request-Timeout"];
    let server = RealServer::start(&site, &options);
    // Behind a request that takes 200 ms; on a busy machine the second one can come too late.
    wait_for("a refusal", || {
        let [mut first, mut second] = [(); 2].map(|()| connect(server.address()));
        first.write_all(&request("/testfile", "100")).unwrap();
        second.write_all(&request("/testfile", "0.05")).unwrap();
        assert_eq!(Reply::read(&mut first).status, 200);
        (Reply::read(&mut second).status == 503).then_some(())
    });
}
