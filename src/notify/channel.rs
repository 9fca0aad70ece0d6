//! What every channel is: one place to tell, through one transport.

use std::borrow::Cow;
use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::notification::Notification;

/// Delivers messages to one place.
pub trait Channel: Send + Sync + Debug {
    /// Makes one delivery attempt. Ends by itself: each transport bounds its own time. Dropping the future gives the
    /// attempt up, which the other side may have received; every attempt carries the notification's id.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>>;
}

/// What is delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub notification: Notification,
    /// From 1.
    pub attempt: u32,
    /// The id of the first notification of the incident, to thread mails by.
    pub first_of_incident: Option<String>,
}

/// That the other side has taken it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What the other side said, shortened and without secrets.
    pub answer: String,
}

/// Why a message was not delivered. The reasons are one sentence without a full stop, and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("{reason}")]
    Retry {
        reason: String,
        /// Not before this time has passed: the other side's `Retry-After`, at most [`MAX_RETRY_AFTER`].
        after: Option<Duration>,
        /// It will hardly succeed without a person (401, 403, 404): to be tried slowly.
        permanent_looking: bool,
        /// The other side may have taken it all the same: it is never left out in favour of a later message.
        may_have_arrived: bool,
    },
    /// It can never succeed.
    #[error("{reason}")]
    GiveUp { reason: String },
}

/// No other side may silence a channel for longer at a time.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

impl SendError {
    /// Trouble that passes.
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None, permanent_looking: false, may_have_arrived: true }
    }

    /// Trouble that passes, and in which the other side cannot have taken the message.
    pub(super) fn not_taken(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None, permanent_looking: false, may_have_arrived: false }
    }

    /// That an earlier attempt of the same delivery may have arrived.
    #[must_use]
    pub(super) fn after_one_that_may_have_arrived(self, earlier: bool) -> Self {
        match self {
            Self::Retry { reason, after, permanent_looking, may_have_arrived } => {
                Self::Retry { reason, after, permanent_looking, may_have_arrived: may_have_arrived || earlier }
            }
            Self::GiveUp { .. } => self,
        }
    }

    /// Trouble that a person has to end.
    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None, permanent_looking: true, may_have_arrived: false }
    }

    /// Come back later, the other side said.
    pub(super) fn later(reason: impl Into<String>, after: Duration) -> Self {
        Self::Retry {
            reason: reason.into(),
            after: Some(after.min(MAX_RETRY_AFTER)),
            permanent_looking: false,
            may_have_arrived: false,
        }
    }
}

/// Longest answer of another side that is kept, in characters.
const MAX_SHOWN_CHARS: usize = 300;

/// What another side said, fit to be stored and shown: shortened, on one line, without the channel's `secrets`.
pub(super) fn shown<'s>(text: &str, secrets: impl IntoIterator<Item = &'s str>) -> String {
    let mut text = text.to_owned();
    let mut secrets: Vec<&str> = secrets.into_iter().collect();
    // One may be a part of another, the rest of which would stay.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        // A very short one is no secret, and would tear words apart.
        if secret.len() >= 4 {
            text = text.replace(secret, "***");
        }
    }
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.chars().count() > MAX_SHOWN_CHARS {
        line = line.chars().take(MAX_SHOWN_CHARS - 1).chain(['…']).collect();
    }
    line
}

/// At most `max_chars` characters of a text.
pub(super) fn cut(text: Cow<'_, str>, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => text,
        Some(_) => text.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect::<String>().into(),
    }
}

/// The innermost cause of an error: what the system said, without the layers above.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_short_line_without_secrets() {
        assert_eq!(shown("no\r\n  such token=hunter2\u{1b}[31m", ["hunter2", "no"]), "no such token=*** [31m");
        let long = shown(&"é".repeat(10_000), []);
        assert_eq!(long.chars().count(), MAX_SHOWN_CHARS);
    }
}
