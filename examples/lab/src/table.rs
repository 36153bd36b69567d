//! A table, as aligned text for the terminal and as HTML.

use cws::internals::html::escape;
use std::fmt;

/// Column headings and rows of text. The first column is aligned left, the others right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings and no rows.
    pub fn new<T: Into<String>>(headings: impl IntoIterator<Item = T>) -> Self {
        Self { headings: headings.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row. Missing cells are empty; surplus cells are ignored.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) -> &mut Self {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.headings.len(), String::new());
        self.rows.push(row);
        self
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table in HTML.
    pub fn html(&self) -> String {
        let cells = |tag: &str, cells: &[String]| -> String {
            cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
        };
        let headings: String = self
            .headings
            .iter()
            .map(|heading| format!("<th scope=\"col\">{}</th>", escape(heading)))
            .collect();
        let rows: String =
            self.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", row))).collect();
        format!(
            "<div class=\"wide\"><table>\n<thead><tr>{headings}</tr></thead>\n\
             <tbody>\n{rows}</tbody></table></div>\n"
        )
    }
}

impl fmt::Display for Table {
    /// One line for the headings and one for each row, each with a line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]);
            let cells = cells.chain([&self.headings[column]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        for row in [&self.headings].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => line.push_str(&format!("{cell:<width$}")),
                    _ => line.push_str(&format!("  {cell:>width$}")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["policy", "m = 1", "µs"]);
        table.row(["none", "0.9", "12345"]).row(["bound <T>"]).row(["a", "b", "c", "d"]);
        let expected = "\
policy     m = 1     µs
none         0.9  12345
bound <T>
a              b      c
";
        assert_eq!(table.to_string(), expected);
        let html = table.html();
        assert!(html.contains("<td>bound &lt;T&gt;</td><td></td><td></td></tr>"), "{html}");
        assert_eq!(html.matches("<th scope=\"col\">").count(), 3);
    }
}
