//! What of a check must not be shown, where an answer says it again.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::percent_decode_str;
use url::Url;

use super::CheckSpec;
use crate::domain::dial::Auth;
use crate::domain::outcome::without_nul;
use crate::domain::secret_names::secrets_of_query;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// The shortest value that is looked for in what is shown: shorter ones are in everything.
const SHORTEST: usize = 6;

/// The values that are sent and must not be shown.
pub(super) struct Secrets {
    values: Vec<String>,
    /// There is one more, which is asked for and not known here.
    has_fetched: bool,
}

impl Secrets {
    pub(super) fn of(spec: &CheckSpec) -> Self {
        let mut all = Vec::new();
        for (_, value) in spec.headers.iter().filter(|(name, _)| spec.redact.contains(name)) {
            // Of `Bearer token` the token too.
            all.extend([value.trim(), value.split_whitespace().next_back().unwrap_or("")].map(str::to_owned));
        }
        match &spec.auth {
            Some(Auth::Basic { username, password }) => all.extend(login(username, password)),
            Some(Auth::Bearer(token)) => all.push(token.clone()),
            Some(Auth::OAuth2(credentials)) => {
                all.extend(login(&credentials.client_id, &credentials.client_secret));
            }
            None => {}
        }
        if let Some(proxy) = &spec.proxy
            && let Some((username, password)) = &proxy.login
        {
            all.extend(login(username, password));
        }
        let url = &spec.url;
        if !url.username().is_empty() || url.password().is_some() {
            let [username, password] = [url.username(), url.password().unwrap_or_default()]
                .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned());
            all.extend(login(&username, &password));
            all.push(url.password().unwrap_or_default().to_owned());
        }
        for secret in secrets_of_query(url.as_str()) {
            all.extend(url.as_str().get(secret.range).map(str::to_owned));
        }
        all.retain(|secret| secret.len() >= SHORTEST);
        // One that is within another does not leave the rest of it.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { values: all, has_fetched: matches!(spec.auth, Some(Auth::OAuth2(_))) }
    }

    pub(super) fn hidden(&self, text: String) -> String {
        let hide = |text: String, secret: &String| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), HIDDEN) } else { text }
        };
        let text = self.values.iter().fold(without_nul(text), hide);
        if self.has_fetched { without_tokens(&text) } else { text }
    }
}

/// Hides the words that follow the name of the scheme (RFC 6750 section 2.1).
fn without_tokens(text: &str) -> String {
    const SCHEME: &str = "Bearer ";
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let mut parts = text.split(SCHEME);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(is_of_token);
        let is_token = part.len() - rest.len() >= SHORTEST;
        shown.extend([SCHEME, if is_token { HIDDEN } else { "" }, if is_token { rest } else { part }]);
    }
    shown
}

/// A login, and what it becomes on its way (RFC 7617).
fn login(username: &str, password: &str) -> [String; 2] {
    [password.to_owned(), BASE64_STANDARD.encode(format!("{username}:{password}"))]
}

/// A URL without user and password, fragment and the values of its query that are secrets by their names.
pub(super) fn shown_url(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return String::new() };
    url.set_fragment(None);
    // Both fail only of URLs that have none.
    if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
        return String::new();
    }
    let mut shown = url.to_string();
    let mut ranges: Vec<_> = secrets_of_query(&shown).into_iter().map(|secret| secret.range).collect();
    ranges.reverse();
    for range in ranges {
        shown.replace_range(range, HIDDEN);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::tests::spec;
    use crate::domain::dial::{ClientCredentials, Proxy, ProxyKind};

    #[test]
    fn what_is_sent_is_hidden_in_every_form_that_it_takes() {
        let mut spec = spec(&serde_json::json!(200));
        spec.url = "https://us%40r:url-p%40ss@shop.example/?token=in-the-query&page=number-two".parse().unwrap();
        let login = Some(("proxy-user".to_owned(), "proxy-pass".to_owned()));
        spec.proxy = Some(Proxy { kind: ProxyKind::Http, host: "127.0.0.1".to_owned(), port: 3128, login });
        spec.auth = Some(Auth::Basic { username: "me".to_owned(), password: "basic-pass".to_owned() });
        let encoded =
            ["us@r:url-p@ss", "proxy-user:proxy-pass", "me:basic-pass"].map(|pair| BASE64_STANDARD.encode(pair));
        let secrets = Secrets::of(&spec);
        for secret in encoded.iter().map(String::as_str).chain(["url-p@ss", "url-p%40ss", "in-the-query", "basic-pass"])
        {
            assert_eq!(secrets.hidden(format!("a {secret} b")), "a *** b");
        }
        assert_eq!(secrets.hidden("number-two".to_owned()), "number-two");

        let token_url = "https://id.example/token".parse().unwrap();
        let (client_id, client_secret, scopes) = ("me".to_owned(), "its-secret".to_owned(), Vec::new());
        spec.auth = Some(Auth::OAuth2(ClientCredentials { token_url, client_id, client_secret, scopes }));
        let said = Secrets::of(&spec).hidden("its-secret, \"Bearer eyJh.bG~c-1=\", the Bearer of news".to_owned());
        assert_eq!(said, "***, \"Bearer ***\", the Bearer of news");
    }
}
