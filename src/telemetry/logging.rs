//! Log lines: text for a person at a terminal, JSON for everything else, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

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

/// What is said about libraries: their warnings, and for tokio-cron-scheduler that it announces every job.
const LIBRARIES: &str = "sqlx=warn,sea_orm=warn,sea_orm_migration=warn,hyper=warn,hyper_util=warn,h2=warn,rustls=warn,\
                         reqwest=warn,tokio_cron_scheduler=warn,tower_http=warn";

/// Starts logging for the rest of the process. `level` is one of error, warn, info, debug, trace.
///
/// # Errors
/// When logging was started before.
pub fn start(level: &str, format: LogFormat, echo_statements: bool) -> Result<(), TryInitError> {
    let echo = if echo_statements { ",sqlx::query=debug" } else { "" };
    let filter = EnvFilter::new(format!("{level},{LIBRARIES}{echo}"));
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr;
    match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry
                .with(tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi).with_target(false))
                .try_init()
        }
        LogFormat::Json => registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer))
            .try_init(),
    }
}
