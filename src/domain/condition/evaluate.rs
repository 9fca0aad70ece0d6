//! Whether a condition holds, strictly: what was not seen makes every comparison over it false.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::function::{Found, Match, ask};
use super::json::{self, Unreadable};
use super::{Answer, Condition, Dialect, Matcher, Operand, Operator, Path, Placeholder, Source, go};
use crate::domain::Timestamp;

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// Nothing stands there; null is nothing.
    NotThere,
    NotJson,
    /// The document is too large to be asked a query.
    TooMany,
    /// It would need the part of the body that was not read.
    Cut,
    /// Of `age()`: the text is no time.
    NoTime,
    /// Where numbers are compared.
    NoNumber,
}

/// What an examination of a condition gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub holds: bool,
    pub(super) condition: Condition,
    pub(super) left: Shown,
    pub(super) right: Shown,
}

/// What was seen on one side, fit to be shown: bounded, and without what is secret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shown {
    /// `None`: nothing is seen there, it is as it is written.
    pub(super) value: Option<String>,
    pub(super) is_number: bool,
    pub(super) unseen: Option<Unseen>,
}

/// A condition with the values that were seen, as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConditionSeen {
    /// As it is written.
    pub condition: String,
    /// It holds.
    pub success: bool,
    /// With the values: `[STATUS] (502) == 200`.
    pub seen: String,
    /// One of `degraded_unless`.
    #[serde(default)]
    pub degrades: bool,
    /// Where it does not hold, why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Examines conditions against one answer.
#[derive(Debug)]
pub struct Examiner<'a> {
    pub(super) answer: &'a Answer<'a>,
    /// The body as it came.
    pub(super) raw: Cow<'a, str>,
    document: OnceCell<Result<serde_json::Value, Unreadable>>,
}

/// A value that was seen.
pub(super) struct Seen<'s> {
    pub(super) text: Cow<'s, str>,
    /// It is a number by its nature, and not a text of digits.
    is_number: bool,
    /// How it is shown, where that is not its text.
    shown: Option<String>,
    /// There is more of it than is known.
    is_cut: bool,
}

impl<'s> Seen<'s> {
    fn text(text: impl Into<Cow<'s, str>>) -> Self {
        Self { text: text.into(), is_number: false, shown: None, is_cut: false }
    }

    fn number(number: impl ToString) -> Self {
        Self { is_number: true, ..Self::text(number.to_string()) }
    }

    /// A value of a JSON document by its text.
    fn json(raw: &'s str) -> Self {
        let is_number = raw.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        Self { is_number, ..Self::text(json::plain(raw)) }
    }

    /// A time, in milliseconds with their fractions.
    fn micros(us: i64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of centuries are exact")]
        let ms = us as f64 / 1e3;
        Self::number(ms)
    }
}

impl From<Unreadable> for Unseen {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::NotJson => Self::NotJson,
            Unreadable::TooMany => Self::TooMany,
        }
    }
}

/// A text as a number: an integer in any base, a number with a point, a duration in milliseconds.
pub(super) fn number(text: &str) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "two integers are compared as such")]
    let whole = whole(text).map(|whole| whole as f64);
    whole.or_else(|| go::duration_in_days(text)).or_else(|| go::float(text)).filter(|number| !number.is_nan())
}

fn whole(text: &str) -> Option<i128> {
    let is_plain = || text.bytes().all(|b| b.is_ascii_digit());
    go::integer(text).map(i128::from).or_else(|| is_plain().then(|| text.parse().ok())?)
}

impl<'a> Examiner<'a> {
    pub fn new(answer: &'a Answer<'a>) -> Self {
        Self { answer, raw: String::from_utf8_lossy(&answer.evidence.body), document: OnceCell::new() }
    }

    /// Examines one condition in its dialect.
    pub fn examine(&self, condition: &Condition) -> Verdict {
        match condition.dialect {
            Dialect::Gatus => super::compat::examine(self, condition),
            Dialect::Strict => self.strictly(condition),
        }
    }

