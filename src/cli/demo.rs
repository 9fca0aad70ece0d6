//! `demo`: a monitor over built-in targets on this machine, with a database that goes when it ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{Failed, say, serve, tokio_free_now};
use crate::config::{Environment, LoadOptions};
use crate::lifecycle::Tasks;
use crate::telemetry::logging::{LevelControl, LogFormat};

/// The breaking target answers for this long, then fails for [`BROKEN`], and so on.
const FINE: Duration = Duration::from_secs(15);
const BROKEN: Duration = Duration::from_secs(20);

pub(super) async fn demo(port: u16, log_level: &LevelControl) -> Result<ExitCode, Failed> {
    let folder = tempfile::tempdir().map_err(Failed::cannot_start)?;
    let tasks = Tasks::new();
    let targets = serve_targets(&tasks).await.map_err(Failed::cannot_start)?;
    let nobody = unused_port().await.map_err(Failed::cannot_start)?;

    let file = folder.path().join("demo.yaml");
    let database = folder.path().join("demo.db");
    std::fs::write(&file, configuration(port, &database.display().to_string(), targets, nobody))
        .map_err(Failed::cannot_start)?;
    let options = LoadOptions { path: Some(file), environment: Environment::default(), allow_missing_env: false };
    let config = crate::config::load(&options, tokio_free_now()).map_err(Failed::running)?;

    say("Targets: `ok` is fine, `slow` takes 0.8 s, `flaky` needs a retry, `nobody home` refuses connections, and");
    say(
        "`breaking` answers for 15 s, fails for 20 s, and comes back. Ctrl-C ends the demo and leaves nothing behind.\n",
    );
    let end = serve::run(config, LogFormat::Text, log_level).await;
    tasks.stopping().cancel();
    tasks.finish(Duration::from_secs(1)).await;
    end
}

fn configuration(port: u16, database: &str, targets: SocketAddr, nobody: u16) -> String {
    format!(
        "\
database: {{url: 'sqlite:///{database}'}}
api: {{host: 127.0.0.1, port: {port}}}
channels:
  console: {{type: console}}
defaults:
  interval: 2
  timeout: 1500ms
  retry: {{base_delay: 200ms}}
  alert_policy: {{confirm_interval: 1s}}
groups:
  demo:
    endpoints:
      ok: http://{targets}/ok
      slow: http://{targets}/slow
      flaky: http://{targets}/flaky
      breaking: http://{targets}/breaking
      nobody home: http://127.0.0.1:{nobody}/
"
    )
}

async fn serve_targets(tasks: &Tasks) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let began = Instant::now();
    let asked = Arc::new(AtomicU64::new(0));
    let breaking = move || async move {
        let cycle = FINE + BROKEN;
        let within = Duration::from_secs(began.elapsed().as_secs() % cycle.as_secs());
        if within < FINE { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    };
    let flaky = move || {
        let turn = asked.fetch_add(1, Ordering::Relaxed);
        async move { if turn.is_multiple_of(2) { StatusCode::BAD_GATEWAY } else { StatusCode::OK } }
    };
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        "slow, but fine"
    };
    let router = Router::new()
        .route("/ok", get(|| async { "fine" }))
        .route("/slow", get(slow))
        .route("/flaky", get(flaky))
        .route("/breaking", get(breaking));
    let stopping = tasks.stopping().clone();
    tasks.spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stopping.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the demo's targets are gone");
        }
    });
    Ok(address)
}

/// A port on which nobody listens.
async fn unused_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok(listener.local_addr()?.port())
}
