//! The link to what a person does about an outage: one setting may serve many endpoints, by `{name}` and `{group}`.

use url::Url;

use crate::domain::placeholder::placeholders;
use crate::domain::suggest::closest;

const KNOWN: [&str; 2] = ["name", "group"];

/// The link of an endpoint, or the code and the sentence of the rule that the setting breaks.
pub(super) fn resolve(text: &str, name: &str, group: &str) -> Result<String, (&'static str, String)> {
    if text.len() > 4000 {
        return Err(("out_of_range", "too long: at most 4,000 bytes".to_owned()));
    }
    let mut link = String::with_capacity(text.len());
    let mut end = 0;
    for (range, word) in placeholders(text) {
        let value = match word {
            "name" => name,
            "group" => group,
            unknown => return Err(("invalid", unknown_placeholder(unknown))),
        };
        link.push_str(&text[end..range.start]);
        link.extend(url::form_urlencoded::byte_serialize(value.as_bytes()).map(|part| part.replace('+', "%20")));
        end = range.end;
    }
    link.push_str(&text[end..]);
    match Url::parse(&link) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty()) => {
            Ok(link)
        }
        _ => Err(("invalid", "is not a link: https://… is expected".to_owned())),
    }
}

fn unknown_placeholder(word: &str) -> String {
    let meant = closest(word, KNOWN).map_or_else(String::new, |meant| format!(", did you mean {{{meant}}} ?"));
    format!("{{{word}}} stands for nothing here: {{name}} and {{group}} do{meant}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_group_are_filled_in_as_parts_of_a_url() {
        for (text, link) in [
            ("https://wiki.example/run", "https://wiki.example/run"),
            ("https://wiki.example/{group}/{name}#down", "https://wiki.example/core/a%20%2F%20%7Bgroup%7D#down"),
            ("https://wiki.example/?q={name}&{X}", "https://wiki.example/?q=a%20%2F%20%7Bgroup%7D&{X}"),
        ] {
            assert_eq!(resolve(text, "a / {group}", "core").as_deref(), Ok(link), "{text}");
        }
    }

    #[test]
    fn what_is_no_link_is_refused() {
        for text in ["", "wiki", "ftp://wiki.example/", "javascript:alert(1)", "https://", "https://wiki.example/{nam}"]
        {
            assert!(resolve(text, "a", "").is_err(), "{text}");
        }
        let (_, detail) = resolve("https://wiki.example/{nme}", "a", "").unwrap_err();
        assert_eq!(detail, "{nme} stands for nothing here: {name} and {group} do, did you mean {name} ?");
    }
}
