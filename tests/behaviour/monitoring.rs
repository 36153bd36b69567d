//! The files of `examples/deploy` for Prometheus and Grafana, with the real programs and against
//! the metrics of a real server.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{get, installed, wait_for};
use cws::{Admin, Config, Delay, Request, Server};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Connections, Target};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy").join(name)
}

/// What a command prints. It has to succeed.
fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// A server with a delay and its admin server.
fn server(workers: usize, delay: Duration) -> (Server, Admin) {
    let handler = Delay::new(delay, |_: &Request<'_>| "served\n");
    let config = Config::default().workers(workers).patience(Duration::from_secs(1));
    let server = Server::start(config, handler).unwrap();
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let admin = Admin::start(listen, server.observer()).unwrap();
    (server, admin)
}

/// The names of the metrics of a server that has served.
fn exported() -> BTreeSet<String> {
    let (server, admin) = server(1, Duration::from_millis(1));
    get(server.addresses()[0], "/");
    let names = || -> BTreeSet<String> {
        let text = String::from_utf8(get(admin.addresses()[0], "/metrics").body).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
    };
    // Some need a service that has ended.
    wait_for("all metrics", || {
        let names = names();
        let rare = ["cws_queue_service_seconds", "cws_little_residual_ratio"];
        rare.iter().all(|rare| names.contains(*rare)).then_some(names)
    })
}

/// The names of metrics in an expression.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !is_part(c));
    let metrics = words.filter(|word| word.starts_with("cws_") || word.starts_with("process_"));
    metrics.map(str::to_owned).collect()
}

fn check_names(expression: &str, exported: &BTreeSet<String>) {
    for name in metrics_in(expression) {
        assert!(exported.contains(&name), "{name} in {expression}");
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    for (command, file) in [
        (["check", "config"], "prometheus.yml"),
        (["check", "rules"], "rules.yml"),
        (["test", "rules"], "rules_test.yml"),
    ] {
        let Some(mut promtool) = installed("promtool") else { return };
        promtool.args(command).arg(file).current_dir(deploy("prometheus"));
        let text = said(promtool);
        assert!(text.contains("SUCCESS"), "{text}");
    }
}

#[test]
fn each_metric_in_the_rules_exists_and_each_alert_has_a_test() {
    let exported = exported();
    let rules = fs::read_to_string(deploy("prometheus/rules.yml")).unwrap();
    let code = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let code: String = code.map(|line| format!("{line}\n")).collect();
    // A recorded series has colons in its name.
    check_names(&code, &exported);
    let tests = fs::read_to_string(deploy("prometheus/rules_test.yml")).unwrap();
    let alerts: Vec<&str> =
        code.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 6, "{alerts:?}");
    for alert in alerts {
        let line = format!("alertname: {alert}\n");
        assert!(tests.contains(&line), "{alert} has a test");
        assert!(tests.contains(&format!("{line}        exp_alerts:")), "{alert} fires in a test");
    }
}

/// Prometheus' conventions for names, beyond what promtool checks.
#[test]
fn names_have_base_units_in_the_singular_or_plural_of_the_conventions() {
    let exported = exported();
    for name in &exported {
        assert!(!name.ends_with("_ratios") && !name.contains("_milli"), "{name}");
        let own = name.starts_with("cws_");
        let process = [
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_threads",
            "process_virtual_memory_bytes",
        ];
        assert!(own || process.contains(&name.as_str()), "{name}");
    }
    for name in ["cws_build_info", "cws_utilisation_ratio", "cws_load_ratio"] {
        assert!(exported.contains(name), "{name}");
    }
}

#[test]
fn each_panel_asks_for_metrics_that_exist_in_expressions_that_parse() {
    let exported = exported();
    let text = fs::read_to_string(deploy("grafana/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    let mut count = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            check_names(expression, &exported);
            assert!(!metrics_in(expression).is_empty(), "{title}: {expression}");
            let expression = expression.replace("$__rate_interval", "1m");
            count += 1;
            let quoted = serde_json::to_string(&expression).unwrap();
            rules += &format!("      - record: dashboard:{count}\n        expr: {quoted}\n");
        }
    }
    assert!(count > 20, "{count} expressions");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(definition) = variable["definition"].as_str() {
            check_names(definition, &exported);
        }
    }
    let Some(mut promtool) = installed("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yml");
    fs::write(&file, rules).unwrap();
    promtool.args(["check", "rules"]).arg(file);
    let text = said(promtool);
    assert!(text.contains(&format!("{count} rules found")), "{text}");
}