    fn strictly(&self, condition: &Condition) -> Verdict {
        let (left, right) = (self.value(&condition.left), self.value(&condition.right));
        let mut shown_left = self.shown(&condition.left, left.as_ref());
        let mut shown_right = self.shown(&condition.right, right.as_ref());
        let holds = match (&condition.left, &condition.right, left, right) {
            (Operand::Matcher(matcher), _, _, Some(Ok(seen))) => {
                matched(condition.operator, matcher, &seen, &mut shown_right)
            }
            (_, Operand::Matcher(matcher), Some(Ok(seen)), _) => {
                matched(condition.operator, matcher, &seen, &mut shown_left)
            }
            (_, _, Some(Ok(a)), Some(Ok(b))) => compared(condition.operator, &a, &b, &mut shown_left, &mut shown_right),
            _ => false,
        };
        Verdict { holds, condition: condition.clone(), left: shown_left, right: shown_right }
    }

    fn shown(&self, operand: &Operand, seen: Option<&Result<Seen<'_>, Unseen>>) -> Shown {
        let Some(source) = operand.source() else { return Shown::default() };
        let is_secret = matches!(source.placeholder(), Placeholder::Header(name) if self.answer.redact.contains(name));
        match seen {
            None => Shown::default(),
            Some(Err(unseen)) => Shown { unseen: Some(*unseen), ..Shown::default() },
            Some(Ok(seen)) => {
                let value = seen.shown.as_deref().unwrap_or(&seen.text);
                let value = if is_secret { "***".to_owned() } else { crate::domain::outcome::shown(value) };
                Shown { value: Some(value), is_number: seen.is_number, unseen: None }
            }
        }
    }

    /// The value of a side. `None`: it is a function that compares.
    pub(super) fn value<'s>(&'s self, operand: &'s Operand) -> Option<Result<Seen<'s>, Unseen>> {
        Some(match operand {
            Operand::Literal(text) => Ok(Seen::text(text.as_str())),
            Operand::Source(source) => self.of(source),
            Operand::Len(source) => self.length(source).map(Seen::number),
            Operand::Has(source) => self.has(source).map(|has| Seen::text(if has { "true" } else { "false" })),
            Operand::Age(source) => self.age(source),
            Operand::Matcher(_) => return None,
        })
    }

