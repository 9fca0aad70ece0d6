//! One HTTP request that tells something, and how its answer reads: shared by webhooks and presets.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use url::Url;

use super::channel::{Receipt, SendError, root_cause, shown};
use super::reach::{not_connected, unreachable};
use super::tls::Line;
use crate::domain::Timestamp;

/// No more of an answer is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where requests go.
pub(super) struct Post {
    line: Line,
    method: Method,
    url: Url,
    timeout: Duration,
    /// What must not be shown: parts of the URL, values of headers.
    secrets: Vec<String>,
    /// As what the other side is spoken of, if not by its host.
    service: Option<&'static str>,
}

/// What the other side said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// At most [`MAX_ANSWER_BYTES`] of it.
    pub(super) body: String,
}

impl Post {
    /// # Errors
    /// Why the method or the URL cannot be used; the key of it comes first.
    pub(super) fn new(line: Line, method: &str, url: &str, timeout: Duration) -> Result<Self, (&'static str, String)> {
        let method = Method::from_bytes(method.trim().to_ascii_uppercase().as_bytes())
            .map_err(|_| ("method", format!("`{method}` is not an HTTP method")))?;
        let url: Url = url.trim().parse().map_err(|e| ("url", format!("it is not a URL ({e})")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(("url", "it must begin with http:// or https:// and name a host".to_owned()));
        }
        let mut secrets: Vec<String> = Vec::new();
        secrets.extend(credentials(&url));
        // Paths of chat services are their passwords.
        if url.path().len() > 1 {
            secrets.push(url.path().to_owned());
            secrets.extend(url.path_segments().into_iter().flatten().filter(|s| s.len() >= 16).map(str::to_owned));
        }
        secrets.extend(url.query().map(str::to_owned));
        Ok(Self { line, method, url, timeout, secrets, service: None })
    }

    /// The other side is spoken of by this name.
    pub(super) fn named(self, service: &'static str) -> Self {
        Self { service: Some(service), ..self }
    }

    /// What else must not be shown.
    pub(super) fn hide(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// Sends once and reads the answer, whatever it is.
    pub(super) async fn send(&self, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, SendError> {
        self.send_to(&self.url, headers, body).await
    }

    /// As [`send`](Self::send), to another place of the same host.
    pub(super) async fn send_to(&self, url: &Url, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, SendError> {
        // Of a name the client's resolver sees to it.
        self.line.reach.examine(url)?;
        let exchange = async {
            let request = self.line.client.request(self.method.clone(), url.clone()).headers(headers).body(body);
            let mut response = request.send().await?;
            let mut answer = Vec::new();
            // The answer counts from its headers on: a body that breaks off takes nothing back.
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = MAX_ANSWER_BYTES - answer.len();
                answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if answer.len() == MAX_ANSWER_BYTES {
                    break;
                }
            }
            Ok(Answer {
                status: response.status(),
                headers: response.headers().clone(),
                body: String::from_utf8_lossy(&answer).into_owned(),
            })
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => {
                let limit = humantime::format_duration(self.timeout);
                Err(SendError::passing(format!("{} did not answer within {limit}", self.host())))
            }
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> SendError {
        if let Some(failure) = unreachable(&error) {
            let reason = format!("{} cannot be reached: {}", self.host(), self.clean(&failure.message));
            return not_connected(failure, reason);
        }
        let before_the_request = error.is_connect();
        let reason = self.clean(&root_cause(&error.without_url()));
        let reason = format!("{} cannot be reached: {reason}", self.host());
        if before_the_request { SendError::not_taken(reason) } else { SendError::passing(reason) }
    }

    pub(super) fn receipt(&self, answer: &Answer) -> Receipt {
        Receipt { answer: self.said(answer) }
    }

    /// What an answer that is no success means.
    pub(super) fn failure(&self, answer: &Answer, now: Timestamp) -> SendError {
        let reason = format!("{} answered {}", self.host(), self.said(answer));
        if let Some(wait) = retry_after(&answer.headers, now) {
            return SendError::later(reason, wait);
        }
        match answer.status.as_u16() {
            410 => SendError::GiveUp { reason },
            401 | 403 | 404 => SendError::lasting(reason),
            300..=399 => SendError::lasting(format!("{reason}, which leads elsewhere and is not followed")),
            400..=499 => SendError::not_taken(reason),
            _ => SendError::passing(reason),
        }
    }

    /// `404 Not Found: no_service`
    fn said(&self, answer: &Answer) -> String {
        let body = self.clean(&answer.body);
        let status = answer.status.to_string();
        if body.is_empty() { status } else { format!("{status}: {body}") }
    }

    /// A text of the other side, short and without secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        shown(text, self.secrets.iter().map(String::as_str))
    }

    fn host(&self) -> &str {
        self.service.or_else(|| self.url.host_str()).unwrap_or_default()
    }
}

/// User and password of a URL, as they stand in it, as they are meant, and as the header that carries them: a page
/// for errors may show the request.
fn credentials(url: &Url) -> Vec<String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    let mut secrets = vec![url.username().to_owned(), url.password().unwrap_or_default().to_owned()];
    if !user.is_empty() || !password.is_empty() {
        secrets.push(STANDARD.encode(format!("{user}:{password}")));
    }
    secrets.extend([user, password]);
    secrets.retain(|secret| !secret.is_empty());
    secrets
}

/// The pause an answer asks for: seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    wait_of(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// The pause that a header's value asks for.
fn wait_of(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.ceil()).ok();
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?;
    Some((until.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_seconds_or_dates() {
        let now = "2026-11-21T07:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            ("0.3", Some(1)),
            ("Sat, 21 Nov 2026 07:01:30 GMT", Some(90)),
            ("Sat, 21 Nov 2026 06:00:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("1e300", None),
        ] {
            assert_eq!(wait_of(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
