//! What the slots of data files stand for, and how text is written for each service: escaped, and cut to what it takes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::body::{Mapped, mapped_text};
use crate::config::Secret;
use crate::domain::grouping::digest::DigestItem;
use crate::domain::notification::{Event, Notification};
use crate::domain::preset::{Escape, Limit, OptionKind, Preset};
use crate::domain::template::{Placeholder, TemplateError};
use crate::domain::{Timestamp, micros};
use crate::notify::channel::{Message, cut};
use crate::notify::render::{Facts, html};
use crate::notify::words::{Words, is_late};

/// Longest single fact, in characters.
const MAX_FACT: usize = 1000;

/// A line is not cut shorter than this while there are others to leave out.
const SHORTEST_LINE: usize = 40;

/// What a data file may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// Not escaped, empty where it is not known.
    Fact(Placeholder),
    /// The first line.
    Title,
    /// All lines but the first.
    Details,
    /// All lines.
    Message,
    /// All lines, without markup in any service.
    PlainMessage,
    /// All lines, the first set apart.
    Rich,
    /// One of the details.
    Line,
    /// The same for every attempt.
    Id,
    /// The same for all messages of an incident.
    DedupKey,
    /// To the incident, else the runbook.
    Link,
    /// The URL of the endpoint, else its name.
    Source,
    OccurredAt,
    /// In seconds since 1970.
    Unix,
    /// When the incident began.
    StartsAt,
    /// When it was over; while it is not, when this happened.
    EndedAt,
    /// So much after this happened.
    In(Duration),
    Option(String),
    Map(String),
}

impl Slot {
    pub(super) fn read(word: &str) -> Result<Self, TemplateError> {
        let unknown = || TemplateError::UnknownPlaceholder {
            placeholder: word.to_owned(),
            known: Placeholder::ALL.iter().map(|p| p.as_str()).collect(),
        };
        Ok(match word {
            "title" => Self::Title,
            "details" => Self::Details,
            "message" => Self::Message,
            "message.plain" => Self::PlainMessage,
            "rich" => Self::Rich,
            "line" => Self::Line,
            "id" => Self::Id,
            "dedup_key" => Self::DedupKey,
            "link" => Self::Link,
            "source" => Self::Source,
            "occurred_at" => Self::OccurredAt,
            "unix" => Self::Unix,
            "starts_at" => Self::StartsAt,
            "ended_at" => Self::EndedAt,
            _ => match word.split_once('.') {
                Some(("options", option)) => Self::Option(option.to_owned()),
                Some(("maps", map)) => Self::Map(map.to_owned()),
                Some(("in", span)) => Self::In(humantime::parse_duration(span).map_err(|_| unknown())?),
                _ => Self::Fact(word.parse().map_err(|_| unknown())?),
            },
        })
    }
}

/// A message as the slots of a data file tell it.
pub(super) struct Texts<'a> {
    preset: &'a Preset,
    options: &'a BTreeMap<String, Secret>,
    maps: &'a BTreeMap<String, BTreeMap<String, Mapped>>,
    facts: Facts<'a>,
    /// Under which its bodies and values are found, the most special first.
    names: [String; 4],
}

impl<'a> Texts<'a> {
    pub(super) fn new(
        preset: &'a Preset,
        options: &'a BTreeMap<String, Secret>,
        maps: &'a BTreeMap<String, BTreeMap<String, Mapped>>,
        message: &'a Message,
        timezone: Tz,
    ) -> Self {
        let n = &message.notification;
        let phase = phase(n);
        // What is told late has the event of what could not be told.
        let event = if is_late(n) { phase } else { n.event.as_str() };
        let names = [event.to_owned(), format!("{phase}.{}", n.severity), phase.to_owned(), "default".to_owned()];
        let mut texts = Self { preset, options, maps, facts: Facts::new(n, timezone), names };
        let words = texts.facts.words.clone();
        texts.facts.words = words.fitting(|words| texts.has_room(words));
        texts
    }

    /// Whether the service takes all of these words.
    fn has_room(&self, words: &Words) -> bool {
        let takes = |what: &str, lines: &[String]| {
            let written = lines.iter().map(|line| self.escape(line)).collect::<Vec<_>>().join(&self.preset.line_break);
            // What sets a line apart counts too.
            self.preset.limits.get(what).is_none_or(|limit| limit.unit.measure(&written) + 20 <= limit.max)
        };
        let all: Vec<String> = std::iter::once(words.title()).chain(words.lines.iter().cloned()).collect();
        takes("message", &all) && takes("details", &words.lines)
    }

