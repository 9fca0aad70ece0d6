//! Starts logging for the rest of the process, and changes its level while it runs. What a line looks like is in
//! [`super::lines`], the file in [`super::log_file`].

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use super::lines::{Console, Lines};
use super::log_file::{FileOptions, LogFile, Said};
use crate::domain::Timestamp;

/// Lines that wait for the file. When it is full, lines are lost, counted and told.
const QUEUE: usize = 8_192;

/// The target of lines that people at a terminal are told in another form: they are not among its text.
pub const TOLD_OTHERWISE: &str = "api_monitor::start";

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    /// Text on a terminal, JSON otherwise.
    pub fn fitting() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Tells the time of a line.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where is logged, and how much.
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct LogOptions {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// On standard error; `None`: nothing there.
    pub console: Option<LogFormat>,
    pub file: Option<LogFileOptions>,
    /// SQL statements are logged, whatever the level.
    pub echo_statements: bool,
    pub now: Now,
}

/// The file that is logged to.
#[derive(Debug, Clone)]
pub struct LogFileOptions {
    /// Absolute. Always the newest file.
    pub path: PathBuf,
    pub format: LogFormat,
    pub rotation: Rotation,
    /// Files of earlier periods that are kept, at least 1.
    pub keep: usize,
}

/// When a new file is begun, by the time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    Daily,
    Hourly,
    Never,
}

/// Logging under way. Dropped last of all: it then writes what still waits for the file.
#[derive(Debug)]
pub struct Logging {
    pub level: LevelControl,
    _workers: Vec<WorkerGuard>,
}

/// Changes the level while the process runs. Cheap to clone; without a running log it does nothing.
#[derive(Debug, Clone, Default)]
pub struct LevelControl(Option<Arc<Control>>);

#[derive(Debug)]
struct Control {
    filter: reload::Handle<Targets, Registry>,
    echo_statements: bool,
}

impl LevelControl {
    /// From now on lines of `level` and what is more severe: `error`, `warn`, `info`, `debug` or `trace`.
    pub fn set(&self, level: &str) {
        let Some(control) = &self.0 else { return };
        if control.filter.reload(filter(level, control.echo_statements)).is_err() {
            tracing::error!(level, "the level of the log could not be changed");
        }
    }
}

/// What is logged at a level. Libraries are never asked for more than their warnings: below that they print headers,
/// bodies and addresses, which hold secrets.
fn filter(level: &str, echo_statements: bool) -> Targets {
    let own: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let libraries = own.min(LevelFilter::WARN);
    let filter = Targets::new().with_default(libraries).with_target("api_monitor", own);
    // Statements with placeholders; the values are not in them.
    if echo_statements { filter.with_target("sqlx::query", Level::DEBUG) } else { filter }
}

/// Starts logging for the rest of the process.
///
/// # Errors
/// One sentence that says what to do, when the file cannot be written or logging was started before.
pub fn start(options: LogOptions) -> Result<Logging, String> {
    let LogOptions { level, console, file, echo_statements, now } = options;
    if console.is_none() && file.is_none() {
        return Ok(Logging { level: LevelControl::default(), _workers: Vec::new() });
    }
    let (mut writer, mut workers) = (None, Vec::new());
    if let Some(LogFileOptions { path, format, rotation, keep }) = file {
        let lost = Arc::new(OnceLock::new());
        let say = sayer(path.display().to_string(), console.is_some());
        let file = LogFile::open(FileOptions { path, rotation, keep }, now.clone(), lost.clone(), say)?;
        let (queue, guard) =
            NonBlockingBuilder::default().buffered_lines_limit(QUEUE).thread_name("log-file").finish(file);
        // Set once, here.
        drop(lost.set(queue.error_counter()));
        writer = Some((format, queue));
        workers.push(guard);
    }
    let terminal = console.map(|format| {
        // By a thread of its own: a terminal that is stopped, or a pipe that nobody reads, holds up no check. Lines
        // beyond the queue are lost then.
        let (queue, guard) =
            NonBlockingBuilder::default().buffered_lines_limit(QUEUE).thread_name("log").finish(std::io::stderr());
        workers.push(guard);
        Console { queue, format, colours: std::io::stderr().is_terminal() }
    });
    let (filter, handle) = reload::Layer::new(filter(level, echo_statements));
    tracing_subscriber::registry()
        .with(filter)
        .with(Lines::new(now, terminal, writer))
        .try_init()
        .map_err(|error| format!("logging cannot be started: {error}"))?;
    log_panics(console.is_some());
    let level = LevelControl(Some(Arc::new(Control { filter: handle, echo_statements })));
    Ok(Logging { level, _workers: workers })
}

/// How the file's own troubles are told: as lines of the log, which go to the terminal too; on a terminal that gets
/// no lines, the one that the file cannot be written is the exception.
fn sayer(path: String, on_console: bool) -> Box<dyn Fn(Said) + Send> {
    Box::new(move |said| match said {
        Said::Failing(cause) if on_console => {
            tracing::error!(
                file = path,
                error = cause,
                "the log file cannot be written; the monitor goes on without it"
            );
        }
        Said::Failing(cause) => drop(writeln!(
            std::io::stderr(),
            "api-monitor: the log file {path} cannot be written ({cause}); the monitor goes on without it"
        )),
        Said::Again { lost } => tracing::warn!(file = path, lost, "the log file is written again; lines were lost"),
        Said::Overrun { lost } => {
            tracing::warn!(file = path, lost, "lines were lost: they came faster than the log file takes them");
        }
        Said::NotRotated(cause) => {
            tracing::warn!(file = path, error = cause, "the log file cannot be rotated; it grows on");
        }
        Said::NotRemoved(cause) => tracing::warn!(file = path, error = cause, "old log files cannot be removed"),
    })
}

/// A panic is a line of the log like any other. A terminal that gets no lines is told as Rust does it.
fn log_panics(on_console: bool) {
    let told_by_rust = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(at, thread, "panicked: {}", info.payload_as_str().unwrap_or("no message"));
        if !on_console {
            told_by_rust(info);
        }
    }));
}
