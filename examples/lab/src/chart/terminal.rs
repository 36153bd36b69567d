//! Renders charts as text.

use super::{Axis, Chart, Shape, drawable};
use std::fmt::Write;

/// The marks of the series, in order.
const MARKS: [char; 6] = ['●', '×', '+', '○', '▲', '*'];
const FILLS: [char; 4] = ['█', '▒', '░', '▓'];

pub(super) fn draw(chart: &Chart, x: &Axis, y: &Axis, columns: usize, rows: usize) -> String {
    let mut canvas = Canvas { cells: vec![vec![' '; columns]; rows], x, y };
    let mut names = Vec::new();
    let (mut marks, mut fills) = (MARKS.iter().cycle(), FILLS.iter().cycle());
    for series in &chart.series {
        let mark = match &series.shape {
            // Bands would hide the other series, and series without a name need no explanation.
            Shape::Band(_) => continue,
            _ if series.name.is_empty() && chart.series.len() > 1 => continue,
            Shape::Boxes(_) => fills.next(),
            _ => marks.next(),
        };
        let mark = mark.copied().unwrap_or('*');
        canvas.draw(&series.shape, mark);
        if !series.name.is_empty() {
            names.push(format!("{mark} {}", series.name));
        }
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}", chart.title);
    let _ = writeln!(text, "  {}", names.join("   "));
    canvas.frame(&mut text);
    text
}

struct Canvas<'a> {
    /// Rows, from the top.
    cells: Vec<Vec<char>>,
    x: &'a Axis,
    y: &'a Axis,
}

impl Canvas<'_> {
    fn draw(&mut self, shape: &Shape, mark: char) {
        match shape {
            Shape::Line(points) | Shape::Dashed(points) => self.line(&drawable(points), mark),
            Shape::Points(points) | Shape::Joined(points) => {
                for (x, y) in drawable(points) {
                    self.set(self.x.place(x), self.y.place(y), mark);
                }
            }
            Shape::Band(_) => {}
            Shape::Boxes(boxes) => {
                for corners in boxes.iter().filter(|corners| corners.iter().all(|v| v.is_finite()))
                {
                    self.fill(*corners, mark);
                }
            }
        }
    }

    /// Sets a mark in each column that the line crosses.
    fn line(&mut self, points: &[(f64, f64)], mark: char) {
        let columns = self.cells[0].len();
        for column in 0..columns {
            let at = self.x.at(column as f64 / (columns - 1) as f64);
            let pair = points.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&at));
            if let Some(&[(x0, y0), (x1, y1)]) = pair {
                let share = if x1 > x0 { (at - x0) / (x1 - x0) } else { 0.0 };
                self.set(self.x.place(at), self.y.place(y0 + share * (y1 - y0)), mark);
            }
        }
    }

    fn fill(&mut self, [left, low, right, high]: [f64; 4], mark: char) {
        let (columns, rows) = (self.cells[0].len(), self.cells.len());
        let edge = |place: f64, count: usize| (place * count as f64).round() as usize;
        let across = edge(self.x.place(left), columns)..edge(self.x.place(right), columns);
        let up = edge(self.y.place(low), rows)..edge(self.y.place(high), rows);
        for row in up {
            for column in across.clone() {
                self.cells[rows - 1 - row][column] = mark;
            }
        }
    }

    fn set(&mut self, x: f64, y: f64, mark: char) {
        let (columns, rows) = (self.cells[0].len(), self.cells.len());
        let column = (x * (columns - 1) as f64).round() as usize;
        let row = (y * (rows - 1) as f64).round() as usize;
        self.cells[rows - 1 - row][column] = mark;
    }

    /// Writes the cells with both axes.
    fn frame(&self, text: &mut String) {
        let (columns, rows) = (self.cells[0].len(), self.cells.len());
        let mut labels = vec![String::new(); rows];
        for tick in self.y.ticks() {
            let row = (self.y.place(tick) * (rows - 1) as f64).round() as usize;
            labels[rows - 1 - row] = self.y.name(tick);
        }
        let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
        let _ = writeln!(text, "{:>width$} {}", "", self.y.label);
        for (label, cells) in labels.iter().zip(&self.cells) {
            let line: String = cells.iter().collect();
            let edge = if label.is_empty() { '│' } else { '┤' };
            let _ = writeln!(text, "{label:>width$} {edge}{}", line.trim_end());
        }
        let mut axis = vec!['─'; columns];
        let mut names = vec![' '; columns + 8];
        let mut free = 0;
        for tick in self.x.ticks() {
            let column = (self.x.place(tick) * (columns - 1) as f64).round() as usize;
            axis[column] = '┬';
            let name = self.x.name(tick);
            let start = column.saturating_sub(name.chars().count() / 2);
            if start >= free {
                for (offset, character) in name.chars().enumerate().take(names.len() - start) {
                    names[start + offset] = character;
                }
                free = start + name.chars().count() + 1;
            }
        }
        let (axis, names): (String, String) = (axis.iter().collect(), names.iter().collect());
        let _ = writeln!(text, "{:>width$} └{axis}", "");
        let _ = writeln!(text, "{:>width$}  {}", "", names.trim_end());
        let _ = writeln!(text, "{:>width$}  {}", "", self.x.label);
    }
}
