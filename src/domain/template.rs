//! Templates of messages: text with `{placeholders}`.
//!
//! Plain substitution, no code. What a placeholder's value is, and how it is escaped for its target, is decided by
//! who renders; here is only how a text is taken apart. Braces that hold no bare word stay as they are, so JSON can
//! be written without doubling them.

mod json;

use std::borrow::Cow;

use crate::domain::outcome::words;

pub use json::JsonTemplate;

words! {
    /// What a template may name.
    pub enum Placeholder {
        EndpointName = "endpoint_name",
        Group = "group",
        Url = "url",
        Status = "status",
        Error = "error",
        FailureKind = "failure_kind",
        StatusCode = "status_code",
        ResponseTime = "response_time",
        Timestamp = "timestamp",
        Duration = "duration",
        Severity = "severity",
        Runbook = "runbook",
        IncidentUrl = "incident_url",
        AckUrl = "ack_url",
    }
}

/// Where a template's text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateKind {
    /// A mail's subject, one line.
    Header,
    /// A mail's body, or a chat message.
    Text,
    /// A webhook's body whose content type is not JSON, or not said: JSON when it looks like it.
    Payload,
    /// A webhook's body that is JSON.
    Json,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("unknown placeholder {{{placeholder}}}, known are {}", in_braces(known))]
    UnknownPlaceholder {
        /// Without its braces.
        placeholder: String,
        /// What may be named, to suggest from.
        known: Vec<&'static str>,
    },
    #[error("the payload is not valid JSON: {reason}")]
    NotJson { reason: String },
    #[error("a template has at most {MAX_TEMPLATE_BYTES} bytes")]
    TooLong,
}

/// Bound of a template's text.
pub const MAX_TEMPLATE_BYTES: usize = 64 * 1024;

fn in_braces(known: &[&str]) -> String {
    known.iter().map(|word| format!("{{{word}}}")).collect::<Vec<_>>().join(" ")
}

/// Whether a template can be used, as the configuration asks when it is read.
pub fn check_template(kind: TemplateKind, text: &str) -> Result<(), TemplateError> {
    match kind {
        TemplateKind::Header | TemplateKind::Text => Template::parse(text).map(|_| ()),
        TemplateKind::Json => JsonTemplate::parse(text).map(|_| ()),
        TemplateKind::Payload if JsonTemplate::looks_like(text) => JsonTemplate::parse(text).map(|_| ()),
        TemplateKind::Payload => Template::parse(text).map(|_| ()),
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<P> {
    Text(String),
    Value(P),
}

/// A text taken apart. `P` is what its placeholders stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<P = Placeholder> {
    pub parts: Vec<Part<P>>,
}

impl Template {
    /// Takes a text apart by the placeholders that people may use.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, &people_may)
    }
}

/// The placeholders that people may use.
fn people_may(word: &str) -> Result<Placeholder, TemplateError> {
    word.parse().map_err(|_| TemplateError::UnknownPlaceholder {
        placeholder: word.to_owned(),
        known: Placeholder::ALL.iter().map(|p| p.as_str()).collect(),
    })
}

impl<P> Template<P> {
    /// Takes a text apart; `named` says what a bare word in braces stands for.
    pub fn parse_with(text: &str, named: &dyn Fn(&str) -> Result<P, TemplateError>) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong);
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            match bare_word(after) {
                Some(word) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Value(named(word)?));
                    rest = &after[word.len() + 1..];
                }
                None => {
                    plain.push('{');
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The text with the placeholders' values, which `value` has escaped.
    pub fn render<'v>(&self, value: impl Fn(&P) -> Cow<'v, str>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Value(placeholder) => text.push_str(&value(placeholder)),
            }
        }
        text
    }

    pub fn has_placeholders(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value(_)))
    }

    /// The text between the placeholders.
    pub fn literal(&self) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Value(_) => "",
        });
        texts.collect()
    }
}

/// The word at the start of `after` that ends with a closing brace.
fn bare_word(after: &str) -> Option<&str> {
    let word = after.split_once('}')?.0;
    let first = word.chars().next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    ((first.is_ascii_alphabetic() || first == '_') && word.chars().all(plain)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        Template::parse(text).unwrap().render(|p| Cow::Owned(format!("<{p}>")))
    }

    #[test]
    fn words_in_braces_are_replaced_and_other_braces_stay() {
        for (text, expected) in [
            ("{endpoint_name} is DOWN", "<endpoint_name> is DOWN"),
            ("{error}{url}", "<error><url>"),
            (r#"{"text": "{error}"}"#, r#"{"text": "<error>"}"#),
            ("{ } {} { error } {0} {{error}} {", "{ } {} { error } {0} {<error>} {"),
            ("a{\n\"b\": {\"c\": 1}}", "a{\n\"b\": {\"c\": 1}}"),
            ("", ""),
        ] {
            assert_eq!(rendered(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_nobody_knows_is_an_error_that_lists_those_known() {
        let error = check_template(TemplateKind::Text, "{endpoint_nam} is DOWN").unwrap_err();
        let TemplateError::UnknownPlaceholder { placeholder, known } = &error else { panic!("{error:?}") };
        assert_eq!(placeholder, "endpoint_nam");
        assert_eq!(known.len(), Placeholder::ALL.len());
        assert!(error.to_string().starts_with("unknown placeholder {endpoint_nam}, known are {endpoint_name} {group}"));
    }

    #[test]
    fn payloads_that_look_like_json_must_be_json() {
        assert!(check_template(TemplateKind::Payload, "{endpoint_name} is DOWN").is_ok());
        assert!(check_template(TemplateKind::Payload, "{\"text\": \"{error}\"}").is_ok());
        let broken = check_template(TemplateKind::Payload, "{\"text\": \"{error}\"");
        assert!(matches!(broken, Err(TemplateError::NotJson { .. })), "{broken:?}");
        let unknown = check_template(TemplateKind::Payload, "{\"text\": \"{eror}\"}");
        assert!(matches!(unknown, Err(TemplateError::UnknownPlaceholder { .. })), "{unknown:?}");
        assert!(check_template(TemplateKind::Json, "{error}").is_ok(), "a lone placeholder is a JSON string");
        assert!(check_template(TemplateKind::Json, "down: {error}").is_err());
        assert_eq!(
            check_template(TemplateKind::Text, &"x".repeat(MAX_TEMPLATE_BYTES + 1)),
            Err(TemplateError::TooLong)
        );
    }
}
