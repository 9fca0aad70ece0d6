//! What a webhook's body is.

use crate::config::channels::WebhookConfig;
use crate::domain::notification::Event;
use crate::domain::template::{JsonTemplate, Template};
use crate::notify::channel::SendError;
use crate::notify::render::{Facts, Target, speaks};

/// The bodies for outages, and for what comes after.
#[derive(Debug)]
pub(super) struct Payloads {
    outage: Payload,
    recovery: Option<Payload>,
}

#[derive(Debug)]
enum Payload {
    /// The facts as they are.
    Default,
    Json(JsonTemplate),
    /// The fields of a form; names are written as they are.
    Form(Vec<(String, Template)>),
    Text(Template, Target),
}

impl Payloads {
    /// # Errors
    /// The key of the template that cannot be used, and why.
    pub(super) fn read(config: &WebhookConfig, content_type: Option<&str>) -> Result<Self, (&'static str, String)> {
        let read = |key, text: &Option<String>| {
            let payload = text.as_deref().map(|text| Payload::read(text, content_type));
            payload.transpose().map_err(|e| (key, e))
        };
        let outage = read("payload_template", &config.payload_template)?.unwrap_or(Payload::Default);
        let recovery = read("recovery_template", &config.recovery_template)?;
        Ok(Self { outage, recovery })
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.outage {
            Payload::Default | Payload::Json(_) => "application/json",
            Payload::Form(_) => "application/x-www-form-urlencoded",
            Payload::Text(..) => "text/plain; charset=utf-8",
        }
    }

    pub(super) fn render(&self, facts: &Facts<'_>) -> Result<String, SendError> {
        match &self.recovery {
            Some(recovery) if facts.is_recovery() => recovery.fill(facts),
            Some(recovery) if facts.notification.event == Event::NoLongerMonitored => recovery.retell(facts),
            _ if facts.is_outage() => self.outage.fill(facts),
            _ => self.outage.retell(facts),
        }
    }
}

impl Payload {
    fn read(text: &str, content_type: Option<&str>) -> Result<Self, String> {
        let content_type = content_type.map(str::to_ascii_lowercase);
        let says = |word| content_type.as_deref().is_some_and(|given| given.contains(word));
        if says("json") || JsonTemplate::looks_like(text) {
            match JsonTemplate::parse(text) {
                Ok(template) => return Ok(Self::Json(template)),
                // Said to be something else, so it may be.
                Err(_) if content_type.is_some() && !says("json") => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        if says("x-www-form-urlencoded") {
            let field = |pair: &str| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((name.to_owned(), Template::parse(value).map_err(|e| e.to_string())?))
            };
            return text.trim().split('&').map(field).collect::<Result<_, _>>().map(Self::Form);
        }
        let target = if says("html") || says("xml") { Target::Html } else { Target::Plain };
        Template::parse(text).map(|template| Self::Text(template, target)).map_err(|e| e.to_string())
    }

    /// With the facts in the places of the placeholders.
    fn fill(&self, facts: &Facts<'_>) -> Result<String, SendError> {
        Ok(match self {
            Self::Default => default_body(facts)?,
            Self::Json(template) => facts.fill_json(template),
            Self::Form(fields) => form(fields, |value| facts.fill(value, Target::Url)),
            Self::Text(template, target) => facts.fill(template, *target),
        })
    }

    /// With our words in the places of a person's, which say another event.
    fn retell(&self, facts: &Facts<'_>) -> Result<String, SendError> {
        Ok(match self {
            Self::Default => default_body(facts)?,
            Self::Json(template) => facts.retell_json(template),
            Self::Form(fields) => form(fields, |value| {
                if speaks(value) || value.literal().contains(['+', '%']) {
                    Target::Url.escape(facts.words.text().into()).into_owned()
                } else {
                    facts.fill(value, Target::Url)
                }
            }),
            Self::Text(_, target) => target.escape(facts.words.text().into()).into_owned(),
        })
    }
}

fn form(fields: &[(String, Template)], value: impl Fn(&Template) -> String) -> String {
    fields.iter().map(|(name, text)| format!("{name}={}", value(text))).collect::<Vec<_>>().join("&")
}

fn default_body(facts: &Facts<'_>) -> Result<String, SendError> {
    serde_json::to_string(facts.notification)
        .map_err(|e| SendError::GiveUp { reason: format!("The notification cannot be written as JSON: {e}") })
}
