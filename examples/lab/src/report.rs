//! A self-contained HTML page with text, charts, tables and checks. It loads nothing else, and
//! follows the reader's light or dark scheme.

use crate::table::Table;
use cws::internals::html::escape;

const STYLE: &str = include_str!("report.css");

/// A page that is being built.
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    body: String,
}

impl Report {
    /// A page with a title and an introduction.
    pub fn new(title: &str, lead: &str) -> Self {
        let (heading, lead) = (escape(title), escape(lead));
        let body = format!("<h1>{heading}</h1>\n<p class=\"lead\">{lead}</p>\n");
        Self { title: title.to_owned(), body }
    }

    /// Adds a heading.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.push(&format!("<h2>{}</h2>\n", escape(text)))
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: &str) -> &mut Self {
        // A program separates paragraphs on a terminal by empty lines.
        self.push(&format!("<p>{}</p>\n", escape(text.trim())))
    }

    /// Adds preformatted lines, such as a program's output.
    pub fn lines(&mut self, text: &str) -> &mut Self {
        let lines: Vec<String> = text.lines().map(escape).collect();
        self.push(&format!("<div class=\"wide\"><pre>{}</pre></div>\n", lines.join("\n")))
    }

    /// Adds a table.
    pub fn table(&mut self, table: &Table) -> &mut Self {
        self.push(&table.html())
    }

    /// Adds an SVG image, as [`Chart::svg`](crate::chart::Chart::svg) returns it, with a caption.
    pub fn figure(&mut self, svg: &str, caption: &str) -> &mut Self {
        let caption = escape(caption);
        self.push(&format!("<figure>\n{svg}<figcaption>{caption}</figcaption>\n</figure>\n"))
    }

    /// The whole page.
    pub fn html(&self) -> String {
        let Self { title, body } = self;
        let title = escape(title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
        )
    }

    fn push(&mut self, html: &str) -> &mut Self {
        self.body.push_str(html);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_self_contained_and_escapes_text() {
        let mut report = Report::new("a < b", "\"lead\" & more");
        report
            .heading("<h>")
            .text("\n<script>")
            .lines("x < y\nz\n")
            .figure("<svg></svg>\n", "c & d");
        report.table(Table::new(["one"]).row(["<1>"]));
        let html = report.html();
        for text in [
            "a &lt; b",
            "&quot;lead&quot; &amp; more",
            "&lt;script&gt;",
            "&lt;1&gt;",
            "x &lt; y\nz<",
        ] {
            assert!(html.contains(text), "{text}");
        }
        assert!(!html.contains("<script"));
        for link in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!html.contains(link), "it loads nothing else: {link}");
        }
    }
}
