//! Starting and ending tasks, and the signals that ask for it.
//!
//! Every task of the process is spawned here. One that is critical and ends by itself takes the process down
//! with a non-zero exit code: a monitor that half works is worse than one that is restarted.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime, RuntimeMetrics};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of the process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    /// Cancelled when the process should begin to stop.
    stopping: CancellationToken,
    crashed: Arc<Mutex<Option<&'static str>>>,
    /// Threads beside those of the process's own runtime. They outlive what was begun on them: a change that a
    /// request has begun there is finished after the request.
    apart: Arc<Mutex<Vec<Apart>>>,
    /// The runtimes whose threads are seen.
    runtimes: Arc<Mutex<Vec<SeenRuntime>>>,
}

/// A runtime, whose workers are threads of the process.
#[derive(Debug, Clone)]
pub struct SeenRuntime {
    pub name: &'static str,
    /// When it began, or was first seen.
    pub since: Instant,
    pub metrics: RuntimeMetrics,
}

/// A runtime that can be dropped anywhere, without waiting for what it runs.
#[derive(Debug)]
struct Apart(Option<Runtime>);

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the runtime of the caller be seen under a name.
    pub fn see_runtime(&self, name: &'static str) {
        self.see(name, &Handle::current());
    }

    fn see(&self, name: &'static str, handle: &Handle) {
        let seen = SeenRuntime { name, since: Instant::now(), metrics: handle.metrics() };
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    /// The runtimes there are, in the order in which they began.
    pub fn runtimes(&self) -> Vec<SeenRuntime> {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The token that says "begin to stop".
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Spawns a task whose end is waited for at the stop.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns, and it tracks what it spawns")]
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(task))
    }

    /// Spawns a task that computes or waits for the disk for long between its awaits, on a thread of its own: it takes
    /// none from the others. Its end is waited for at the stop.
    pub fn spawn_heavy(&self, task: impl Future<Output = ()> + Send + 'static) {
        let (runtime, task) = (tokio::runtime::Handle::current(), self.tracker.track_future(task));
        drop(tokio::task::spawn_blocking(move || runtime.block_on(task)));
    }

    /// Spawns a task without which the monitor is no monitor. If it ends, or panics, before the stop has begun,
    /// the stop begins and [`crashed`](Self::crashed) names it.
    pub fn spawn_critical<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.spawn(task);
        let tasks = self.clone();
        self.spawn(async move {
            let end = handle.await;
            if tasks.stopping.is_cancelled() && end.is_ok() {
                return;
            }
            tracing::error!(task = name, panicked = end.is_err(), "the {name} ended by itself; the process stops");
            tasks.crashed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(name);
            tasks.stopping.cancel();
        });
    }

    /// As [`spawn_critical`](Self::spawn_critical), on threads of its own: however much there is to do, the tasks
    /// on the others keep theirs. What the task spawns runs there too.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn spawn_critical_apart<F>(
        &self,
        name: &'static str,
        threads: usize,
        begin: impl FnOnce() -> F,
    ) -> std::io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads.max(1)).thread_name(name).enable_all().build()?;
        self.see(name, runtime.handle());
        let task = {
            let _entered = runtime.enter();
            runtime.spawn(self.tracker.track_future(begin()))
        };
        self.apart.lock().unwrap_or_else(PoisonError::into_inner).push(Apart(Some(runtime)));
        self.spawn_critical(name, async move {
            if let Err(error) = task.await
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        });
        Ok(())
    }

    /// The critical task that ended by itself, if any did.
    pub fn crashed(&self) -> Option<&'static str> {
        *self.crashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every task has ended, at most `deadline`. Returns whether all had.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}

/// Receives SIGTERM, SIGINT (Ctrl-C) or their like from now on, also before it is awaited.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}
