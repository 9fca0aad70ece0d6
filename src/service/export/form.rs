//! Rows as CSV (RFC 4180), as one JSON array, or as a JSON object a line.

use std::io::{self, Write};

use crate::domain::Timestamp;
use crate::domain::outcome::words;

words! {
    /// The form of an export.
    pub enum Format {
        Csv = "csv",
        /// One array of objects.
        Json = "json",
        /// An object a line.
        Jsonl = "jsonl",
    }
}

/// What stands in a column of a row.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::service) enum Cell {
    Nothing,
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Time(Timestamp),
    /// One of ours.
    Word(&'static str),
    /// One that anybody may have written.
    Text(String),
    Json(serde_json::Value),
}

/// Where a program for tables would begin to calculate if a cell began so.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

impl Cell {
    pub(in crate::service) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(in crate::service) fn number(value: Option<f64>) -> Self {
        value.map_or(Self::Nothing, Self::Number)
    }

    pub(in crate::service) fn count(count: u64) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn as_json(&self) -> serde_json::Value {
        match self {
            Self::Nothing => serde_json::Value::Null,
            Self::Integer(value) => (*value).into(),
            Self::Number(value) => (*value).into(),
            Self::Boolean(value) => (*value).into(),
            Self::Time(at) => told(*at).into(),
            Self::Word(word) => (*word).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Json(value) => value.clone(),
        }
    }

    fn as_csv(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::Time(at) => told(*at),
            Self::Word(word) => (*word).to_owned(),
            Self::Text(text) if text.starts_with(FORMULA) => format!("'{text}"),
            Self::Text(text) => text.clone(),
            Self::Json(value) => value.to_string(),
        }
    }
}

/// RFC 3339 in UTC, as the API tells it.
fn told(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Rows on their way out.
pub(in crate::service) struct Sheet<W: Write> {
    columns: &'static [&'static str],
    rows: u64,
    out: Out<W>,
}

enum Out<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json(W),
    Jsonl(W),
}

impl<W: Write> Sheet<W> {
    pub(in crate::service) fn new(format: Format, columns: &'static [&'static str], out: W) -> Self {
        let out = match format {
            Format::Csv => {
                let writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
                Out::Csv(Box::new(writer))
            }
            Format::Json => Out::Json(out),
            Format::Jsonl => Out::Jsonl(out),
        };
        Self { columns, rows: 0, out }
    }

    pub(in crate::service) fn begin(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Csv(writer) => writer.write_record(self.columns).map_err(io_error),
            Out::Json(out) => out.write_all(b"["),
            Out::Jsonl(_) => Ok(()),
        }
    }

    pub(in crate::service) fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        match &mut self.out {
            Out::Csv(writer) => writer.write_record(cells.iter().map(Cell::as_csv)).map_err(io_error)?,
            Out::Json(out) => {
                out.write_all(if self.rows == 0 { b"\n" } else { b",\n" })?;
                object(self.columns, &cells, out)?;
            }
            Out::Jsonl(out) => {
                object(self.columns, &cells, out)?;
                out.write_all(b"\n")?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    pub(in crate::service) fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes what is left and returns how many rows there were.
    pub(in crate::service) fn end(mut self) -> io::Result<u64> {
        match &mut self.out {
            Out::Csv(writer) => writer.flush()?,
            Out::Json(out) => {
                out.write_all(b"\n]\n")?;
                out.flush()?;
            }
            Out::Jsonl(out) => out.flush()?,
        }
        Ok(self.rows)
    }
}

/// An object in the order of the columns.
fn object(columns: &[&str], cells: &[Cell], out: &mut impl Write) -> io::Result<()> {
    for (n, (column, cell)) in columns.iter().zip(cells).enumerate() {
        out.write_all(if n == 0 { b"{" } else { b"," })?;
        write!(out, "\"{column}\":{}", cell.as_json())?;
    }
    out.write_all(b"}")
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, rows: Vec<Vec<Cell>>) -> String {
        let mut out = Vec::new();
        let mut sheet = Sheet::new(format, &["a", "b"], &mut out);
        sheet.begin().unwrap();
        for row in rows {
            sheet.row(row).unwrap();
        }
        sheet.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_quoted_and_never_calculated() {
        let rows = vec![
            vec![Cell::text("a \"b\", c\nd"), Cell::text("=HYPERLINK(\"http://x\")")],
            vec![Cell::text("-1"), Cell::Number(-1.5)],
            vec![Cell::text("@x"), Cell::Nothing],
            vec![Cell::text("\t+1"), Cell::text("a=b")],
        ];
        assert_eq!(
            written(Format::Csv, rows),
            "a,b\r\n\"a \"\"b\"\", c\nd\",\"'=HYPERLINK(\"\"http://x\"\")\"\r\n'-1,-1.5\r\n'@x,\r\n'\t+1,a=b\r\n"
        );
    }

    #[test]
    fn json_is_an_array_or_lines_with_nothing_changed() {
        let rows = || vec![vec![Cell::text("=1"), Cell::Nothing], vec![Cell::Integer(i64::MAX), Cell::Boolean(true)]];
        let lines = "{\"a\":\"=1\",\"b\":null}\n{\"a\":9223372036854775807,\"b\":true}\n";
        assert_eq!(written(Format::Jsonl, rows()), lines);
        let array: serde_json::Value = serde_json::from_str(&written(Format::Json, rows())).unwrap();
        let each: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(array, serde_json::Value::Array(each));
        assert_eq!(written(Format::Json, Vec::new()), "[\n]\n");
    }
}
