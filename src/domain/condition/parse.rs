//! From the text of a condition to the condition.

use super::placeholder::Placeholder;
use super::{Condition, Dialect, Matcher, Operand, Operator, Source, function};
use crate::domain::suggest::closest;

/// The longest condition, in bytes.
pub const MAX_CONDITION: usize = 2000;

/// What is wrong with a condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {detail}")]
pub struct ConditionError {
    /// Counted in characters from 1.
    pub column: usize,
    /// One sentence.
    pub detail: String,
}

/// A mistake at a byte of the text.
type Wrong = (usize, String);

const FUNCTIONS: [&str; 8] = ["len", "has", "pat", "any", "regex", "contains", "jsonpath", "age"];

impl Condition {
    /// Reads a condition: two operands with an operator between them, one space on each side of it.
    ///
    /// # Errors
    /// The first mistake. With [`Dialect::Gatus`] what Gatus accepts and cannot mean is accepted too, but for names
    /// that there are not and texts that it would cut.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, ConditionError> {
        read(text, dialect).map_err(|(at, detail)| {
            let before = text.get(..at).unwrap_or(text);
            ConditionError { column: before.chars().count() + 1, detail }
        })
    }
}

fn read(text: &str, dialect: Dialect) -> Result<Condition, Wrong> {
    if text.len() > MAX_CONDITION {
        return Err((0, format!("the condition is too long: at most {MAX_CONDITION} bytes")));
    }
    if let Some(at) = text.find('\0') {
        return Err((at, "a condition holds no NUL character".to_owned()));
    }
    let (at, operator) = split(text).ok_or_else(|| without_operator(text))?;
    let rest = at + operator.as_str().len() + 2;
    let left = trimmed(text, 0, at);
    let right = trimmed(text, rest, text.len());
    if !has_open_function(right.1)
        && !is_function(right.1)
        && let Some((second, operator)) = split(right.1)
    {
        let name = operator.as_str();
        return Err((
            right.0 + second + 1,
            format!(
                "a second operator: a condition has one; if `{name}` belongs to the text, write contains(…), any(…) or pat(…)"
            ),
        ));
    }
    let condition = Condition { left: operand(left)?, operator, right: operand(right)?, dialect };
    examine(&condition, left, right)?;
    Ok(condition)
}

/// The part of a text without the spaces around it, and where it stands.
fn trimmed(text: &str, from: usize, to: usize) -> (usize, &str) {
    let part = text.get(from..to).unwrap_or_default();
    (from + part.len() - part.trim_start().len(), part.trim())
}

/// The first operator that is not inside a function on the left, and where its space stands.
fn split(text: &str) -> Option<(usize, Operator)> {
    text.match_indices(' ').find_map(|(at, _)| {
        let after = text.get(at + 1..)?;
        let operator = Operator::ALL
            .into_iter()
            .find(|operator| after.strip_prefix(operator.as_str()).is_some_and(|rest| rest.starts_with(' ')))?;
        (!has_open_function(text.get(..at)?.trim())).then_some((at, operator))
    })
}

/// The name before the parenthesis of what begins as a function does.
fn function_name(text: &str) -> Option<&str> {
    let (name, _) = text.split_once('(')?;
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic())).then_some(name)
}

fn is_function(text: &str) -> bool {
    function_name(text).is_some_and(|name| FUNCTIONS.contains(&name)) && text.ends_with(')')
}

fn has_open_function(text: &str) -> bool {
    function_name(text).is_some_and(|name| FUNCTIONS.contains(&name)) && !text.ends_with(')')
}

/// What people write for an operator, and what they mean.
const SIGNS: [(&str, &str); 14] = [
    ("===", "=="),
    ("!==", "!="),
    ("=<", "<="),
    ("=>", ">="),
    ("<>", "!="),
    ("=~", "== regex(…)"),
    ("==", "=="),
    ("!=", "!="),
    ("<=", "<="),
    (">=", ">="),
    ("=", "=="),
    ("<", "<"),
    (">", ">"),
    ("≠", "!="),
];

