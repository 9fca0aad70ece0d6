//! The forms of `database.url`.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::{PostgresConfig, TlsMode};
use crate::config::Secret;
use crate::config::validate::is_host;

/// What a url names. Paths are as written: relative ones belong to the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum DatabaseUrl {
    Sqlite(PathBuf),
    SqliteMemory,
    Postgres(Box<PostgresConfig>),
}

/// A url that was understood, and what of it means nothing here.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct Parsed {
    pub(super) url: DatabaseUrl,
    /// Names in the query.
    pub(super) ignored: Vec<String>,
}

const FORMS: &str = "write sqlite://data/api_monitor.db (relative), sqlite:///var/lib/api_monitor.db (absolute), or \
                     postgresql://user:password@host:5432/name";

/// Reads a url. The message never shows it: it may hold a password.
pub(super) fn parse(text: &str) -> Result<Parsed, String> {
    let Some((scheme, rest)) = text.trim().split_once(':') else {
        return Err(format!("is not a database url: {FORMS}"));
    };
    let scheme = scheme.to_ascii_lowercase();
    if let "postgres" | "postgresql" | "postgresql+asyncpg" | "postgresql+psycopg" | "postgresql+psycopg2" =
        scheme.as_str()
    {
        return postgres(rest);
    }
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let in_memory = query.is_some_and(|query| query.split('&').any(|pair| pair == "mode=memory"));
    let url = match scheme.as_str() {
        "sqlite" if in_memory => DatabaseUrl::SqliteMemory,
        "sqlite" => sqlite(rest)?,
        "sqlite+aiosqlite" | "sqlite+pysqlite" => sqlalchemy(rest)?,
        other => return Err(format!("`{other}` is not a database this monitor stores in: {FORMS}")),
    };
    let ignored = query.filter(|_| !in_memory).map_or_else(Vec::new, names_of);
    Ok(Parsed { url, ignored })
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

fn names_of(query: &str) -> Vec<String> {
    query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().to_owned()).collect()
}

const POSTGRES_FORM: &str = "write postgresql://user:password@host:5432/name";
const DEFAULT_PORT: u16 = 5432;

/// `//user:password@host:port/name?sslmode=require`. As `SQLAlchemy` has it, a password may hold `/`, `?` and `#`
/// as they are.
fn postgres(rest: &str) -> Result<Parsed, String> {
    let Some(rest) = rest.strip_prefix("//") else { return Err(format!("is not a database url: {POSTGRES_FORM}")) };
    let (userinfo, rest) = split_userinfo(rest);
    let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, ""))) {
        Some((user, password)) => (filled(decoded(user, "user")?), filled(decoded(password, "password")?)),
        None => (None, None),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let Some((authority, name)) = rest.split_once('/') else { return Err(no_name()) };
    let name = decoded(name, "name")?;
    if name.is_empty() {
        return Err(no_name());
    }
    if name.contains('/') {
        return Err(format!("names a database with a `/` in it: {POSTGRES_FORM}, with %2F for a `/` in the password"));
    }
    let (host, port) = host_and_port(authority)?;
    let mut config = PostgresConfig {
        host,
        port,
        user,
        password: password.map(Secret::new),
        name,
        tls: TlsMode::Prefer,
        root_certificate: None,
        client_certificate: None,
        client_key: None,
        settings: Vec::new(),
    };
    let ignored = read_query(query, &mut config)?;
    Ok(Parsed { url: DatabaseUrl::Postgres(Box::new(config)), ignored })
}

fn no_name() -> String {
    format!("names no database: {POSTGRES_FORM}")
}

/// The user and the password end with the last `@` before the query, or the last of all where that is within what
/// looks like the query.
fn split_userinfo(rest: &str) -> (Option<&str>, &str) {
    let before_query = rest.find('?').unwrap_or(rest.len());
    match rest[..before_query].rfind('@').or_else(|| rest.rfind('@').filter(|_| rest.contains(':'))) {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    }
}

fn host_and_port(authority: &str) -> Result<(String, u16), String> {
    let wrong = || format!("names no host that could be one: {POSTGRES_FORM}");
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
        (address, rest.strip_prefix(':').unwrap_or(rest))
    } else {
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        if !host.is_empty() && !is_host(host) {
            return Err(wrong());
        }
        (host, port)
    };
    let port = match port {
        "" => DEFAULT_PORT,
        port => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("has a port that is no number from 1 to 65535: {POSTGRES_FORM}"))?,
    };
    Ok((if host.is_empty() { "localhost" } else { host }.to_owned(), port))
}

