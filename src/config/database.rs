//! `database:`: where the history is stored.

mod url;

use std::fmt;
use std::path::PathBuf;

use self::url::DatabaseUrl;
use super::raw::{DatabaseType, RawDatabase};
use super::report::Report;
use super::secret::Secret;
use super::section::Section;
use super::{DatabaseConfig, DatabaseTarget};

const DEFAULT_DATABASE: &str = "sqlite://data/api_monitor.db";

/// A database on a PostgreSQL server, and how it is reached. Shown without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// A name, an address, or the folder of a Unix socket, which begins with `/`.
    pub host: String,
    pub port: u16,
    /// `None`: the user of this process.
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Of the database.
    pub name: String,
    pub tls: TlsMode,
    /// PEM files.
    pub root_certificate: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// Of the session, such as `search_path`.
    pub settings: Vec<(String, String)>,
}

/// `postgresql://user@host:5432/name`
impl fmt::Display for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.starts_with('/') {
            return write!(f, "/{}?host={}", self.name, self.host);
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        write!(f, ":{}/{}", self.port, self.name)
    }
}

/// `sslmode`, with the meanings that other clients of PostgreSQL give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    /// If the server has it; its certificate is not checked.
    Prefer,
    /// The certificate is not checked.
    Require,
    VerifyCa,
    /// The certificate and the name in it.
    VerifyFull,
}

impl TlsMode {
    const WORDS: [(&str, Self); 6] = [
        ("disable", Self::Disable),
        // "Without TLS first" saves nothing where the server has it.
        ("allow", Self::Prefer),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    fn from_words(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            // What SQLAlchemy's drivers take for `ssl`.
            "true" | "1" => Some(Self::Require),
            "false" | "0" => Some(Self::Disable),
            _ => Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, mode)| *mode),
        }
    }
}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> DatabaseConfig {
    let raw: RawDatabase = section.read(report);
    let text = raw.url.as_ref().map_or(DEFAULT_DATABASE, Secret::expose);
    let target = match url::parse(text) {
        Ok(parsed) => {
            match parsed.url {
                DatabaseUrl::Postgres(_) if !parsed.ignored.is_empty() => {
                    section.warn("url", format!("`{}` has no effect here", parsed.ignored.join("`, `")), report);
                }
                _ if !parsed.ignored.is_empty() => section.warn("url", "what follows the ? has no effect", report),
                _ => {}
            }
            database_type(section, raw.kind, &parsed.url, report);
            match parsed.url {
                DatabaseUrl::Sqlite(path) => {
                    DatabaseTarget::Sqlite { path: std::path::absolute(&path).unwrap_or(path) }
                }
                DatabaseUrl::SqliteMemory => DatabaseTarget::SqliteMemory,
                DatabaseUrl::Postgres(config) => DatabaseTarget::Postgres(config),
            }
        }
        Err(message) => {
            section.wrong("url", message, report);
            DatabaseTarget::SqliteMemory
        }
    };
    DatabaseConfig {
        target,
        pool_size: section.in_range("pool_size", raw.pool_size, 5, 1, 1000, report),
        max_overflow: section.in_range("max_overflow", raw.max_overflow, 10, 0, 1000, report),
        pool_pre_ping: raw.pool_pre_ping.unwrap_or(true),
        echo: raw.echo.unwrap_or(false),
    }
}

fn database_type(section: &Section<'_>, kind: Option<DatabaseType>, url: &DatabaseUrl, report: &mut Report) {
    let of_url = match url {
        DatabaseUrl::Sqlite(_) | DatabaseUrl::SqliteMemory => DatabaseType::Sqlite,
        DatabaseUrl::Postgres(_) => DatabaseType::Postgresql,
    };
    let Some(kind) = kind.filter(|kind| *kind != of_url) else { return };
    let written = |key: &str| section.node.and_then(|node| node.get(key)).filter(|node| !node.is_null());
    let by_variable = |key: &str| written(key).is_some_and(|node| node.place.is_variable());
    // DATABASE_URL is meant to replace what the file says, type and all.
    if by_variable("url") && !by_variable("type") {
        return;
    }
    let default = if written("url").is_some() { "" } else { ", which is not set," };
    let message = format!("is {}, but database.url{default} is {}", kind.as_str(), of_url.as_str());
    section.wrong("type", message, report);
}
