//! Channels that are data: what a file of `presets/` says is sent, and how its service answers.

mod body;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::channel::{Channel, Message, Receipt, SendError};
use super::post::{Answer, Post};
use super::tls::Line;
use crate::clock::Clock;
use crate::config::Secret;
use crate::domain::preset::{self, Format, PauseUnit, Preset as Data, RateLimit, Success};
use crate::domain::template::{Part, Template, TemplateError};
use body::{Form, Json};
use text::{Slot, Texts};

/// Of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Preset {
    data: Data,
    post: Post,
    url: Template<Slot>,
    headers: HeaderMap,
    /// By event or phase.
    bodies: BTreeMap<String, Body>,
    maps: BTreeMap<String, BTreeMap<String, body::Mapped>>,
    /// With their defaults.
    options: BTreeMap<String, Secret>,
    timezone: Tz,
    clock: Arc<dyn Clock>,
}

enum Body {
    Json(Json),
    Form(Form),
}

impl std::fmt::Debug for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preset").field("name", &self.data.name).finish_non_exhaustive()
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
        let Some(data) = preset::find(name) else {
            let names: Vec<&str> = preset::names().collect();
            return Err(("type".to_owned(), format!("there is no preset `{name}`; there are {}", names.join(", "))));
        };
        let data = data.map_err(|e| ("type".to_owned(), e))?;
        check_options(&data, options)?;
        let options = with_defaults(&data, options);
        let own = |key: &str, e: String| (key.to_owned(), e);
        let of_file = |e: TemplateError| ("type".to_owned(), e.to_string());

        let url = Template::parse_with(&data.request.url, &Slot::read).map_err(of_file)?;
        let address_key = match url.parts.first() {
            Some(Part::Value(Slot::Option(name))) => name.clone(),
            _ => "type".to_owned(),
        };
        let first = url_of(&data, &url, &options, "0").map_err(|e| own(&address_key, e))?;
        let mut post =
            Post::new(line, &data.request.method, first.as_str(), TIMEOUT).map_err(|(_, e)| own(&address_key, e))?;
        for (name, value) in &options {
            if data.is_secret(name) {
                post.hide(value.expose());
            }
        }
        let headers = headers(&data, &options, &mut post)?;
        let mut bodies = BTreeMap::new();
        for (name, body) in &data.request.bodies {
            let body = match data.request.format {
                Format::Json => Json::read(body).map(Body::Json),
                Format::Form => Form::read(body).map(Body::Form),
            };
            bodies.insert(name.clone(), body.map_err(of_file)?);
        }
        let mut maps = BTreeMap::new();
        for (name, map) in &data.maps {
            let values = map.iter().map(|(key, value)| Ok((key.clone(), body::Mapped::read(value)?)));
            maps.insert(name.clone(), values.collect::<Result<_, TemplateError>>().map_err(of_file)?);
        }
        Ok(Self { data, post, url, headers, bodies, maps, options, timezone, clock })
    }

    fn texts<'a>(&'a self, message: &'a Message) -> Texts<'a> {
        Texts::new(&self.data, &self.options, &self.maps, message, self.timezone)
    }

    fn body(&self, texts: &Texts<'_>) -> Result<String, SendError> {
        let body = texts.names().iter().find_map(|name| self.bodies.get(*name));
        match body {
            Some(Body::Json(json)) => Ok(json.render(texts)),
            Some(Body::Form(form)) => Ok(form.render(texts)),
            None => Err(SendError::GiveUp { reason: format!("{} has no body for this message", self.data.name) }),
        }
    }

    fn is_success(&self, answer: &Answer) -> bool {
        let Success { statuses, body, json } = &self.data.success;
        statuses.contains(&answer.status.as_u16())
            && body.as_deref().is_none_or(|body| answer.body.trim() == body)
            && json.as_ref().is_none_or(|(pointer, expected)| {
                let said: Option<serde_json::Value> = serde_json::from_str(&answer.body).ok();
                said.as_ref().and_then(|said| said.pointer(pointer)) == Some(expected)
            })
    }

    /// The pause that an answer asks for in the service's own way.
    fn pause(&self, answer: &Answer) -> Option<Duration> {
        let RateLimit { statuses, until_header, pointer, otherwise_seconds: _ } = &self.data.rate_limit;
        if !statuses.contains(&answer.status.as_u16()) {
            return None;
        }
        let in_body = pointer.as_ref().and_then(|(pointer, unit)| {
            let said: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
            let pause = said.pointer(pointer)?.as_f64()?;
            let seconds = match unit {
                PauseUnit::Seconds => pause,
                PauseUnit::Milliseconds => pause / 1000.0,
            };
            Duration::try_from_secs_f64(seconds).ok()
        });
        let in_header = until_header.as_ref().and_then(|header| {
            let until = answer.headers.get(header)?.to_str().ok()?.trim().parse().ok()?;
            (DateTime::from_timestamp(until, 0)? - self.clock.now()).to_std().ok()
        });
        in_body.or(in_header)
    }

    /// What an answer that is no success means.
    fn failure(&self, answer: &Answer) -> SendError {
        let otherwise = self.data.rate_limit.otherwise_seconds.map(Duration::from_secs);
        let is_limit = self.data.rate_limit.statuses.contains(&answer.status.as_u16());
        match (self.post.failure(answer, self.clock.now()), self.pause(answer)) {
            (SendError::Retry { reason, after, .. }, Some(pause)) => {
                SendError::later(reason, after.unwrap_or_default().max(pause))
            }
            (SendError::Retry { reason, after: None, .. }, None) if is_limit && otherwise.is_some() => {
                SendError::later(reason, otherwise.unwrap_or_default())
            }
            (SendError::Retry { reason, after: None, .. }, None)
                if self.data.lasting.contains(&answer.status.as_u16()) =>
            {
                SendError::lasting(reason)
            }
            (error, _) => error,
        }
    }
}

