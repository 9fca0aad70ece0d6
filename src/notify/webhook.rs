//! Webhooks: a request with the facts of a notification, or with what a person's template makes of them.

mod payload;

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::channel::{Channel, Message, Receipt, SendError};
use super::post::Post;
use super::render::Facts;
use super::signature::SigningKey;
use super::tls::Line;
use crate::clock::Clock;
use crate::config::channels::WebhookConfig;
use payload::Payloads;

pub(super) struct Webhook {
    post: Post,
    headers: HeaderMap,
    payloads: Payloads,
    key: Option<SigningKey>,
    attempts: u32,
    delay: Duration,
    timezone: Tz,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("signed", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// # Errors
    /// The key of the configuration that cannot be used, and why.
    pub(super) fn new(
        config: &WebhookConfig,
        line: Line,
        timezone: Tz,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, (&'static str, String)> {
        let mut post = Post::new(line, &config.method, config.url.expose(), config.timeout)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| ("headers", format!("`{name}` is not the name of a header")))?;
            let mut header_value = HeaderValue::from_str(value.expose())
                .map_err(|_| ("headers", format!("the value of `{name}` holds characters that a header cannot")))?;
            if ![CONTENT_TYPE, ACCEPT, USER_AGENT].contains(&header) {
                header_value.set_sensitive(true);
                post.hide(value.expose());
                // `Bearer token`: an answer may repeat the token alone.
                value.expose().split(' ').skip(1).for_each(|part| post.hide(part));
            }
            headers.insert(header, header_value);
        }
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let payloads = Payloads::read(config, content_type.as_deref())?;
        if content_type.is_none() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(payloads.content_type()));
        }
        let key = config.secret.as_ref().map(SigningKey::read).transpose().map_err(|e| ("secret", e))?;
        if let Some(secret) = &config.secret {
            post.hide(secret.expose());
        }
        let attempts = config.retry_count.max(1);
        Ok(Self { post, headers, payloads, key, attempts, delay: config.retry_delay, timezone, clock })
    }

    /// What identifies the message, and proves it if there is a secret.
    fn headers(&self, id: &str, body: &[u8]) -> Result<HeaderMap, SendError> {
        let at = self.clock.now().timestamp();
        let mut headers = self.headers.clone();
        let mut set = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value)
                .map_err(|_| SendError::GiveUp { reason: format!("The header {name} cannot be written") })?;
            headers.insert(name, value);
            Ok::<(), SendError>(())
        };
        set("idempotency-key", id)?;
        set("webhook-id", id)?;
        set("webhook-timestamp", &at.to_string())?;
        if let Some(key) = &self.key {
            set("webhook-signature", &key.sign(id, at, body))?;
        }
        Ok(headers)
    }

    async fn attempt(&self, id: &str, body: &[u8]) -> Result<Receipt, SendError> {
        let answer = self.post.send(self.headers(id, body)?, body.to_vec()).await?;
        if answer.status.is_success() {
            Ok(self.post.receipt(&answer))
        } else {
            Err(self.post.failure(&answer, self.clock.now()))
        }
    }

    /// Whether another attempt is worth making soon.
    fn passes_soon(&self, error: &SendError) -> bool {
        match error {
            SendError::Retry { after, permanent_looking, .. } => {
                !permanent_looking && after.is_none_or(|after| after <= self.delay)
            }
            SendError::GiveUp { .. } => false,
        }
    }
}

impl Channel for Webhook {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async move {
            let facts = Facts::new(&message.notification, self.timezone);
            let body = self.payloads.render(&facts)?.into_bytes();
            let id = &message.notification.id;
            let mut may_have_arrived = false;
            for _ in 1..self.attempts {
                match self.attempt(id, &body).await {
                    Err(error) if self.passes_soon(&error) => {
                        may_have_arrived |= matches!(error, SendError::Retry { may_have_arrived: true, .. });
                        tokio::time::sleep(self.delay).await;
                    }
                    done => return done.map_err(|error| error.after_one_that_may_have_arrived(may_have_arrived)),
                }
            }
            self.attempt(id, &body).await.map_err(|error| error.after_one_that_may_have_arrived(may_have_arrived))
        })
    }
}
