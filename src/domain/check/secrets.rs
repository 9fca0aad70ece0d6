//! What a check sends and nobody is to see, and texts of the other side without it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::percent_decode_str;

use super::{CheckSpec, Observation};
use crate::domain::dial::Auth;
use crate::domain::outcome::without_nul;
use crate::domain::secret_names::{hide_query, secrets_of_query};

/// What stands for a secret.
const HIDDEN: &str = "***";

/// The shortest secret that is looked for in what is shown: shorter ones are in everything.
const SHORTEST_SECRET: usize = 6;

/// The values that are sent and must not be shown, where an answer says them again.
#[derive(Clone)]
pub struct Secrets {
    values: Vec<String>,
    /// There may be one more, which was asked for and is not known any longer.
    has_fetched: bool,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.values.len())
    }
}

impl Secrets {
    /// Those that an endpoint is set to send, and those that an attempt was given.
    pub fn of(spec: &CheckSpec, seen: &Observation) -> Self {
        let mut all: Vec<String> = Vec::new();
        for (_, value) in spec.headers.iter().filter(|(name, _)| spec.redact.contains(name)) {
            all.push(value.trim().to_owned());
            // Of `Bearer token` the token too.
            all.extend(value.split_whitespace().next_back().map(str::to_owned));
        }
        match &spec.auth {
            Some(Auth::Basic { username, password }) => all.extend(login(username, password)),
            Some(Auth::Bearer(token)) => all.push(token.clone()),
            Some(Auth::OAuth2(credentials)) => {
                all.extend(login(&credentials.client_id, &credentials.client_secret));
            }
            None => {}
        }
        if let Some((username, password)) = spec.proxy.as_ref().and_then(|proxy| proxy.login.as_ref()) {
            all.extend(login(username, password));
        }
        let url = &spec.url;
        if !url.username().is_empty() || url.password().is_some() {
            let [username, password] = [url.username(), url.password().unwrap_or_default()]
                .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned());
            all.extend(login(&username, &password));
            all.push(url.password().unwrap_or_default().to_owned());
        }
        let in_query = secrets_of_query(spec.url.as_str()).into_iter().map(|secret| secret.range);
        all.extend(in_query.filter_map(|range| spec.url.as_str().get(range).map(str::to_owned)));
        all.extend(seen.token.clone());
        all.retain(|secret| secret.len() >= SHORTEST_SECRET);
        // A secret that holds another is hidden as a whole.
        all.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        Self { values: all, has_fetched: matches!(spec.auth, Some(Auth::OAuth2(_))) }
    }

    /// A text without them, and without what no database can hold.
    pub fn hidden(&self, text: String) -> String {
        let replaced = |text: String, secret: &String| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), HIDDEN) } else { text }
        };
        let text = self.values.iter().fold(without_nul(text), replaced);
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
        let is_token = part.len() - rest.len() >= SHORTEST_SECRET;
        shown.extend([SCHEME, if is_token { HIDDEN } else { "" }, if is_token { rest } else { part }]);
    }
    shown
}

/// A login, and what it becomes on its way (RFC 7617).
fn login(username: &str, password: &str) -> [String; 2] {
    [password.to_owned(), BASE64_STANDARD.encode(format!("{username}:{password}"))]
}

/// A URL without user and password, fragment and the values of its query that are secrets by their names. Empty of what
/// is none.
pub fn shown_url(url: &str) -> String {
    let Ok(mut url) = url::Url::parse(url) else { return String::new() };
    url.set_fragment(None);
    // Both fail only of URLs that have none.
    if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
        return String::new();
    }
    hide_query(url.as_str(), HIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::tests::spec;
    use crate::domain::dial::{ClientCredentials, Proxy, ProxyKind};

    #[test]
    fn what_was_sent_is_hidden_in_every_form() {
        let login = Some(("me".to_owned(), "proxy-pass".to_owned()));
        let given = CheckSpec {
            url: "https://user:p%40ssword@a.example/x?token=in-query".parse().unwrap(),
            headers: [("x-key", "from-header"), ("authorization", "Bearer in-a-scheme"), ("x-plain", "plain-value")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            redact: ["authorization", "x-key"].map(str::to_owned).to_vec(),
            auth: Some(Auth::OAuth2(ClientCredentials {
                token_url: "https://a.example/token".parse().unwrap(),
                client_id: "monitor".to_owned(),
                client_secret: "client-secret".to_owned(),
                scopes: Vec::new(),
            })),
            proxy: Some(Proxy { kind: ProxyKind::Http, host: "p".to_owned(), port: 1, login }),
            ..spec(&serde_json::json!(200))
        };
        let seen = Observation { token: Some("given-token".to_owned()), ..Observation::default() };
        let secrets = Secrets::of(&given, &seen);
        let encoded = BASE64_STANDARD.encode("user:p@ssword");
        for secret in [
            "p%40ssword",
            "p@ssword",
            &encoded,
            "in-query",
            "from-header",
            "in-a-scheme",
            "client-secret",
            "proxy-pass",
            "given-token",
        ] {
            assert_eq!(secrets.hidden(format!("<{secret}>")), "<***>", "{secret}");
        }
        assert_eq!(secrets.hidden("Bearer in-a-scheme".to_owned()), "***", "not twice");
        assert_eq!(secrets.hidden("plain-value user a\0".to_owned()), "plain-value user a\u{fffd}");
        assert_eq!(format!("{secrets:?}").matches("secret").count(), 1);
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        assert_eq!(shown_url("https://u:p@a.example/x?token=abc&page=2#f"), "https://a.example/x?token=***&page=2");
        assert_eq!(shown_url("no url"), "");
    }

    #[test]
    fn what_is_sent_is_hidden_in_every_form_that_it_takes() {
        let mut spec = spec(&serde_json::json!(200));
        spec.url = "https://us%40r:url-p%40ss@shop.example/?token=in-the-query&page=number-two".parse().unwrap();
        let login = Some(("proxy-user".to_owned(), "proxy-pass".to_owned()));
        spec.proxy = Some(Proxy { kind: ProxyKind::Http, host: "127.0.0.1".to_owned(), port: 3128, login });
        spec.auth = Some(Auth::Basic { username: "me".to_owned(), password: "basic-pass".to_owned() });
        let encoded =
            ["us@r:url-p@ss", "proxy-user:proxy-pass", "me:basic-pass"].map(|pair| BASE64_STANDARD.encode(pair));
        let secrets = Secrets::of(&spec, &Observation::default());
        for secret in encoded.iter().map(String::as_str).chain(["url-p@ss", "url-p%40ss", "in-the-query", "basic-pass"])
        {
            assert_eq!(secrets.hidden(format!("a {secret} b")), "a *** b");
        }
        assert_eq!(secrets.hidden("number-two".to_owned()), "number-two");

        let token_url = "https://id.example/token".parse().unwrap();
        let (client_id, client_secret, scopes) = ("me".to_owned(), "its-secret".to_owned(), Vec::new());
        spec.auth = Some(Auth::OAuth2(ClientCredentials { token_url, client_id, client_secret, scopes }));
        let said = Secrets::of(&spec, &Observation::default())
            .hidden("its-secret, \"Bearer eyJh.bG~c-1=\", the Bearer of news".to_owned());
        assert_eq!(said, "***, \"Bearer ***\", the Bearer of news");
    }
}
