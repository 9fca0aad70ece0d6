//! `serve`: from the configuration to a running monitor, and to its end.

use std::process::ExitCode;
use std::sync::Arc;

use super::{Failed, banner, logs, tokio_free_now};
use crate::app::{self, Monitor, Outside};
use crate::config::Config;
use crate::lifecycle::{Tasks, shutdown_signal};
use crate::telemetry::logging::{LevelControl, LogFormat};

pub(super) async fn serve(config: Config, log_level: &LevelControl) -> Result<ExitCode, Failed> {
    let format = logs::console_format(&config);
    run(config, format, log_level).await
}

/// Runs a monitor until a signal.
pub(super) async fn run(config: Config, format: LogFormat, log_level: &LevelControl) -> Result<ExitCode, Failed> {
    // Before anything is begun, so that from here on a signal is a clean stop.
    let signal = shutdown_signal();
    let config = Arc::new(config);
    let tasks = Tasks::new();
    let (tls, warnings) = app::open_tls(&config, tokio_free_now()).map_err(Failed::cannot_start)?;
    let listener = app::listen(&config).await.map_err(Failed::cannot_start)?;
    let address = listener.local_addr().map_err(Failed::cannot_start)?;
    let outside = Outside::real(&config).map_err(|e| Failed::cannot_start(format!("{e:#}")))?;
    let outside = Outside { log_level: log_level.clone(), ..outside };
    let monitor = Box::pin(Monitor::start(config.clone(), outside, &tasks))
        .await
        .map_err(|e| Failed::cannot_start(format!("{e:#}")))?;
    banner::show(&config, &monitor, address, format);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let listener = listener.into_std().map_err(Failed::cannot_start)?;
    monitor.serve(listener, tls).map_err(Failed::cannot_start)?;

    let watched = tasks.clone();
    match signal {
        Ok(signal) => drop(tasks.spawn(async move {
            tokio::select! {
                () = watched.stopping().cancelled() => return,
                () = signal => {}
            }
            tracing::info!("stopping: checks under way are finished, results are written");
            watched.stopping().cancel();
        })),
        Err(error) => {
            tracing::error!(%error, "signals cannot be received; the process ends only when it is killed");
        }
    }

    let stopped = tasks.stopping().clone();
    let end = monitor.until_stopped();
    let second_signal = async {
        stopped.cancelled().await;
        match shutdown_signal() {
            Ok(signal) => signal.await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        end = end => end.map_err(|e| Failed::running(format!("{e:#}")))?,
        () = second_signal => return Err(Failed::running("a second signal: ended at once")),
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
