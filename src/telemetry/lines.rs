//! What a log line looks like: time, level, target, message, then the fields of the event and of the spans around it,
//! all at one level. A name that an event and a span have in common is the event's.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::logging::{LogFormat, Now, TOLD_OTHERWISE};
use crate::domain::Timestamp;

/// Keys of every JSON line; a field of such a name is written as `field.<name>`.
const FIXED: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Standard error.
#[derive(Debug, Clone)]
pub(super) struct Console {
    pub(super) queue: NonBlocking,
    pub(super) format: LogFormat,
    pub(super) colours: bool,
}

/// Writes each event as a line to the terminal and to the file.
pub(super) struct Lines {
    now: Now,
    console: Option<Console>,
    file: Option<(LogFormat, NonBlocking)>,
}

impl Lines {
    pub(super) fn new(now: Now, console: Option<Console>, file: Option<(LogFormat, NonBlocking)>) -> Self {
        Self { now, console, file }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                for (name, value) in &of_span.rest {
                    if !fields.has(name) {
                        fields.rest.push((name, value.clone()));
                    }
                }
            }
        }
        let metadata = event.metadata();
        let line = Line { at: (self.now)(), level: *metadata.level(), target: metadata.target(), fields };
        // A line that cannot be written is lost: there is nobody left to tell.
        if let Some(Console { queue, format, colours }) = &self.console
            && (*format == LogFormat::Json || line.target != TOLD_OTHERWISE)
        {
            drop(queue.clone().write_all(line.render(*format, *colours).as_bytes()));
        }
        if let Some((format, queue)) = &self.file {
            drop(queue.clone().write_all(line.render(*format, false).as_bytes()));
        }
    }
}

/// The fields of an event or a span in their order.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn has(&self, name: &str) -> bool {
        self.rest.iter().any(|(known, _)| *known == name)
    }

    fn set(&mut self, field: &Field, value: Value) {
        match self.rest.iter_mut().find(|(known, _)| *known == field.name()) {
            Some((_, known)) => *known = value,
            None => self.rest.push((field.name(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" && self.message.is_none() {
            self.message = Some(text);
        } else {
            self.set(field, Value::String(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN, and nothing here is null.
        self.set(field, serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
}

struct Line<'a> {
    at: Timestamp,
    level: Level,
    target: &'a str,
    fields: Fields,
}

impl Line<'_> {
    fn render(&self, format: LogFormat, colours: bool) -> String {
        let mut line = String::with_capacity(256);
        // Writing into a text never fails.
        let written = match format {
            LogFormat::Json => self.json(&mut line),
            LogFormat::Text => self.text(&mut line, colours),
        };
        debug_assert!(written.is_ok());
        line.push('\n');
        line
    }

    fn time(&self) -> impl fmt::Display {
        self.at.format("%Y-%m-%dT%H:%M:%S%.3fZ")
    }

    fn message(&self) -> &str {
        self.fields.message.as_deref().unwrap_or_default()
    }

    fn json(&self, line: &mut String) -> fmt::Result {
        write!(
            line,
            r#"{{"timestamp":"{}","level":"{}","target":{},"message":{}"#,
            self.time(),
            self.level,
            Value::from(self.target),
            Value::from(self.message()),
        )?;
        for (name, value) in &self.fields.rest {
            let name = if FIXED.contains(name) { format!("field.{name}") } else { (*name).to_owned() };
            write!(line, ",{}:{value}", Value::String(name))?;
        }
        line.write_char('}')
    }

    fn text(&self, line: &mut String, colours: bool) -> fmt::Result {
        let colour = match self.level {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            Level::DEBUG => "\x1b[34m",
            Level::TRACE => "\x1b[35m",
        };
        let [dim, colour, plain] = if colours { ["\x1b[2m", colour, "\x1b[0m"] } else { [""; 3] };
        let (time, level, target) = (self.time(), self.level.as_str(), self.target);
        write!(line, "{dim}{time}{plain} {colour}{level:>5}{plain} {dim}{target}:{plain} ")?;
        push_visible(line, self.message(), false);
        for (name, value) in &self.fields.rest {
            write!(line, " {dim}{name}={plain}")?;
            match value {
                Value::String(text) if needs_quotes(text) => {
                    line.push('"');
                    push_visible(line, text, true);
                    line.push('"');
                }
                Value::String(text) => line.push_str(text),
                other => write!(line, "{other}")?,
            }
        }
        Ok(())
    }
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '='))
}

/// Names and answers of others are in the log: nothing in them ends the line or speaks to the terminal.
fn push_visible(line: &mut String, text: &str, quoted: bool) {
    for c in text.chars() {
        let line_end = matches!(c, '\u{2028}' | '\u{2029}');
        if c.is_control() || line_end || (quoted && matches!(c, '"' | '\\')) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, message: &str, rest: Vec<(&'static str, Value)>) -> Line<'static> {
        let fields = Fields { message: Some(message.to_owned()), rest };
        Line { at: "2026-03-01T12:00:00.0625Z".parse().unwrap(), level, target: "api_monitor::recorder", fields }
    }

    #[test]
    fn nothing_in_a_line_ends_it_or_speaks_to_the_terminal() {
        let evil = "a\nb\u{1b}[2J \"c\" \u{2028}";
        let line = line(Level::WARN, evil, vec![("endpoint", evil.into()), ("level", "x".into()), ("n", 1.into())]);
        assert_eq!(
            line.render(LogFormat::Text, false),
            "2026-03-01T12:00:00.062Z  WARN api_monitor::recorder: a\\nb\\u{1b}[2J \"c\" \\u{2028} \
             endpoint=\"a\\nb\\u{1b}[2J \\\"c\\\" \\u{2028}\" level=x n=1\n"
        );
        let json = line.render(LogFormat::Json, false);
        assert_eq!(json.lines().count(), 1);
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            read,
            serde_json::json!({
                "timestamp": "2026-03-01T12:00:00.062Z", "level": "WARN", "target": "api_monitor::recorder",
                "message": evil, "endpoint": evil, "field.level": "x", "n": 1
            })
        );
    }

    #[test]
    fn a_terminal_gets_colours() {
        let text = line(Level::ERROR, "gone", vec![("a", "b".into())]).render(LogFormat::Text, true);
        assert!(text.contains("\x1b[31mERROR\x1b[0m") && text.ends_with(" \x1b[2ma=\x1b[0mb\n"), "{text:?}");
    }
}