/// Takes what the query says; returns the names that mean nothing here.
fn read_query(query: &str, config: &mut PostgresConfig) -> Result<Vec<String>, String> {
    let mut ignored = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value, key)?;
        match key {
            "sslmode" | "ssl" => {
                config.tls = TlsMode::from_words(&value).ok_or_else(|| {
                    format!("has a {key} that is none of {}", TlsMode::WORDS.map(|(word, _)| word).join(", "))
                })?;
            }
            "sslrootcert" => config.root_certificate = Some(PathBuf::from(value)),
            "sslcert" => config.client_certificate = Some(PathBuf::from(value)),
            "sslkey" => config.client_key = Some(PathBuf::from(value)),
            // The folder of a Unix socket cannot stand where hosts do.
            "host" if value.starts_with('/') || is_host(&value) => config.host = value,
            "host" => return Err("has a host that is neither a host nor the folder of a socket".to_owned()),
            "options" => config.settings.extend(settings_of(&value)?),
            _ => ignored.push(key.to_owned()),
        }
    }
    if config.client_certificate.is_some() != config.client_key.is_some() {
        return Err("has one of sslcert and sslkey: a client's certificate needs both".to_owned());
    }
    Ok(ignored)
}

/// `-c search_path=monitor -cstatement_timeout=5s`, as other clients have it.
fn settings_of(options: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || "has options that are not of the form -c name=value".to_owned();
    let mut settings = Vec::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")).ok_or_else(wrong)? {
            "" => words.next().ok_or_else(wrong)?,
            setting => setting,
        };
        let (name, value) = setting.split_once('=').ok_or_else(wrong)?;
        settings.push((name.to_owned(), value.to_owned()));
    }
    Ok(settings)
}

fn decoded(text: &str, what: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| format!("has a {what} that is not UTF-8"))?;
    if text.contains('\0') {
        return Err(format!("has a {what} with a NUL character"));
    }
    Ok(text.into_owned())
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_what_it_says() {
        let at = |path: &str| Ok(DatabaseUrl::Sqlite(PathBuf::from(path)));
        let server = |change: fn(&mut PostgresConfig)| {
            let mut config = PostgresConfig {
                host: "db".to_owned(),
                port: 5432,
                user: Some("u".to_owned()),
                password: Some(Secret::new("p")),
                name: "monitor".to_owned(),
                tls: TlsMode::Prefer,
                root_certificate: None,
                client_certificate: None,
                client_key: None,
                settings: Vec::new(),
            };
            change(&mut config);
            DatabaseUrl::Postgres(Box::new(config))
        };
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
            ("postgres://u:p@db/monitor", Ok(server(|_| ()))),
            ("postgresql://u:p@db:5433/monitor", Ok(server(|c| c.port = 5433))),
            ("postgresql+asyncpg://u:p@db:5432/monitor?ssl=require", Ok(server(|c| c.tls = TlsMode::Require))),
            ("postgresql+psycopg://u:p@db/monitor?sslmode=verify-full&sslrootcert=/etc/ca.pem", {
                Ok(server(|c| {
                    c.tls = TlsMode::VerifyFull;
                    c.root_certificate = Some("/etc/ca.pem".into());
                }))
            }),
            ("postgres://u:p%40%2F%3A%25@db/monitor", Ok(server(|c| c.password = Some(Secret::new("p@/:%"))))),
            ("postgres://u:p/?#:@db/monitor", Ok(server(|c| c.password = Some(Secret::new("p/?#:"))))),
            ("postgres://u:p?w@db/monitor?sslmode=disable", {
                Ok(server(|c| {
                    c.password = Some(Secret::new("p?w"));
                    c.tls = TlsMode::Disable;
                }))
            }),
            ("postgres://u@db/monitor", Ok(server(|c| c.password = None))),
            ("postgres://db/a%20b", { Ok(server(|c| (c.user, c.password, c.name) = (None, None, "a b".to_owned()))) }),
            ("postgres://u:p@[::1]:80/monitor", Ok(server(|c| (c.host, c.port) = ("::1".to_owned(), 80)))),
            ("postgres://u:p@/monitor?host=/run/postgresql", Ok(server(|c| c.host = "/run/postgresql".to_owned()))),
            ("postgres://u:p@db/monitor?options=-c%20search_path%3Dwatch", {
                Ok(server(|c| c.settings = vec![("search_path".to_owned(), "watch".to_owned())]))
            }),
            ("postgres://u:p@db/monitor?sslmode=maybe", Err(())),
            ("postgres://u:p@db/monitor?sslcert=/a.pem", Err(())),
            ("postgres://u:p@db/", Err(())),
            ("postgres://u:p@a,b/monitor", Err(())),
            ("postgres://u:p@db:0/monitor", Err(())),
            ("postgres://u:p%00@db/monitor", Err(())),
            ("postgres:u:p@db/monitor", Err(())),
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
        for text in [
            "mysql://u:hunter2@db/x",
            "postgres://u:hunter2@db:99999/x",
            "postgres://u:hunter2@/",
            "postgres://u:hunter2@d b/x",
            "postgres://u:hunter2/db",
            "postgres://u:hunter2@db/x?sslmode=hunter2",
            "hunter2",
        ] {
            let message = parse(text).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
        let understood = parse("postgres://u:hunter2@db/x").unwrap();
        assert!(!format!("{understood:?}").contains("hunter2"));
    }
}
