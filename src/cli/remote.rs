//! Asking a running monitor over its API: where it is, with which key, and what it answers. Bounded in time and size.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::{Failed, REFUSED, UNREACHABLE, load};
use crate::config::{ApiConfig, LoadOptions, Secret};
use crate::domain::suggest::closest;

/// The address of the monitor, in place of the configuration's.
const URL_VARIABLE: &str = "API_MONITOR_URL";
/// The key, or the file that holds it.
const KEY_VARIABLE: &str = "API_MONITOR_API_KEY";
const KEY_FILE_VARIABLE: &str = "API_MONITOR_API_KEY_FILE";

/// A request with its answer: longer than the longest verb that is used here.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read; a page of 1,000 endpoints is a few MB.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// The longest file that holds a key.
const MAX_KEY_BYTES: u64 = 4_096;
/// Pages of a list that are read at most.
const MAX_PAGES: u64 = 100;
const PAGE: u64 = 1_000;

/// Which monitor, and with which key.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Where {
    /// The address of the monitor [default: $API_MONITOR_URL, else the configured port on this machine]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A file with the key [default: $API_MONITOR_API_KEY, else the file $API_MONITOR_API_KEY_FILE, else, without another
    /// address, the configured api.auth.api_key]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// A monitor that can be asked.
pub(super) struct Remote {
    base: Url,
    key: Option<Secret>,
    client: reqwest::Client,
}

impl Where {
    /// Whether somebody said where the monitor is.
    pub(super) fn is_given(&self, options: &LoadOptions) -> bool {
        self.url.is_some() || options.environment.get(URL_VARIABLE).is_some_and(|value| !value.trim().is_empty())
    }
}

impl Remote {
    /// Looks for the address and the key; nothing is asked yet.
    pub(super) fn find(at: &Where, options: &LoadOptions) -> Result<Self, Failed> {
        let variable = |name| options.environment.get(name).filter(|value| !value.trim().is_empty());
        let named = at.url.as_deref().or_else(|| variable(URL_VARIABLE));
        let (base, verify, configured_key) = match named {
            Some(text) => (read_url(text)?, true, None),
            None => {
                let config = load(options)?;
                // Its certificate is for the name by which others know it. This machine asks itself, by an address.
                (own_address(&config.api)?, false, config.api.auth.api_key)
            }
        };
        let key = match (&at.key_file, variable(KEY_VARIABLE), variable(KEY_FILE_VARIABLE)) {
            (Some(file), ..) => Some(read_key(file)?),
            (None, Some(key), _) => Some(Secret::new(key.trim())),
            (None, None, Some(file)) => Some(read_key(&PathBuf::from(file))?),
            (None, None, None) => configured_key,
        };
        Ok(Self { base, key, client: client(verify)? })
    }

    pub(super) fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failed> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        self.ask(method, path, body).await
    }

    /// Null where the answer has no body.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let address = self.address();
        let unreachable =
            |why: String| Failed { code: UNREACHABLE, message: format!("{address} cannot be reached: {why}") };
        let mut request = self.client.request(method, format!("{address}{path}")).header("Accept", "application/json");
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose());
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let mut response = request.send().await.map_err(|error| unreachable(why(&error)))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(why(&error)))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(unreachable(format!("its answer is longer than {MAX_ANSWER_BYTES} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        let answer: Option<Value> =
            if bytes.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&bytes).ok() };
        match answer {
            Some(answer) if status.is_success() => Ok(answer),
            Some(problem) if problem["detail"].is_string() || problem["title"].is_string() => {
                Err(Failed { code: REFUSED, message: said(status.as_u16(), &problem) })
            }
            _ => Err(unreachable(format!("what answers there (status {}) is no api-monitor", status.as_u16()))),
        }
    }

    /// Every item of a list. `query` begins with `?` or is empty.
    async fn all(&self, path: &str, of: &str, query: &str) -> Result<Vec<Value>, Failed> {
        let mut items = Vec::new();
        for page in 0..MAX_PAGES {
            let joined = if query.is_empty() { "?" } else { "&" };
            let mut answer = self.get(&format!("{path}{query}{joined}limit={PAGE}&offset={}", page * PAGE)).await?;
            let Value::Array(found) = answer[of].take() else { break };
            let is_last = found.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            items.extend(found);
            if is_last {
                break;
            }
        }
        Ok(items)
    }

    /// The endpoint of this name: `name`, where only one group has it, or `group/name`.
    pub(super) async fn endpoint(&self, name: &str) -> Result<Value, Failed> {
        const ENDPOINTS: &str = "/api/v1/endpoints";
        let last = name.rsplit('/').next().unwrap_or(name);
        let near = self.all(ENDPOINTS, "endpoints", &format!("?search={}", encoded(last))).await?;
        let (mut exact, named): (Vec<_>, Vec<_>) = near
            .into_iter()
            .filter(|endpoint| label(endpoint) == name || endpoint["name"] == *name)
            .partition(|endpoint| label(endpoint) == name);
        if let Some(found) = exact.pop() {
            return Ok(found);
        }
        match named.as_slice() {
            [one] => Ok(one.clone()),
            [] => {
                let all: Vec<String> = self.all(ENDPOINTS, "endpoints", "").await?.iter().map(label).collect();
                Err(Failed { code: REFUSED, message: unknown(name, &all) })
            }
            several => {
                let labels: Vec<_> = several.iter().map(label).collect();
                let message = format!("`{name}` is in several groups: say {}", labels.join(" or "));
                Err(Failed { code: REFUSED, message })
            }
        }
    }
}