    pub(super) fn names(&self) -> [&str; 4] {
        self.names.each_ref().map(String::as_str)
    }

    pub(super) fn mapped(&self, map: &str) -> Option<&'a Mapped> {
        let map = self.maps.get(map)?;
        self.names.iter().find_map(|name| map.get(name))
    }

    pub(super) fn is_number(&self, option: &str) -> bool {
        self.preset.option(option).is_some_and(|option| option.kind == OptionKind::Integer)
    }

    /// The value of a slot as it is sent; `line` is that of [`Slot::Line`].
    pub(super) fn value(&self, slot: &Slot, line: &str) -> Cow<'_, str> {
        let n = self.facts.notification;
        match slot {
            Slot::Fact(placeholder) => self.fact(*placeholder),
            Slot::Title => self.lines("title", &[self.facts.words.title()], |text| self.escape(text)).into(),
            Slot::Details => self.lines("details", &self.facts.words.lines, |text| self.escape(text)).into(),
            Slot::Message => self.lines("message", &self.all_lines(), |text| self.escape(text)).into(),
            Slot::PlainMessage => {
                let limit = self.preset.limits.get("message").copied();
                fitted(&self.all_lines(), limit, |lines| lines.join("\n")).into()
            }
            Slot::Rich => self.rich().into(),
            Slot::Line => self.escape(line).into(),
            Slot::Id => n.id.as_str().into(),
            Slot::DedupKey => dedup_key(n).into(),
            Slot::Link => self.link(),
            Slot::Source if n.url.is_empty() => self.fact(Placeholder::EndpointName),
            Slot::Source => self.fact(Placeholder::Url),
            Slot::OccurredAt => rfc3339(n.occurred_at).into(),
            Slot::Unix => n.occurred_at.timestamp().to_string().into(),
            Slot::StartsAt => rfc3339(starts_at(n)).into(),
            Slot::EndedAt => rfc3339(ended_at(n)).into(),
            Slot::In(span) => rfc3339(n.occurred_at + *span).into(),
            Slot::Option(name) => self.options.get(name).map_or("", Secret::expose).into(),
            Slot::Map(name) => self.mapped(name).map_or(Cow::Borrowed(""), |mapped| mapped_text(mapped, self)),
        }
    }

    /// The lines after the first, cut to what the service takes together but not yet escaped.
    pub(super) fn detail_lines(&self) -> Vec<String> {
        let lines = &self.facts.words.lines;
        let Some(limit) = self.preset.limits.get("details") else { return lines.clone() };
        // What a line is wrapped in counts elsewhere.
        fit(lines, |lines| {
            limit.unit.measure(&lines.iter().map(|line| self.escape(line)).collect::<String>()) <= limit.max
        })
    }

    fn all_lines(&self) -> Vec<String> {
        std::iter::once(self.facts.words.title()).chain(self.facts.words.lines.iter().cloned()).collect()
    }

    fn lines(&self, what: &str, lines: &[String], escape: impl Fn(&str) -> String) -> String {
        let written =
            |lines: &[String]| lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join(&self.preset.line_break);
        fitted(lines, self.preset.limits.get(what).copied(), written)
    }

    fn rich(&self) -> String {
        let written = |lines: &[String]| {
            let lines = lines.iter().enumerate().map(|(i, line)| match (i, self.preset.escape) {
                (0, Escape::Html) => format!("<strong>{}</strong>", self.escape(line)),
                (0, Escape::Discord | Escape::Mattermost) => format!("**{}**", self.escape(line)),
                (0, Escape::GoogleChat | Escape::Slack) => format!("*{}*", self.escape(line)),
                _ => self.escape(line),
            });
            lines.collect::<Vec<_>>().join(&self.preset.line_break)
        };
        fitted(&self.all_lines(), self.preset.limits.get("message").copied(), written)
    }

    /// Facts stand in fields of their own, where nothing reads markup.
    fn fact(&self, placeholder: Placeholder) -> Cow<'_, str> {
        let n = self.facts.notification;
        let incident_url = || n.incident.as_ref().and_then(|incident| incident.url.as_deref());
        let is_known = match placeholder {
            Placeholder::EndpointName => !n.endpoint_name.is_empty(),
            Placeholder::Group => !n.endpoint.group.is_empty(),
            Placeholder::Url => !n.url.is_empty(),
            Placeholder::Error => n.error.is_some(),
            Placeholder::FailureKind => n.failure_kind.is_some(),
            Placeholder::StatusCode => n.check.as_ref().is_some_and(|check| check.status_code.is_some()),
            Placeholder::ResponseTime => n.check.as_ref().is_some_and(|check| check.response_time_ms.is_some()),
            Placeholder::Duration => n.incident.is_some() || n.alert.is_some(),
            Placeholder::Runbook => n.runbook.as_ref().is_some_and(|runbook| !runbook.is_empty()),
            Placeholder::IncidentUrl => incident_url().is_some_and(|url| !url.is_empty()),
            Placeholder::AckUrl => n.incident.as_ref().is_some_and(|incident| incident.acknowledge_url.is_some()),
            Placeholder::Status | Placeholder::Timestamp | Placeholder::Severity => true,
        };
        if is_known { cut(self.facts.value(placeholder), MAX_FACT) } else { "".into() }
    }

    /// One that is too long is left out: half of it leads nowhere.
    fn link(&self) -> Cow<'_, str> {
        let limit = self.preset.limits.get("link").map_or(MAX_FACT, |limit| limit.max);
        let link = [Placeholder::IncidentUrl, Placeholder::Runbook].map(|placeholder| self.fact(placeholder));
        link.into_iter().find(|link| !link.is_empty() && link.chars().count() <= limit).unwrap_or_default()
    }

    fn escape(&self, text: &str) -> String {
        escape(text, self.preset.escape)
    }
}

