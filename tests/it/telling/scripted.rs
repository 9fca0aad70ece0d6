//! A channel that does what a test says, and remembers what it was given.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_monitor::clock::{Clock, ManualClock};
use api_monitor::domain::Timestamp;
use api_monitor::domain::notification::{Event, Notification};
use api_monitor::notify::{Channel, Channels, Message, Receipt, SendError};
use futures_util::future::BoxFuture;

/// What an attempt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Take,
    /// Refused, and certainly not received.
    Refuse,
    /// Broken off, and perhaps received.
    Break,
    /// It can never succeed.
    Never,
    /// Silent for so long on the moved clock, then broken off.
    Hang(Duration),
}

/// An attempt that was made.
#[derive(Debug, Clone)]
pub(super) struct Attempted {
    /// When it ended.
    pub(super) at: Timestamp,
    pub(super) reply: Reply,
    pub(super) notification: Notification,
}

type Script = dyn Fn(&Message, Timestamp) -> Reply + Send + Sync;

pub(super) struct Scripted {
    clock: Arc<ManualClock>,
    script: Box<Script>,
    attempts: Mutex<Vec<Attempted>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    /// Decides by the message and the moment.
    pub(super) fn by(
        clock: &Arc<ManualClock>,
        script: impl Fn(&Message, Timestamp) -> Reply + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { clock: clock.clone(), script: Box::new(script), attempts: Mutex::default() })
    }

    pub(super) fn taking(clock: &Arc<ManualClock>) -> Arc<Self> {
        Self::by(clock, |_, _| Reply::Take)
    }

    pub(super) fn attempts(&self) -> Vec<Attempted> {
        self.attempts.lock().unwrap().clone()
    }

    /// What was taken, in order.
    pub(super) fn taken(&self) -> Vec<Attempted> {
        self.attempts().into_iter().filter(|attempt| attempt.reply == Reply::Take).collect()
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.taken().iter().map(|attempt| attempt.notification.event).collect()
    }
}

impl Channel for Scripted {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async move {
            let reply = (self.script)(message, self.clock.now());
            if let Reply::Hang(time) = reply {
                let until = self.clock.monotonic() + time;
                while self.clock.monotonic() < until {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            let notification = message.notification.clone();
            self.attempts.lock().unwrap().push(Attempted { at: self.clock.now(), reply, notification });
            let retry = |may_have_arrived| {
                let reason = "it answered 500 Internal Server Error".to_owned();
                Err(SendError::Retry { reason, after: None, permanent_looking: false, may_have_arrived })
            };
            match reply {
                Reply::Take => Ok(Receipt { answer: "taken".to_owned() }),
                Reply::Refuse => retry(false),
                Reply::Break | Reply::Hang(_) => retry(true),
                Reply::Never => Err(SendError::GiveUp { reason: "it answered 410 Gone".to_owned() }),
            }
        })
    }
}

/// Channels by name.
pub(super) fn channels<const N: usize>(by_name: [(&str, &Arc<Scripted>); N]) -> Channels {
    let channel = |channel: &Arc<Scripted>| -> Arc<dyn Channel> { channel.clone() };
    by_name.into_iter().map(|(name, scripted)| (name.to_owned(), channel(scripted))).collect()
}

/// The part of a configuration that has these channels.
pub(super) fn named(names: &[&str]) -> String {
    let channels: Vec<String> = names.iter().map(|name| format!("{name}: {{type: console}}")).collect();
    format!("channels: {{{}}}\n", channels.join(", "))
}
