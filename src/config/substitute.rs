//! `${VAR}`, `${VAR:-default}`, `${file:/path}` and `$${` inside values, after the YAML is parsed: a value can
//! never change the structure around it.

use super::env::Environment;
use super::report::Report;
use super::tree::{Node, Place, Scalar, Trail, Value};

/// The largest secret file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The deepest nesting of defaults.
const MAX_NESTING: usize = 8;
/// What stands for an unset variable that was allowed, within a longer text.
const PLACEHOLDER: &str = "unset";

pub(super) struct Substitution<'a> {
    pub(super) environment: &'a Environment,
    /// An unset variable is a warning.
    pub(super) allow_missing: bool,
}

/// A variable or secret file that is not there.
struct Unset {
    message: String,
    help: String,
}

impl Substitution<'_> {
    /// Substitutes in every value of the tree.
    pub(super) fn apply(&self, node: &mut Node, at: &Trail<'_>, report: &mut Report) {
        let Node { place, value } = node;
        match value {
            Value::Scalar(scalar) => self.apply_to_scalar(scalar, place, at, report),
            Value::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.apply(item, &Trail::Index(at, index), report);
                }
            }
            Value::Mapping(entries) => {
                for entry in entries {
                    self.apply(&mut entry.value, &Trail::Key(at, &entry.key.text), report);
                }
            }
        }
    }

    fn apply_to_scalar(&self, scalar: &mut Scalar, place: &Place, at: &Trail<'_>, report: &mut Report) {
        if !scalar.text.contains("${") {
            return;
        }
        let mut result = String::with_capacity(scalar.text.len());
        let mut missing = Vec::new();
        if let Err(message) = self.expand(&scalar.text, 0, &mut result, &mut missing) {
            report.error(place, at, message);
            (scalar.missing, scalar.quoted) = (true, false);
            scalar.written = Some(std::mem::take(&mut scalar.text));
            return;
        }
        scalar.missing = !missing.is_empty();
        if scalar.missing && result == PLACEHOLDER {
            // Nothing at all is known of this value: it counts as not set.
            result.clear();
            scalar.quoted = false;
        }
        scalar.written = Some(std::mem::replace(&mut scalar.text, result));
        for Unset { message, help } in missing {
            if self.allow_missing {
                report.warn(place, at, message);
            } else {
                report.error_with_help(place, at, message, help);
            }
        }
    }

    /// Appends `text` with everything substituted. What is unset is noted in `missing`.
    fn expand(&self, text: &str, depth: usize, result: &mut String, missing: &mut Vec<Unset>) -> Result<(), String> {
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                result.push_str(&rest[..start - 1]);
                result.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            result.push_str(&rest[..start]);
            let inside = &rest[start + 2..];
            let Some(end) = closing_brace(inside) else {
                return Err("`${` without `}`: write $${ for a literal ${".to_owned());
            };
            self.expand_one(&inside[..end], depth, result, missing)?;
            rest = &inside[end + 1..];
        }
        result.push_str(rest);
        Ok(())
    }

    fn expand_one(
        &self,
        inside: &str,
        depth: usize,
        result: &mut String,
        missing: &mut Vec<Unset>,
    ) -> Result<(), String> {
        if let Some(path) = inside.strip_prefix("file:") {
            match read_secret(path) {
                Ok(text) => result.push_str(text.trim()),
                Err(message) => {
                    let help = "make the file, or give the value otherwise".to_owned();
                    missing.push(Unset { message, help });
                    result.push_str(PLACEHOLDER);
                }
            }
            return Ok(());
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_variable_name(name) {
            return Err(format!(
                "`${{{inside}}}` is not a substitution: write ${{VAR}}, ${{VAR:-default}} or ${{file:/path}}, \
                 and $${{ for a literal ${{"
            ));
        }
        match (self.environment.get(name), default) {
            (Some(value), None) => result.push_str(value),
            (Some(value), Some(_)) if !value.is_empty() => result.push_str(value),
            (_, Some(_)) if depth >= MAX_NESTING => {
                return Err(format!("defaults within defaults: at most {MAX_NESTING} levels"));
            }
            (_, Some(default)) => self.expand(default, depth + 1, result, missing)?,
            (None, None) => {
                let help = format!("set it, give a default as in ${{{name}:-value}}, or write $${{ for a literal ${{");
                missing.push(Unset { message: format!("the environment variable {name} is not set"), help });
                result.push_str(PLACEHOLDER);
            }
        }
        Ok(())
    }
}

/// The end of a substitution, past those within its default.
fn closing_brace(inside: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (index, c) in inside.char_indices() {
        match c {
            '{' if previous == '$' => depth += 1,
            '}' if depth == 0 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
        previous = c;
    }
    None
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn read_secret(path: &str) -> Result<String, String> {
    let cannot = |e: std::io::Error| format!("the file {path} cannot be read: {e}");
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(format!("{path} is not a regular file of at most 1 MiB"));
    }
    std::fs::read_to_string(path).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        let environment = Environment::from_pairs([("A", "one"), ("EMPTY", ""), ("TRICKY", "${A}: [x]\n- y")]);
        let substitution = Substitution { environment: &environment, allow_missing: false };
        let (mut result, mut missing) = (String::new(), Vec::new());
        substitution.expand(text, 0, &mut result, &mut missing)?;
        match missing.pop() {
            Some(unset) => Err(unset.message),
            None => Ok(result),
        }
    }

    #[test]
    fn substitutes_and_leaves_everything_else() {
        for (text, expected) in [
            ("${A}", "one"),
            ("x-${A}-${A}", "x-one-one"),
            ("${EMPTY}", ""),
            ("${EMPTY:-two}", "two"),
            ("${NONE:-two}", "two"),
            ("${NONE:-}", ""),
            ("${NONE:-${A}/x}", "one/x"),
            ("${NONE:-{\"a\":1}", "{\"a\":1"),
            ("a $ b $c {d} $", "a $ b $c {d} $"),
            ("$${A} and ${A}", "${A} and one"),
            ("${TRICKY}", "${A}: [x]\n- y"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for text in
            ["${", "${A", "${}", "${1A}", "${A B}", "${A-x}", "${A:?gone}", "${NONE}", "${file:/nowhere/at/all}"]
        {
            assert!(expand(text).is_err(), "{text}");
        }
    }
}