/// There is none of that name; perhaps another is meant.
pub(super) fn unknown(name: &str, labels: &[String]) -> String {
    let last = |label: &str| label.rsplit('/').next().unwrap_or(label).to_owned();
    let meant = closest(name, labels.iter().map(String::as_str)).map(str::to_owned).or_else(|| {
        let names: Vec<String> = labels.iter().map(|label| last(label)).collect();
        let near = closest(&last(name), names.iter().map(String::as_str))?;
        labels.iter().zip(&names).find(|(_, of)| *of == near).map(|(label, _)| label.clone())
    });
    let hint = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
    format!("there is no endpoint `{name}`{hint}")
}

/// `group/name`, or the name alone.
pub(super) fn label(endpoint: &Value) -> String {
    let text = |field: &str| endpoint[field].as_str().unwrap_or_default();
    labelled(text("group"), text("name"))
}

/// As people name an endpoint.
pub(super) fn labelled(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") }
}

/// As a segment of a path or a value of a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// What a problem document says, in a line or more.
fn said(status: u16, problem: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let detail = if problem["detail"].is_string() { text(&problem["detail"]) } else { text(&problem["title"]) };
    let mut message = match status {
        401 => format!("{detail} (the key is taken from {KEY_VARIABLE}, or from a file)"),
        _ => detail,
    };
    for error in problem["errors"].as_array().into_iter().flatten() {
        let place = error["pointer"].as_str().or(error["parameter"].as_str()).unwrap_or_default();
        message = format!("{message}\n  {} {}", place.trim_start_matches('/'), text(&error["detail"]));
    }
    message
}

/// The innermost reason, which says most.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn read_url(text: &str) -> Result<Url, Failed> {
    let wrong = || Failed::cannot_start(format!("`{text}` is no address such as http://127.0.0.1:8000"));
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let is_one = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    // A password in the address would be another one than the key.
    if is_one && url.username().is_empty() && url.password().is_none() { Ok(url) } else { Err(wrong()) }
}

/// Where a monitor of this configuration is for this machine.
fn own_address(api: &ApiConfig) -> Result<Url, Failed> {
    if api.port == 0 {
        let message = format!("api.port is 0, so nobody knows where the monitor is: give --url or {URL_VARIABLE}");
        return Err(Failed::cannot_start(message));
    }
    let scheme = if api.tls.is_some() { "https" } else { "http" };
    read_url(&format!("{scheme}://{}:{}", super::check::own_host(&api.host), api.port))
}

fn read_key(file: &std::path::Path) -> Result<Secret, Failed> {
    let unreadable = |why: String| Failed::cannot_start(format!("the key in {} cannot be read: {why}", file.display()));
    let length = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if length > MAX_KEY_BYTES {
        return Err(unreadable("it is too long for a key".to_owned()));
    }
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    if text.trim().is_empty() {
        return Err(unreadable("it is empty".to_owned()));
    }
    Ok(Secret::new(text.trim()))
}

fn client(verify: bool) -> Result<reqwest::Client, Failed> {
    let tls = crate::checks::tls_config(verify).map_err(Failed::cannot_start)?;
    #[expect(clippy::disallowed_methods, reason = "the one client of the command line")]
    let builder = reqwest::Client::builder();
    builder
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .user_agent(concat!("api-monitor/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(Failed::cannot_start)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        for good in ["http://127.0.0.1:8000", "https://monitor.example/below/", " http://[::1]:1 "] {
            assert!(read_url(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:8000", "ftp://x/", "http://key@x/", "http://x/?key=1", ""] {
            assert_eq!(read_url(bad).unwrap_err().code, 2, "{bad}");
        }
    }

    #[test]
    fn a_misspelt_name_is_met_with_a_suggestion() {
        let labels = ["core/api".to_owned(), "core/database".to_owned(), "front".to_owned()];
        for (name, meant) in [
            ("core/apu", Some("core/api")),
            ("databse", Some("core/database")),
            ("Front", Some("front")),
            ("shop/frnt", Some("front")),
            ("payments", None),
        ] {
            let hint = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            assert_eq!(unknown(name, &labels), format!("there is no endpoint `{name}`{hint}"));
        }
    }

    #[test]
    fn a_problem_is_told_with_its_places() {
        let problem = json!({"title": "Bad", "detail": "Two mistakes", "errors": [
            {"pointer": "/until", "detail": "must be in the future"}, {"parameter": "limit", "detail": "too large"}]});
        assert_eq!(said(400, &problem), "Two mistakes\n  until must be in the future\n  limit too large");
        assert_eq!(said(404, &json!({"title": "Not found"})), "Not found");
    }
}
