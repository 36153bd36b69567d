//! Files in a database: an SQLite Archive (<https://sqlite.org/sqlar.html>), which
//! `sqlite3 FILE -A --list` and others read, with an index of the words in them beside it.

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The table of the format, and the index. `words` keeps no copy of the texts.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS sqlar(
        name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB);
    CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='', contentless_delete=1);
";

/// How long a connection waits for the one writer that SQLite lets write, before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Mode of a file that comes from a client: a plain file that its owner may write.
const UPLOADED: u32 = 0o100644;

/// Largest file that is loaded; one that is asked for is held in memory whole.
pub const LOADED_MOST: u64 = 16 << 20;

/// Longest name of a file.
const NAME_MOST: usize = 1024;

/// Files that a search gives at most.
const FOUND_MOST: u32 = 20;

/// One connection to the database.
#[derive(Debug)]
pub struct Archive {
    connection: Connection,
}

/// A file that a search found.
#[derive(Debug, serde::Serialize)]
pub struct Found {
    pub name: String,
    pub size: i64,
}

/// A file that was stored.
#[derive(Debug)]
pub struct Stored {
    pub name: String,
    /// There was none of this name.
    pub is_new: bool,
    /// How long this was the one writer, from the begin of the transaction to the end of the
    /// commit.
    pub wrote_for: Duration,
}

impl Archive {
    /// Opens a database, and makes the tables where they are missing.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Readers go on while one writes. What was answered by 201 survives a crash.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection })
    }

    /// Stores all files beneath a folder in one transaction; gives their number.
    ///
    /// Links are left out, and files that are too large or whose name is no text or hidden.
    pub fn load(&mut self, folder: &Path) -> Result<usize, Box<dyn Error>> {
        let transaction = self.connection.transaction()?;
        let mut count = 0;
        let mut folders = vec![(folder.to_owned(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let (metadata, file_name) = (entry.metadata()?, entry.file_name());
                let Some(file_name) = file_name.to_str().filter(|name| is_good(name)) else {
                    continue;
                };
                let name = format!("{prefix}{file_name}");
                if metadata.is_dir() {
                    let none: Option<Vec<u8>> = None;
                    insert(&transaction, &name, metadata.mode(), Some(metadata.mtime()), 0, none)?;
                    folders.push((entry.path(), format!("{name}/")));
                } else if metadata.is_file() && metadata.len() <= LOADED_MOST {
                    let content = fs::read(entry.path())?;
                    let (mode, mtime) = (metadata.mode(), Some(metadata.mtime()));
                    let data = Some(deflated(&content)?);
                    insert(&transaction, &name, mode, mtime, content.len(), data)?;
                    index(&transaction, &content)?;
                    count += 1;
                }
            }
        }
        transaction.commit()?;
        Ok(count)
    }

    /// Stores files, by their names and contents, in one transaction.
    pub fn add<'a>(
        &mut self,
        files: impl IntoIterator<Item = (String, &'a [u8])>,
    ) -> Result<(), Box<dyn Error>> {
        let transaction = self.connection.transaction()?;
        for (name, content) in files {
            let data = Some(deflated(content)?);
            insert(&transaction, &name, UPLOADED, None, content.len(), data)?;
            index(&transaction, content)?;
        }
        Ok(transaction.commit()?)
    }

    /// The content of a file; none where there is no such file.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        let mut find =
            self.connection.prepare_cached("SELECT sz, data FROM sqlar WHERE name = ?1")?;
        let row = find.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        // A directory has no data, and a link a size below zero.
        let row = row.filter(|(size, _): &(i64, _)| *size >= 0);
        let Some((size, Some(data))): Option<(i64, Option<Vec<u8>>)> = row else {
            return Ok(None);
        };
        let size = u64::try_from(size)?;
        if data.len() as u64 == size {
            return Ok(Some(data));
        }
        let mut content = Vec::new();
        ZlibDecoder::new(&data[..]).take(size).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    /// The files that have all these words, the best first.
    pub fn search(&self, words: &str) -> rusqlite::Result<Vec<Found>> {
        // Each word is a string of the index's query language, so that none is an operator of it.
        let quoted = |word: &str| format!("\"{}\"", word.replace('"', "\"\""));
        let query: Vec<String> = words.split_whitespace().map(quoted).collect();
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let mut find = self.connection.prepare_cached(
            "SELECT sqlar.name, sqlar.sz FROM words JOIN sqlar ON sqlar.rowid = words.rowid
             WHERE words MATCH ?1 ORDER BY rank LIMIT ?2",
        )?;
        let found = find.query_map(params![query.join(" "), FOUND_MOST], |row| {
            Ok(Found { name: row.get(0)?, size: row.get(1)? })
        })?;
        found.collect()
    }

    /// Stores a file under this name, in place of one that may be there; under a new name in
    /// `uploads/` where it has none.
    pub fn store(
        &mut self,
        name: Option<&str>,
        content: &[u8],
    ) -> Result<Stored, Box<dyn Error + Send + Sync>> {
        // What can be done before the others have to wait is done before.
        let data = deflated(content)?;
        // Immediate: a transaction that reads first cannot wait for another writer's end.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let begun = Instant::now();
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                let next = "SELECT coalesce(max(rowid), 0) + 1 FROM sqlar";
                let number: i64 = transaction.query_row(next, [], |row| row.get(0))?;
                format!("uploads/{number}")
            }
        };
        let old = "DELETE FROM words WHERE rowid IN (SELECT rowid FROM sqlar WHERE name = ?1)";
        transaction.execute(old, [&name])?;
        let is_new = transaction.execute("DELETE FROM sqlar WHERE name = ?1", [&name])? == 0;
        insert(&transaction, &name, UPLOADED, None, content.len(), Some(data))?;
        index(&transaction, content)?;
        transaction.commit()?;
        Ok(Stored { name, is_new, wrote_for: begun.elapsed() })
    }

    /// What `meanwhile` gives, done in the middle of a read by this connection, which then goes on.
    pub fn while_reading<T>(&self, meanwhile: impl FnOnce() -> T) -> rusqlite::Result<T> {
        let mut names = self.connection.prepare("SELECT name FROM sqlar")?;
        let mut rows = names.query([])?;
        rows.next()?;
        let done = meanwhile();
        while rows.next()?.is_some() {}
        Ok(done)
    }

    /// The number of files whose name begins with `prefix`.
    pub fn count(&self, prefix: &str) -> rusqlite::Result<i64> {
        let count = "SELECT count(*) FROM sqlar WHERE substr(name, 1, length(?1)) = ?1";
        self.connection.query_row(count, [prefix], |row| row.get(0))
    }

    /// What SQLite finds wrong with the database; `ok` where that is nothing.
    pub fn integrity(&self) -> rusqlite::Result<String> {
        self.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))
    }
}

