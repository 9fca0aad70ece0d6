//! Templates that are JSON: placeholders stand in strings, or in the place of a value.
//!
//! The strings are taken out of the text and written again with their values, so that no value can break the JSON.

use serde_json::Value;

use super::{MAX_TEMPLATE_BYTES, Template, TemplateError, people_may};
use crate::domain::template::Placeholder;

/// A JSON text taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonTemplate<P = Placeholder> {
    tokens: Vec<Token<P>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<P> {
    /// Everything outside strings, as it was written.
    Plain(String),
    /// A string that is a value.
    Text(Template<P>),
    /// A string that names a member.
    Key(Template<P>),
    /// A placeholder in the place of a value.
    Bare(P),
}

impl JsonTemplate {
    /// Takes a text apart by the placeholders that people may use.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, &people_may)
    }

    /// Whether a text is meant as JSON: it begins like an object or a list, not like a placeholder.
    pub fn looks_like(text: &str) -> bool {
        let text = text.trim_start();
        let undoubled = text.strip_prefix("{{").map(|rest| format!("{{{rest}"));
        let text = undoubled.as_deref().unwrap_or(text);
        match text.chars().next() {
            Some('{') => matches!(text[1..].trim_start().chars().next(), Some('"' | '}')),
            Some('[') => {
                let rest = text[1..].trim_start();
                rest.starts_with(['"', ']']) || Self::looks_like(rest)
            }
            _ => false,
        }
    }
}

impl<P> JsonTemplate<P> {
    /// Takes a text apart; `named` says what a bare word in braces stands for. Line breaks inside strings, which
    /// JSON does not allow, are taken as meant. Braces that are doubled throughout, as Python's `str.format` wants
    /// them, are taken as single ones.
    pub fn parse_with(text: &str, named: &dyn Fn(&str) -> Result<P, TemplateError>) -> Result<Self, TemplateError> {
        let once = Self::parse_once(text, named);
        match once {
            Err(TemplateError::NotJson { .. }) if text.trim_start().starts_with("{{") => {
                let single = text.replace("{{", "{").replace("}}", "}");
                Self::parse_once(&single, named).or(once)
            }
            _ => once,
        }
    }

    fn parse_once(text: &str, named: &dyn Fn(&str) -> Result<P, TemplateError>) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong);
        }
        let not_json = |reason: String| TemplateError::NotJson { reason };
        let mut tokens = Vec::new();
        // The same text with a value for each placeholder, to be judged by the JSON parser.
        let mut sample = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('"') {
            outside(&rest[..start], named, &mut tokens, &mut sample)?;
            let after = &rest[start + 1..];
            let end = end_of_string(after).ok_or_else(|| not_json("a string has no end".to_owned()))?;
            let inner = escape_controls(&after[..end]);
            let string = format!("\"{inner}\"");
            let content: String = serde_json::from_str(&string).map_err(|e| not_json(format!("{e} in {string}")))?;
            sample.push_str(&string);
            rest = &after[end + 1..];
            let template = Template::parse_with(&content, named)?;
            let is_key = rest.trim_start().starts_with(':');
            tokens.push(if is_key { Token::Key(template) } else { Token::Text(template) });
        }
        outside(rest, named, &mut tokens, &mut sample)?;
        serde_json::from_str::<Value>(&sample).map_err(|e| not_json(e.to_string()))?;
        Ok(Self { tokens })
    }

    /// The JSON text. `text` gives what a string becomes, `bare` the value in the place of a placeholder.
    pub fn render(&self, text: impl Fn(&Template<P>) -> String, bare: impl Fn(&P) -> Value) -> String {
        let mut json = String::new();
        for token in &self.tokens {
            match token {
                Token::Plain(plain) => json.push_str(plain),
                Token::Text(template) => json.push_str(&Value::String(text(template)).to_string()),
                Token::Key(template) if template.has_placeholders() => {
                    json.push_str(&Value::String(text(template)).to_string());
                }
                Token::Key(template) => json.push_str(&Value::String(template.literal()).to_string()),
                Token::Bare(placeholder) => json.push_str(&bare(placeholder).to_string()),
            }
        }
        json
    }

    /// The strings that are values.
    pub fn texts(&self) -> impl Iterator<Item = &Template<P>> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Text(template) => Some(template),
            _ => None,
        })
    }

    pub fn has_placeholders(&self) -> bool {
        self.tokens.iter().any(|token| match token {
            Token::Plain(_) => false,
            Token::Bare(_) => true,
            Token::Text(template) | Token::Key(template) => template.has_placeholders(),
        })
    }
}

