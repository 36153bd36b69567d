//! The files of a run, the line on a terminal, and the end by an interrupt.

use super::program::{load, refuses, run, saved, text};
use super::recorder::Recorder;
use crate::support::wait_for;
use hdrhistogram::Histogram;
use lab::saved::Saved;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The printed percentiles of the latency.
fn printed(said: &str) -> Vec<(f64, String)> {
    let rows = said.lines().skip_while(|line| !line.starts_with("percentile ")).skip(1);
    let cells = rows.map(|row| row.split_whitespace().take(2).collect::<Vec<_>>());
    let rows = cells.map_while(|cells| match cells[..] {
        ["slowest", value] => Some((100.0, value.to_owned())),
        [name, value] => Some((name.parse().ok()?, value.to_owned())),
        _ => None,
    });
    rows.collect()
}

/// Percentiles are those of HdrHistogram for the same samples: in the text, in JSON, and in the
/// percentile distribution.
#[test]
fn percentiles_are_those_of_hdrhistogram() {
    let folder = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    let hgrm = folder.path().join("run.hgrm");
    let options = ["--hgrm", hgrm.to_str().unwrap(), "--clients", "4", "-n", "2000"];
    let (saved, said) = saved(folder.path(), &[&options[..], &[&server.url("/")]].concat());
    assert_eq!((saved.requests, saved.successes), (2000, 2000), "{said}");
    let mut own = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
    saved.histogram_ns.iter().for_each(|&(nanos, count)| own.record_n(nanos, count).unwrap());
    let rows = printed(&said);
    assert!(rows.len() >= 6, "{said}");
    for (percent, value) in rows {
        let nanos = own.value_at_quantile(percent / 100.0);
        assert_eq!(value, format!("{:.2?}", Duration::from_nanos(nanos)), "{percent}");
        if percent < 100.0 {
            let in_json = saved.latency.percentiles[&percent.to_string()];
            assert_eq!(in_json, Some(nanos as f64 / 1e9), "{percent}");
        }
    }
    let distribution = std::fs::read_to_string(hgrm).unwrap();
    let lines = distribution.lines().skip(2).take_while(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let cells: Vec<f64> = line.split_whitespace().map(|cell| cell.parse().unwrap()).collect();
        let nanos = own.value_at_quantile(cells[1]) as f64;
        assert!((cells[0] - nanos / 1e6).abs() <= 0.000_501, "{line}: {nanos}");
        count += 1;
    }
    assert!(count > 20, "{distribution}");
    assert!(distribution.contains("Total count    =         2000]"), "{distribution}");
}

#[test]
fn standard_output_is_for_one_file_alone() {
    let output = run(&["--json", "-", "-n", "30", "--rate", "2000"]);
    let saved: Saved = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((saved.requests, saved.format), (30, Saved::FORMAT));
    assert_eq!(saved.options, ["--json", "-", "-n", "30", "--rate", "2000"]);
    assert!(saved.load.contains("a pool of 4 workers"), "{}", saved.load);
    assert!(saved.server_handle.count == 30 && saved.checks.len() >= 3);
    let said = text(&output.stderr);
    assert!(said.contains("CHECK ") && said.contains("status 200"), "{said}");
    let output = run(&["--hgrm", "-", "-n", "30", "--rate", "2000"]);
    let first = text(&output.stdout);
    assert!(first.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n"));
    refuses(&["--json", "-", "--hgrm", "-"], 1, "name a file");
    // A load whose files cannot be written does not start.
    for option in ["--json", "--hgrm", "--csv"] {
        refuses(&["-n", "1", option, "/no/such/run"], 1, "cannot write /no/such/run");
    }
}

/// The requests that have started are finished, and the report and the files say so.
#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_load_with_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    let path = folder.path().join("run.json");
    for (options, least) in
        [(&["--rate", "200"][..], 20), (&["--clients", "2", "--think", "9ms"], 20)]
    {
        let before = server.arrived().len();
        let mut command = load();
        command.args(options).args(["--duration", "10m", "--json"]).arg(&path);
        let child = command.arg(server.url("/")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        wait_for("requests", || (server.arrived().len() >= before + least).then_some(()));
        let killed = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stdout);
        assert!(said.contains("It was ended early, after "), "{said}{}", text(&output.stderr));
        let saved = Saved::read(&path).unwrap();
        assert!(saved.interrupted && saved.failures == 0, "{said}");
        assert_eq!(saved.requests, (server.arrived().len() - before) as u64);
    }
}

/// Without a terminal there is no line; on a terminal it shows rates and percentiles.
#[cfg(unix)]
#[test]
fn a_terminal_shows_a_line() {
    let output = run(&["-n", "20", "--rate", "1000"]);
    assert_eq!(text(&output.stderr), "");
    let Some(mut script) = crate::support::installed("script") else { return };
    let program = load().get_program().to_str().unwrap().to_owned();
    let options = "--rate 300 --duration 1500ms";
    script.args(["-qec", &format!("'{program}' {options}"), "/dev/null"]).stdin(Stdio::null());
    let output = script.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for part in ["s of 1s  ", "/s  in flight ", "  failed 0 (all 0)  p50 ", "  p99 "] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
