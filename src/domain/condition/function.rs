//! What compares with more than one text (`pat`, `any`, `regex`, `contains`), and queries of RFC 9535.
//!
//! Expressions are kept as texts and compiled when they are used, which takes microseconds: thousands of endpoints would
//! pay for compiled ones with memory. Whatever is compiled or asked is bounded when it is read.

use regex::{Regex, RegexBuilder};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::Matcher;

/// Bounds of a compiled expression, in bytes.
const REGEX_BYTES: usize = 256 * 1024;
const REGEX_CACHE_BYTES: usize = 1024 * 1024;
/// The most selectors that lists of them in a query multiply to.
const MOST_BRANCHES: usize = 16;
/// The most filters in a query.
const MOST_FILTERS: usize = 3;

/// How much of a text decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// The text was cut, and what was cut could change it.
    NeedsMore,
}

impl Matcher {
    /// Whether a text is meant. `is_cut`: the text goes on beyond what is known of it.
    pub(super) fn matches(&self, text: &str, equal: impl Fn(&str) -> bool, is_cut: bool) -> Match {
        let found = match self {
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Pattern(glob) => pattern(glob).is_ok_and(|pattern| pattern.is_match(text)),
            Self::Regex(expression) => regex(expression).is_ok_and(|regex| regex.is_match(text)),
            Self::Any(texts) => texts.iter().any(|text| equal(text)),
        };
        // More text does not change what these have found.
        let is_final = match self {
            Self::Contains(_) => found,
            Self::Pattern(glob) => found && glob.ends_with('*') && !glob.ends_with("\\*"),
            Self::Regex(_) | Self::Any(_) => false,
        };
        match (is_cut && !is_final, found) {
            (true, _) => Match::NeedsMore,
            (false, true) => Match::Yes,
            (false, false) => Match::No,
        }
    }

    /// # Errors
    /// One sentence, where it can never be used.
    pub(super) fn examine(&self) -> Result<(), String> {
        match self {
            Self::Pattern(glob) => pattern(glob).map(drop),
            Self::Regex(expression) => regex(expression).map(drop),
            Self::Contains(part) if part.is_empty() => Err("every text contains nothing: say what".to_owned()),
            Self::Any(_) | Self::Contains(_) => Ok(()),
        }
    }
}

/// An expression that takes time linear in the text.
fn regex(expression: &str) -> Result<Regex, String> {
    let built =
        RegexBuilder::new(expression).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_CACHE_BYTES).nest_limit(50).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "the regular expression is too large when compiled: fewer or smaller repetitions".to_owned()
        }
        // Its last line says what, those before draw where.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the regular expression cannot be read: {last}")
        }
    })
}

/// A glob over a whole text: `*` any text, `?` any character, `[a-z]` and `[^a-z]` one of a class, `\` takes the next
/// character as it is.
///
/// # Errors
/// One sentence.
pub(super) fn pattern(glob: &str) -> Result<Regex, String> {
    let mut regex = String::from(r"(?s)\A(?:");
    let mut literal = String::new();
    let mut chars = glob.chars().peekable();
    let bad = |what: &str| format!("the pattern cannot be read: {what}");
    while let Some(c) = chars.next() {
        if matches!(c, '*' | '?' | '[') {
            regex.push_str(&regex::escape(&std::mem::take(&mut literal)));
        }
        match c {
            '*' => {
                while chars.next_if_eq(&'*').is_some() {}
                regex.push_str(".*");
            }
            '?' => regex.push('.'),
            '\\' => literal.push(chars.next().ok_or_else(|| bad("a backslash stands at its end"))?),
            '[' => {
                let mut class = String::from(if chars.next_if_eq(&'^').is_some() { "[^" } else { "[" });
                let mut is_empty = true;
                loop {
                    let unclosed =
                        || bad("a bracket is not closed, or a class is not like [a-z]; write \\[ for a bracket");
                    let low = one_of_class(&mut chars).ok_or_else(unclosed)?;
                    let high = match chars.next_if_eq(&'-') {
                        Some(_) => one_of_class(&mut chars).ok_or_else(unclosed)?,
                        None => low,
                    };
                    if low <= high {
                        let range = format!("\\x{{{:x}}}-\\x{{{:x}}}", u32::from(low), u32::from(high));
                        class.push_str(&range);
                        is_empty = false;
                    }
                    match chars.peek() {
                        Some(']') => break,
                        Some(_) => {}
                        None => return Err(unclosed()),
                    }
                }
                chars.next();
                if is_empty {
                    return Err(bad("a class holds nothing"));
                }
                class.push(']');
                regex.push_str(&class);
            }
            other => literal.push(other),
        }
    }
    regex.push_str(&regex::escape(&literal));
    regex.push_str(r")\z");
    self::regex(&regex).map_err(|error| error.replace("regular expression", "pattern"))
}

fn one_of_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        other => Some(other),
    }
}

/// What a query finds: where it can find one thing only, that thing; else everything.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'v> {
    One(Option<&'v Value>),
    All(Vec<&'v Value>),
}

/// Asks a document. A query that cannot be read finds nothing: it was examined when it was read.
pub(super) fn ask<'v>(query: &str, document: &'v Value) -> Found<'v> {
    let Ok(path) = JsonPath::parse(query) else { return Found::One(None) };
    let found = path.query(document).all();
    if is_singular(query) { Found::One(found.first().copied()) } else { Found::All(found) }
}

