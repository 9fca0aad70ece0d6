//! Test messages, which go past the outbox: who asked waits.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::notification::{Event, Notification, Subject, notification_id};
use crate::events::ChannelTestRequest;
use crate::notify::channel::Message;
use crate::notify::lines::Lines;

/// Sends test messages through the real transports, until the stop. Tests bypass the outbox: who asked waits.
pub async fn answer_tests(
    lines: Arc<Lines>,
    clock: Arc<dyn Clock>,
    mut requests: mpsc::Receiver<ChannelTestRequest>,
    stopping: CancellationToken,
) {
    loop {
        let request = tokio::select! {
            () = stopping.cancelled() => return,
            request = requests.recv() => match request { Some(request) => request, None => return },
        };
        // An unknown name drops the reply, which tells whoever asked.
        let Some(channel) = lines.channel(&request.channel) else { continue };
        let message = test_message(&request.channel, clock.now());
        let sent = tokio::select! {
            () = stopping.cancelled() => return,
            sent = channel.send(&message) => sent,
        };
        // Whoever asked may have gone away.
        drop(request.reply.send(sent.map(|receipt| receipt.answer).map_err(|error| error.to_string())));
    }
}

/// A message that is clearly a test.
pub fn test_message(channel: &str, now: Timestamp) -> Message {
    let facts = about_channel(channel, Event::Test, now, now);
    Message { notification: facts, attempt: 1, first_of_incident: None }
}

/// The facts of a notification that is about a channel, not an endpoint.
pub(in crate::notify) fn about_channel(channel: &str, event: Event, span: Timestamp, now: Timestamp) -> Notification {
    let id = notification_id(Subject::Channel(channel), span, event, 0);
    Notification::about("channel", channel.to_owned(), id, event, now)
}
