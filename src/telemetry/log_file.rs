//! The log file: the configured path is always the newest file; when a period is over it is renamed to
//! `<path>.2026-03-01` (`<path>.2026-03-01T13` by the hour) and the oldest of those are removed.
//!
//! Written by one thread, line by line. Nothing that befalls it stops the monitor: lines that cannot be written are
//! lost and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tracing_appender::non_blocking::ErrorCounter;

use super::logging::{Now, Rotation};
use crate::domain::{Timestamp, from_micros};

/// What the file is and when it is rotated.
#[derive(Debug, Clone)]
pub(super) struct FileOptions {
    pub(super) path: PathBuf,
    pub(super) rotation: Rotation,
    pub(super) keep: usize,
}

/// What people should know of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Told once, until lines can be written again.
    Failing(String),
    Again {
        lost: u64,
    },
    /// Lines that found the queue full, since this was told last.
    Overrun {
        lost: usize,
    },
    NotRotated(String),
    NotRemoved(String),
}

pub(super) struct LogFile {
    options: FileOptions,
    now: Now,
    say: Box<dyn Fn(Said) + Send>,
    /// `None` after a failure: opened again by the next line.
    open: Option<Open>,
    /// Lines lost since writing began to fail.
    failing: Option<u64>,
    /// Lines that found the queue full, once there is a queue.
    overrun: Arc<OnceLock<ErrorCounter>>,
    overrun_told: usize,
}

struct Open {
    file: File,
    /// Devices and pipes are written to and otherwise left alone.
    regular: bool,
    /// Of the newest line; `None` when it is not rotated.
    period: Option<String>,
    /// The second in which the path was last compared with the file.
    looked: i64,
}

impl LogFile {
    /// Opens the file, and makes its folder. What it held is kept.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub(super) fn open(
        options: FileOptions,
        now: Now,
        overrun: Arc<OnceLock<ErrorCounter>>,
        say: Box<dyn Fn(Said) + Send>,
    ) -> Result<Self, String> {
        let mut file = Self { options, now, say, open: None, failing: None, overrun, overrun_told: 0 };
        let at = (file.now)();
        if let Err(error) = file.ready(at) {
            return Err(format!(
                "the log file {} cannot be written ({error}): make its folder writable for this user, or choose \
                 another place with logging.file",
                file.options.path.display()
            ));
        }
        file.remove_old();
        Ok(file)
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let at = (self.now)();
        let open = self.ready(at)?;
        append(&mut open.file, open.regular, line)
    }

    /// The file to write to at this time.
    fn ready(&mut self, at: Timestamp) -> io::Result<&mut Open> {
        let mut open = match self.open.take() {
            // Somebody moved or removed the file: what is looked at is the path.
            Some(open) if open.regular && open.looked != at.timestamp() && !is_at(&open.file, &self.options.path) => {
                self.reopen(at)?
            }
            Some(open) => open,
            None => self.reopen(at)?,
        };
        open.looked = at.timestamp();
        let current = period(self.options.rotation, at);
        // A clock that goes back begins no new file.
        if open.regular && current > open.period {
            open = self.rotate(open, current, at)?;
        }
        Ok(self.open.insert(open))
    }

    fn reopen(&self, at: Timestamp) -> io::Result<Open> {
        let path = &self.options.path;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        // What an earlier process wrote belongs to its own day.
        let written = if metadata.len() > 0 { modified(&metadata).unwrap_or(at) } else { at };
        let period = period(self.options.rotation, written);
        Ok(Open { file, regular: metadata.is_file(), period, looked: at.timestamp() })
    }

    fn rotate(&self, open: Open, current: Option<String>, at: Timestamp) -> io::Result<Open> {
        let Some(over) = &open.period else { return Ok(Open { period: current, ..open }) };
        if let Err(error) = std::fs::rename(&self.options.path, self.free_name(over)) {
            (self.say)(Said::NotRotated(error.to_string()));
            return Ok(Open { period: current, ..open });
        }
        let next = self.reopen(at)?;
        self.remove_old();
        Ok(Open { period: current, ..next })
    }

    /// The name for a file whose period is over; a file that has it already is not overwritten.
    fn free_name(&self, period: &str) -> PathBuf {
        let named = |suffix: &str| {
            let mut name = self.options.path.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let taken = |path: &Path| path.symlink_metadata().is_ok();
        let plain = named(&format!(".{period}"));
        if !taken(&plain) {
            return plain;
        }
        let numbered = (1_u32..).map(|number| named(&format!(".{period}.{number}")));
        numbered.into_iter().find(|path| !taken(path)).unwrap_or(plain)
    }

    /// Removes the oldest files of earlier periods beyond those to keep. Nothing else in the folder is touched.
    fn remove_old(&self) {
        if let Err(error) = self.try_to_remove_old() {
            (self.say)(Said::NotRemoved(error.to_string()));
        }
    }

    fn try_to_remove_old(&self) -> io::Result<()> {
        let path = &self.options.path;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Ok(());
        };
        if self.options.rotation == Rotation::Never {
            return Ok(());
        }
        let mut old = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let rotated = entry.file_name().to_str().and_then(|other| rotated_at(other.strip_prefix(name)?));
            if let Some(order) = rotated
                && entry.file_type().is_ok_and(|kind| kind.is_file())
            {
                old.push((order, entry.path()));
            }
        }
        old.sort();
        let surplus = old.len().saturating_sub(self.options.keep);
        for (_, path) in old.into_iter().take(surplus) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

