//! Channels that are data: a file of `presets/` says what is sent to a service and how its answers read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::channel::{Channel, Message, Receipt, SendError};
use super::post::{Answer, Post, wait_of};
use super::render::{Facts, Target};
use super::tls::Line;
use crate::clock::Clock;
use crate::config::Secret;
use crate::domain::template::{JsonTemplate, Part, Placeholder, Template, TemplateError};

/// The data files. A further preset is a file and a line here.
const FILES: &[&str] = &[include_str!("presets/slack.json")];

/// Of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A data file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    name: String,
    about: String,
    documentation: String,
    /// When the file was compared with the documentation.
    #[serde(rename = "compared_at")]
    _compared_at: chrono::NaiveDate,
    #[serde(rename = "verified_live")]
    _verified_live: bool,
    options: BTreeMap<String, OptionData>,
    request: RequestData,
    escape: Escape,
    /// A longer message is cut.
    max_message_chars: usize,
    success: Success,
    rate_limit: RateLimit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionData {
    required: bool,
    about: String,
}

/// Templates that may name `{message}`, `{title}`, `{id}`, `{options.…}` and every placeholder of people's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestData {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: serde_json::Value,
}

/// How text is written where the service would read markup.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Escape {
    /// `&`, `<` and `>` as entities.
    Slack,
}

/// An answer that says it was taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Success {
    statuses: Vec<u16>,
    /// Its whole body, blanks around it apart.
    body: Option<String>,
}

/// An answer that asks for a pause.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimit {
    statuses: Vec<u16>,
    /// The header with the pause, in seconds or until a date.
    header: String,
}

/// What a data file may name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Fact(Placeholder),
    Title,
    Message,
    Id,
    Option(String),
}

impl Slot {
    fn read(word: &str) -> Result<Self, TemplateError> {
        Ok(match word {
            "title" => Self::Title,
            "message" => Self::Message,
            "id" => Self::Id,
            _ => match word.strip_prefix("options.") {
                Some(option) => Self::Option(option.to_owned()),
                None => Self::Fact(word.parse().map_err(|_| TemplateError::UnknownPlaceholder {
                    placeholder: word.to_owned(),
                    known: Placeholder::ALL.iter().map(|p| p.as_str()).collect(),
                })?),
            },
        })
    }
}

