//! The tables and files of a run.

use super::cases::{Case, Pace};
use super::figures::{FIGURES, Figure, Limit, Row, Spread, Turn, Verdict, ratio, rows, verdict};
use super::peers::Role;
use super::table::Table;
use cws::internals::html::escape;
use std::fmt::Write;

/// The headings of a case.
const HEADINGS: [&str; 12] = [
    "server",
    "CPU us",
    "x",
    "requests/s",
    "x",
    "p50 us",
    "x",
    "p99 us",
    "x",
    "switches",
    "calls",
    "MiB",
];

/// The headings of comparisons.
const COMPARED: [&str; 7] =
    ["case", "limit", "x CPU", "x requests/s", "x p50", "x p99", "this server is"];

/// What the ratios mean.
const LEGEND: &str = "x: this server's figure divided by the best one of the others, and whose \
                      that is; in brackets, divided by its own in other turns (the noise)";

/// One case with all servers.
pub fn case_table(case: &Case, turns: &[Turn], notes: &[String]) -> Table {
    let rows = rows(case, turns);
    let ours = rows.iter().find(|row| row.role == Role::Ours);
    let mut notes = notes.to_vec();
    notes.extend(ours.and_then(|ours| about_pace(case, &rows, ours)));
    Table {
        title: format!("{} ({})", case.title, case.name),
        headings: HEADINGS.to_vec(),
        rows: rows.iter().map(|row| cells(row, ours)).collect(),
        notes,
    }
}

/// Whether the load was as intended, and what else the case is about.
fn about_pace(case: &Case, rows: &[Row], ours: &Row) -> Option<String> {
    let rate = |row: &Row| row.figure(Figure::Rate).median;
    if let Some(capacity) = case.capacity() {
        let share = rate(ours) / capacity;
        return Some(format!("{share:.3} of W/D = {capacity:.0}/s"));
    }
    let busiest = rows.iter().map(|row| row.driver).fold(0.0, f64::max);
    let (Pace::Fixed(wanted) | Pace::Beside(wanted, _)) = case.pace else {
        let most = rows.iter().map(rate).fold(0.0, f64::max);
        let driver = format!("the load generator used up to {busiest:.2} of its processor");
        return (most > 0.0).then_some(driver);
    };
    let least = rows.iter().map(rate).fold(f64::MAX, f64::min);
    let mut text = format!(
        "{:.3} of the intended rate or more; the pacer used up to {busiest:.2} of a processor",
        least / wanted
    );
    if let Pace::Beside(..) = case.pace {
        let each = rows.iter().map(|row| format!("{} {:.0}", row.server, row.downloads));
        let _ = write!(text, "; downloads/s: {}", each.collect::<Vec<_>>().join(", "));
    }
    Some(text)
}

