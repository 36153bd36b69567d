//! A configuration file: its keys and values as texts, each with its line.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The most bytes of a file. A longer one is no configuration.
const MOST: u64 = 1 << 20;

/// The name of the tables that describe further sites.
const SITE: &str = "site";

/// What is wrong, and in which line; 0 if it is not in the file alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: String,
    /// As on the command line: several for a list.
    pub(super) values: Vec<String>,
    pub(super) is_list: bool,
}

/// The keys at the top of the file, or those of one `[[site]]`, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) line: usize,
    pub(super) entries: Vec<Entry>,
}

impl Table {
    /// The line of a key; 0 if it is not there.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.entries.iter().find(|entry| entry.key == key).map_or(0, |entry| entry.line)
    }
}

/// A file that could be read, and what is wrong with its form.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    pub(super) top: Table,
    pub(super) sites: Vec<Table>,
    pub(super) faults: Vec<Fault>,
}

/// Reads a file.
///
/// # Errors
///
/// If it cannot be read, or if it is too long.
pub(super) fn read(path: &Path) -> io::Result<Document> {
    let mut text = String::new();
    File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(Document::parse(&text))
}

impl Document {
    /// The keys of a text. Those that its faults leave are there, too, so that all faults can be
    /// told at once.
    fn parse(text: &str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut document = Self::default();
        for error in errors {
            let line = error.span().map_or(0, |span| line(text, &span));
            // The parser can stumble several times over one mistake.
            if document.faults.iter().all(|fault| fault.line != line) {
                document.fault(line, one_line(error.message()));
            }
        }
        let broken: Vec<usize> = document.faults.iter().map(|fault| fault.line).collect();
        document.top = document.table(text, table.get_ref(), 1, true);
        // What is left of a broken line has no meaning.
        let is_whole = |entry: &Entry| !broken.contains(&entry.line);
        for table in std::iter::once(&mut document.top).chain(&mut document.sites) {
            table.entries.retain(is_whole);
        }
        document
    }

    fn fault(&mut self, line: usize, text: impl Into<String>) {
        self.faults.push(Fault { line, text: text.into() });
    }

    fn table(&mut self, text: &str, table: &DeTable<'_>, line_of: usize, is_top: bool) -> Table {
        let mut entries = Vec::new();
        for (key, value) in table {
            let (line, key) = (line(text, &key.span()), key.get_ref().to_string());
            let mut is_list = false;
            let values = match value.get_ref() {
                DeValue::Array(sites) if is_top && key == SITE => {
                    self.sites(text, sites, line);
                    continue;
                }
                DeValue::Table(_) if is_top && key == SITE => {
                    self.fault(line, "write [[site]], with two brackets: there can be several");
                    continue;
                }
                DeValue::Table(_) => {
                    let only = "the options have no tables but [[site]]";
                    self.fault(line, format!("there is no table {key}: {only}"));
                    continue;
                }
                DeValue::Array(list) => {
                    is_list = true;
                    list.iter().map(|value| scalar(value.get_ref())).collect()
                }
                value => scalar(value).map(|text| vec![text]),
            };
            match values {
                Some(values) => entries.push(Entry { line, key, values, is_list }),
                None => self.fault(
                    line,
                    format!("{key}: write a text, a number, true or false, or a list of these"),
                ),
            }
        }
        entries.sort_by_key(|entry| entry.line);
        Table { line: line_of, entries }
    }

    fn sites(&mut self, text: &str, sites: &[Spanned<DeValue<'_>>], line_of: usize) {
        for site in sites {
            match site.get_ref() {
                DeValue::Table(table) => {
                    let line_of = line(text, &site.span());
                    let site = self.table(text, table, line_of, false);
                    self.sites.push(site);
                }
                _ => self.fault(line_of, "site: write [[site]], and its keys below it"),
            }
        }
    }
}

/// The text of a value as one writes it on the command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => Some(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        ),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The line, from 1, in which this begins.
fn line(text: &str, span: &Range<usize>) -> usize {
    let before = &text.as_bytes()[..span.start.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_with_their_lines() {
        let text = "workers = 0x10\n\nmin-rate = 1_000\nmime = [\n 'a=b/c',\n 'd=e/f']\n\
                    [[site]]\nprefix = \"/a\"\ncors = true\n[[site]]\n";
        let document = Document::parse(text);
        assert_eq!(document.faults, []);
        let told = |table: &Table| -> Vec<(usize, String)> {
            let texts = table.entries.iter();
            texts.map(|of| (of.line, format!("{}={}", of.key, of.values.join("|")))).collect()
        };
        let wanted = [(1, "workers=16"), (3, "min-rate=1000"), (4, "mime=a=b/c|d=e/f")];
        assert_eq!(told(&document.top), wanted.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(document.sites.len(), 2);
        let wanted = [(8, "prefix=/a"), (9, "cors=true")];
        assert_eq!(told(&document.sites[0]), wanted.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(document.sites[1].line, 10);
    }

    #[test]
    fn one_broken_line_does_not_hide_another() {
        let document = Document::parse("workers = = 4\nqueue = 1\nmime = 1979-05-27\nx = \"\n");
        let lines: Vec<usize> = document.faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 4, 3], "{:?}", document.faults);
        assert_eq!(document.top.entries.len(), 1);
    }
}
