//! The forms of `database.url`.

use std::path::PathBuf;

/// What a url names. Paths are as written: relative ones belong to the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DatabaseUrl {
    Sqlite(PathBuf),
    SqliteMemory,
    Postgres,
}

/// A url that was understood, and its query, which means nothing here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) url: DatabaseUrl,
    pub(super) ignored_query: bool,
}

const FORMS: &str = "write sqlite://data/api_monitor.db (relative), sqlite:///var/lib/api_monitor.db (absolute), or \
                     postgresql://user:password@host:5432/name";

/// Reads a url. The message never shows it: it may hold a password.
pub(super) fn parse(text: &str) -> Result<Parsed, String> {
    let Some((scheme, rest)) = text.trim().split_once(':') else {
        return Err(format!("is not a database url: {FORMS}"));
    };
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let in_memory = query.is_some_and(|query| query.split('&').any(|pair| pair == "mode=memory"));
    let url = match scheme.to_ascii_lowercase().as_str() {
        "sqlite" if in_memory => DatabaseUrl::SqliteMemory,
        "sqlite" => sqlite(rest)?,
        "sqlite+aiosqlite" | "sqlite+pysqlite" => sqlalchemy(rest)?,
        "postgres" | "postgresql" | "postgresql+asyncpg" | "postgresql+psycopg" | "postgresql+psycopg2" => {
            return postgres(rest).map(|()| Parsed { url: DatabaseUrl::Postgres, ignored_query: false });
        }
        other => return Err(format!("`{other}` is not a database this monitor stores in: {FORMS}")),
    };
    Ok(Parsed { url, ignored_query: query.is_some() && !in_memory })
}

/// `sqlite://rel`, `sqlite:rel`, `sqlite:///./rel`, `sqlite:///abs`, `sqlite:////abs`, `sqlite::memory:`.
fn sqlite(rest: &str) -> Result<DatabaseUrl, String> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if let Some(relative) = path.strip_prefix('/').filter(|p| p.starts_with("./") || p.starts_with("../")) {
        return file(relative);
    }
    match path.trim_start_matches('/') {
        ":memory:" => Ok(DatabaseUrl::SqliteMemory),
        absolute if path.starts_with('/') => file(&format!("/{absolute}")),
        relative => file(relative),
    }
}

/// The rule of `SQLAlchemy`: after three slashes comes the path, so a fourth one makes it absolute; no path is memory.
fn sqlalchemy(rest: &str) -> Result<DatabaseUrl, String> {
    if rest == "//" {
        return Ok(DatabaseUrl::SqliteMemory);
    }
    match rest.strip_prefix("///") {
        Some("" | ":memory:") => Ok(DatabaseUrl::SqliteMemory),
        Some(path) => file(path),
        None => Err("with a driver in the scheme three slashes come before the path: sqlite+aiosqlite:///relative, \
                     sqlite+aiosqlite:////absolute"
            .to_owned()),
    }
}

fn file(path: &str) -> Result<DatabaseUrl, String> {
    match path {
        "" => Err(format!("names no file: {FORMS}")),
        folder if folder.ends_with('/') || folder.ends_with("/.") => Err("names a folder, not a file".to_owned()),
        path if path.contains('\0') => Err("a path has no NUL character".to_owned()),
        path => Ok(DatabaseUrl::Sqlite(PathBuf::from(path))),
    }
}

fn postgres(rest: &str) -> Result<(), String> {
    // A special scheme, so that the host is checked as one.
    match url::Url::parse(&format!("http:{rest}")) {
        Ok(url) if !rest.starts_with("//") || url.path().trim_matches('/').is_empty() => {
            Err("names no database: write postgresql://user:password@host:5432/name".to_owned())
        }
        Ok(_) => Ok(()),
        Err(e) => Err(format!("is not a database url ({e}): write postgresql://user:password@host:5432/name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_what_it_says() {
        let at = |path: &str| Ok(DatabaseUrl::Sqlite(PathBuf::from(path)));
        for (text, expected) in [
            ("sqlite://data/api_monitor.db", at("data/api_monitor.db")),
            ("sqlite:data/a.db", at("data/a.db")),
            ("sqlite://./data/a.db", at("./data/a.db")),
            ("sqlite:///./data/api_monitor.db", at("./data/api_monitor.db")),
            ("sqlite:///../a.db", at("../a.db")),
            ("sqlite:///var/lib/a.db", at("/var/lib/a.db")),
            ("sqlite:////var/lib/a.db", at("/var/lib/a.db")),
            ("sqlite:/var/lib/a.db", at("/var/lib/a.db")),
            ("sqlite+aiosqlite:///./data/api_monitor.db", at("./data/api_monitor.db")),
            ("sqlite+aiosqlite:///data/a.db", at("data/a.db")),
            ("sqlite+aiosqlite:////var/lib/a.db", at("/var/lib/a.db")),
            ("sqlite::memory:", Ok(DatabaseUrl::SqliteMemory)),
            ("sqlite://:memory:", Ok(DatabaseUrl::SqliteMemory)),
            ("sqlite:///:memory:", Ok(DatabaseUrl::SqliteMemory)),
            ("sqlite+aiosqlite:///:memory:", Ok(DatabaseUrl::SqliteMemory)),
            ("sqlite+aiosqlite://", Ok(DatabaseUrl::SqliteMemory)),
            ("sqlite://a.db?mode=memory", Ok(DatabaseUrl::SqliteMemory)),
            ("sqlite://a.db?mode=rwc", at("a.db")),
            ("postgres://u:p@db/monitor", Ok(DatabaseUrl::Postgres)),
            ("postgresql://u:p@db:5432/monitor", Ok(DatabaseUrl::Postgres)),
            ("postgresql+asyncpg://u:p@db:5432/monitor?ssl=require", Ok(DatabaseUrl::Postgres)),
            ("sqlite+aiosqlite://data/a.db", Err(())),
            ("sqlite://", Err(())),
            ("sqlite:///", Err(())),
            ("sqlite://data/", Err(())),
            ("postgres://u:p@db", Err(())),
            ("postgres://u:p@db:99999/monitor", Err(())),
            ("mysql://u:p@db/monitor", Err(())),
            ("data/a.db", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(parse(text).map(|p| p.url).map_err(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn no_message_shows_the_password() {
        for text in ["mysql://u:hunter2@db/x", "postgres://u:hunter2@db:99999/x", "postgres://u:hunter2@/", "hunter2"] {
            let message = parse(text).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