/// What a message is for a service with an incident life cycle of its own.
fn phase(n: &Notification) -> &'static str {
    let is_over = || n.event == Event::Digest && n.items.iter().all(DigestItem::is_over);
    if is_late(n) || n.is_end() || is_over() {
        "resolve"
    } else if n.event == Event::Test {
        "test"
    } else {
        "trigger"
    }
}

/// The same for all messages of an incident, or of one firing of an alert; else the message's own.
fn dedup_key(n: &Notification) -> String {
    if let Some(incident) = &n.incident {
        return format!("api-monitor-e{}-{}", n.endpoint.id, micros(incident.started_at));
    }
    match &n.alert {
        Some(alert) => format!("api-monitor-{}-{}", alert.alert_id, micros(alert.fired_at)),
        // All of one time in doubt begin alike.
        None if n.event == Event::Blind => {
            let of_span = n.id.rsplit_once("_blind").map_or(n.id.as_str(), |(of_span, _)| of_span);
            format!("api-monitor-{}", of_span.trim_start_matches("ntf_"))
        }
        None => n.id.clone(),
    }
}

fn starts_at(n: &Notification) -> Timestamp {
    let incident = n.incident.as_ref().map(|incident| incident.started_at);
    incident.or(n.alert.as_ref().map(|alert| alert.crossed_at)).unwrap_or(n.occurred_at)
}