    fn of<'s>(&'s self, source: &Source) -> Result<Seen<'s>, Unseen> {
        match source {
            Source::Placeholder(placeholder) => self.placeholder(placeholder),
            Source::Query { of, query } => self.asked(of, query, |found| match found {
                Found::One(Some(value)) => of_value(value),
                Found::One(None) => Err(Unseen::NotThere),
                Found::All(all) => match all.as_slice() {
                    [] => Err(Unseen::NotThere),
                    [value] => of_value(value),
                    many => serde_json::to_string(many).map(Seen::text).map_err(|_| Unseen::TooMany),
                },
            }),
        }
    }

    pub(super) fn asked<R>(
        &self,
        of: &Placeholder,
        query: &str,
        then: impl FnOnce(Found<'_>) -> Result<R, Unseen>,
    ) -> Result<R, Unseen> {
        if matches!(of, Placeholder::Body(path) if path.0.is_empty()) {
            if self.answer.evidence.is_cut {
                return Err(Unseen::Cut);
            }
            let document = self.document.get_or_init(|| json::document(self.body()));
            return then(ask(query, document.as_ref().map_err(|unreadable| *unreadable)?));
        }
        let text = match of {
            Placeholder::Body(path) => self.sought(path)?.to_owned(),
            Placeholder::Header(name) => self.answer.evidence.header(name).ok_or(Unseen::NotThere)?.to_owned(),
            _ => return Err(Unseen::NotThere),
        };
        then(ask(query, &json::document(&text)?))
    }

    /// The body without the spaces around it.
    pub(super) fn body(&self) -> &str {
        self.raw.strip_prefix('\u{feff}').unwrap_or(&self.raw).trim()
    }

    /// The JSON of a value in the body.
    fn sought(&self, path: &Path) -> Result<&str, Unseen> {
        if self.answer.evidence.is_cut {
            return Err(Unseen::Cut);
        }
        json::seek(self.body(), &path.0)?.ok_or(Unseen::NotThere)
    }

    pub(super) fn placeholder<'s>(&'s self, placeholder: &Placeholder) -> Result<Seen<'s>, Unseen> {
        let answer = self.answer;
        let micros = |us: Option<u32>| us.map(|us| Seen::micros(us.into())).ok_or(Unseen::NotThere);
        let text = |text: Option<&'s str>| text.map(Seen::text).ok_or(Unseen::NotThere);
        match placeholder {
            Placeholder::Status => answer.status.map(Seen::number).ok_or(Unseen::NotThere),
            Placeholder::ResponseTime => micros(Some(answer.response_time_us)),
            Placeholder::Ip => answer.ip.map(|ip| Seen::text(ip.to_string())).ok_or(Unseen::NotThere),
            Placeholder::Body(path) if path.0.is_empty() => {
                Ok(Seen { is_cut: answer.evidence.is_cut, ..Seen::text(self.body()) })
            }
            Placeholder::Body(path) => self.sought(path).map(Seen::json),
            Placeholder::Connected => Ok(Seen::text(if answer.connected { "true" } else { "false" })),
            Placeholder::CertificateExpiration => {
                let left = answer.certificate_not_after.ok_or(Unseen::NotThere)? - answer.now;
                let ms = left.num_milliseconds();
                Ok(Seen { shown: Some(go::shown(ms)), ..Seen::number(ms) })
            }
            Placeholder::DomainExpiration | Placeholder::Context(_) => Err(Unseen::NotThere),
            Placeholder::DnsRcode => text(answer.dns_rcode),
            Placeholder::Header(name) => text(answer.evidence.header(name)),
            Placeholder::DnsTime => micros(answer.dns_us),
            Placeholder::ConnectTime => micros(answer.connect_us),
            Placeholder::TlsTime => micros(answer.tls_us),
            Placeholder::FirstByteTime => micros(answer.first_byte_us),
            Placeholder::CertificateIssuer => text(answer.certificate_issuer),
            Placeholder::TlsVersion => text(answer.tls_version),
            Placeholder::HttpVersion => text(answer.http_version.map(|version| {
                let version = version.strip_prefix("HTTP/").unwrap_or(version);
                version.strip_suffix(".0").filter(|major| *major != "1").unwrap_or(version)
            })),
            Placeholder::Redirects => Ok(Seen::number(answer.redirects)),
            Placeholder::FinalUrl => text(answer.final_url),
            // Of a body that was cut at least as much as was read.
            Placeholder::BodySize => Ok(Seen { is_cut: answer.evidence.is_cut, ..Seen::number(answer.body_bytes) }),
        }
    }

    /// Of an array its elements, of anything else the bytes of its text.
    fn length(&self, source: &Source) -> Result<usize, Unseen> {
        match source {
            Source::Placeholder(Placeholder::Body(path)) if path.0.is_empty() => {
                if self.answer.evidence.is_cut {
                    return Err(Unseen::Cut);
                }
                Ok(json::elements(self.body()).unwrap_or(self.raw.len()))
            }
            Source::Placeholder(Placeholder::Body(path)) => {
                let raw = self.sought(path)?;
                Ok(json::elements(raw).unwrap_or_else(|| json::plain(raw).len()))
            }
            Source::Placeholder(placeholder) => self.placeholder(placeholder).map(|seen| seen.text.len()),
            Source::Query { of, query } => self.asked(of, query, |found| match found {
                Found::One(Some(serde_json::Value::Array(items))) => Ok(items.len()),
                Found::One(Some(value)) => of_value(value).map(|seen| seen.text.len()),
                Found::One(None) => Err(Unseen::NotThere),
                Found::All(all) => Ok(all.len()),
            }),
        }
    }

    /// Whether there is something. That the body is no JSON is no answer.
    fn has(&self, source: &Source) -> Result<bool, Unseen> {
        let there = match source {
            Source::Query { of, query } => self.asked(of, query, |found| match found {
                Found::One(value) => Ok(value.is_some_and(|value| !value.is_null())),
                Found::All(all) => Ok(!all.is_empty()),
            }),
            Source::Placeholder(Placeholder::Body(path)) if path.0.is_empty() => Ok(!self.body().is_empty()),
            Source::Placeholder(placeholder) => self.placeholder(placeholder).map(|_| true),
        };
        match there {
            Err(Unseen::NotThere) => Ok(false),
            other => other,
        }
    }

    /// Milliseconds since a time.
    fn age<'s>(&'s self, source: &Source) -> Result<Seen<'s>, Unseen> {
        let seen = self.of(source)?;
        let at = time(&seen.text).ok_or(Unseen::NoTime)?;
        let ms = (self.answer.now - at).num_milliseconds();
        Ok(Seen { shown: Some(go::shown(ms)), ..Seen::number(ms) })
    }
}