pub(super) struct Preset {
    name: String,
    post: Post,
    headers: HeaderMap,
    body: JsonTemplate<Slot>,
    options: BTreeMap<String, Secret>,
    escape: Escape,
    max_message_chars: usize,
    success: Success,
    rate_limit: RateLimit,
    timezone: Tz,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preset").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Preset {
    /// # Errors
    /// The key of the configuration that cannot be used, and why.
    pub(super) fn new(
        name: &str,
        options: &BTreeMap<String, Secret>,
        line: Line,
        timezone: Tz,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, (String, String)> {
        let known = known().map_err(|e| ("type".to_owned(), e))?;
        let names: Vec<String> = known.iter().map(|data| data.name.clone()).collect();
        let Some(data) = known.into_iter().find(|data| data.name == name) else {
            return Err(("type".to_owned(), format!("there is no preset `{name}`; there are {}", names.join(", "))));
        };
        Self::of_data(data, options, line, timezone, clock)
    }

    fn of_data(
        data: Data,
        options: &BTreeMap<String, Secret>,
        line: Line,
        timezone: Tz,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, (String, String)> {
        check_options(&data, options)?;
        let own = |key: &str, e: String| (key.to_owned(), e);
        let url = fill_options(&data.request.url, options, true).map_err(|e| own("url", e))?;
        let mut post = Post::new(line, &data.request.method, &url, TIMEOUT).map_err(|(key, e)| own(key, e))?;
        let mut headers = HeaderMap::new();
        for (header, value) in &data.request.headers {
            let value = fill_options(value, options, false).map_err(|e| own(header, e))?;
            let unusable = || own(header, "it holds characters that a header cannot".to_owned());
            headers.insert(
                HeaderName::from_bytes(header.as_bytes()).map_err(|_| unusable())?,
                HeaderValue::from_str(&value).map_err(|_| unusable())?,
            );
        }
        for secret in options.values() {
            post.hide(secret.expose());
        }
        let body = JsonTemplate::parse_with(&data.request.body.to_string(), &Slot::read);
        Ok(Self {
            body: body.map_err(|e| own("type", e.to_string()))?,
            name: data.name,
            post,
            headers,
            options: options.clone(),
            escape: data.escape,
            max_message_chars: data.max_message_chars,
            success: data.success,
            rate_limit: data.rate_limit,
            timezone,
            clock,
        })
    }

    fn body(&self, message: &Message) -> String {
        let facts = Facts::new(&message.notification, self.timezone);
        let value = |slot: &Slot| match slot {
            Slot::Fact(placeholder) => self.escape(&facts.value(*placeholder)),
            Slot::Title => self.escape(&facts.words.title()),
            Slot::Message => self.escape(&facts.words.text()),
            Slot::Id => message.notification.id.clone(),
            Slot::Option(name) => self.options.get(name).map_or("", Secret::expose).to_owned(),
        };
        self.body.render(|text| text.render(|slot| value(slot).into()), |slot| value(slot).into())
    }

    /// A text cut to what the service takes and written as it reads text.
    fn escape(&self, text: &str) -> String {
        let short = super::channel::cut(text.into(), self.max_message_chars);
        match self.escape {
            Escape::Slack => short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        }
    }

    fn is_success(&self, answer: &Answer) -> bool {
        self.success.statuses.contains(&answer.status.as_u16())
            && self.success.body.as_deref().is_none_or(|body| answer.body.trim() == body)
    }

    /// The pause that an answer asks for in the service's own way.
    fn pause(&self, answer: &Answer) -> Option<Duration> {
        let limited = self.rate_limit.statuses.contains(&answer.status.as_u16());
        let header = limited.then(|| answer.headers.get(&self.rate_limit.header)).flatten()?;
        wait_of(header.to_str().ok()?, self.clock.now())
    }
}

impl Channel for Preset {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async move {
            let answer = self.post.send(self.headers.clone(), self.body(message).into_bytes()).await?;
            if self.is_success(&answer) {
                return Ok(self.post.receipt(&answer));
            }
            match (self.post.failure(&answer, self.clock.now()), self.pause(&answer)) {
                (SendError::Retry { reason, .. }, Some(pause)) => Err(SendError::later(reason, pause)),
                (error, _) => Err(error),
            }
        })
    }
}

/// What a preset is and takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetAbout {
    /// The word in `type`.
    pub name: String,
    pub about: String,
    /// Where the service documents it.
    pub documentation: String,
    /// Name, whether it is required, what it is.
    pub options: Vec<(String, bool, String)>,
}

/// The presets there are.
///
/// # Errors
/// When a file of them cannot be read.
pub fn presets() -> Result<Vec<PresetAbout>, String> {
    let about = |data: Data| PresetAbout {
        name: data.name,
        about: data.about,
        documentation: data.documentation,
        options: data.options.into_iter().map(|(name, option)| (name, option.required, option.about)).collect(),
    };
    Ok(known()?.into_iter().map(about).collect())
}

fn known() -> Result<Vec<Data>, String> {
    let read = |file: &&str| serde_json::from_str(file).map_err(|e| format!("a preset's file cannot be read: {e}"));
    FILES.iter().map(read).collect()
}

fn check_options(data: &Data, options: &BTreeMap<String, Secret>) -> Result<(), (String, String)> {
    let known = || data.options.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = options.keys().find(|name| !data.options.contains_key(*name)) {
        return Err((unknown.clone(), format!("{} has no such option; it has {}", data.name, known())));
    }
    for (name, option) in &data.options {
        if option.required && options.get(name).is_none_or(|value| value.expose().trim().is_empty()) {
            return Err((name.clone(), format!("{} needs it", data.name)));
        }
    }
    Ok(())
}

/// A text of a data file with the options' values. In a URL they are escaped, unless the URL is one of them.
fn fill_options(text: &str, options: &BTreeMap<String, Secret>, is_url: bool) -> Result<String, String> {
    let template = Template::parse_with(text, &Slot::read).map_err(|e| e.to_string())?;
    let whole = matches!(template.parts.as_slice(), [Part::Value(_)]);
    Ok(template.render(|slot| {
        let value = match slot {
            Slot::Option(name) => options.get(name).map_or("", Secret::expose),
            _ => "",
        };
        let target = if is_url && !whole { Target::Url } else { Target::Plain };
        target.escape(value.into())
    }))
}
