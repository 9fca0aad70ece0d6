//! A nudge that carries no data: the truth is written first, then whoever acts on it is woken and reads it.
//! The path after a crash and the everyday path are one path.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes one waiting loop. Nudges while nobody waits are remembered as one.
#[derive(Debug, Clone, Default)]
pub struct Wakeup(Arc<Notify>);

impl Wakeup {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn nudge(&self) {
        self.0.notify_one();
    }

    /// Returns at the next nudge, or at once if there was one since the last return.
    pub async fn wait(&self) {
        self.0.notified().await;
    }
}