/// What a person may have meant by a text without an operator.
fn without_operator(text: &str) -> Wrong {
    let (start, whole) = trimmed(text, 0, text.len());
    if whole.is_empty() {
        return (0, "the condition is empty".to_owned());
    }
    if has_open_function(whole) && !whole.contains(')') {
        return (start + whole.len(), "the parenthesis is not closed".to_owned());
    }
    let found = SIGNS.iter().filter_map(|(sign, meant)| Some((text.find(sign)?, sign, meant)));
    match found.min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len()))) {
        Some((at, sign, meant)) if sign == meant && text.trim_end().ends_with(sign) => (
            at,
            format!(
                "nothing stands after `{sign}`; an empty text is written with a space after it, in quotes of the file"
            ),
        ),
        Some((at, sign, meant)) if sign == meant => (at, format!("a space must stand on each side of `{sign}`")),
        Some((at, sign, meant)) => (at, format!("`{sign}` is no operator; write `{meant}` with a space on each side")),
        None => {
            (start + whole.len(), "an operator is missing: ==, !=, <, <=, > or >= with a space on each side".to_owned())
        }
    }
}

fn operand((at, text): (usize, &str)) -> Result<Operand, Wrong> {
    if has_open_function(text) {
        return Err((at + text.len(), "the parenthesis is not closed".to_owned()));
    }
    if !is_function(text) {
        if let Some(placeholder) = Placeholder::parse(text) {
            return placeholder.map(|p| Operand::Source(Source::Placeholder(p))).map_err(|wrong| moved(wrong, at));
        }
        if let Some(name) = function_name(text).filter(|_| text.ends_with(')'))
            && let Some(near) = closest(name, FUNCTIONS)
        {
            return Err((
                at,
                format!("{name}() is no function; did you mean {near}(…)? If that text is meant, write any({text})"),
            ));
        }
        return Ok(Operand::Literal(text.to_owned()));
    }
    let (name, rest) = text.split_once('(').unwrap_or((text, ""));
    let inner = rest.strip_suffix(')').unwrap_or(rest);
    let inside = at + name.len() + 1;
    let matcher = match name {
        "len" => return source(inner, inside, name).map(Operand::Len),
        "has" => return source(inner, inside, name).map(Operand::Has),
        "age" => return source(inner, inside, name).map(Operand::Age),
        "jsonpath" => return query(inner, inside).map(Operand::Source),
        "pat" => Matcher::Pattern(inner.to_owned()),
        "any" => Matcher::Any(inner.split(',').map(|text| text.trim().to_owned()).collect()),
        "regex" => Matcher::Regex(inner.to_owned()),
        _ => Matcher::Contains(inner.to_owned()),
    };
    Ok(Operand::Matcher(matcher))
}

fn moved((at, detail): Wrong, by: usize) -> Wrong {
    (at + by, detail)
}

/// What a function is of.
fn source(inner: &str, at: usize, function: &str) -> Result<Source, Wrong> {
    let (at, text) = trimmed_at(inner, at);
    if let Some(inner) = text.strip_prefix("jsonpath(").and_then(|rest| rest.strip_suffix(')')) {
        return query(inner, at + "jsonpath(".len());
    }
    match Placeholder::parse(text) {
        Some(placeholder) => placeholder.map(Source::Placeholder).map_err(|wrong| moved(wrong, at)),
        None => Err((at, format!("{function}() is of something seen: {function}([BODY].key)"))),
    }
}

fn trimmed_at(text: &str, at: usize) -> (usize, &str) {
    (at + text.len() - text.trim_start().len(), text.trim())
}

fn query(inner: &str, at: usize) -> Result<Source, Wrong> {
    const SHAPE: &str = "jsonpath() takes two things: jsonpath([BODY], \"$.key\")";
    let Some((of, query)) = inner.split_once(',') else { return Err((at, SHAPE.to_owned())) };
    let (of_at, of_text) = trimmed_at(of, at);
    let placeholder = match Placeholder::parse(of_text) {
        Some(placeholder) => placeholder.map_err(|wrong| moved(wrong, of_at))?,
        None => return Err((of_at, SHAPE.to_owned())),
    };
    if !placeholder.may_be_json() {
        return Err((of_at, format!("{placeholder} is no JSON: a path leads into [BODY] or [HEADER].name")));
    }
    let (query_at, text) = trimmed_at(query, at + of.len() + 1);
    let unquoted = ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    let query = unquoted.unwrap_or(text).trim();
    function::examine_query(query).map_err(|detail| (query_at, detail))?;
    Ok(Source::Query { of: placeholder, query: query.to_owned() })
}

