//! The files of `examples/deploy/kubernetes`: a server starts with the very arguments, and the
//! numbers in them agree.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Site, command, get, installed, wait_for};
use saphyr::{LoadableYamlNode, Yaml};
use std::fs;
use std::path::Path;

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/kubernetes");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The document of this kind.
fn of_kind<'a>(documents: &'a [Yaml<'a>], kind: &str) -> &'a Yaml<'a> {
    documents.iter().find(|of| of["kind"].as_str() == Some(kind)).unwrap()
}

fn parse(text: &str) -> Vec<Yaml<'_>> {
    Yaml::load_from_str(text).unwrap()
}

fn strings(of: &Yaml<'_>) -> Vec<String> {
    of.as_vec().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// The value of an option in the container's arguments.
fn option<'a>(args: &'a [String], name: &str) -> &'a str {
    let prefix = format!("--{name}=");
    args.iter().find_map(|arg| arg.strip_prefix(&prefix)).unwrap()
}

fn seconds(text: &str) -> i64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}

#[test]
fn a_server_starts_with_the_arguments_and_answers_the_probes() {
    let text = text("deployment.yaml");
    let documents = parse(&text);
    let pod = &of_kind(&documents, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let args = strings(&container["args"]);
    let ports = container["ports"].as_vec().unwrap();
    let port = |name: &str| {
        let port = ports.iter().find(|port| port["name"].as_str() == Some(name)).unwrap();
        port["containerPort"].as_integer().unwrap().to_string()
    };
    assert_eq!(args[0], port("http"));
    assert_eq!(option(&args, "bind"), "0.0.0.0", "the cluster reaches it");
    assert_eq!(option(&args, "admin"), format!("0.0.0.0:{}", port("admin")));
    assert!(!args.iter().any(|arg| arg.starts_with("--memory")), "it follows the limit");

    // The ports are free ones here, and the site is the test's.
    let site = Site::new();
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    for arg in &args {
        let arg = arg.replace("=/srv", &format!("={}", site.path().display()));
        let arg = arg.replace("0.0.0.0", "127.0.0.1").replace(":9090", ":0");
        server.arg(if arg == "8080" { "0" } else { &arg });
    }
    let mut server = RealServer::spawn(server);
    assert_eq!(get(server.address(), "/testfile").status, 200);
    let admin = server.admin();
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
    let path = |probe: &str| {
        assert_eq!(container[probe]["httpGet"]["port"].as_str(), Some("admin"));
        container[probe]["httpGet"]["path"].as_str().unwrap().to_owned()
    };
    for probe in probes {
        assert_eq!(get(admin, &path(probe)).status, 200, "{probe}");
    }
    // While it stops, it is alive and not ready.
    server.signal("TERM");
    let is_ready = || get(admin, &path("readinessProbe")).status == 200;
    wait_for("the word that it stops", || (!is_ready()).then_some(()));
    assert_eq!(get(admin, &path("livenessProbe")).status, 200);
    server.signal("TERM");
    server.wait();
}

#[test]
fn a_pod_has_the_time_to_end() {
    let text = text("deployment.yaml");
    let documents = parse(&text);
    let pod = &of_kind(&documents, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let args = strings(&container["args"]);
    let sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_integer().unwrap();
    let [delay, timeout] = ["drain-delay", "drain-timeout"].map(|of| seconds(option(&args, of)));
    let sum = sleep + delay + timeout;
    let line = text.lines().find(|line| line.starts_with("#   sum ")).unwrap();
    assert_eq!(line.split_whitespace().nth(2), Some(&*sum.to_string()), "{line}");
    assert!(sum < pod["terminationGracePeriodSeconds"].as_integer().unwrap());
    let readiness = &container["readinessProbe"];
    let notices = readiness["periodSeconds"].as_integer().unwrap()
        * readiness["failureThreshold"].as_integer().unwrap();
    assert!(notices <= delay, "the kubelet notices within the drain delay");
}

#[test]
fn selectors_and_names_agree() {
    let text = text("deployment.yaml");
    let documents = parse(&text);
    let deployment = of_kind(&documents, "Deployment");
    let label = deployment["spec"]["template"]["metadata"]["labels"]["app"].as_str();
    assert!(label.is_some());
    assert_eq!(deployment["spec"]["selector"]["matchLabels"]["app"].as_str(), label);
    let service = &of_kind(&documents, "Service")["spec"];
    assert_eq!(service["selector"]["app"].as_str(), label);
    let budget = &of_kind(&documents, "PodDisruptionBudget")["spec"];
    assert_eq!(budget["selector"]["matchLabels"]["app"].as_str(), label);
    let ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"].as_vec().unwrap();
    let names: Vec<_> = ports.iter().map(|port| port["name"].as_str()).collect();
    assert!(names.contains(&service["ports"][0]["targetPort"].as_str()));
    let volume = &deployment["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"];
    let site = of_kind(&documents, "ConfigMap");
    assert_eq!(site["metadata"]["name"].as_str(), volume.as_str());
}

/// Replicas are erlangs / (W x target), with the W of the deployment and the same target in both.
#[test]
fn the_autoscalers_have_the_workers_of_the_deployment() {
    let deployment = text("deployment.yaml");
    let documents = parse(&deployment);
    let deployment = of_kind(&documents, "Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let workers: f64 = option(&strings(&container["args"]), "workers").parse().unwrap();
    let name = deployment["metadata"]["name"].as_str();

    let hpa = text("hpa.yaml");
    assert!(hpa.contains(&format!("ceil(erlangs / ({workers} x 0.7))")));
    let documents = parse(&hpa);
    let scaler = &of_kind(&documents, "HorizontalPodAutoscaler")["spec"];
    assert_eq!(scaler["scaleTargetRef"]["name"].as_str(), name);
    let pods = &scaler["metrics"][0]["pods"];
    let average = pods["target"]["averageValue"].as_str().unwrap();
    let average: f64 = average.strip_suffix('m').unwrap().parse::<f64>().unwrap() / 1000.0;
    assert!((average - 0.7 * workers).abs() < 1e-9, "{average}");
    let metric = pods["metric"]["name"].as_str().unwrap();
    let adapter = of_kind(&documents, "ConfigMap")["data"]["config.yaml"].as_str().unwrap();
    let adapter = parse(adapter);
    let rule = &adapter[0]["rules"][0];
    assert_eq!(rule["name"]["matches"].as_str(), Some(metric));

    let keda = text("keda.yaml");
    let documents = parse(&keda);
    let scaled = &of_kind(&documents, "ScaledObject")["spec"];
    assert_eq!(scaled["scaleTargetRef"]["name"].as_str(), name);
    let trigger = &scaled["triggers"][0]["metadata"];
    let threshold: f64 = trigger["threshold"].as_str().unwrap().parse().unwrap();
    assert!((threshold - 0.7 * workers).abs() < 1e-9, "{threshold}");

    let query = rule["metricsQuery"].as_str().unwrap();
    let query = query.replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", "");
    let queries = [query, trigger["query"].as_str().unwrap().to_owned()];
    let server = RealServer::start(&Site::new(), &["--admin", "0"]);
    let metrics = String::from_utf8(get(server.admin(), "/metrics").body).unwrap();
    assert!(metrics.contains(&format!("\n{metric} 0")), "it is 0 before the first request");
    let Some(mut promtool) = installed("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yml");
    let mut rules = "groups:\n  - name: scaling\n    rules:\n".to_owned();
    for query in queries {
        assert!(query.contains(metric), "{query}");
        let query = serde_json::to_string(&query).unwrap();
        rules += &format!("      - record: scaling\n        expr: {query}\n");
    }
    fs::write(&file, rules).unwrap();
    let output = promtool.args(["check", "rules"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
