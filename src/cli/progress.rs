//! A bar on standard error while something takes its time; nothing where that is no terminal.

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::store::backup::Progress;

/// The bar, gone when dropped.
pub(super) struct Bar {
    bar: ProgressBar,
    began: Instant,
}

impl Bar {
    pub(super) fn new(doing: &'static str) -> Self {
        // Standard error that is no terminal shows nothing.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
        bar.set_prefix(doing);
        Self { bar, began: Instant::now() }
    }

    pub(super) fn rows(&self, done: u64, total: u64) {
        self.show("{prefix} [{bar:30}] {human_pos}/{human_len} rows {eta}", done, total);
    }

    pub(super) fn backup(&self, progress: Progress) {
        match progress {
            Progress::Rows { done, total } => self.rows(done, total),
            Progress::Bytes { done, total } => {
                self.show("{prefix} [{bar:30}] {binary_bytes}/{binary_total_bytes} {eta}", done, total);
            }
        }
    }

    fn show(&self, template: &'static str, done: u64, total: u64) {
        if self.bar.length() != Some(total) {
            // The templates are ours.
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
    }

    /// Ends it, and says how much was done in how long: `12 rows, 3 KiB in 0.1 s`.
    pub(super) fn done(self, rows: Option<u64>, bytes: u64) -> String {
        let rows = rows.map_or_else(String::new, |rows| format!("{} rows, ", HumanCount(rows)));
        format!("{rows}{} in {:.1} s", HumanBytes(bytes), self.began.elapsed().as_secs_f64())
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
