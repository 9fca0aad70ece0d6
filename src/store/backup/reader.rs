//! Reading a portable backup, line by line, without trust: it may be cut off, damaged, or of a newer version.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::portable::{FORMAT, Footer, Header, TableLine, VERSION, hex};
use super::{Progress, Told};
use crate::store::StoreError;
use crate::store::schema::{self, Schema};

/// The longest line that is read: far more than the longest row.
const LINE: u64 = 256 * 1024 * 1024;

/// Lines between two words of progress.
const STEP: u64 = 500;

/// A portable backup that is being read.
pub(super) struct Reader {
    lines: BufReader<GzDecoder<Counted>>,
    name: String,
    size: u64,
    line: Vec<u8>,
    read: u64,
    sum: Sha256,
    counts: BTreeMap<String, u64>,
    /// The table whose rows are being read.
    table: Option<String>,
    pub(super) header: Header,
}

/// What comes next.
pub(super) enum Next<'a> {
    /// Rows of this table follow.
    Table(String),
    /// A row of the table, to be decoded.
    Row(&'a [u8]),
    /// That was all, and it was whole.
    End,
}

impl Reader {
    /// Opens a backup and reads what it says of itself.
    ///
    /// # Errors
    /// When it is none, or a newer version wrote it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let cannot = |e: std::io::Error| super::unavailable("the backup cannot be read", path, &e);
        let file = File::open(path).map_err(cannot)?;
        let size = file.metadata().map_err(cannot)?.len();
        let header = Header {
            format: String::new(),
            version: 0,
            created_at: crate::domain::from_micros(0),
            program: String::new(),
            migrations: Vec::new(),
            tables: Vec::new(),
        };
        let mut reader = Self {
            lines: BufReader::with_capacity(64 * 1024, GzDecoder::new(Counted { file, read: 0 })),
            name: path.display().to_string(),
            size,
            line: Vec::new(),
            read: 0,
            sum: Sha256::new(),
            counts: BTreeMap::new(),
            table: None,
            header,
        };
        reader.read_line()?;
        let no_backup = || StoreError::Unavailable(format!("{} is not a backup of api-monitor", path.display()));
        // Enough to tell a form of a later day, whatever else it has.
        let said: serde_json::Value = serde_json::from_slice(&reader.line).map_err(|_| no_backup())?;
        if said["format"] != FORMAT {
            return Err(no_backup());
        }
        if said["version"].as_u64().is_none_or(|version| version > u64::from(VERSION)) {
            return Err(schema::newer(&reader.backup(), &format!("form {}", said["version"])));
        }
        reader.header = reader.parsed()?;
        reader.sum.update(&reader.line);
        match schema::compare(&reader.header.migrations) {
            Schema::Newer(unknown) => return Err(schema::newer(&reader.backup(), &unknown)),
            // Each schema is the one before and one migration more.
            _ if !schema::known().starts_with(&reader.header.migrations) => return Err(reader.damaged("its schema")),
            _ => {}
        }
        if reader.header.tables.iter().any(|table| table.columns.is_empty() || table.key.is_empty()) {
            return Err(reader.damaged("its tables"));
        }
        Ok(reader)
    }

    /// Reads the whole backup, whose sum and numbers of rows must be those it ends with.
    pub(super) fn verify(path: &Path, told: Told<'_>) -> Result<Header, StoreError> {
        let mut reader = Self::open(path)?;
        while !matches!(reader.next()?, Next::End) {
            reader.tell(told);
        }
        Ok(reader.header)
    }

    /// The next thing in the backup.
    pub(super) fn next(&mut self) -> Result<Next<'_>, StoreError> {
        self.read_line()?;
        self.read += 1;
        if self.line.first() == Some(&b'[') {
            let Some(count) = self.table.as_ref().and_then(|table| self.counts.get_mut(table)) else {
                return Err(self.damaged("a row without a table"));
            };
            *count += 1;
            self.sum.update(&self.line);
            return Ok(Next::Row(&self.line));
        }
        if let Ok(TableLine { table }) = self.parsed() {
            if self.counts.insert(table.clone(), 0).is_some() {
                return Err(self.damaged("a table that comes twice"));
            }
            self.sum.update(&self.line);
            self.table = Some(table.clone());
            return Ok(Next::Table(table));
        }
        let footer: Footer = self.parsed()?;
        if footer.sha256 != hex(&self.sum.clone().finalize()) || footer.rows != self.counts {
            return Err(self.damaged("the sum of its rows"));
        }
        if self.lines.read(&mut [0]).map_err(|_| self.cut_off())? > 0 {
            return Err(self.damaged("more after its end"));
        }
        Ok(Next::End)
    }

    /// The rows that were read.
    pub(super) fn rows(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Tells how far it has come, now and then.
    pub(super) fn tell(&self, told: Told<'_>) {
        if self.read.is_multiple_of(STEP) {
            told(Progress::Bytes { done: self.lines.get_ref().get_ref().read, total: self.size });
        }
    }

    fn read_line(&mut self) -> Result<(), StoreError> {
        self.line.clear();
        let read = (&mut self.lines).take(LINE).read_until(b'\n', &mut self.line);
        if read.is_err() || self.line.last() != Some(&b'\n') {
            return Err(self.cut_off());
        }
        Ok(())
    }

    fn parsed<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_slice(&self.line).map_err(|_| self.damaged("a line that says nothing"))
    }

    fn backup(&self) -> String {
        format!("the backup {}", self.name)
    }

    pub(super) fn damaged(&self, what: &str) -> StoreError {
        let name = &self.name;
        StoreError::Unavailable(format!("the backup {name} is damaged ({what}): nothing was changed; use another"))
    }

    fn cut_off(&self) -> StoreError {
        let name = &self.name;
        StoreError::Unavailable(format!("the backup {name} is cut off or damaged: nothing was changed; use another"))
    }
}

/// A file that knows how much of it was read.
struct Counted {
    file: File,
    read: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.read += read as u64;
        Ok(read)
    }
}
