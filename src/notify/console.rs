//! Prints messages on standard output, so that the first minute with the program shows an alert.

use std::io::Write;
use std::time::Duration;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;

use super::channel::{Channel, Message, Receipt, SendError};
use super::words::Words;

/// A terminal that does not take a message for so long is stopped, or its reader is gone.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Console {
    timezone: Tz,
}

impl Console {
    pub(super) fn new(timezone: Tz) -> Self {
        Self { timezone }
    }

    /// The message with its further lines indented, so that it is told from the lines around it.
    fn text(&self, message: &Message) -> String {
        Words::of(&message.notification, self.timezone).text().replace('\n', "\n    ")
    }
}

impl Channel for Console {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        let text = self.text(message);
        Box::pin(async move {
            // A full pipe blocks the thread that writes to it.
            let printing = tokio::task::spawn_blocking(move || {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{text}").and_then(|()| out.flush())
            });
            match tokio::time::timeout(PATIENCE, printing).await {
                Ok(Ok(Ok(()))) => Ok(Receipt { answer: "printed".to_owned() }),
                Ok(Ok(Err(error))) => Err(SendError::passing(format!("Standard output cannot be written: {error}"))),
                Ok(Err(_)) => Err(SendError::passing("Printing was cut short")),
                Err(_) => Err(SendError::passing("Standard output takes nothing")),
            }
        })
    }
}
