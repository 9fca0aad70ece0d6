//! What a deliverer asks of the database, beside the sending: what is to be sent is read, what was done is recorded.

use tokio::time::Instant;

use super::{AGAIN, Read, Record, SLOW, Worker};
use crate::notify::ledger;
use crate::notify::queue::{Reading, Rows};
use crate::store::StoreError;

impl Worker {
    /// The rows are being read, and it does not take long: what is done next goes by them.
    pub(super) fn is_waiting_for_rows(&self) -> bool {
        self.reading.as_ref().is_some_and(|(began, ..)| began.elapsed() < SLOW)
    }

    /// Begins to read, and to record what was done, where there is something to.
    pub(super) fn ask_database(&mut self) {
        if self.reading.as_ref().is_some_and(|(began, ..)| began.elapsed() >= SLOW) {
            self.queue.cannot_read();
        }
        if self.recording.as_ref().is_some_and(|(began, _)| began.elapsed() >= SLOW) {
            self.tell_digests_from_memory();
        }
        if self.not_before.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let (store, name) = (self.context.store.clone(), self.name.clone());
        if self.recording.is_none() {
            let standings = self.queue.to_record();
            if !standings.is_empty() || !self.to_write.is_empty() || !self.digests.is_empty() {
                let (notifications, digests) = (self.to_write.clone(), self.digests.clone());
                let work = ledger::record(store.clone(), name.clone(), standings, notifications, digests);
                self.recording = Some((Instant::now(), Box::pin(work)));
            }
        }
        if self.reading.is_none() && self.stale {
            self.stale = false;
            let (reading, known, covered) = (self.queue.begin_reading(), self.queue.known(), self.queue.covered());
            let lately = self.context.grouping.filter(|_| !self.queue.is_resumed());
            let lately = lately.map(|policy| (policy.window, self.context.clock.now()));
            let read = ledger::read(store, name, known, covered, lately);
            self.reading = Some((Instant::now(), reading, Box::pin(read)));
        }
    }

    pub(super) fn take_rows(&mut self, (reading, rows): (Reading, Result<Rows, StoreError>)) {
        match rows {
            Ok(rows) => {
                let (policy, now) = (self.context.grouping.unwrap_or_default(), self.context.clock.now());
                for id in self.queue.take_rows(reading, rows, &policy, now) {
                    self.context.handover.settled(&self.name, &id);
                }
                if self.recording.is_none() && self.queue.to_record().is_empty() {
                    self.complained = false;
                }
            }
            Err(error) => {
                self.queue.cannot_read();
                self.stale = true;
                self.leave_alone(&error, "read");
            }
        }
    }

    pub(super) fn take_written(&mut self, written: Result<ledger::Written, StoreError>) {
        match written {
            Ok(written) => {
                for handed in &written.notifications {
                    self.to_write.retain(|waiting| waiting.told.facts.id != handed.told.facts.id);
                    self.context.handover.stored(&handed.told.facts.id);
                    self.nudge(&handed.channels);
                }
                self.take_digests(&written.digests);
                self.queue.recorded(written.standings);
                // There may be rows beyond those that were looked at.
                self.stale = true;
            }
            Err(error) => {
                for handed in &self.to_write {
                    self.context.handover.hand(handed.clone(), false);
                    self.nudge(&handed.channels);
                }
                self.tell_digests_from_memory();
                self.leave_alone(&error, "written");
            }
        }
    }

    fn leave_alone(&mut self, error: &StoreError, what: &str) {
        self.not_before = Some(Instant::now() + AGAIN);
        self.trouble_at = Some(Instant::now());
        if !self.complained {
            self.complained = true;
            tracing::warn!(channel = self.name, %error, "the outbox cannot be {what}; messages go out from memory");
        }
    }

    fn nudge(&self, channels: &[String]) {
        for name in channels {
            self.context.lines.nudge(name);
        }
    }
}

pub(super) async fn read_by(reading: &mut Option<(Instant, Reading, Read)>) -> (Reading, Result<Rows, StoreError>) {
    let Some((_, _, read)) = reading else { return std::future::pending().await };
    let rows = read.await;
    let known = reading.take().map(|(_, known, _)| known).unwrap_or_default();
    (known, rows)
}

pub(super) async fn recorded_by(recording: &mut Option<(Instant, Record)>) -> Result<ledger::Written, StoreError> {
    let Some((_, record)) = recording else { return std::future::pending().await };
    let written = record.await;
    *recording = None;
    written
}
