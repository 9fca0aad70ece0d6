//! A notification as text: the values of placeholders, and what a template becomes for each event.
//!
//! A template says an outage (`down`, `down_again`). Every other event is told in our own words, in the shape of the
//! template: a recovery must not be worded as an outage.

use std::borrow::Cow;
use std::time::Duration;

use chrono::SecondsFormat;
use chrono_tz::Tz;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::words::{Words, in_words, is_late};
use crate::domain::notification::{Event, Notification};
use crate::domain::template::{JsonTemplate, Part, Placeholder, Template};

/// A notification ready to be put into templates.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    pub(super) notification: &'a Notification,
    pub(super) words: Words,
    timezone: Tz,
}

impl<'a> Facts<'a> {
    pub(super) fn new(notification: &'a Notification, timezone: Tz) -> Self {
        Self { notification, words: Words::of(notification, timezone), timezone }
    }

    /// With as much of a digest as there is room for; every other message is left as it is.
    pub(super) fn fitting(self, fits: impl Fn(&Self) -> bool) -> Self {
        let Self { notification, words, timezone } = self;
        let with = |words: Words| Self { notification, words, timezone };
        with(words.fitting(|words| fits(&with(words.clone()))))
    }

    /// Whether a person's template of an outage says what happened.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self.notification.event, Event::Down | Event::DownAgain) && !is_late(self.notification)
    }

    /// Whether a person's template of a recovery says what happened.
    pub(super) fn is_recovery(&self) -> bool {
        self.notification.event == Event::Up && !is_late(self.notification)
    }

    /// The text of a placeholder; what is missing reads `N/A`, as in the original.
    pub(super) fn value(&self, placeholder: Placeholder) -> Cow<'_, str> {
        let n = self.notification;
        let missing = || Cow::Borrowed("N/A");
        let text = |text: &'a str| if text.is_empty() { Cow::Borrowed("N/A") } else { Cow::Borrowed(text) };
        match placeholder {
            Placeholder::EndpointName => text(&n.endpoint_name),
            Placeholder::Group => text(&n.endpoint.group),
            Placeholder::Url => text(&n.url),
            Placeholder::Status => text(&n.status),
            Placeholder::Error => n.error.as_deref().map_or(Cow::Borrowed("Unknown error"), Cow::Borrowed),
            Placeholder::FailureKind => n.failure_kind.as_deref().map_or_else(missing, Cow::Borrowed),
            Placeholder::StatusCode => {
                let code = n.check.as_ref().and_then(|check| check.status_code);
                code.map_or_else(missing, |code| code.to_string().into())
            }
            // Seconds, as everywhere in the original.
            Placeholder::ResponseTime => {
                let ms = n.check.as_ref().and_then(|check| check.response_time_ms);
                ms.map_or_else(missing, |ms| format!("{:.3}", ms / 1000.0).into())
            }
            Placeholder::Timestamp => {
                let at = n.occurred_at.with_timezone(&self.timezone);
                at.to_rfc3339_opts(SecondsFormat::Secs, true).into()
            }
            Placeholder::Duration => self
                .duration_seconds()
                .map_or_else(missing, |seconds| in_words(Duration::from_secs(seconds.try_into().unwrap_or(0))).into()),
            Placeholder::Severity => n.severity.as_str().into(),
            Placeholder::Runbook => n.runbook.as_deref().map_or_else(missing, text),
            Placeholder::IncidentUrl => {
                n.incident.as_ref().and_then(|incident| incident.url.as_deref()).map_or_else(missing, text)
            }
            Placeholder::AckUrl => {
                n.incident.as_ref().and_then(|incident| incident.acknowledge_url.as_deref()).map_or_else(missing, text)
            }
        }
    }

    /// Of the incident or the alert.
    fn duration_seconds(&self) -> Option<i64> {
        let incident = self.notification.incident.as_ref().map(|incident| incident.duration_seconds);
        incident.or(self.notification.alert.as_ref().map(|alert| alert.duration_seconds))
    }

    /// The value of a placeholder that stands in JSON outside a string: numbers as numbers, what is missing as null.
    fn json_value(&self, placeholder: Placeholder) -> Value {
        let check = self.notification.check.as_ref();
        match placeholder {
            Placeholder::StatusCode => check.and_then(|check| check.status_code).into(),
            Placeholder::ResponseTime => check.and_then(|check| check.response_time_ms).map(|ms| ms / 1000.0).into(),
            Placeholder::Duration => self.duration_seconds().into(),
            _ => self.value(placeholder).into(),
        }
    }

    /// A template with its values escaped for `target`.
    pub(super) fn fill(&self, template: &Template, target: Target) -> String {
        template.render(|placeholder| target.escape(self.value(*placeholder)))
    }

    /// A JSON template of an outage, or of a recovery, with its values.
    pub(super) fn fill_json(&self, template: &JsonTemplate) -> String {
        template.render(|text| self.fill_string(text), |placeholder| self.json_value(*placeholder))
    }

    /// A JSON template of an outage for another event: the strings that speak have our words instead.
    pub(super) fn retell_json(&self, template: &JsonTemplate) -> String {
        // Where nothing depends on the endpoint, what reads like a sentence is the message.
        let is_fixed = !template.has_placeholders();
        let text = |text: &Template| {
            let literal = text.literal();
            if speaks(text) || (is_fixed && reads_like_sentence(&literal)) {
                self.words.text()
            } else if !text.has_placeholders() && says_down(&literal) {
                like(&literal, &self.notification.status)
            } else {
                self.fill_string(text)
            }
        };
        template.render(text, |placeholder| self.json_value(*placeholder))
    }

    /// A string of a JSON template; inside an address the values are escaped for it.
    fn fill_string(&self, text: &Template) -> String {
        let literal_start = match text.parts.first() {
            Some(Part::Text(start)) => start.as_str(),
            _ => "",
        };
        let is_url = starts_like_url(literal_start) && !literal_start.contains(char::is_whitespace);
        self.fill(text, if is_url { Target::Url } else { Target::Plain })
    }
}

