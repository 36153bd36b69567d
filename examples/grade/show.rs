//! The result: a table with what was lost and how to mend it, JSON, and a page.

use crate::exam::{Exam, Mark};
use lab::report::Report;
use lab::table::Table;
use serde::Serialize;
use std::fmt::Write;

/// The width of the explanations.
const WIDTH: usize = 92;

/// The points of all checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    pub points: u32,
    /// Of the checks that were judged.
    pub of: u32,
    pub unjudged: u32,
}

impl Total {
    pub fn of(marks: &[Mark]) -> Self {
        let judged = marks.iter().filter(|mark| mark.came.share.is_some());
        let unjudged = marks.iter().filter(|mark| mark.came.share.is_none());
        Self {
            points: marks.iter().filter_map(Mark::points).sum(),
            of: judged.map(|mark| mark.check.points).sum(),
            unjudged: unjudged.map(|mark| mark.check.points).sum(),
        }
    }

    fn said(self) -> String {
        let Self { points, of, unjudged } = self;
        match unjudged {
            0 => format!("{points} of {of} points"),
            _ => format!("{points} of {of} points; {unjudged} are not judged"),
        }
    }
}

fn points(mark: &Mark) -> String {
    match mark.points() {
        Some(points) => format!("{points}/{}", mark.check.points),
        None => format!("-/{}", mark.check.points),
    }
}

/// A check that costs points and that there is something to say about.
fn needs_words(mark: &&Mark) -> bool {
    mark.is_lost() && mark.is_done
}

/// The result as text.
pub fn text(exam: &Exam, marks: &[Mark]) -> String {
    let mut text = format!("{}\n\npoints  check\n", title(exam));
    let name = |mark: &Mark| mark.check.name.chars().count();
    let width = marks.iter().map(name).max().unwrap_or_default();
    for mark in marks {
        let (points, name, came) = (points(mark), mark.check.name, &mark.came.what);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{points:>6}  {name:<width$}  {came}");
    }
    let _ = writeln!(text, "\n{}", Total::of(marks).said());
    for mark in marks.iter().filter(needs_words) {
        let _ = writeln!(text, "\n{}: {}", mark.check.name, points(mark));
        for (word, what) in explained(mark) {
            let _ = write!(text, "{}", wrapped(word, what));
        }
    }
    for note in &exam.notes {
        let _ = write!(text, "\n{}", wrapped("note", note));
    }
    text
}

fn explained(mark: &Mark) -> [(&'static str, &str); 4] {
    [
        ("did", mark.check.did),
        ("came", &mark.came.what),
        ("expected", mark.check.expected),
        ("mend", mark.check.mend),
    ]
}

fn title(exam: &Exam) -> String {
    let process = match &exam.process {
        Some(process) => format!("process {:?}", process.ids()),
        None => "process not known".to_owned(),
    };
    format!("{}:{}, {process}", exam.args.host, exam.args.port)
}

/// A word, and lines of text behind it.
fn wrapped(word: &str, text: &str) -> String {
    let mut lines = vec![String::new()];
    for part in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| {
            line.is_empty() || line.chars().count() + part.chars().count() < WIDTH - 10
        });
        match line {
            Some(line) if line.is_empty() => line.push_str(part),
            Some(line) => {
                line.push(' ');
                line.push_str(part);
            }
            None => lines.push(part.to_owned()),
        }
    }
    let first = format!("  {word:<8}  ");
    format!("{first}{}\n", lines.join(&format!("\n{}", " ".repeat(first.len()))))
}

#[derive(Serialize)]
struct Shown<'a> {
    server: String,
    points: u32,
    of: u32,
    not_judged: u32,
    checks: Vec<ShownCheck<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct ShownCheck<'a> {
    id: &'a str,
    name: &'a str,
    /// `null` if it is not judged.
    points: Option<u32>,
    of: u32,
    did: &'a str,
    came: &'a str,
    expected: &'a str,
    mend: &'a str,
}

/// The result as JSON.
pub fn json(exam: &Exam, marks: &[Mark]) -> Result<String, serde_json::Error> {
    let Total { points, of, unjudged } = Total::of(marks);
    let checks = marks.iter().map(|mark @ Mark { check, came, .. }| ShownCheck {
        id: check.id,
        name: check.name,
        points: mark.points(),
        of: check.points,
        did: check.did,
        came: &came.what,
        expected: check.expected,
        mend: check.mend,
    });
    serde_json::to_string_pretty(&Shown {
        server: format!("{}:{}", exam.args.host, exam.args.port),
        points,
        of,
        not_judged: unjudged,
        checks: checks.collect(),
        notes: &exam.notes,
    })
}

/// The result as an HTML page.
pub fn page(exam: &Exam, marks: &[Mark]) -> String {
    let mut report = Report::new("Grade", &format!("{}: {}", title(exam), Total::of(marks).said()));
    let mut table = Table::new(["check", "points", "what came"]);
    for mark in marks {
        table.row([mark.check.name.to_owned(), points(mark), mark.came.what.clone()]);
    }
    report.table(&table);
    for mark in marks.iter().filter(needs_words) {
        report.heading(&format!("{}: {}", mark.check.name, points(mark)));
        for (word, what) in explained(mark) {
            report.text(&format!("{word}: {what}"));
        }
    }
    for note in &exam.notes {
        report.text(note);
    }
    report.html()
}