/// A value of a document that was read as a whole.
fn of_value<'s>(value: &serde_json::Value) -> Result<Seen<'s>, Unseen> {
    match value {
        serde_json::Value::Null => Err(Unseen::NotThere),
        serde_json::Value::String(text) => Ok(Seen::text(text.clone())),
        serde_json::Value::Number(number) => Ok(Seen::number(number)),
        other => Ok(Seen::text(other.to_string())),
    }
}

/// A time as answers write it: RFC 3339, the date of a header, or seconds, milliseconds or microseconds since 1970.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let written = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text));
    if let Ok(at) = written {
        return Some(at.with_timezone(&Utc));
    }
    let count = number(text).filter(|count| {
        count.is_finite() && text.starts_with(|c: char| c.is_ascii_digit()) && go::duration(text).is_none()
    })?;
    let seconds = match count.abs() {
        huge if huge >= 1e14 => count / 1e6,
        large if large >= 1e11 => count / 1e3,
        _ => count,
    };
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and what is out of range is no time")]
    DateTime::from_timestamp_micros((seconds * 1e6) as i64)
}

fn matched(operator: Operator, matcher: &Matcher, seen: &Seen<'_>, shown: &mut Shown) -> bool {
    let equal = |text: &str| equal(&Seen::text(text), seen);
    match matcher.matches(&seen.text, equal, seen.is_cut) {
        Match::Yes => operator == Operator::Equal,
        Match::No => operator == Operator::NotEqual,
        Match::NeedsMore => {
            shown.unseen = Some(Unseen::Cut);
            false
        }
    }
}

fn equal(a: &Seen<'_>, b: &Seen<'_>) -> bool {
    if let (Some(a), Some(b)) = (whole(&a.text), whole(&b.text)) {
        return a == b;
    }
    if a.text == b.text {
        return true;
    }
    // Objects and lists are compared as what they are, in whatever order and spacing they are written.
    let is_nested = |seen: &Seen<'_>| seen.text.starts_with(['{', '[']);
    if is_nested(a) && is_nested(b) {
        return matches!((json::document(&a.text), json::document(&b.text)), (Ok(a), Ok(b)) if a == b);
    }
    match (a.is_number || b.is_number, number(&a.text), number(&b.text)) {
        (true, Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => false,
    }
}

fn compared(operator: Operator, a: &Seen<'_>, b: &Seen<'_>, left: &mut Shown, right: &mut Shown) -> bool {
    if a.is_cut || b.is_cut {
        return of_cut(operator, a, b, left, right);
    }
    match operator {
        Operator::Equal => equal(a, b),
        Operator::NotEqual => !equal(a, b),
        _ => match order(a, b, left, right) {
            None => false,
            Some(order) => match operator {
                Operator::AtMost => order.is_le(),
                Operator::AtLeast => order.is_ge(),
                Operator::Less => order.is_lt(),
                _ => order.is_gt(),
            },
        },
    }
}

/// The size of a body that was cut is at least what was read; its text is not known.
fn of_cut(operator: Operator, a: &Seen<'_>, b: &Seen<'_>, left: &mut Shown, right: &mut Shown) -> bool {
    let (sized, other, is_left) = if a.is_cut { (a, b, true) } else { (b, a, false) };
    let beyond = match (sized.is_number, number(&sized.text), number(&other.text)) {
        (true, Some(least), Some(asked)) if !other.is_cut => match (operator, is_left) {
            (Operator::Greater, true) | (Operator::Less, false) => least > asked,
            (Operator::AtLeast, true) | (Operator::AtMost, false) => least >= asked,
            _ => false,
        },
        _ => false,
    };
    if !beyond {
        let shown = if is_left { left } else { right };
        shown.unseen = Some(Unseen::Cut);
    }
    beyond
}

fn order(a: &Seen<'_>, b: &Seen<'_>, left: &mut Shown, right: &mut Shown) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (whole(&a.text), whole(&b.text)) {
        return Some(a.cmp(&b));
    }
    let (x, y) = (number(&a.text), number(&b.text));
    for (number, shown) in [(x, left), (y, right)] {
        if number.is_none() && shown.value.is_some() {
            shown.unseen = Some(Unseen::NoNumber);
        }
    }
    x?.partial_cmp(&y?)
}
