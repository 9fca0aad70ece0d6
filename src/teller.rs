//! Tells what is about no endpoint alone: the rows of the notification with its deliveries are written before anything
//! is sent. While they cannot be written people are told from memory, and the rows are written once they can be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::handover::Handover;
use crate::store::{Outgoing, Store, StoreError};
use crate::wakeup::Wakeup;

/// Messages that wait to be written. When it is full whoever has another waits.
pub const MESSAGES: usize = 64;

/// After this long in the writing people are told from memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the database has after that, and how long it is left alone after a failure.
const LIMIT: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(2);

/// How long the end waits for what is not written.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What the teller is given.
#[derive(Debug)]
pub struct TellerParts {
    pub store: Arc<Store>,
    pub handover: Arc<Handover>,
    /// Nudged when there is something to deliver.
    pub deliver: Wakeup,
    pub messages: mpsc::Receiver<Outgoing>,
}

/// Writes what is told, and hands it to the deliverers.
#[derive(Debug)]
pub struct Teller {
    parts: TellerParts,
    /// With whether it was told from memory, oldest first. As many as the channel holds, and one.
    waiting: VecDeque<(Outgoing, bool)>,
    complained: bool,
}

impl Teller {
    pub fn new(parts: TellerParts) -> Self {
        Self { parts, waiting: VecDeque::new(), complained: false }
    }

    /// Tells until the stop.
    pub async fn run(mut self, stopping: CancellationToken) {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.tell() => {}
        }
        while let Ok(outgoing) = self.parts.messages.try_recv() {
            self.waiting.push_back((outgoing, false));
        }
        drop(tokio::time::timeout(LAST_WAIT, self.write_all()).await);
        if !self.waiting.is_empty() {
            let lost = self.waiting.len();
            tracing::error!(
                lost,
                "the database was away until the end: what was told of our own network and of certificates is lost"
            );
        }
    }

    async fn tell(&mut self) {
        loop {
            if self.write_all().await {
                let Some(outgoing) = self.parts.messages.recv().await else { return std::future::pending().await };
                self.waiting.push_back((outgoing, false));
                continue;
            }
            self.tell_from_memory();
            let again = tokio::time::Instant::now() + AGAIN;
            while let Ok(Some(outgoing)) = tokio::time::timeout_at(again, self.parts.messages.recv()).await {
                self.waiting.push_back((outgoing, false));
                self.tell_from_memory();
                if self.waiting.len() > MESSAGES {
                    break;
                }
            }
            tokio::time::sleep_until(again).await;
        }
    }

    /// Whether everything is written now.
    async fn write_all(&mut self) -> bool {
        while let Some((outgoing, is_told)) = self.waiting.front() {
            let limit = if *is_told { LIMIT } else { PATIENCE };
            let written = tokio::time::timeout(limit, write(&self.parts.store, outgoing)).await;
            if let Ok(Ok(())) = written {
                if *is_told {
                    self.parts.handover.stored(&outgoing.facts().id);
                } else if let Some(handed) = outgoing.to_deliver() {
                    self.parts.handover.hand(handed, true);
                }
                self.waiting.pop_front();
                self.complained = false;
                self.parts.deliver.nudge();
                continue;
            }
            if !self.complained {
                let error = written.ok().and_then(Result::err).map(|error| error.to_string());
                tracing::warn!(
                    error,
                    "what is told of our own network or of certificates cannot be written; it is told from memory"
                );
            }
            self.complained = true;
            return false;
        }
        true
    }

    fn tell_from_memory(&mut self) {
        for (outgoing, is_told) in &mut self.waiting {
            // Where there is no room it goes out once the database is back.
            *is_told =
                *is_told || outgoing.to_deliver().is_none_or(|handed| self.parts.handover.hand_from_memory(handed));
        }
        self.parts.deliver.nudge();
    }
}

async fn write(store: &Store, outgoing: &Outgoing) -> Result<(), StoreError> {
    // What is taken back would be told again.
    let transaction = store.begin_durable().await?;
    outgoing.write(&transaction, None).await?;
    transaction.commit().await?;
    Ok(())
}
