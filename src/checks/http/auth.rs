//! Tokens of OAuth2 client credentials: asked for once and used until they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::checks::failure::shown;
use crate::domain::dial::ClientCredentials;
use crate::domain::outcome::{Failure, FailureKind};

/// Of more credentials, all tokens are forgotten and asked for again as needed.
const MAX_TOKENS: usize = 1_000;
/// How long a token is used whose end is not told.
const UNTOLD: Duration = Duration::from_secs(300);
/// A token is not used in its last moments, so that it does not end on the way.
const MARGIN: Duration = Duration::from_secs(10);
/// Bound of an answer with a token.
pub(super) const MAX_ANSWER: usize = 64 * 1024;
/// The longest token that is sent.
const MAX_TOKEN: usize = 16 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) value: String,
    good_until: Instant,
}

/// One check at a time asks for a token; the others that need the same wait for it.
type Slot = Arc<AsyncMutex<Option<Token>>>;

#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<ClientCredentials, Slot>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// The token for `credentials`: the one at hand, or what `ask` brings.
    pub(super) async fn get<F>(&self, credentials: &ClientCredentials, ask: F) -> Result<String, Failure>
    where
        F: Future<Output = Result<Token, Failure>>,
    {
        let slot = self.slot(credentials);
        let mut token = slot.lock().await;
        if let Some(token) = token.as_ref().filter(|token| Instant::now() < token.good_until) {
            return Ok(token.value.clone());
        }
        let asked = ask.await?;
        let value = asked.value.clone();
        *token = Some(asked);
        Ok(value)
    }

    /// The other side did not take the token: the next check asks for another.
    pub(super) async fn forget(&self, credentials: &ClientCredentials, value: &str) {
        let slot = self.slot(credentials);
        let mut token = slot.lock().await;
        if token.as_ref().is_some_and(|token| token.value == value) {
            *token = None;
        }
    }

    fn slot(&self, credentials: &ClientCredentials) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(credentials) {
            return Arc::clone(slot);
        }
        if slots.len() >= MAX_TOKENS {
            slots.clear();
        }
        Arc::clone(slots.entry(credentials.clone()).or_default())
    }
}

/// The body of the request for a token, and its header `Authorization` (RFC 6749 sections 2.3.1 and 4.4.2).
pub(super) fn request(credentials: &ClientCredentials) -> (String, String) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !credentials.scopes.is_empty() {
        form.append_pair("scope", &credentials.scopes.join(" "));
    }
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(&credentials.client_id), encoded(&credentials.client_secret));
    (form.finish(), format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

pub(super) fn failed(credentials: &ClientCredentials, why: &str) -> Failure {
    let mut url = credentials.token_url.clone();
    // Neither a login nor a query is shown. It fails only for URLs without a host.
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    debug_assert!(cleared.is_ok(), "an http URL has a host");
    url.set_query(None);
    let message = format!("The token of {} could not be had: {why}", shown(url.as_str()));
    Failure::new(FailureKind::OauthTokenFailed, message)
}

/// The token in an answer. What the answer says is shown as far as it is an error's word.
pub(super) fn answered(credentials: &ClientCredentials, status: u16, body: &[u8]) -> Result<Token, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: Option<String>,
        token_type: Option<String>,
        expires_in: Option<f64>,
        error: Option<String>,
    }
    let failed = |why: &str| failed(credentials, why);
    let answer = serde_json::from_slice::<Answer>(body);
    if status != 200 {
        let word =
            answer.ok().and_then(|answer| answer.error).map_or_else(String::new, |e| format!(" ({})", shown(&e)));
        return Err(failed(&format!("POST returned {status}{word}")));
    }
    let answer = answer.map_err(|_| failed("the answer is not the JSON of a token"))?;
    if answer.token_type.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(failed("it is of another type than Bearer"));
    }
    let value = answer
        .access_token
        .filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_graphic()))
        .ok_or_else(|| failed("the answer has no access_token that can be sent"))?;
    let lives = answer
        .expires_in
        .filter(|s| s.is_finite() && *s >= 0.0)
        .map_or(UNTOLD, |s| Duration::from_secs_f64(s.min(1e9)));
    Ok(Token { value, good_until: Instant::now() + lives.saturating_sub(MARGIN.min(lives / 10)) })
}
