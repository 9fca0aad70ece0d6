//! What the database is asked, and how long its answers take: totals, and the shapes of statements. No value of a
//! statement is kept.
//!
//! The store reports every statement that it prepares. `BEGIN`, `COMMIT`, the settings of a session and the pages read
//! by an examination are not among them; neither is a statement that was given up before its end.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::metrics::Counter;

/// A statement that takes at least so long is a slow one.
pub const SLOW: Duration = Duration::from_millis(100);

/// Shapes that are told apart. Those met later are counted together.
pub const SHAPES: usize = 200;

/// Bytes kept of the text of a shape. Statements that differ only behind them are one.
const TEXT: usize = 4_000;

/// Statements whose shape is remembered. When there are more all are forgotten, and looked at once more.
const REMEMBERED: usize = 2_048;

/// The statements since the start.
#[derive(Debug, Default)]
pub struct QueryStats {
    executed: Counter,
    failed: Counter,
    slow: Counter,
    total_us: Counter,
    longest_us: AtomicU64,
    shapes: Mutex<Shapes>,
}

/// All statements taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryTotals {
    /// Those that failed among them.
    pub executed: u64,
    pub failed: u64,
    /// Took at least [`SLOW`].
    pub slow: u64,
    pub time: Duration,
    pub longest: Duration,
}

/// The statements of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementStats {
    /// Without values; `None`: all those beyond [`SHAPES`].
    pub statement: Option<String>,
    pub executed: u64,
    pub failed: u64,
    pub slow: u64,
    pub time: Duration,
    pub longest: Duration,
    /// When the newest of them ended.
    pub last: Instant,
}

#[derive(Debug, Default)]
struct Shapes {
    by_text: HashMap<String, usize>,
    known: Vec<StatementStats>,
    other: Option<StatementStats>,
    /// The place of its shape by the hash of a statement's text; [`SHAPES`] stands for the others.
    remembered: HashMap<u64, usize>,
    hasher: RandomState,
}

impl QueryTotals {
    /// `None` before the first statement.
    pub fn average(&self) -> Option<Duration> {
        average(self.time, self.executed)
    }
}

impl StatementStats {
    fn new(statement: Option<String>) -> Self {
        let (time, longest) = (Duration::ZERO, Duration::ZERO);
        Self { statement, executed: 0, failed: 0, slow: 0, time, longest, last: Instant::now() }
    }

    fn add(&mut self, elapsed: Duration, failed: bool) {
        self.executed += 1;
        self.failed += u64::from(failed);
        self.slow += u64::from(elapsed >= SLOW);
        self.time += elapsed;
        self.longest = self.longest.max(elapsed);
        self.last = Instant::now();
    }

    pub fn average(&self) -> Duration {
        average(self.time, self.executed).unwrap_or_default()
    }
}

fn average(time: Duration, executed: u64) -> Option<Duration> {
    let nanoseconds = time.as_nanos().checked_div(u128::from(executed))?;
    Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
}

impl QueryStats {
    /// A statement has ended, after `elapsed`.
    pub fn record(&self, sql: &str, elapsed: Duration, failed: bool) {
        let microseconds = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.executed.add(1);
        self.failed.add(u64::from(failed));
        self.slow.add(u64::from(elapsed >= SLOW));
        self.total_us.add(microseconds);
        self.longest_us.fetch_max(microseconds, Ordering::Relaxed);
        self.shapes().of(sql).add(elapsed, failed);
    }

    pub fn totals(&self) -> QueryTotals {
        QueryTotals {
            executed: self.executed.get(),
            failed: self.failed.get(),
            slow: self.slow.get(),
            time: Duration::from_micros(self.total_us.get()),
            longest: Duration::from_micros(self.longest_us.load(Ordering::Relaxed)),
        }
    }

    /// The shapes in the order in which they were met, those beyond the bound as one behind them.
    pub fn statements(&self) -> Vec<StatementStats> {
        let shapes = self.shapes();
        shapes.known.iter().chain(&shapes.other).cloned().collect()
    }

    fn shapes(&self) -> MutexGuard<'_, Shapes> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shapes {
    fn of(&mut self, sql: &str) -> &mut StatementStats {
        let hash = self.hasher.hash_one(sql);
        let place = match self.remembered.get(&hash) {
            Some(place) => *place,
            None => self.meet(hash, sql),
        };
        match self.known.get_mut(place) {
            Some(shape) => shape,
            None => self.other.get_or_insert_with(|| StatementStats::new(None)),
        }
    }

    fn meet(&mut self, hash: u64, sql: &str) -> usize {
        let text = shape(sql);
        let place = match self.by_text.get(&text) {
            Some(place) => *place,
            None if self.known.len() < SHAPES => {
                self.known.push(StatementStats::new(Some(text.clone())));
                self.by_text.insert(text, self.known.len() - 1);
                self.known.len() - 1
            }
            None => SHAPES,
        };
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(hash, place);
        place
    }
}

