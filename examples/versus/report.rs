//! Computes medians, ranges and ratios of the turns, and formats them as tables.

use super::cases::Case;
use super::peers::{CEILING, OURS};
use lab::markup::escape;
use std::fmt::Write;

/// The result of one server in one turn.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The case.
    pub case: &'static str,
    /// The server.
    pub server: &'static str,
    /// The round, starting at 1.
    pub round: u32,
    /// Requests per second.
    pub rate: f64,
    /// CPU time per request in microseconds.
    pub cpu_micros: f64,
    /// The median latency, in microseconds.
    pub p50: f64,
    /// The 99th percentile of the latency, in microseconds.
    pub p99: f64,
    /// Failed connections, and wrong responses.
    pub errors: u64,
    /// The peak memory in bytes.
    pub rss: u64,
}

/// A server's figures in one case: medians, and the range of the rate.
#[derive(Debug, Clone)]
struct Row {
    server: &'static str,
    rate: f64,
    range: (f64, f64),
    cpu: f64,
    p50: f64,
    p99: f64,
    errors: u64,
    rss: u64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (middle, is_odd) = (values.len() / 2, values.len() % 2 == 1);
    match values.get(middle) {
        None => 0.0,
        Some(value) if is_odd => *value,
        Some(value) => (values[middle - 1] + value) / 2.0,
    }
}

/// The servers of a case: this one first, then by rate.
fn rows(case: &Case, turns: &[Turn]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for turn in turns.iter().filter(|turn| turn.case == case.name) {
        if rows.iter().any(|row| row.server == turn.server) {
            continue;
        }
        let own: Vec<&Turn> = turns
            .iter()
            .filter(|other| other.case == case.name && other.server == turn.server)
            .collect();
        let of = |value: fn(&Turn) -> f64| own.iter().map(|turn| value(turn)).collect::<Vec<_>>();
        let rates = of(|turn| turn.rate);
        rows.push(Row {
            server: turn.server,
            range: rates.iter().fold((f64::MAX, 0.0), |(low, high), &r| (low.min(r), high.max(r))),
            rate: median(rates),
            cpu: median(of(|turn| turn.cpu_micros)),
            p50: median(of(|turn| turn.p50)),
            p99: median(of(|turn| turn.p99)),
            errors: own.iter().map(|turn| turn.errors).sum(),
            rss: own.iter().map(|turn| turn.rss).max().unwrap_or_default(),
        });
    }
    let place = |row: &Row| match row.server {
        OURS => 0,
        CEILING => 2,
        _ => 1,
    };
    rows.sort_by(|a, b| place(a).cmp(&place(b)).then(b.rate.total_cmp(&a.rate)));
    rows
}

const HEADINGS: [&str; 9] =
    ["server", "requests/s", "range", "x", "CPU us", "x CPU", "p50 us", "p99 us", "RSS MiB"];

/// The cells of a row, compared with this server.
fn cells(row: &Row, ours: Option<&Row>) -> [String; 9] {
    let ratio = |of: fn(&Row) -> f64| match ours {
        Some(ours) if ours.server != row.server && of(row) > 0.0 => {
            format!("{:.2}", of(ours) / of(row))
        }
        _ => String::new(),
    };
    let errors = if row.errors > 0 { format!(" ({} errors)", row.errors) } else { String::new() };
    [
        format!("{}{errors}", row.server),
        format!("{:.0}", row.rate),
        format!("{:.0}-{:.0}", row.range.0, row.range.1),
        ratio(|row| row.rate),
        format!("{:.1}", row.cpu),
        ratio(|row| row.cpu),
        format!("{:.0}", row.p50),
        format!("{:.0}", row.p99),
        format!("{:.1}", row.rss as f64 / f64::from(1 << 20)),
    ]
}