impl Channel for Preset {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async move {
            let texts = self.texts(message);
            let body = self.body(&texts)?;
            let url = url_of(&self.data, &self.url, &self.options, &message.notification.id)
                .map_err(|reason| SendError::GiveUp { reason })?;
            let answer = self.post.send_to(&url, self.headers.clone(), body.into_bytes()).await?;
            if self.is_success(&answer) { Ok(self.post.receipt(&answer)) } else { Err(self.failure(&answer)) }
        })
    }
}

/// # Errors
/// The first option that cannot be used, and why.
fn check_options(data: &Data, options: &BTreeMap<String, Secret>) -> Result<(), (String, String)> {
    if let Some(unknown) = options.keys().find(|name| data.option(name).is_none()) {
        let known: Vec<&str> = data.options.iter().map(|option| option.name.as_str()).collect();
        return Err((unknown.clone(), format!("{} has no such option; it has {}", data.name, known.join(", "))));
    }
    let is_set = |name: &str| options.get(name).is_some_and(|value| !value.expose().trim().is_empty());
    if let Some((key, _)) = data.needs(&is_set).into_iter().next() {
        return Err((key, format!("{} needs it", data.name)));
    }
    if let Some(excess) = data.excess(&is_set).into_iter().next() {
        return Err(excess);
    }
    for option in &data.options {
        let value = options.get(&option.name).map_or("", |value| value.expose().trim());
        if !value.is_empty() {
            option.check(value).map_err(|e| (option.name.clone(), e))?;
        }
    }
    Ok(())
}

fn with_defaults(data: &Data, options: &BTreeMap<String, Secret>) -> BTreeMap<String, Secret> {
    let value = |name: &str| options.get(name).map(|value| value.expose().trim()).filter(|value| !value.is_empty());
    let all = data.options.iter().filter_map(|option| {
        let value = value(&option.name).or(option.default.as_deref())?;
        Some((option.name.clone(), Secret::new(value)))
    });
    all.collect()
}

/// A template with the options' values. `None`: one that it names is not set.
fn filled(text: &str, options: &BTreeMap<String, Secret>) -> Result<Option<String>, TemplateError> {
    let template = Template::parse_with(text, &Slot::read)?;
    let is_missing = |part: &Part<Slot>| match part {
        Part::Value(Slot::Option(name)) => !options.contains_key(name),
        _ => false,
    };
    if template.parts.iter().any(is_missing) {
        return Ok(None);
    }
    Ok(Some(template.render(|slot| option_of(slot, options).into())))
}

fn option_of<'o>(slot: &Slot, options: &'o BTreeMap<String, Secret>) -> &'o str {
    match slot {
        Slot::Option(name) => options.get(name).map_or("", Secret::expose),
        _ => "",
    }
}

/// Where a message goes. What is not the address at its beginning is percent-encoded.
fn url_of(data: &Data, url: &Template<Slot>, options: &BTreeMap<String, Secret>, id: &str) -> Result<Url, String> {
    let is_whole = url.parts.len() == 1;
    let mut text = String::new();
    for part in &url.parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Value(Slot::Id) => text.push_str(&super::render::Target::Url.escape(id.into())),
            Part::Value(slot) if is_whole => text.push_str(option_of(slot, options)),
            Part::Value(slot) if text.is_empty() => text.push_str(option_of(slot, options).trim_end_matches('/')),
            Part::Value(slot) => {
                text.push_str(&super::render::Target::Url.escape(option_of(slot, options).into()));
            }
        }
    }
    let mut url: Url = text.trim().parse().map_err(|e| format!("it is not a URL ({e})"))?;
    for (key, value) in &data.request.query {
        if let Some(value) = filled(value, options).map_err(|e| e.to_string())?.filter(|value| !value.is_empty()) {
            url.query_pairs_mut().append_pair(key, &value);
        }
    }
    Ok(url)
}

fn headers(data: &Data, options: &BTreeMap<String, Secret>, post: &mut Post) -> Result<HeaderMap, (String, String)> {
    let of_file = |e: TemplateError| ("type".to_owned(), e.to_string());
    let unusable = |name: &str| (name.to_owned(), "it holds characters that a header cannot".to_owned());
    let mut headers = HeaderMap::new();
    for (name, value) in &data.request.headers {
        let Some(value) = filled(value, options).map_err(of_file)? else { continue };
        let mut header = HeaderValue::from_str(&value).map_err(|_| unusable(name))?;
        header.set_sensitive(name != "content-type");
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable(name))?, header);
    }
    if let Some((user, password)) = &data.request.basic_auth
        && let Some(user) = filled(user, options).map_err(of_file)?.filter(|user| !user.is_empty())
    {
        let password = filled(password, options).map_err(of_file)?.unwrap_or_default();
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|_| unusable("type"))?;
        header.set_sensitive(true);
        // A page for errors may show the request.
        post.hide(&encoded);
        headers.insert(AUTHORIZATION, header);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
