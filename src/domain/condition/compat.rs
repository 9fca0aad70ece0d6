//! Whether a condition holds as Gatus compares: what is not there is a text that ends in `(INVALID)`, and 0 as a number.
//! Facts of its sources of 2026 (`config/endpoint/condition.go`, `placeholder.go`, `jsonpath`, `pattern`).
//!
//! One thing is not as there: a body whose text is `pat(*)` is a text, and no pattern.

use serde_json::Value;

use super::evaluate::{Examiner, Seen, Shown, Verdict};
use super::function::{Found, Match, pattern};
use super::{Condition, Matcher, Operand, Operator, Path, Placeholder, Source, Step, Unseen, go, json};

const INVALID: &str = "(INVALID)";

/// The length of a text that is shown beside a pattern, in characters.
const BESIDE_PATTERN: usize = 25;

pub(super) fn examine(examiner: &Examiner<'_>, condition: &Condition) -> Verdict {
    let left = resolved(examiner, &condition.left);
    let right = resolved(examiner, &condition.right);
    let holds = match condition.operator {
        Operator::Equal => equal(&condition.left, &left, &condition.right, &right),
        Operator::NotEqual => !equal(&condition.left, &left, &condition.right, &right),
        Operator::AtMost => number(&left) <= number(&right),
        Operator::AtLeast => number(&left) >= number(&right),
        Operator::Less => number(&left) < number(&right),
        Operator::Greater => number(&left) > number(&right),
    };
    let beside = |operand: &Operand| matches!(operand, Operand::Matcher(Matcher::Pattern(_)));
    Verdict {
        holds,
        left: shown(examiner, &condition.left, &left, condition.operator, beside(&condition.right)),
        right: shown(examiner, &condition.right, &right, condition.operator, beside(&condition.left)),
        condition: condition.clone(),
    }
}

fn shown(examiner: &Examiner<'_>, operand: &Operand, text: &str, operator: Operator, beside_pattern: bool) -> Shown {
    let Some(source) = operand.source() else {
        // What is no number counts as 0, which is shown.
        let counts_as_zero = operator.orders() && number(text) == 0 && go::integer(text) != Some(0);
        return Shown { value: counts_as_zero.then(|| "0".to_owned()), ..Shown::default() };
    };
    if text.ends_with(INVALID) {
        return Shown { unseen: Some(Unseen::NotThere), ..Shown::default() };
    }
    let placeholder = source.placeholder();
    let value = match placeholder {
        Placeholder::Header(name) if examiner.answer.redact.contains(name) => "***".to_owned(),
        Placeholder::CertificateExpiration | Placeholder::DomainExpiration if operator.orders() => {
            go::shown(number(text))
        }
        _ if operator.orders() => number(text).to_string(),
        _ if beside_pattern && text.chars().count() > BESIDE_PATTERN => {
            let start: String = text.chars().take(BESIDE_PATTERN).collect();
            crate::domain::outcome::shown(&format!("{start}...(truncated)"))
        }
        _ => crate::domain::outcome::shown(text),
    };
    Shown { value: Some(value), is_number: operator.orders(), unseen: None }
}

fn number(text: &str) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, as bounded durations do not reach that far")]
    let truncated = |number: f64| if number.is_finite() && number.abs() < 9.2e18 { number as i64 } else { i64::MIN };
    match go::duration(text) {
        Some(milliseconds) if milliseconds != 0.0 => truncated(milliseconds),
        _ => go::integer(text).or_else(|| go::float(text).map(truncated)).unwrap_or(0),
    }
}

