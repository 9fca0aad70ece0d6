//! `logging:`

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::Deserializer;

use super::report::Report;
use super::section::Section;

/// `logging:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingConfig {
    pub level: LogLevel,
    pub format: LogFormat,
    /// Absolute; always the newest file.
    pub file: Option<PathBuf>,
    /// Whether anything is logged to the terminal.
    pub console: bool,
    pub rotation: LogRotation,
    /// Files of earlier periods that are kept, at least 1.
    pub keep: u32,
    pub access: LogAccess,
}

/// The least severe messages that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// The words of the configuration.
    pub const WORDS: [&str; 5] = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"];

    /// As log filters spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// As the configuration spells it.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// The level of a word, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        match word.trim().to_ascii_uppercase().as_str() {
            "TRACE" => Some(Self::Trace),
            "DEBUG" => Some(Self::Debug),
            "INFO" => Some(Self::Info),
            "WARN" | "WARNING" => Some(Self::Warn),
            // The most severe level of the original; here errors are the most severe.
            "ERROR" | "CRITICAL" => Some(Self::Error),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::of_word(&word).ok_or_else(|| serde::de::Error::unknown_variant(&word, &Self::WORDS))
    }
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

impl LogFormat {
    /// As the configuration spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// When a new log file is begun, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogRotation {
    Daily,
    Hourly,
    Never,
}

impl LogRotation {
    /// As the configuration spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Hourly => "hourly",
            Self::Never => "never",
        }
    }
}

/// Which requests to the API are told at `INFO`; the others are told at `DEBUG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogAccess {
    /// All but probes and those beyond the rate limit.
    All,
    /// Of these only what may change something, and what failed here.
    Changes,
}

impl LogAccess {
    /// As the configuration spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Changes => "changes",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLogging {
    level: Option<LogLevel>,
    format: Option<LogFormat>,
    file: Option<String>,
    console: Option<bool>,
    rotation: Option<LogRotation>,
    keep: Option<u32>,
    access: Option<LogAccess>,
}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> LoggingConfig {
    let raw: RawLogging = section.read(report);
    let file = raw.file.map(PathBuf::from);
    if let Some(file) = &file
        && (file.file_name().is_none() || file.as_os_str().as_encoded_bytes().ends_with(b"/"))
    {
        section.wrong("file", "is not the name of a file, such as logs/api_monitor.log", report);
    }
    let console = raw.console.unwrap_or(true);
    if !console && file.is_none() {
        section.warn("console", "is false and there is no `logging.file`: nothing is logged", report);
    }
    LoggingConfig {
        level: raw.level.unwrap_or(LogLevel::Info),
        format: raw.format.unwrap_or(LogFormat::Auto),
        file: file.map(|file| std::path::absolute(&file).unwrap_or(file)),
        console,
        rotation: raw.rotation.unwrap_or(LogRotation::Daily),
        keep: section.in_range("keep", raw.keep, 7, 1, 10_000, report),
        access: raw.access.unwrap_or(LogAccess::All),
    }
}
