//! Three real servers behind a real HAProxy, with the very file of `examples/deploy`.
#![cfg(all(unix, feature = "cli"))]
#![allow(clippy::unwrap_used)]

#[path = "../../examples/fleet/balancer.rs"]
mod balancer;
#[path = "../../examples/fleet/servers.rs"]
mod servers;

use crate::support::{Site, wait_for};
use balancer::{Balancer, Setup};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Answer, Connections, Outcome, Run, Target};
use servers::{Launch, Server};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 2 workers with 20 ms each: 100 requests/s.
const CAPACITY: f64 = 300.0;

const OPTIONS: [&str; 12] = [
    "--workers",
    "2",
    "--delay",
    "20ms",
    "--drain-delay",
    "2s",
    "--idle-timeout",
    "75s",
    "--access-log",
    "off",
    "--trusted-proxy",
    "127.0.0.1",
];

/// The committed configuration.
fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/haproxy/haproxy.cfg")
}

/// How the servers get to know the addresses of clients.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Field,
    ProxyProtocol,
}

/// Three servers, and HAProxy in front of them. `None` if it is not installed.
fn fleet(site: &Site, told: Told, more: &[&str]) -> Option<(Vec<Server>, Balancer)> {
    let program = crate::support::installed("haproxy")?;
    let root = ["--quiet", "--root", site.path().to_str().unwrap()];
    let told_by: &[&str] = match told {
        Told::Field => &["--client-address", "x-forwarded-for"],
        Told::ProxyProtocol => &["--proxy-protocol"],
    };
    let options = root.iter().chain(&OPTIONS).chain(told_by).chain(more);
    let options = options.map(|option| (*option).to_owned()).collect();
    let launch = Launch { binary: env!("CARGO_BIN_EXE_server").into(), options, has_agent: true };
    let servers: Vec<_> = (0..3).map(|_| Server::start(&launch).unwrap()).collect();
    let setup = Setup {
        program: Path::new(program.get_program()),
        file: &file(),
        balance: "leastconn",
        asks_agents: true,
        proxy_protocol: told == Told::ProxyProtocol,
    };
    let balancer = Balancer::start(&setup, &servers).unwrap();
    Some((servers, balancer))
}

/// Poisson arrivals at this multiple of the capacity.
fn load(balancer: &Balancer, times: f64, length: Duration) -> Run {
    let starts = Arrivals::poisson(times * CAPACITY, 1).starts(Stop::After(length));
    let target = Target::new(balancer.address, "/testfile");
    target.client(Connections::Kept(4000), Duration::from_secs(60)).open_loop(&starts).unwrap()
}

fn count(outcomes: &[Outcome], status: u16) -> usize {
    outcomes.iter().filter(|outcome| outcome.answer == Answer::Status(status)).count()
}

/// The file is valid without a warning, with its defaults for all but the servers.
#[test]
fn haproxy_has_no_objection_to_the_file() {
    let Some(mut haproxy) = crate::support::installed("haproxy") else { return };
    haproxy.arg("-c").arg("-f").arg(file());
    for letter in ["A", "B", "C"] {
        haproxy.env(format!("CWS_{letter}"), "127.0.0.1:8080");
    }
    for proxy_protocol in ["", "true"] {
        let output = haproxy.env("CWS_PROXY_PROTOCOL", proxy_protocol).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("WARNING") && !said.contains("ALERT"), "{said}");
    }
}

/// The servers refuse, and HAProxy passes it on: it takes none of them out, makes no error of its
/// own, and needs few connections.
fn at_twice_the_load(told: Told) {
    let site = Site::new();
    let deadline = ["--deadline", "500ms"];
    let Some((_servers, balancer)) = fleet(&site, told, &deadline) else { return };
    let run = load(&balancer, 2.0, Duration::from_secs(15));
    let (served, refused) = (count(&run.outcomes, 200), count(&run.outcomes, 503));
    assert_eq!(served + refused, run.outcomes.len(), "{:?}", run.summary());
    assert!(served > 1000 && refused > 1000, "{served} served, {refused} refused");
    let stats = balancer.stats().unwrap();
    let requests = stats.front("req_tot");
    assert_eq!(requests, run.outcomes.len() as u64);
    assert_eq!((stats.sum("chkdown"), stats.sum("chkfail")), (0, 0), "health downs, failed checks");
    let own = (stats.own_errors(), stats.sum("hrsp_5xx"));
    assert_eq!(own, (0, refused as u64), "5xx: {:?}", balancer.endings());
    assert_eq!((stats.sum("wretr"), stats.sum("econ"), stats.sum("eresp")), (0, 0, 0), "retries");
    // When the machine stands still, the client needs more connections, and so does HAProxy: with
    // the PROXY protocol, one to each server for each of the client's.
    let (connections, clients) = (stats.sum("connect"), stats.front("conn_tot"));
    assert!(
        connections * 20 < requests || connections <= 3 * clients,
        "{connections} connections for {requests} requests of {clients} connections"
    );
    // HAProxy logs each 503 with its termination state; dashes mean that the server has answered.
    let (endings, lost) = wait_for("the log", || {
        let (endings, lost) = (balancer.endings().unwrap(), balancer.lost_lines().unwrap());
        (endings.values().sum::<usize>() + lost >= refused).then_some((endings, lost))
    });
    let expected = [(("503".to_owned(), "----".to_owned()), refused - lost)];
    assert_eq!(endings.into_iter().collect::<Vec<_>>(), expected, "{lost} lines lost");
}

#[test]
fn at_twice_the_load_haproxy_takes_out_no_server_and_makes_no_error() {
    at_twice_the_load(Told::Field);
}

#[test]
fn nor_does_it_with_the_proxy_protocol() {
    at_twice_the_load(Told::ProxyProtocol);
}

/// Each server is told to stop, ends, and is started again as soon as the one before is back.
#[test]
fn a_rolling_restart_under_load_loses_nothing() {
    let site = Site::new();
    let Some((mut servers, balancer)) = fleet(&site, Told::ProxyProtocol, &[]) else { return };
    let run = std::thread::scope(|scope| {
        // Ends when the restarts have.
        let running = scope.spawn(|| load(&balancer, 0.9, Duration::from_secs(12)));
        wait_for("the load", || (balancer.stats().unwrap().front("req_tot") > 50).then_some(()));
        for (place, server) in servers.iter_mut().enumerate() {
            assert!(server.stop().unwrap().success());
            let down = balancer.stats().unwrap().server(place, "chkdown");
            assert_eq!(down, 1, "HAProxy knew before it ended");
            server.start_again().unwrap();
            wait_for("it to be back", || balancer.has_up(place).unwrap().then_some(()));
        }
        running.join().unwrap()
    });
    assert_eq!(count(&run.outcomes, 200), run.outcomes.len(), "{:?}", run.summary());
    let stats = balancer.stats().unwrap();
    assert_eq!(stats.sum("chkdown"), 3, "each was out once");
    assert_eq!((stats.sum("wretr"), stats.sum("wredis"), stats.own_errors()), (0, 0, 0));
    assert_eq!(run.conduct.reconnects(), 0, "the client sent nothing again");
}