fn equal(left: &Operand, left_text: &str, right: &Operand, right_text: &str) -> bool {
    match (left, right) {
        (Operand::Matcher(Matcher::Pattern(a)), Operand::Matcher(Matcher::Pattern(b))) => same(a, b),
        (Operand::Matcher(Matcher::Pattern(glob)), _) => globbed(glob, right_text),
        (_, Operand::Matcher(Matcher::Pattern(glob))) => globbed(glob, left_text),
        (Operand::Matcher(Matcher::Any(a)), Operand::Matcher(Matcher::Any(b))) => same(&a.join(", "), &b.join(", ")),
        (Operand::Matcher(Matcher::Any(texts)), _) => texts.iter().any(|text| text == right_text),
        (_, Operand::Matcher(Matcher::Any(texts))) => texts.iter().any(|text| text == left_text),
        (Operand::Matcher(matcher), _) => matched(matcher, right_text),
        (_, Operand::Matcher(matcher)) => matched(matcher, left_text),
        _ => same(left_text, right_text),
    }
}

fn same(a: &str, b: &str) -> bool {
    match (go::integer(a), go::integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn globbed(glob: &str, text: &str) -> bool {
    glob == "*" || pattern(&glob.replace('/', "")).is_ok_and(|pattern| pattern.is_match(&text.replace('/', "")))
}

fn matched(matcher: &Matcher, text: &str) -> bool {
    matcher.matches(text, |_| false, false) == Match::Yes
}

/// The text that a side stands for.
fn resolved(examiner: &Examiner<'_>, operand: &Operand) -> String {
    let found = match operand {
        Operand::Literal(text) => return text.clone(),
        Operand::Matcher(matcher) => return matcher.to_string(),
        Operand::Source(source) => of(examiner, source).map(|(text, _)| text),
        Operand::Len(source) => length(examiner, source).map(|length| length.to_string()),
        Operand::Has(source) => return has(examiner, source).to_string(),
        Operand::Age(_) => match examiner.value(operand) {
            Some(Ok(Seen { text, .. })) => Some(text.into_owned()),
            _ => None,
        },
    };
    found.unwrap_or_else(|| format!("{operand} {INVALID}"))
}

fn of(examiner: &Examiner<'_>, source: &Source) -> Option<(String, usize)> {
    let (placeholder, query) = match source {
        Source::Placeholder(placeholder) => (placeholder, None),
        Source::Query { of, query } => (of, Some(query)),
    };
    if let Some(query) = query {
        let asked = examiner.asked(placeholder, query, |found| match found {
            Found::One(Some(value)) => text_of(value).ok_or(Unseen::NotThere),
            Found::One(None) => Err(Unseen::NotThere),
            Found::All(all) => match all.as_slice() {
                [] => Err(Unseen::NotThere),
                [value] => text_of(value).ok_or(Unseen::NotThere),
                many => Ok((listed(many.iter().copied()), many.len())),
            },
        });
        return asked.ok();
    }
    let answer = examiner.answer;
    let plain = match placeholder {
        Placeholder::Status => answer.status.unwrap_or_default().to_string(),
        Placeholder::Ip => answer.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        Placeholder::ResponseTime => (answer.response_time_us / 1000).to_string(),
        Placeholder::DnsRcode => answer.dns_rcode.unwrap_or_default().to_owned(),
        Placeholder::Connected => answer.connected.to_string(),
        Placeholder::CertificateExpiration => {
            answer.certificate_not_after.map_or(0, |end| (end - answer.now).num_milliseconds()).to_string()
        }
        Placeholder::DomainExpiration => "0".to_owned(),
        Placeholder::Context(_) => placeholder.to_string(),
        Placeholder::Body(path) if path.0.is_empty() => examiner.raw.trim().to_owned(),
        Placeholder::Body(path) => return walk(&segments(path), &json::document(&examiner.raw).ok()?),
        added => match examiner.placeholder(added) {
            Ok(seen) => seen.text.into_owned(),
            Err(_) => return None,
        },
    };
    let length = plain.len();
    Some((plain, length))
}

fn length(examiner: &Examiner<'_>, source: &Source) -> Option<usize> {
    if let Source::Placeholder(Placeholder::Body(path)) = source
        && path.0.is_empty()
    {
        let raw = examiner.raw.as_ref();
        if !(raw.starts_with('[') && raw.ends_with(']')) {
            return Some(raw.len());
        }
        return Some(json::elements(raw).unwrap_or_else(|| raw.trim().len()));
    }
    if matches!(source, Source::Placeholder(Placeholder::Context(_))) {
        return None;
    }
    of(examiner, source).map(|(_, length)| length)
}

fn has(examiner: &Examiner<'_>, source: &Source) -> bool {
    match source {
        Source::Placeholder(Placeholder::Context(_)) => false,
        Source::Placeholder(Placeholder::Body(path)) if !path.0.is_empty() => of(examiner, source).is_some(),
        _ => of(examiner, source).is_some_and(|(text, _)| !text.is_empty()),
    }
}

/// A key with the indices that follow it.
struct Segment<'p> {
    key: &'p str,
    indices: Vec<usize>,
}

fn segments(path: &Path) -> Vec<Segment<'_>> {
    let mut segments: Vec<Segment<'_>> = Vec::new();
    for step in &path.0 {
        match (step, segments.last_mut()) {
            (Step::Index(index), Some(last)) => last.indices.push(*index),
            (Step::Index(index), None) => segments.push(Segment { key: "", indices: vec![*index] }),
            (Step::Key(key), _) => segments.push(Segment { key, indices: Vec::new() }),
        }
    }
    segments
}

