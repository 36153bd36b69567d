//! Tables, the chart, and the checks.

use crate::clients::Scenario;
use crate::measure::Cell;
use crate::model::Model;
use crate::options::Args;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::moments::Moments;
use lab::numbers::{millis, millis_cell, percent};
use lab::program::Program;
use lab::table::Table;
use std::error::Error;

/// What a server may carry more than its threads can, for the clock's sake, as a share.
const ABOVE: f64 = 0.01;

/// The least share of n/D that n threads carry: a service takes a little longer than D.
const LEAST: f64 = 0.85;
const LEAST_QUICK: f64 = 0.7;

/// The least multiple of W/D that a server without a bound carries, with eight times as many
/// clients.
const UNBOUNDED: f64 = 2.0;

/// The most that a blocked server, and the least that another one carries, as a share of what it
/// carries with the same clients alone.
const BLOCKED_MOST: f64 = 0.02;
const SERVED_LEAST: f64 = 0.85;
const SERVED_LEAST_QUICK: f64 = 0.5;

/// How many times as much memory a client costs as a thread than as an entry, at least.
const TIMES: f64 = 2.0;

pub fn show(program: &mut Program, args: &Args, cells: &[Cell]) -> Result<(), Box<dyn Error>> {
    for scenario in Scenario::ALL {
        program.heading(&heading(scenario, args));
        program.table(&table(scenario, cells, args));
    }
    program.text(
        "Memory is the proportional share (PSS), in which pages that processes share count once in \
         all, and RSS, in which they count for each. What the kernel holds for a process, a thread \
         or a connection is in neither. CPU is the server's own time for an answer, to a \
         hundredth of a second in all.",
    );
    program.figure(
        &chart(cells),
        "Few and many clients alone, and few beside silent or slow ones. All axes are \
         logarithmic. A ring at the bottom: nobody is served.",
    )?;
    Checks { program, args, cells }.all();
    Ok(())
}

fn heading(scenario: Scenario, args: &Args) -> String {
    let (few, many, slow) = (args.few(), args.many(), args.slow);
    match scenario {
        Scenario::Few => format!("Few: {few} clients"),
        Scenario::Many => format!("Many: {many} clients"),
        Scenario::Silent => format!("Silent: {few} clients, and {slow} that send nothing"),
        Scenario::Slow => format!("Slow: {few} clients, and {slow} that send a byte now and then"),
    }
}

fn table(scenario: Scenario, cells: &[Cell], args: &Args) -> Table {
    let mut headings = vec![
        "model",
        "answers/s",
        "median ms",
        "p99 ms",
        "CPU us",
        "PSS MiB",
        "RSS MiB",
        "processes",
        "threads",
    ];
    let occupied = matches!(scenario, Scenario::Silent | Scenario::Slow);
    if occupied {
        headings.push("KiB a client");
    }
    let mut table = Table::new(headings);
    for cell in cells.iter().filter(|cell| cell.scenario == scenario) {
        let none = || "-".to_owned();
        let answered = cell.latency.count() > 0;
        let time = |p| answered.then(|| millis_cell(cell.latency.percentile(p)));
        let mebibytes = |kibibytes: u64| format!("{:.1}", kibibytes as f64 / 1024.0);
        let mut row = vec![
            cell.model.name().to_owned(),
            rate(&cell.rate),
            time(0.5).unwrap_or_else(none),
            time(0.99).unwrap_or_else(none),
            cell.cpu.map_or_else(none, |cpu| format!("{}", cpu.as_micros() / 10 * 10)),
            mebibytes(cell.most.proportional),
            mebibytes(cell.most.resident),
            cell.most.processes.to_string(),
            cell.most.threads.to_string(),
        ];
        if occupied {
            row.push(format!("{:.1}", cell.memory_per(args.slow)));
        }
        table.row(row);
    }
    table
}

/// With its 95 % interval, if there are several rounds.
fn rate(rate: &Moments) -> String {
    match rate.count() {
        0 | 1 => format!("{:.0}", rate.mean()),
        _ => format!("{:.0} ± {:.0}", rate.mean(), rate.half_width()),
    }
}

/// Throughput, latency and memory of all models with all kinds of clients.
fn chart(cells: &[Cell]) -> Chart {
    let rate = |cell: &Cell| (cell.rate.mean() > 0.0).then(|| cell.rate.mean());
    let latency =
        |cell: &Cell| (cell.latency.count() > 0).then(|| millis(cell.latency.percentile(0.5)));
    let memory = |cell: &Cell| Some(cell.most.proportional as f64 / 1024.0);
    let lesson = "Silent and slow clients stop the sequential server and the pool of connections; \
                  they cost the others memory: most a process for each, least an entry in a table";
    panel("Throughput, latency and memory of six servers", lesson, "answers/s", cells, rate)
        .over(panel("Median latency of the answers", "", "ms", cells, latency))
        .over(panel("Memory", "", "MiB (PSS)", cells, memory))
}

