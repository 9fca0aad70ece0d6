//! What is going on, on standard error; and the waiting, which a signal ends early.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

const STEP: Duration = Duration::from_millis(100);

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    bar: ProgressBar,
    on_terminal: bool,
    /// A signal came: every wait ends with an error, so that the guards of the child processes are dropped.
    interrupted: Arc<AtomicBool>,
}

impl Session {
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {percent}%")?;
        let bar = ProgressBar::new(100).with_style(style);
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = interrupted.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signal = {
            let _entered = runtime.enter();
            api_monitor::lifecycle::shutdown_signal()?
        };
        std::thread::spawn(move || {
            runtime.block_on(signal);
            flag.store(true, Ordering::Relaxed);
        });
        Ok(Self { bar, on_terminal: std::io::stderr().is_terminal(), interrupted })
    }

    /// Says what begins now.
    pub(crate) fn say(&self, what: &str) {
        if self.on_terminal {
            self.bar.set_message(what.to_owned());
            self.bar.set_position(0);
        } else {
            complain(what);
        }
    }

    /// How much of it is done, of `whole`.
    pub(crate) fn progress(&self, done: u64, whole: u64) -> anyhow::Result<()> {
        self.bar.set_position(done * 100 / whole.max(1));
        anyhow::ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }

    /// Waits and shows how far it is.
    pub(crate) fn wait(&self, span: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let passed = began.elapsed();
            self.progress(millis(passed.min(span)), millis(span))?;
            if passed >= span {
                return Ok(());
            }
            std::thread::sleep(STEP.min(span.saturating_sub(passed)));
        }
    }

    /// Asks again and again until `done` has an answer, at most for `limit`; returns the answer.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        pause: Duration,
        mut done: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        loop {
            if let Some(answer) = done().with_context(|| what.to_owned())? {
                return Ok(answer);
            }
            anyhow::ensure!(began.elapsed() < limit, "{what}: not within {limit:?}");
            self.progress(millis(began.elapsed()), millis(limit))?;
            std::thread::sleep(pause);
        }
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A line on standard error; nobody reading it is no failure.
pub(crate) fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
