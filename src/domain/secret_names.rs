//! Values that are secrets by the names they stand under: in the query of a URL, in a JSON body.

use std::ops::Range;

use percent_encoding::percent_decode_str;

/// Parts of names under which secrets stand, without separators.
const PARTS: [&str; 9] =
    ["token", "secret", "password", "passwd", "passphrase", "apikey", "accesskey", "signature", "credential"];
/// Names under which secrets stand, which mean other things as parts of longer ones.
const WHOLE: [&str; 6] = ["key", "sig", "pwd", "pass", "auth", "authkey"];

/// Whether what stands under a name is a secret: `api_key`, `X-Amz-Signature`, `accessToken`.
pub fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    WHOLE.contains(&plain.as_str()) || PARTS.iter().any(|part| plain.contains(part))
}

/// A value in the query of a URL that is a secret by its name.
#[derive(Debug, PartialEq, Eq)]
pub struct SecretValue<'u> {
    pub name: &'u str,
    /// Where the value stands in the text.
    pub range: Range<usize>,
}

/// The secrets in the query of a URL, in their order. Empty values are none.
pub fn secrets_of_query(url: &str) -> Vec<SecretValue<'_>> {
    let end = url.find('#').unwrap_or(url.len());
    let Some(start) = url.get(..end).and_then(|text| text.find('?')).map(|at| at + 1) else { return Vec::new() };
    let mut found = Vec::new();
    let mut at = start;
    for pair in url.get(start..end).unwrap_or_default().split('&') {
        if let Some((name, value)) = pair.split_once('=')
            && !value.is_empty()
            && is_secret_name(&percent_decode_str(name).decode_utf8_lossy())
        {
            let from = at + name.len() + 1;
            found.push(SecretValue { name, range: from..from + value.len() });
        }
        at += pair.len() + 1;
    }
    found
}

/// A URL with something else in the place of the secrets in its query.
pub fn hide_query(url: &str, hidden: &str) -> String {
    let mut shown = url.to_owned();
    for secret in secrets_of_query(url).into_iter().rev() {
        shown.replace_range(secret.range, hidden);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in ["api_key", "apiKey", "X-Amz-Signature", "access_token", "key", "SIG", "client-secret", "Password"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["keyword", "author", "monkey", "page", "compass", "design", ""] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn values_of_the_query_are_hidden_where_they_stand() {
        for (url, shown) in [
            ("https://a.example/x?api_key=1&page=2&t%6Fken=3", "https://a.example/x?api_key=***&page=2&t%6Fken=***"),
            ("https://a.example/x?key=a=b&key=#key=c", "https://a.example/x?key=***&key=#key=c"),
            ("https://a.example/key=1", "https://a.example/key=1"),
            ("https://a.example/#?key=1", "https://a.example/#?key=1"),
            ("?sig=é&&=x", "?sig=***&&=x"),
        ] {
            assert_eq!(hide_query(url, "***"), shown);
        }
    }
}
