//! From the configuration of the log to a running one.

use std::sync::Arc;

use super::Failed;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, LogFormat as Wanted, LogRotation};
use crate::telemetry::logging::{self, LogFileOptions, LogFormat, LogOptions, Logging, Rotation};

/// The form of what the terminal is told.
pub(super) fn console_format(config: &Config) -> LogFormat {
    match config.logging.format {
        Wanted::Auto => LogFormat::fitting(),
        Wanted::Text => LogFormat::Text,
        Wanted::Json => LogFormat::Json,
    }
}

/// Starts logging as configured.
pub(super) fn start(config: &Config) -> Result<Logging, Failed> {
    let logging = &config.logging;
    let file = logging.file.clone().map(|path| LogFileOptions {
        path,
        // A file is read by programs as much as by people.
        format: if logging.format == Wanted::Text { LogFormat::Text } else { LogFormat::Json },
        rotation: match logging.rotation {
            LogRotation::Daily => Rotation::Daily,
            LogRotation::Hourly => Rotation::Hourly,
            LogRotation::Never => Rotation::Never,
        },
        keep: logging.keep as usize,
    });
    start_with(LogOptions {
        level: logging.level.as_str(),
        console: logging.console.then(|| console_format(config)),
        file,
        echo_statements: config.database.echo,
        now: now(),
    })
}

/// Starts logging as text to the terminal.
pub(super) fn start_on_terminal() -> Result<Logging, Failed> {
    let console = Some(LogFormat::Text);
    start_with(LogOptions { level: "info", console, file: None, echo_statements: false, now: now() })
}

fn start_with(options: LogOptions) -> Result<Logging, Failed> {
    logging::start(options).map_err(Failed::cannot_start)
}

fn now() -> logging::Now {
    let clock = SystemClock::new();
    Arc::new(move || clock.now())
}