/// What can be known to be a mistake without having seen anything.
fn examine(condition: &Condition, left: (usize, &str), right: (usize, &str)) -> Result<(), Wrong> {
    let Condition { left: l, operator, right: r, dialect } = condition;
    never_reached(condition, right.0)?;
    if operator.orders() {
        for (side, (at, _)) in [(l, left), (r, right)] {
            match side {
                Operand::Matcher(Matcher::Regex(_) | Matcher::Contains(_)) => return Err((at, unordered(*operator))),
                Operand::Matcher(_) if *dialect == Dialect::Strict => return Err((at, unordered(*operator))),
                _ => {}
            }
        }
    }
    for (side, (at, _)) in [(l, left), (r, right)] {
        let Operand::Matcher(matcher) = side else { continue };
        let is_of_gatus = matches!(matcher, Matcher::Pattern(_) | Matcher::Any(_));
        if *dialect == Dialect::Strict || !is_of_gatus {
            matcher.examine().map_err(|detail| (at, detail))?;
        }
    }
    if let (Operand::Matcher(a), Operand::Matcher(b)) = (l, r) {
        let is_of_gatus = |matcher: &Matcher| matches!(matcher, Matcher::Pattern(_) | Matcher::Any(_));
        if *dialect == Dialect::Strict || !is_of_gatus(a) || !is_of_gatus(b) {
            return Err((right.0, "one side must be something seen, such as [BODY]".to_owned()));
        }
    }
    if *dialect == Dialect::Gatus {
        return Ok(());
    }
    if l.source().is_none() && r.source().is_none() {
        return Err((left.0, "nothing that is seen is compared: name a placeholder, such as [STATUS]".to_owned()));
    }
    for (seen, (other, (at, text))) in [(l, (r, right)), (r, (l, left))] {
        let Operand::Literal(literal) = other else { continue };
        if literal.len() > 1 && literal.starts_with('"') && literal.ends_with('"') {
            let bare = literal.trim_matches('"');
            return Err((
                at,
                format!(
                    "quotes are part of the text here: write {bare} without them, or any({text}) if they are meant"
                ),
            ));
        }
        if matches!(seen, Operand::Has(_)) && !matches!(literal.as_str(), "true" | "false") {
            return Err((at, "has() is true or false".to_owned()));
        }
        let is_number = match seen {
            Operand::Len(_) | Operand::Age(_) => true,
            Operand::Source(Source::Placeholder(placeholder)) => placeholder.is_number(),
            _ => false,
        };
        if (operator.orders() || is_number) && super::evaluate::number(literal).is_none() {
            let hint = match literal.strip_suffix("xx") {
                Some(class) if class.len() == 1 => format!("; write pat({class}??)"),
                _ if is_number && !operator.orders() => "; several are written any(200, 204)".to_owned(),
                _ => String::new(),
            };
            return Err((at, format!("a number or a duration (500, 500ms, 48h) must stand here{hint}")));
        }
    }
    Ok(())
}

fn unordered(operator: Operator) -> String {
    format!("`{}` compares numbers: with a function of texts there are == and !=", operator.as_str())
}

/// An endpoint that is not reached is down whatever is asked of it.
fn never_reached(condition: &Condition, at: usize) -> Result<(), Wrong> {
    let Condition { left: Operand::Source(Source::Placeholder(Placeholder::Connected)), operator, right, .. } =
        condition
    else {
        return Ok(());
    };
    let Operand::Literal(literal) = right else { return Ok(()) };
    let wants = match (operator, literal.as_str()) {
        (Operator::Equal, "true") | (Operator::NotEqual, "false") => true,
        (Operator::Equal, "false") | (Operator::NotEqual, "true") => false,
        _ => return Err((at, "[CONNECTED] is true or false, and compared with == or !=".to_owned())),
    };
    if wants {
        return Ok(());
    }
    Err((at, "this can never hold: an endpoint that cannot be reached is down whatever its conditions say".to_owned()))
}