fn ended_at(n: &Notification) -> Timestamp {
    let incident = n.incident.as_ref().and_then(|incident| incident.resolved_at);
    incident.or(n.alert.as_ref().and_then(|alert| alert.resolved_at)).unwrap_or(n.occurred_at)
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Lines as they are written, not longer than the limit.
fn fitted(lines: &[String], limit: Option<Limit>, written: impl Fn(&[String]) -> String) -> String {
    let Some(Limit { max, unit }) = limit else { return written(lines) };
    let text = written(&fit(lines, |lines| unit.measure(&written(lines)) <= max));
    debug_assert!(unit.measure(&text) <= max || max < 100, "what is left of a text fits");
    text
}

/// What remains of lines so that they fit. The longest are cut first, so that what is short stays: since when, the
/// link, the runbook. Where that is not enough the last are left out.
fn fit(lines: &[String], fits: impl Fn(&[String]) -> bool) -> Vec<String> {
    if fits(lines) {
        return lines.to_vec();
    }
    let at_most = |lines: &[String], chars: usize| -> Vec<String> {
        lines.iter().map(|line| cut(line.into(), chars).into_owned()).collect()
    };
    // The longest length, and the most lines, with which `works` still holds; 0: with none.
    let most = |to: usize, works: &dyn Fn(usize) -> bool| {
        let (mut good, mut bad) = (0, to + 1);
        while bad - good > 1 {
            let middle = usize::midpoint(good, bad);
            if works(middle) { good = middle } else { bad = middle }
        }
        good
    };
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let chars = most(longest, &|chars| fits(&at_most(lines, chars)));
    if chars >= SHORTEST_LINE {
        return at_most(lines, chars);
    }
    let short = at_most(lines, SHORTEST_LINE);
    let with_mark =
        |count: usize| -> Vec<String> { short.iter().take(count).cloned().chain(["…".to_owned()]).collect() };
    match most(short.len(), &|count| fits(&with_mark(count))) {
        0 => at_most(&lines[..lines.len().min(1)], chars),
        count => with_mark(count),
    }
}

/// Text that is to be read as text.
fn escape(text: &str, escape: Escape) -> String {
    match escape {
        Escape::None => text.to_owned(),
        Escape::Slack => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        Escape::GoogleChat => text.replace('<', "<\u{200b}"),
        Escape::Html => html(text),
        Escape::Discord => markdown(text, "\\`*_{}[]()~|<>#"),
        // `<!channel>` and `<address|text>` of Slack are understood before Markdown is.
        Escape::Mattermost => markdown(text, "\\`*_{}[]()~|<>#").replace('@', "@\u{200b}").replace('<', "<\u{200b}"),
    }
}

/// Markdown in which nothing is markup but web addresses, which are found and shown as they are.
fn markdown(text: &str, special: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            escaped.push(' ');
        }
        let is_address = word.starts_with("https://") || word.starts_with("http://");
        for c in word.chars() {
            if is_address && "\\`*{}[]()~|<>\"".contains(c) {
                // These may stand in an address in this way as well, and end none.
                escaped.extend(utf8_percent_encode(c.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC));
            } else {
                let begins = escaped.is_empty() || escaped.ends_with('\n');
                if !is_address && (special.contains(c) || (begins && "-+=.".contains(c))) {
                    escaped.push('\\');
                }
                escaped.push(c);
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::preset::Unit;
    use crate::notify::testing::hostile;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn the_longest_line_gives_first() {
        let limit = Some(Limit { max: 120, unit: Unit::Characters });
        let long = "é".repeat(20_000);
        let text = fitted(&lines(&["It is down", &long, "Runbook: https://x.example/"]), limit, |l| l.join("\n"));
        assert_eq!(text.chars().count(), 120, "{text}");
        assert!(text.starts_with("It is down\né") && text.ends_with("…\nRunbook: https://x.example/"), "{text}");
        let many: Vec<String> = (0..1000).map(|i| format!("line {i}")).collect();
        let text = fitted(&many, limit, |l| l.join("\n"));
        assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("\n…"), "{text}");
        assert_eq!(fitted(&lines(&[&long]), Some(Limit { max: 12, unit: Unit::Bytes }), |l| l.join("\n")), "éééé…");
    }

    #[test]
    fn markup_is_text_and_addresses_lead_where_they_did() {
        for (text, expected) in [
            ("a_b *c* `d` [e](https://x)", r"a\_b \*c\* \`d\` \[e\]\(https://x\)"),
            ("URL: https://x.example/a_b?c=1&d=(2)", "URL: https://x.example/a_b?c=1&d=%282%29"),
            ("- item <@123> @everyone", r"\- item \<@123\> @everyone"),
        ] {
            assert_eq!(escape(text, Escape::Discord), expected);
        }
        assert_eq!(escape("@channel @all a@b.c", Escape::Mattermost), "@\u{200b}channel @\u{200b}all a@\u{200b}b.c");
        assert_eq!(escape("<users/all> & co", Escape::GoogleChat), "<\u{200b}users/all> & co");
    }

    proptest! {
        #[test]
        fn what_is_cut_fits(texts in prop::collection::vec(hostile(), 1..6), max in 100_usize..5000) {
            for kind in [Escape::None, Escape::Slack, Escape::Discord, Escape::Mattermost, Escape::Html] {
                for unit in [Unit::Characters, Unit::Bytes] {
                    let written = |l: &[String]| l.iter().map(|l| escape(l, kind)).collect::<Vec<_>>().join("\n");
                    let text = fitted(&texts, Some(Limit { max, unit }), written);
                    prop_assert!(unit.measure(&text) <= max);
                }
            }
        }

        #[test]
        fn no_mark_of_markdown_is_left(text in hostile()) {
            let escaped = escape(&text, Escape::Discord);
            for word in escaped.split(' ').filter(|word| !word.starts_with("http")) {
                let mut chars = word.chars();
                while let Some(c) = chars.next() {
                    if c == '\\' {
                        chars.next();
                    } else {
                        prop_assert!(!"`*_[]()~|<>#".contains(c), "{}", word);
                    }
                }
            }
        }
    }
}