/// What stands outside strings.
fn outside<P>(
    text: &str,
    named: &dyn Fn(&str) -> Result<P, TemplateError>,
    tokens: &mut Vec<Token<P>>,
    sample: &mut String,
) -> Result<(), TemplateError> {
    for part in Template::parse_with(text, named)?.parts {
        match part {
            super::Part::Text(plain) => {
                sample.push_str(&plain);
                tokens.push(Token::Plain(plain));
            }
            super::Part::Value(placeholder) => {
                sample.push_str("null");
                tokens.push(Token::Bare(placeholder));
            }
        }
    }
    Ok(())
}

/// Where the string that began before `text` ends.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Control characters of a string written as JSON wants them.
fn escape_controls(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    for c in inner.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_ascii_control() && c != '\u{7f}' => text.extend(['\\', 'u', '0', '0', hex(c, 4), hex(c, 0)]),
            c => text.push(c),
        }
    }
    text
}

/// The hexadecimal digit of a character's code that begins at `bit`.
fn hex(c: char, bit: u32) -> char {
    char::from_digit((u32::from(c) >> bit) & 0xf, 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rendered(template: &str, value: &str) -> Value {
        let template = JsonTemplate::parse(template).unwrap();
        let text = template.render(|t| t.render(|_| Cow::Borrowed(value)), |_| Value::from(value));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    #[test]
    fn templates_of_every_style_become_json() {
        for (template, expected) in [
            (
                "{\n  \"text\": \"*{endpoint_name}* is DOWN\\nError: {error}\"\n}\n",
                json!({"text": "*v* is DOWN\nError: v"}),
            ),
            ("{\"text\": \"{error}\nand more\"}", json!({"text": "v\nand more"})),
            ("{{\"text\": \"{error}\", \"a\": {{\"b\": 1}}}}", json!({"text": "v", "a": {"b": 1}})),
            ("{\"a\": {\"b\": {\"c\": \"{url}\"}}}", json!({"a": {"b": {"c": "v"}}})),
            ("{\"code\": {status_code}, \"on\": true}", json!({"code": "v", "on": true})),
            ("[{\"{endpoint_name}\": 1}]", json!([{"v": 1}])),
            ("{\"a\": \"\\\"{error}\\\" \\u00e9 { }\"}", json!({"a": "\"v\" é { }"})),
            ("{\"a\": \"x\u{1b}\u{1}\"}", json!({"a": "x\u{1b}\u{1}"})),
            ("{}", json!({})),
        ] {
            assert_eq!(rendered(template, "v"), expected, "{template}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for template in ["{\"a\": \"{error}\"", "{\"a\": {error} {error}}", "{\"a\": \"\\x\"}", "{\"a: 1}", "{'a': 1}"]
        {
            let parsed = JsonTemplate::parse(template);
            assert!(matches!(parsed, Err(TemplateError::NotJson { .. })), "{template}: {parsed:?}");
        }
    }

    #[test]
    fn text_that_begins_with_a_placeholder_is_not_taken_for_json() {
        for (text, json) in [
            ("{endpoint_name} is DOWN", false),
            ("{ \"a\": 1 }", true),
            ("{{\"a\": 1}}", true),
            ("[{\"a\": 1}]", true),
            ("[{group}] down", false),
            ("[ALERT] down", false),
            ("{}", true),
        ] {
            assert_eq!(JsonTemplate::looks_like(text), json, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_breaks_the_json(value in "(?s).{0,200}|[\"\\\\{}\n\r\t🚨]{0,40}") {
            let json = rendered("{\"{group}\": \"x {error}\", \"n\": {status_code}}", &value);
            prop_assert_eq!(&json[value.as_str()], &Value::from(format!("x {value}")));
            prop_assert_eq!(&json["n"], &Value::from(value));
        }
    }
}