/// What stands at the end of a path, and its length. A path that goes on beyond a number or an array ends there.
fn walk(path: &[Segment<'_>], value: &Value) -> Option<(String, usize)> {
    let (first, rest) = path.split_first()?;
    let found = extract(first, value)?;
    match found {
        Value::Object(_) if !rest.is_empty() => walk(rest, found),
        Value::String(_) if !rest.is_empty() => None,
        other => text_of(other),
    }
}

fn extract<'v>(segment: &Segment<'_>, value: &'v Value) -> Option<&'v Value> {
    let Some((first, nested)) = segment.indices.split_first() else {
        return match value {
            Value::Object(entries) => entries.get(segment.key),
            other => Some(other),
        };
    };
    let array = if segment.key.is_empty() { value } else { value.as_object()?.get(segment.key)? };
    nested.iter().try_fold(array.as_array()?.get(*first)?, |value, index| value.as_array()?.get(*index))
}

/// A value as Go writes it. `None` of null.
fn text_of(value: &Value) -> Option<(String, usize)> {
    let text = match value {
        Value::Null => return None,
        Value::Array(items) => return Some((listed(items), items.len())),
        Value::Object(_) => marshalled(value),
        other => printed(other),
    };
    let length = text.len();
    Some((text, length))
}

fn listed<'v>(items: impl IntoIterator<Item = &'v Value>) -> String {
    format!("[{}]", items.into_iter().map(printed).collect::<Vec<_>>().join(" "))
}

fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => go::number(number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        Value::Array(items) => listed(items),
        Value::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            let entries: Vec<_> = sorted.iter().map(|(key, value)| format!("{key}:{}", printed(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// JSON as Go writes it: keys sorted, numbers of 64 bits with a point, `<`, `>` and `&` escaped.
fn marshalled(value: &Value) -> String {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            let is_plain = number == 0.0 || (1e-6..1e21).contains(&number.abs());
            if is_plain { format!("{number}") } else { go::number(number).replace("e-0", "e-") }
        }
        Value::String(text) => {
            let json = Value::String(text.clone()).to_string();
            let escapes = [
                ('<', "\\u003c"),
                ('>', "\\u003e"),
                ('&', "\\u0026"),
                ('\u{2028}', "\\u2028"),
                ('\u{2029}', "\\u2029"),
            ];
            escapes.iter().fold(json, |json, (c, escape)| json.replace(*c, escape))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(marshalled).collect::<Vec<_>>().join(",")),
        Value::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            let entry = |(key, value): &(&String, &Value)| {
                format!("{}:{}", marshalled(&Value::String((*key).clone())), marshalled(value))
            };
            format!("{{{}}}", sorted.iter().map(entry).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}