/// True for a name under which a client may store a file: one that whoever extracts the archive
/// wants in his folder. That it leads nowhere else, the server has seen to: a decoded path has
/// neither empty segments nor dot segments.
pub fn is_good(name: &str) -> bool {
    let is_plain = |segment: &str| !segment.is_empty() && !segment.starts_with('.');
    name.len() <= NAME_MOST && name.split('/').all(is_plain) && !name.contains(char::is_control)
}

/// Without a time of its own it was changed now.
fn insert(
    connection: &Connection,
    name: &str,
    mode: u32,
    mtime: Option<i64>,
    size: usize,
    data: Option<Vec<u8>>,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO sqlar(name, mode, mtime, sz, data)
         VALUES(?1, ?2, coalesce(?3, unixepoch()), ?4, ?5)",
    )?;
    insert.execute(params![name, mode, mtime, size as i64, data])?;
    Ok(())
}

/// Takes the words of the row that was inserted last into the index, where it is text.
fn index(connection: &Connection, content: &[u8]) -> rusqlite::Result<()> {
    if let Ok(text) = std::str::from_utf8(content) {
        let insert = "INSERT INTO words(rowid, text) VALUES(last_insert_rowid(), ?1)";
        connection.prepare_cached(insert)?.execute([text])?;
    }
    Ok(())
}

/// The content as the format has it: as zlib's `compress` makes it, or as it is where that is no
/// shorter.
fn deflated(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content)?;
    let shorter = encoder.finish()?;
    Ok(if shorter.len() < content.len() { shorter } else { content.to_vec() })
}
