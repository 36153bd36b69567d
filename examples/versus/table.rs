//! Tables as plain text, Markdown and HTML.

use cws::internals::html::escape;
use std::fmt::Write;

/// A table with a title.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Its title.
    pub title: String,
    /// The headings of the columns.
    pub headings: Vec<&'static str>,
    /// The rows, each with a cell for each heading.
    pub rows: Vec<Vec<String>>,
    /// Lines below the table.
    pub notes: Vec<String>,
}

impl Table {
    /// Aligned columns: the first and the `left` last ones to the left, the others to the right.
    pub fn text(&self, left: usize) -> String {
        let head: Vec<String> = self.headings.iter().map(|&heading| heading.to_owned()).collect();
        let lines = || std::iter::once(&head).chain(&self.rows);
        let width =
            |at: usize| lines().filter_map(|cells| cells.get(at)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..head.len()).map(|at| width(at).unwrap_or(0)).collect();
        let mut text = format!("\n{}\n", self.title);
        for cells in lines() {
            let mut line = String::new();
            for (at, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
                let _ = match at == 0 || at + left >= head.len() {
                    true => write!(line, "{cell:<width$}  "),
                    false => write!(line, "{cell:>width$}  "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        self.notes.iter().for_each(|note| text.push_str(&format!("{note}\n")));
        text
    }

    /// GitHub's form.
    pub fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = format!("\n**{}**\n\n", self.title);
        text.push_str(&line(&mut self.headings.iter().copied()));
        text.push_str(&format!("|{}\n", "---|".repeat(self.headings.len())));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        self.notes.iter().for_each(|note| text.push_str(&format!("\n{note}\n")));
        text
    }

    /// A heading and a table.
    pub fn html(&self) -> String {
        let mut text = format!("<h2>{}</h2>\n<table><tr>", escape(&self.title));
        for heading in &self.headings {
            let _ = write!(text, "<th scope=\"col\">{}</th>", escape(heading));
        }
        text.push_str("</tr>\n");
        for row in &self.rows {
            text.push_str("<tr>");
            for cell in row {
                let _ = write!(text, "<td>{}</td>", escape(cell));
            }
            text.push_str("</tr>\n");
        }
        text.push_str("</table>\n");
        for note in &self.notes {
            let _ = writeln!(text, "<p>{}</p>", escape(note));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_three_forms() {
        let table = Table {
            title: "a < b".to_owned(),
            headings: vec!["name", "x", "verdict"],
            rows: vec![vec!["long name".to_owned(), "1.25".to_owned(), "a|b".to_owned()]],
            notes: vec!["a note".to_owned()],
        };
        let text = "\na < b\nname          x  verdict\nlong name  1.25  a|b\na note\n";
        assert_eq!(table.text(1), text);
        let markdown = "\n**a < b**\n\n| name | x | verdict |\n|---|---|---|\n\
                        | long name | 1.25 | a\\|b |\n\na note\n";
        assert_eq!(table.markdown(), markdown);
        assert!(table.html().contains("<h2>a &lt; b</h2>"), "{}", table.html());
        assert!(table.html().contains("<td>1.25</td><td>a|b</td>"), "{}", table.html());
    }
}
