//! Writes files of comma-separated values (RFC 4180).

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is being written.
#[derive(Debug)]
pub struct Csv {
    path: PathBuf,
    file: BufWriter<File>,
}

/// Why a file could not be written.
#[derive(Debug)]
pub struct WriteError {
    path: PathBuf,
    error: io::Error,
}

impl WriteError {
    /// The error of writing to this path.
    pub fn new(path: &Path, error: io::Error) -> Self {
        Self { path: path.to_owned(), error }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, error } = self;
        write!(f, "cannot write {}: {error} (choose another file)", path.display())
    }
}

impl std::error::Error for WriteError {}

impl Csv {
    /// Creates the file with these column headings.
    ///
    /// # Errors
    ///
    /// If it cannot be created or written.
    pub fn create(path: &Path, headings: &[&str]) -> Result<Self, WriteError> {
        let file = File::create(path).map_err(|error| WriteError::new(path, error))?;
        let mut csv = Self { path: path.to_owned(), file: BufWriter::new(file) };
        csv.row(headings)?;
        Ok(csv)
    }

    /// Adds a row.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn row<T: Display>(&mut self, cells: &[T]) -> Result<(), WriteError> {
        let line: Vec<String> = cells.iter().map(|cell| quoted(&cell.to_string())).collect();
        let written = writeln!(self.file, "{}", line.join(","));
        written.map_err(|error| WriteError::new(&self.path, error))
    }

    /// Writes the buffered rest to the file.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.file.flush().map_err(|error| WriteError::new(&self.path, error))
    }
}

fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_or_quotes_are_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.csv");
        let mut csv = Csv::create(&path, &["a", "b"]).expect("a file");
        csv.row(&["1", "x, \"y\""]).expect("a row");
        csv.row(&[0.5, 2.0]).expect("a row");
        csv.finish().expect("an end");
        let text = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(text, "a,b\n1,\"x, \"\"y\"\"\"\n0.5,2\n");
        let error = Csv::create(&folder.path().join("no/such"), &["a"]).expect_err("no folder");
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }
}