/// One case as a table.
pub fn table(case: &Case, turns: &[Turn]) -> String {
    let rows = rows(case, turns);
    let ours = rows.iter().find(|row| row.server == OURS);
    let mut text = format!("\n{} ({})\n", case.title, case.name);
    let line = |cells: &[String; 9]| {
        let [server, rest @ ..] = cells;
        let [rate, range, x, cpu, x_cpu, p50, p99, rss] = rest;
        format!(
            "{server:<18}{rate:>11}{range:>17}{x:>7}{cpu:>8}{x_cpu:>7}{p50:>8}{p99:>8}{rss:>9}\n"
        )
    };
    text.push_str(&line(&HEADINGS.map(str::to_owned)));
    for row in &rows {
        text.push_str(&line(&cells(row, ours)));
    }
    text
}

/// Compares this server with the best peer of each case: the fastest one, and those with the least
/// CPU, the lowest p99 and the least memory.
pub fn summary(cases: &[Case], turns: &[Turn]) -> String {
    let mut text = format!(
        "\nbeside the best peer of each case\n{:<12}{:>12}{:>24}{:>24}{:>24}{:>24}\n",
        "case", "requests/s", "x requests/s", "x CPU", "x p99", "x RSS"
    );
    for case in cases {
        let rows = rows(case, turns);
        let Some(ours) = rows.iter().find(|row| row.server == OURS) else { continue };
        let best = |of: fn(&Row) -> f64, largest: bool| {
            let peers = rows.iter().filter(|row| row.server != OURS && row.server != CEILING);
            let sign = if largest { -1.0 } else { 1.0 };
            let best = peers.min_by(|a, b| (sign * of(a)).total_cmp(&(sign * of(b))));
            best.map_or("-".to_owned(), |peer| {
                format!("{:.2} ({})", of(ours) / of(peer), peer.server)
            })
        };
        let _ = writeln!(
            text,
            "{:<12}{:>12.0}{:>24}{:>24}{:>24}{:>24}",
            case.name,
            ours.rate,
            best(|row| row.rate, true),
            best(|row| row.cpu, false),
            best(|row| row.p99, false),
            best(|row| row.rss as f64, false),
        );
    }
    text
}

/// One line per turn.
pub fn csv(turns: &[Turn]) -> String {
    let mut text = String::from(
        "case,server,round,requests_per_second,cpu_us_per_request,p50_us,p99_us,errors,peak_rss\n",
    );
    for turn in turns {
        let Turn { case, server, round, rate, cpu_micros, p50, p99, errors, rss } = turn;
        let _ = writeln!(
            text,
            "{case},{server},{round},{rate:.1},{cpu_micros:.3},{p50},{p99},{errors},{rss}"
        );
    }
    text
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;\
    padding:0 1rem}table{border-collapse:collapse;width:100%;margin-bottom:2rem}\
    th,td{padding:.2rem .5rem;text-align:right;border-bottom:1px solid #8884;\
    font-variant-numeric:tabular-nums}th:first-child,td:first-child{text-align:left}\
    tr.ours{font-weight:bold}tr.ceiling{opacity:.6}:root{color-scheme:light dark}";

/// A self-contained HTML page.
pub fn html(lines: &[String], cases: &[Case], turns: &[Turn]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>Side by side</title><style>{STYLE}</style></head>\n<body><h1>Side by side</h1>\n<p>"
    );
    page.push_str(&lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("<br>\n"));
    page.push_str("</p>\n");
    for case in cases {
        let rows = rows(case, turns);
        let ours = rows.iter().find(|row| row.server == OURS);
        let _ = write!(page, "<h2>{}</h2>\n<table><tr>", escape(case.title));
        for heading in HEADINGS {
            let _ = write!(page, "<th scope=\"col\">{heading}</th>");
        }
        page.push_str("</tr>\n");
        for row in &rows {
            let class = match row.server {
                OURS => " class=\"ours\"",
                CEILING => " class=\"ceiling\"",
                _ => "",
            };
            let _ = write!(page, "<tr{class}>");
            for cell in cells(row, ours) {
                let _ = write!(page, "<td>{}</td>", escape(&cell));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</table>\n");
    }
    page + "</body></html>\n"
}