impl Write for LogFile {
    /// Takes a whole line, whatever becomes of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.write_line(line) {
            Ok(()) => {
                if let Some(lost) = self.failing.take() {
                    (self.say)(Said::Again { lost });
                }
            }
            Err(error) => {
                self.open = None;
                if self.failing.is_none() {
                    (self.say)(Said::Failing(error.to_string()));
                }
                *self.failing.get_or_insert(0) += 1;
            }
        }
        Ok(line.len())
    }

    /// The queue is empty: the time to tell that it was full.
    fn flush(&mut self) -> io::Result<()> {
        let overrun = self.overrun.get().map_or(0, ErrorCounter::dropped_lines);
        if overrun > self.overrun_told {
            (self.say)(Said::Overrun { lost: overrun - self.overrun_told });
            self.overrun_told = overrun;
        }
        Ok(())
    }
}

/// Writes a line wholly or not at all.
fn append(file: &mut File, regular: bool, line: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < line.len() {
        match file.write(&line[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                // Half a line would spoil the next one.
                if written > 0 && regular {
                    let length = file.metadata()?.len();
                    file.set_len(length.saturating_sub(written as u64))?;
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn modified(metadata: &std::fs::Metadata) -> Option<Timestamp> {
    let since = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(from_micros)
}

/// The period that an instant is in; later periods are greater.
fn period(rotation: Rotation, at: Timestamp) -> Option<String> {
    match rotation {
        Rotation::Daily => Some(at.format("%Y-%m-%d").to_string()),
        Rotation::Hourly => Some(at.format("%Y-%m-%dT%H").to_string()),
        Rotation::Never => None,
    }
}

/// What orders files of earlier periods, from what follows the log's name: `.2026-03-01`, `.2026-03-01T13`, each
/// perhaps with `.1`. `None` for every other file.
fn rotated_at(suffix: &str) -> Option<(String, u32)> {
    let rest = suffix.strip_prefix('.')?;
    let (period, number) = rest.split_once('.').unwrap_or((rest, "0"));
    let (date, hour) = period.split_once('T').unwrap_or((period, "00"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_date = date.len() == 10 && chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").is_ok();
    if !is_date || hour.len() != 2 || !digits(hour) || number.is_empty() || !digits(number) {
        return None;
    }
    Some((period.to_owned(), number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use tracing_appender::non_blocking::NonBlockingBuilder;

    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        at: Arc<Mutex<Timestamp>>,
        said: Arc<Mutex<Vec<Said>>>,
    }

    impl Place {
        fn new(at: &str) -> Self {
            let at = Arc::new(Mutex::new(at.parse().unwrap()));
            Self { folder: tempfile::tempdir().unwrap(), at, said: Arc::default() }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("logs/app.log")
        }

        fn open_at(&self, path: PathBuf, rotation: Rotation, overrun: Arc<OnceLock<ErrorCounter>>) -> LogFile {
            let (at, said) = (self.at.clone(), self.said.clone());
            let now: Now = Arc::new(move || *at.lock().unwrap());
            let say = Box::new(move |what| said.lock().unwrap().push(what));
            LogFile::open(FileOptions { path, rotation, keep: 2 }, now, overrun, say).unwrap()
        }

        fn open(&self, rotation: Rotation) -> LogFile {
            self.open_at(self.path(), rotation, Arc::default())
        }

        fn set(&self, at: &str) {
            *self.at.lock().unwrap() = at.parse().unwrap();
        }

        fn said(&self) -> Vec<Said> {
            std::mem::take(&mut self.said.lock().unwrap())
        }

        /// Every file beside the log with its text.
        fn files(&self) -> BTreeMap<String, String> {
            let entries = std::fs::read_dir(self.path().parent().unwrap()).unwrap().map(Result::unwrap);
            let read = |path| std::fs::read_to_string(path).unwrap();
            entries.map(|e| (e.file_name().into_string().unwrap(), read(e.path()))).collect()
        }
    }

    fn files(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
        expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_new_day_begins_a_new_file_under_the_same_path() {
        let place = Place::new("2026-03-01T23:59:59Z");
        let mut log = place.open(Rotation::Daily);
        for name in ["app.log.notes", "app.log.2026-03-01.gz", "app.log.2026-13-01", "app.2026-01-01.log", "other.log"]
        {
            std::fs::write(place.path().with_file_name(name), "not ours").unwrap();
        }
        let mut expected: BTreeMap<_, _> = place.files();
        for (at, text) in [
            ("2026-03-01T23:59:59.9Z", "one\n"),
            ("2026-03-02T00:00:00Z", "two\n"),
            ("2026-03-01T23:59:58Z", "back\n"),
            ("2026-03-05T10:00:00Z", "three\n"),
            ("2026-03-06T10:00:00Z", "four\n"),
        ] {
            place.set(at);
            log.write_all(text.as_bytes()).unwrap();
        }
        expected.extend(files(&[
            ("app.log", "four\n"),
            ("app.log.2026-03-05", "three\n"),
            ("app.log.2026-03-02", "two\nback\n"),
        ]));
        assert_eq!(place.files(), expected, "two are kept, and nothing else is touched");
        assert_eq!(place.said(), []);
    }

    #[test]
    fn a_file_of_before_is_kept_under_its_own_hour() {
        let place = Place::new("2026-03-01T12:10:00Z");
        std::fs::create_dir(place.path().parent().unwrap()).unwrap();
        let write = |name: &str, text: &str| std::fs::write(place.path().with_file_name(name), text).unwrap();
        for name in ["app.log.2026-03-01", "app.log.2026-03-01T09", "app.log.2026-03-01T10", "app.log.2026-03-01T11"] {
            write(name, "older\n");
        }
        write("app.log", "before\n");
        let written = std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_772_366_399_000_000);
        File::options().append(true).open(place.path()).unwrap().set_modified(written).unwrap();
        // Its name is taken already.
        let mut log = place.open(Rotation::Hourly);
        log.write_all(b"now\n").unwrap();
        let expected = files(&[
            ("app.log", "now\n"),
            ("app.log.2026-03-01T11", "older\n"),
            ("app.log.2026-03-01T11.1", "before\n"),
        ]);
        assert_eq!(place.files(), expected);
        drop(log);
        // Within its period it is gone on with.
        *place.at.lock().unwrap() = modified(&std::fs::metadata(place.path()).unwrap()).unwrap();
        place.open(Rotation::Hourly).write_all(b"again\n").unwrap();
        assert_eq!(place.files()["app.log"], "now\nagain\n");
    }

    #[test]
    fn a_file_that_is_moved_or_removed_is_begun_anew() {
        let place = Place::new("2026-03-01T12:00:00Z");
        let mut log = place.open(Rotation::Never);
        log.write_all(b"one\n").unwrap();
        std::fs::rename(place.path(), place.path().with_file_name("moved.log")).unwrap();
        place.set("2026-03-01T12:00:01Z");
        log.write_all(b"two\n").unwrap();
        assert_eq!(place.files(), files(&[("app.log", "two\n"), ("moved.log", "one\n")]));
        std::fs::remove_dir_all(place.path().parent().unwrap()).unwrap();
        place.set("2027-03-01T12:00:02Z");
        log.write_all(b"three\n").unwrap();
        assert_eq!(place.files(), files(&[("app.log", "three\n")]));
    }

    #[test]
    fn failing_is_told_once_and_so_is_its_end() {
        let place = Place::new("2026-03-01T12:00:00Z");
        let mut log = place.open(Rotation::Daily);
        let folder = place.path().parent().unwrap().to_owned();
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::write(&folder, "no folder").unwrap();
        place.set("2026-03-01T12:00:01Z");
        for _ in 0..3 {
            log.write_all(b"lost\n").unwrap();
        }
        assert!(matches!(place.said().as_slice(), [Said::Failing(_)]));
        std::fs::remove_file(&folder).unwrap();
        log.write_all(b"kept\n").unwrap();
        assert_eq!(place.said(), [Said::Again { lost: 3 }]);
        assert_eq!(place.files(), files(&[("app.log", "kept\n")]));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_survived_and_a_device_is_left_where_it_is() {
        let place = Place::new("2026-03-01T12:00:00Z");
        let mut log = place.open_at("/dev/full".into(), Rotation::Daily, Arc::default());
        place.set("2026-03-02T12:00:00Z");
        log.write_all(b"lost\n").unwrap();
        log.write_all(b"lost\n").unwrap();
        let said = place.said();
        assert!(matches!(&said[..], [Said::Failing(why)] if why.contains("space")), "{said:?}");
        assert!(Path::new("/dev/full").exists());
    }

    /// Holds the writing thread for as long as the test holds the gate.
    struct Held(Arc<Mutex<()>>, LogFile);

    impl Write for Held {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _gate = self.0.lock().unwrap();
            self.1.write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.1.flush()
        }
    }

    #[test]
    fn lines_that_find_the_queue_full_are_counted_and_told() {
        let place = Place::new("2026-03-01T12:00:00Z");
        let overrun = Arc::new(OnceLock::new());
        let gate = Arc::new(Mutex::new(()));
        let held = Held(gate.clone(), place.open_at(place.path(), Rotation::Daily, overrun.clone()));
        let (mut queue, guard) = NonBlockingBuilder::default().buffered_lines_limit(4).finish(held);
        overrun.set(queue.error_counter()).unwrap();
        let closed = gate.lock().unwrap();
        for _ in 0..10 {
            queue.write_all(b"line\n").unwrap();
        }
        drop(closed);
        drop((queue, guard));
        let written = place.files()["app.log"].lines().count();
        assert!((4..10).contains(&written), "{written}");
        assert_eq!(place.said(), [Said::Overrun { lost: 10 - written }]);
    }
}