fn starts_like_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Whether a string is a sentence about what happened, and neither a lone value nor an identifier made of values.
pub(super) fn speaks(text: &Template) -> bool {
    let literal = text.literal();
    let prose = literal.contains(|c: char| c.is_alphabetic() || c.is_whitespace());
    if starts_like_url(&literal) && !literal.contains(char::is_whitespace) {
        return false;
    }
    (text.has_placeholders() && prose) || (says_down(&literal) && literal.contains(char::is_whitespace))
}

fn reads_like_sentence(text: &str) -> bool {
    text.contains(char::is_whitespace) || text.ends_with(['!', '.', '?'])
}

fn says_down(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| word.eq_ignore_ascii_case("down"))
}

/// `status` in the letter case of the word it replaces.
fn like(word: &str, status: &str) -> String {
    if word.chars().any(char::is_lowercase) { status.to_owned() } else { status.to_uppercase() }
}

/// A literal `\n`, as single-quoted YAML and the original's files have it, is a line break.
pub(super) fn with_line_breaks(template: &str) -> String {
    template.replace("\\r\\n", "\n").replace("\\n", "\n")
}

/// Where a value goes, and so how it is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Plain,
    /// One line without control characters.
    Header,
    Html,
    /// A part of a URL, or a value of a form.
    Url,
}

/// Everything but the unreserved characters of RFC 3986.
pub(super) const URL_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Target {
    pub(super) fn escape(self, value: Cow<'_, str>) -> Cow<'_, str> {
        match self {
            Self::Plain => value,
            Self::Header => super::words::one_line(&value).into(),
            Self::Html => html(&value).into(),
            Self::Url => utf8_percent_encode(&value, URL_PART).to_string().into(),
        }
    }
}

/// Text as it is written in HTML, which is also what Telegram's HTML knows.
pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