/// The text of a statement without its values: `?` stands for each, once for a list of them, once for rows of them.
fn shape(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len().min(TEXT));
    let mut rest = sql.trim();
    while let Some(first) = rest.chars().next() {
        if out.len() > TEXT {
            out.truncate(out.floor_char_boundary(TEXT));
            out.push('…');
            break;
        }
        let after_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = match first {
            c if c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
                first.len_utf8()
            }
            '\'' => {
                value(&mut out);
                quoted(rest, '\'')
            }
            '"' | '`' => {
                let length = quoted(rest, first);
                out.push_str(&rest[..length]);
                length
            }
            '?' | '$' => {
                value(&mut out);
                1 + run(&rest[1..], |c| c.is_ascii_digit())
            }
            c if c.is_ascii_digit() && !after_word => {
                value(&mut out);
                run(rest, |c| c.is_ascii_alphanumeric() || c == '.')
            }
            ')' => {
                out.push(')');
                // A row of values after another one says nothing new.
                if out.ends_with("(?), (?)") {
                    out.truncate(out.len() - ", (?)".len());
                }
                1
            }
            other => {
                out.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    out
}

/// Puts a value behind what there is, unless it continues a list.
fn value(out: &mut String) {
    match out.strip_suffix("?, ").or_else(|| out.strip_suffix("?,")).map(str::len) {
        Some(before) => out.truncate(before + 1),
        None => out.push('?'),
    }
}

/// The length of a quoted text, its quotes included; two quotes within it stand for one.
fn quoted(text: &str, quote: char) -> usize {
    let mut end = 1;
    while let Some(at) = text[end..].find(quote) {
        end += at + 1;
        if !text[end..].starts_with(quote) {
            return end;
        }
        end += 1;
    }
    text.len()
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_no_values() {
        for (sql, expected) in [
            (
                "SELECT \"a\", \"b2\" FROM \"t\" WHERE \"id\" = $1 LIMIT $2",
                "SELECT \"a\", \"b2\" FROM \"t\" WHERE \"id\" = ? LIMIT ?",
            ),
            ("INSERT INTO t (a, b) VALUES (?, ?), (?, ?),\n  (?, ?)", "INSERT INTO t (a, b) VALUES (?)"),
            ("INSERT INTO t VALUES ($1, $2), ($3, $4) RETURNING id", "INSERT INTO t VALUES (?) RETURNING id"),
            ("SELECT x FROM t WHERE id IN (1, 2, 30)", "SELECT x FROM t WHERE id IN (?)"),
            (
                "SELECT 'it''s 5 o''clock', b FROM t1 WHERE c = 0x1F AND d < 1.5e3",
                "SELECT ?, b FROM t1 WHERE c = ? AND d < ?",
            ),
            ("SELECT \"odd \"\"name\"\" 7\" FROM t", "SELECT \"odd \"\"name\"\" 7\" FROM t"),
            ("SELECT 'never ended", "SELECT ?"),
            ("  SELECT\t1 ", "SELECT ?"),
            ("SELECT 'ä€', ä1 FROM \"ü", "SELECT ?, ä1 FROM \"ü"),
            ("", ""),
        ] {
            assert_eq!(shape(sql), expected, "{sql}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let sql = format!("SELECT {} FROM t", "column, ".repeat(2_000));
        let text = shape(&sql);
        assert!(text.len() <= TEXT + 16 && text.ends_with('…'), "{}", text.len());
        assert!(shape(&format!("INSERT INTO t VALUES {}", "(?, ?), ".repeat(50_000))).len() < 40);
    }

    #[test]
    fn statements_are_counted_by_shape_and_in_all() {
        let stats = QueryStats::default();
        assert_eq!(stats.totals().average(), None);
        stats.record("SELECT a FROM t WHERE id = 1", Duration::from_millis(2), false);
        stats.record("SELECT a FROM t WHERE id = 2", Duration::from_millis(4), true);
        stats.record("DELETE FROM t", SLOW, false);
        let totals = stats.totals();
        assert_eq!((totals.executed, totals.failed, totals.slow), (3, 1, 1));
        assert_eq!((totals.time, totals.longest), (Duration::from_millis(106), SLOW));
        let statements = stats.statements();
        let seen: Vec<_> = statements.iter().map(|s| (s.statement.as_deref(), s.executed, s.failed, s.slow)).collect();
        assert_eq!(seen, [(Some("SELECT a FROM t WHERE id = ?"), 2, 1, 0), (Some("DELETE FROM t"), 1, 0, 1)]);
        assert_eq!(
            (statements[0].average(), statements[0].longest),
            (Duration::from_millis(3), Duration::from_millis(4))
        );
    }

    #[test]
    fn shapes_beyond_the_bound_are_counted_together() {
        let stats = QueryStats::default();
        for round in 0..2 {
            for column in 0..REMEMBERED + 10 {
                stats.record(&format!("SELECT c{column} FROM t"), Duration::from_millis(round), false);
            }
        }
        let statements = stats.statements();
        assert_eq!(statements.len(), SHAPES + 1);
        assert!(statements[..SHAPES].iter().all(|s| s.statement.is_some() && s.executed == 2));
        let other = &statements[SHAPES];
        assert_eq!((other.statement.as_deref(), other.executed), (None, 2 * (REMEMBERED + 10 - SHAPES) as u64));
        assert!(stats.shapes().remembered.len() <= REMEMBERED);
    }
}