/// A number with three digits or more.
fn number(value: f64) -> String {
    match value {
        _ if value >= 99.95 => format!("{value:.0}"),
        _ if value >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The median with the range, if there is one.
fn spread(spread: Spread) -> String {
    let Spread { median, low, high } = spread;
    match median > 0.0 {
        true if low == high => number(median),
        true => format!("{} ({}-{})", number(median), number(low), number(high)),
        false => "-".to_owned(),
    }
}

/// The cells of a row, compared with this server.
fn cells(row: &Row, ours: Option<&Row>) -> Vec<String> {
    let errors = if row.errors > 0 { format!(" ({} errors)", row.errors) } else { String::new() };
    let mut cells = vec![format!("{}{errors}", row.server)];
    for figure in FIGURES {
        let ours = ours.filter(|ours| ours.server != row.server);
        let ratio = ours.and_then(|ours| ratio(figure, ours, row));
        cells.push(spread(row.figure(figure)));
        cells.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
    }
    cells.push(if row.switches > 0.0 { number(row.switches) } else { "-".to_owned() });
    cells.push(row.calls.map_or("-".to_owned(), number));
    cells.push(format!("{:.1}", row.rss as f64 / f64::from(1 << 20)));
    cells
}

/// This server beside the best peer of each case, then beside each earlier build.
pub fn comparisons(cases: &[Case], turns: &[Turn]) -> Vec<Table> {
    let mut tables =
        Vec::from_iter(comparison("the best peer of each case", cases, turns, |row| {
            row.role == Role::Peer
        }));
    let mut earlier: Vec<&str> = Vec::new();
    for turn in turns.iter().filter(|turn| turn.role == Some(Role::Earlier)) {
        if !earlier.contains(&turn.server.as_str()) {
            earlier.push(&turn.server);
        }
    }
    for name in earlier {
        tables.extend(comparison(name, cases, turns, |row| row.server == name));
    }
    // Without rivals, the noise is what there is to see.
    if tables.is_empty() {
        let itself = |row: &Row| row.role == Role::Again;
        tables.extend(comparison("itself", cases, turns, itself));
    }
    tables
}

fn comparison(
    beside: &str,
    cases: &[Case],
    turns: &[Turn],
    is_rival: impl Fn(&Row) -> bool,
) -> Option<Table> {
    let of = |case| verdict(case, &rows(case, turns), &is_rival).map(|v| (case, v));
    let lines = cases.iter().filter_map(of).map(|(case, verdict)| verdict_cells(case, &verdict));
    let rows: Vec<Vec<String>> = lines.collect();
    (!rows.is_empty()).then(|| Table {
        title: format!("beside {beside}"),
        headings: COMPARED.to_vec(),
        rows,
        notes: vec![LEGEND.to_owned()],
    })
}

fn verdict_cells(case: &Case, verdict: &Verdict) -> Vec<String> {
    let limit = match verdict.limit {
        Limit::Servers => "server".to_owned(),
        Limit::Driver(share) => format!("driver ({share:.2})"),
        Limit::Pace => "pace".to_owned(),
        Limit::Workers(most) => format!("W/D ({most:.0}/s)"),
    };
    let mut cells = vec![case.name.to_owned(), limit];
    for figure in FIGURES {
        let ratio = verdict.ratios.iter().find(|ratio| ratio.figure == figure);
        cells.push(ratio.map_or("-".to_owned(), |ratio| {
            let noise = ratio.noise.map_or(String::new(), |noise| format!(" [{noise:.2}]"));
            format!("{:.2}{noise} {}", ratio.value, ratio.rival)
        }));
    }
    cells.push(verdict.text());
    cells
}

/// One line per turn.
pub fn csv(turns: &[Turn]) -> String {
    let mut text = String::from(
        "case,server,round,requests_per_second,cpu_us_per_request,p50_us,p99_us,errors,peak_rss,\
         switches_per_request,calls_per_request,driver_share,downloads_per_second\n",
    );
    for turn in turns {
        let Turn { case, server, round, rate, cpu, p50, p99, errors, rss, .. } = turn;
        let calls = turn.calls.map_or(String::new(), |calls| format!("{calls:.3}"));
        let _ = writeln!(
            text,
            "{case},{server},{round},{rate:.1},{cpu:.3},{p50:.1},{p99:.1},{errors},{rss},{:.3},\
             {calls},{:.3},{:.1}",
            turn.switches, turn.driver, turn.downloads
        );
    }
    text
}

/// All tables in Markdown.
pub fn markdown(lines: &[String], tables: &[Table]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("- {line}\n")).collect();
    lines.concat() + &tables.iter().map(Table::markdown).collect::<String>()
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;\
    padding:0 1rem}table{border-collapse:collapse;width:100%;margin-bottom:1rem}\
    th,td{padding:.2rem .5rem;text-align:right;border-bottom:1px solid #8884;\
    font-variant-numeric:tabular-nums}th:first-child,td:first-child{text-align:left}\
    :root{color-scheme:light dark}";

/// A self-contained HTML page.
pub fn html(lines: &[String], tables: &[Table]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>Side by side</title><style>{STYLE}</style></head>\n<body><h1>Side by side</h1>\n<p>"
    );
    page.push_str(&lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("<br>\n"));
    page.push_str("</p>\n");
    tables.iter().for_each(|table| page.push_str(&table.html()));
    page + "</body></html>\n"
}

#[cfg(test)]
mod tests {
    use super::super::cases::ALL;
    use super::*;