/// A running Prometheus. Dropping it kills it.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it with the committed files, except that it scrapes this target, and often.
    fn start(target: SocketAddr) -> Option<Self> {
        let mut command = installed("prometheus")?;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let committed = fs::read_to_string(deploy("prometheus/prometheus.yml")).unwrap();
        assert_eq!(committed.matches("_interval: 15s").count(), 2);
        let often = committed.replace("_interval: 15s", "_interval: 250ms");
        fs::write(path("prometheus.yml"), often).unwrap();
        fs::copy(deploy("prometheus/rules.yml"), path("rules.yml")).unwrap();
        let targets = fs::read_to_string(deploy("prometheus/targets.json")).unwrap();
        let mut targets: Value = serde_json::from_str(&targets).unwrap();
        targets[0]["targets"] = serde_json::json!([target.to_string()]);
        fs::write(path("targets.json"), targets.to_string()).unwrap();
        let log = File::create(path("log")).unwrap();
        command.current_dir(folder.path()).stdout(log.try_clone().unwrap()).stderr(log);
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg("--web.listen-address=127.0.0.1:0");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut prometheus = Self { child: command.spawn().unwrap(), address, folder };
        // Its log has the port that the system has chosen.
        prometheus.address = wait_for("Prometheus to listen", || {
            let log = fs::read_to_string(prometheus.folder.path().join("log")).unwrap();
            assert!(prometheus.child.try_wait().unwrap().is_none(), "it has ended: {log}");
            let line = log.lines().find(|line| line.contains("\"Listening on\""))?;
            line.rsplit("address=").next()?.parse().ok()
        });
        wait_for("Prometheus to scrape", || (prometheus.value("up") == Some(1.0)).then_some(()));
        Some(prometheus)
    }

    /// The only value of an expression now.
    fn value(&self, expression: &str) -> Option<f64> {
        let form = |byte: u8| format!("%{byte:02X}");
        let query: String = expression.bytes().map(form).collect();
        let reply = get_plain(self.address, &format!("/api/v1/query?query={query}"));
        let reply: Value = serde_json::from_str(&reply).ok()?;
        match reply["data"]["result"].as_array()?.as_slice() {
            [one] => one["value"][1].as_str()?.parse().ok(),
            _ => None,
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The content of a response in HTTP/1.0, which is not chunked.
fn get_plain(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    // Prometheus cancels a query whose client has closed its sending side.
    let mut stream = crate::support::connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// At twice the load, a real Prometheus sees the rate of the generator, and the load in erlangs.
#[test]
fn prometheus_sees_what_is_offered_at_twice_the_load() {
    const WORKERS: usize = 4;
    let delay = Duration::from_millis(20);
    let (server, admin) = server(WORKERS, delay);
    let Some(prometheus) = Prometheus::start(admin.addresses()[0]) else { return };
    let rate = 2.0 * WORKERS as f64 / delay.as_secs_f64();
    let length = Duration::from_secs(12);
    let starts = Arrivals::constant(rate).starts(Stop::After(length));
    let client = Target::new(server.addresses()[0], "/")
        .client(Connections::Kept(1000), crate::support::PATIENCE);
    let load = thread::spawn(move || client.open_loop(&starts).unwrap());
    // The rate over the last 8 s, when all of them are under load.
    let begun = std::time::Instant::now();
    wait_for("the middle of the load", || {
        thread::sleep(Duration::from_millis(50));
        (begun.elapsed() > Duration::from_secs(11)).then_some(())
    });
    let offered = prometheus.value("rate(cws_requests_offered_total[8s])").unwrap();
    let handled = prometheus.value("rate(cws_requests_handled_total[8s])").unwrap();
    let service =
        "rate(cws_service_seconds_sum[8s]) / rate(cws_service_seconds_count[8s])".to_owned();
    let mean = prometheus.value(&service).unwrap();
    // A scrape that is late leaves a gap, after which there is no value now.
    let last = |name: &str| prometheus.value(&format!("last_over_time({name}[8s])"));
    let erlangs = last("cws_offered_load_erlangs").unwrap();
    let run = load.join().unwrap();
    assert_eq!(run.summary().answers().len(), 2, "{:?}", run.summary().answers());
    assert!((offered / rate - 1.0).abs() < 0.03, "{offered} offered instead of {rate}");
    assert!(handled < 0.6 * rate, "{handled} handled");
    let twice = 2.0 * WORKERS as f64;
    assert!((offered * mean / twice - 1.0).abs() < 0.2, "{offered} x {mean} instead of {twice}");
    // It is over the last minute, of which only a part has load.
    assert!(erlangs > 0.0 && erlangs < 1.05 * offered * mean, "{erlangs} for {offered} x {mean}");
    assert_eq!(last("cws_capacity_erlangs"), Some(WORKERS as f64));
    // The recording rules run, though over a minute that has not passed.
    assert!(last("instance:cws_requests_shed:rate1m") > Some(0.0));
    assert!(last("job:cws_offered_load_erlangs:sum") > Some(0.0));
    let text = format!(
        "{offered:.2} offered for {rate:.2} ({:+.2} %), {handled:.2} handled, {:.2} erlangs of \
         {WORKERS}\n",
        100.0 * (offered / rate - 1.0),
        offered * mean
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus-offered.txt");
    fs::write(file, text).unwrap();
}