/// Bars for each kind of clients, one a model.
fn panel(
    title: &str,
    description: &str,
    y: &str,
    cells: &[Cell],
    figure: impl Fn(&Cell) -> Option<f64>,
) -> Chart {
    let width = 0.8 / Model::ALL.len() as f64;
    let place = |cell: &Cell| {
        let group = Scenario::ALL.iter().position(|each| *each == cell.scenario);
        let within = Model::ALL.iter().position(|each| *each == cell.model);
        let left = group.unwrap_or_default() as f64 - 0.4;
        left + within.unwrap_or_default() as f64 * width
    };
    let shown = cells.iter().filter_map(&figure);
    // A bar needs a length, also the shortest.
    let low = shown.fold(f64::INFINITY, f64::min) / 2.0;
    let names = Scenario::ALL.map(Scenario::name);
    let high = cells.iter().filter_map(&figure).fold(low * 10.0, f64::max) * 1.2;
    let y = Axis::log(y).between(low, high);
    let mut chart = Chart::new(title, description, Axis::named("", names), y);
    for model in Model::ALL {
        let own = cells.iter().filter(|cell| cell.model == model);
        let boxes = own.filter_map(|cell| {
            let left = place(cell);
            figure(cell).map(|high| [left, low, left + 0.85 * width, high])
        });
        chart = chart.with(model.name(), model.colour(), Shape::Boxes(boxes.collect()));
    }
    let without = cells.iter().filter(|cell| figure(cell).is_none());
    let rings = without.map(|cell| (place(cell) + 0.42 * width, low * 1.15)).collect();
    chart.with("", Colour::Ink, Shape::Points(rings))
}

struct Checks<'a> {
    program: &'a mut Program,
    args: &'a Args,
    cells: &'a [Cell],
}

impl Checks<'_> {
    fn all(&mut self) {
        let cells = self.cells;
        let models = Model::ALL;
        for model in models {
            for scenario in [Scenario::Few, Scenario::Many] {
                self.carries(find(cells, model, scenario));
            }
        }
        for scenario in [Scenario::Silent, Scenario::Slow] {
            models.into_iter().for_each(|model| self.bears(model, scenario));
        }
        for model in models {
            self.costs(find(cells, model, Scenario::Silent));
        }
        self.order();
    }

    /// What n threads carry is n/D, and what nothing limits is more than W/D.
    fn carries(&mut self, cell: &Cell) {
        let Args { workers, delay, .. } = *self.args;
        let (model, name) = (cell.model, cell.scenario.name());
        let clients = match cell.scenario {
            Scenario::Many => self.args.many(),
            _ => self.args.few(),
        };
        let rate = cell.rate.mean();
        let said = format!("{name}: {} carries {rate:.0}/s", model.name());
        match model.at_a_time(workers) {
            Some(threads) => {
                let limit = threads.min(clients) as f64 / delay.as_secs_f64();
                let least = if self.args.common.quick { LEAST_QUICK } else { LEAST };
                let share = percent(rate / limit);
                self.program.check(
                    format!("{said}, {share} of {threads}/D = {limit:.0}/s"),
                    (least * limit..=(1.0 + ABOVE) * limit).contains(&rate),
                );
            }
            None if cell.scenario == Scenario::Many => {
                let bound = UNBOUNDED * workers as f64 / delay.as_secs_f64();
                self.program.check(
                    format!("{said}, at least {UNBOUNDED} W/D = {bound:.0}/s"),
                    rate >= bound,
                );
            }
            None => {}
        }
    }

    /// Clients without a request stop a server whose threads wait for clients, and no other.
    fn bears(&mut self, model: Model, scenario: Scenario) {
        let alone = find(self.cells, model, Scenario::Few).rate.mean();
        let share = find(self.cells, model, scenario).rate.mean() / alone;
        let name = scenario.name();
        let said = format!(
            "{} {name} clients: {} carries {} of what it carries without them",
            self.args.slow,
            model.name(),
            percent(share)
        );
        match model.waits_for_clients() {
            true => self.program.check(said, share <= BLOCKED_MOST),
            false => {
                let quick = self.args.common.quick;
                let least = if quick { SERVED_LEAST_QUICK } else { SERVED_LEAST };
                self.program.check(said, share >= least);
            }
        }
    }

    /// How many processes and threads the silent clients cost.
    fn costs(&mut self, cell: &Cell) {
        let silent = self.args.slow as u64;
        let processes = cell.most.processes - cell.rest.processes;
        let threads = cell.most.threads.saturating_sub(cell.rest.threads);
        let said = format!(
            "{silent} silent clients cost {} {processes} processes and {threads} threads",
            cell.model.name()
        );
        let holds = match cell.model {
            Model::Process => processes >= silent,
            Model::Thread => processes == 0 && threads >= silent,
            _ => processes == 0 && threads == 0,
        };
        self.program.check(said, holds);
    }

    /// A process costs more memory than a thread, and a thread more than an entry in a table.
    fn order(&mut self) {
        let slow = self.args.slow;
        let cost = |model| find(self.cells, model, Scenario::Slow).memory_per(slow);
        let [process, thread] = [Model::Process, Model::Thread].map(cost);
        let [request, event] = [Model::PoolRequest, Model::EventLoop].map(cost);
        let entry = request.max(event);
        self.program.check(
            format!(
                "a slow client costs a process {process:.0} KiB, a thread {thread:.1}, and an \
                 entry {request:.1} (pool a request) or {event:.1} (event loop)"
            ),
            process >= TIMES * thread && thread >= TIMES * entry,
        );
    }
}

/// All combinations are measured.
fn find(cells: &[Cell], model: Model, scenario: Scenario) -> &Cell {
    let wanted = |cell: &&Cell| cell.model == model && cell.scenario == scenario;
    cells.iter().find(wanted).unwrap_or(&cells[0])
}