    fn turns(case: &'static str, server: &str, role: Role, rates: [f64; 2]) -> [Turn; 2] {
        rates.map(|rate| Turn {
            case,
            server: server.to_owned(),
            role: Some(role),
            rate,
            cpu: 10.0,
            p50: 50.0,
            p99: 123.4,
            switches: 0.5,
            rss: 3 << 20,
            ..Turn::default()
        })
    }

    fn all_turns(case: &'static str) -> Vec<Turn> {
        let ours = turns(case, "cws", Role::Ours, [100.0, 300.0]);
        let peer = turns(case, "peer", Role::Peer, [160.0, 160.0]);
        let earlier = turns(case, "old", Role::Earlier, [400.0, 400.0]);
        let again = turns(case, "again", Role::Again, [190.0, 210.0]);
        [ours, peer, earlier, again].concat()
    }

    #[test]
    fn a_case_has_a_row_for_each_server_with_medians_ranges_and_ratios() {
        let mut all = all_turns("keep-alive");
        all[0].errors = 7;
        all[2].calls = Some(3.25);
        let table = case_table(&ALL[0], &all, &["a note".to_owned()]);
        let rows: Vec<String> = table.rows.iter().map(|cells| cells.join("|")).collect();
        assert_eq!(
            rows,
            [
                "cws (7 errors)|10.0||200 (100-300)||50.0||123||0.50|-|3.0",
                "old|10.0|1.00|400|0.50|50.0|1.00|123|1.00|0.50|-|3.0",
                "peer|10.0|1.00|160|1.25|50.0|1.00|123|1.00|0.50|3.25|3.0",
                "again|10.0|1.00|200 (190-210)|1.00|50.0|1.00|123|1.00|0.50|-|3.0",
            ]
        );
        assert!(table.rows.iter().all(|row| row.len() == table.headings.len()));
        assert_eq!(table.notes[0], "a note");
    }

    #[test]
    fn peers_and_earlier_builds_are_compared_apart() {
        let tables = comparisons(&ALL, &all_turns("keep-alive"));
        let titles: Vec<&str> = tables.iter().map(|table| table.title.as_str()).collect();
        assert_eq!(titles, ["beside the best peer of each case", "beside old"]);
        let row = tables[0].rows[0].join("|");
        let same = "1.00 [1.00] peer";
        let expected = format!("keep-alive|server|{same}|1.25 [1.00] peer|{same}|{same}|");
        assert_eq!(row, expected + "ahead in requests/s; level in CPU");
        let row = &tables[1].rows[0];
        assert_eq!((row[3].as_str(), row.len()), ("0.50 [1.00] old", tables[1].headings.len()));
        let alone: Vec<Turn> = all_turns("close")
            .into_iter()
            .filter(|turn| matches!(turn.role, Some(Role::Ours | Role::Again)))
            .collect();
        assert_eq!(comparisons(&ALL, &alone)[0].title, "beside itself");
        assert!(comparisons(&ALL, &[]).is_empty());
    }

    #[test]
    fn the_line_below_a_case_says_whether_the_load_was_as_intended() {
        for (name, expected) in [
            ("keep-alive", "the load generator used up to 0.00 of its processor"),
            ("delay", "0.250 of W/D = 800/s"),
            ("paced-5k", "0.032 of the intended rate or more; the pacer used up to 0.00"),
            ("beside-10m", "; downloads/s: cws 0, old 0, peer 0, again 0"),
        ] {
            let case = ALL.into_iter().find(|case| case.name == name).expect("a case");
            let table = case_table(&case, &all_turns(case.name), &[]);
            assert!(table.notes.concat().contains(expected), "{name}: {:?}", table.notes);
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [(0.0, "0.00"), (9.994, "9.99"), (9.996, "10.0"), (1e5, "100000")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_turn_is_a_line_of_the_csv_file() {
        let text = csv(&all_turns("close"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 9);
        let columns = |line: &str| line.split(',').count();
        assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{text}");
        let first = "close,cws,0,100.0,10.000,50.0,123.4,0,3145728,0.500,,0.000,0.0";
        assert_eq!(lines[1], first);
    }
}
