//! `{placeholder}`s in texts that people write: a brace, a word of a–z and `_`, a brace. Every other brace is text.

use std::ops::Range;

/// Where each placeholder stands, braces included, and its word.
pub fn placeholders(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    text.match_indices('{').filter_map(|(start, _)| {
        let inside = &text[start + 1..];
        let length = inside.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|length| *length > 0)?;
        inside[length..].starts_with('}').then(|| (start..start + length + 2, &inside[..length]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_braces_is_a_placeholder_and_nothing_else_is() {
        let words = |text| placeholders(text).map(|(range, word)| (&text[range], word)).collect::<Vec<_>>();
        assert_eq!(words("{url} {{error}} {a_b}"), [("{url}", "url"), ("{error}", "error"), ("{a_b}", "a_b")]);
        for text in ["", "{", "}", "{}", "{ url }", "{Url}", "{url", "{\"text\": 1}", "{url:>10}", "{0}", "é{ü}"] {
            assert_eq!(words(text), [], "{text}");
        }
    }
}