/// Whether a query can be asked, and within bounds of time and memory: what it finds may grow with its length times
/// the document, and no faster.
///
/// # Errors
/// One sentence.
pub(super) fn examine_query(query: &str) -> Result<(), String> {
    JsonPath::parse(query).map_err(|error| {
        let place = error.position();
        format!("the path cannot be read: {} (at its character {})", error.message(), place + 1)
    })?;
    let shape = Shape::of(query);
    if shape.descents > 1 {
        return Err("`..` stands twice in the path: once at most, because each multiplies the work".to_owned());
    }
    if shape.filters > MOST_FILTERS {
        return Err(format!("the path has more than {MOST_FILTERS} filters"));
    }
    if shape.inner_roots > 0 {
        return Err("`$` stands within a filter: there only paths from `@` can be used".to_owned());
    }
    if shape.branches > MOST_BRANCHES || shape.wide_lists > 0 {
        return Err(format!(
            "the lists in brackets may name {MOST_BRANCHES} things together, and no `*`, slice or filter beside others"
        ));
    }
    Ok(())
}

/// It leads to one place at most.
fn is_singular(query: &str) -> bool {
    let shape = Shape::of(query);
    shape.descents == 0 && shape.filters == 0 && shape.wildcards == 0 && shape.branches <= 1
}

/// What makes a query expensive, counted outside of its texts.
#[derive(Debug, Default)]
struct Shape {
    descents: usize,
    filters: usize,
    wildcards: usize,
    inner_roots: usize,
    /// The product of the lengths of the lists.
    branches: usize,
    /// Lists with something in them that finds more than one thing.
    wide_lists: usize,
}

impl Shape {
    fn of(query: &str) -> Self {
        struct Open {
            is_bracket: bool,
            items: usize,
            is_wide: bool,
        }
        let mut shape = Self { branches: 1, ..Self::default() };
        let mut open: Vec<Open> = Vec::new();
        let mut quote: Option<char> = None;
        let mut before = ' ';
        let mut escaped = false;
        for (i, c) in query.char_indices() {
            if let Some(q) = quote {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    _ if c == q => quote = None,
                    _ => {}
                }
                before = ' ';
                continue;
            }
            match c {
                '\'' | '"' => quote = Some(c),
                '[' | '(' => open.push(Open { is_bracket: c == '[', items: 1, is_wide: false }),
                ']' | ')' => {
                    if let Some(list) = open.pop().filter(|open| open.is_bracket) {
                        shape.branches = shape.branches.saturating_mul(list.items);
                        shape.wide_lists += usize::from(list.items > 1 && list.is_wide);
                    }
                }
                ',' => {
                    if let Some(last) = open.last_mut() {
                        last.items += 1;
                    }
                }
                '.' if before == '.' => shape.descents += 1,
                '$' if i > 0 => shape.inner_roots += 1,
                '?' | '*' | ':' => {
                    shape.filters += usize::from(c == '?');
                    shape.wildcards += usize::from(c != '?');
                    if let Some(last) = open.last_mut() {
                        last.is_wide = true;
                    }
                }
                _ => {}
            }
            before = c;
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_the_whole_text() {
        for (glob, text, matches) in [
            ("*", "", true),
            ("*", "a/b\nc", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*b*", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("192.168.*.*", "192.168.0.1", true),
            ("192.168.*.*", "192x168.0.1", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[a\\-]x", "-x", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "anything", true),
            ("ä?ö", "äüö", true),
            ("(x|y)", "x", false),
        ] {
            assert_eq!(pattern(glob).unwrap().is_match(text), matches, "{glob} over {text}");
        }
        for bad in ["[", "[a", "a\\", "[]", "[z-a]", "[a-]", "[-a]", "[^]", "[]a]"] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_multiplies_the_work_is_refused() {
        for good in [
            "$.a.b[0]",
            "$..a",
            "$.items[?@.id == 3].name",
            "$.items[*].tags[?@ == 'x, y, $..']",
            "$['a','b','c']",
            "$[1:3].x",
            "$.a[?length(@.b) > 2 && @.c == 'd']",
        ] {
            assert_eq!(examine_query(good), Ok(()), "{good}");
        }
        for (bad, words) in [
            ("a.b", "cannot be read"),
            ("$.a[", "cannot be read"),
            ("$..a..b", "`..` stands twice"),
            ("$..*[?@..x]", "`..` stands twice"),
            ("$[?@.a == $.b]", "within a filter"),
            ("$[?@[?@[?@[?@.a]]]]", "more than 3 filters"),
            ("$['a','a','a','a','a']['a','a','a','a']", "16 things"),
            ("$[*,*]", "beside others"),
            ("$[0:,1:]", "beside others"),
            ("$.a[?match(@.b, '.*')]", "cannot be read"),
        ] {
            let error = examine_query(bad).expect_err(bad);
            assert!(error.contains(words), "{bad}: {error}");
        }
    }

    #[test]
    fn a_query_finds_one_thing_or_all() {
        let document: Value = serde_json::from_str(r#"{"a": [{"id": 1, "n": "x"}, {"id": 2, "n": "y"}]}"#).unwrap();
        for (query, expected) in [
            ("$.a[1].n", "One(Some(String(\"y\")))"),
            ("$['a'][0]['id']", "One(Some(Number(1)))"),
            ("$.b", "One(None)"),
            ("$.a[?@.id == 2].n", "All([String(\"y\")])"),
            ("$..n", "All([String(\"x\"), String(\"y\")])"),
            ("$.a[*].z", "All([])"),
            ("$.a[0]['id','n']", "All([Number(1), String(\"x\")])"),
        ] {
            assert_eq!(format!("{:?}", ask(query, &document)), expected, "{query}");
        }
    }
}
