//! The product under measurement: its configuration, its process, what it says of itself.

use std::fmt::Write;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use crate::api::Api;
use crate::process::Guarded;
use crate::session::Session;

/// The API's bound of a page of endpoints.
const PAGE: usize = 1_000;

const STOP_LIMIT: Duration = Duration::from_secs(15);
const START_LIMIT: Duration = Duration::from_secs(120);

/// A folder with a configuration, where a monitor runs.
#[derive(Debug)]
pub(crate) struct Place {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Place {
    /// Writes a configuration that checks `urls`, each once at every interval of so many seconds.
    pub(crate) fn prepare(parent: Option<&Path>, urls: &[String], interval: u64) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("api-monitor-bench-");
        let folder = match parent {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        }
        .context("the folder for the database cannot be made")?;
        // Free now; were it taken before the monitor binds it, the start would fail and say so.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let place = Self { folder, address };
        // A check may not take longer than its interval.
        let timeout = interval.min(5);
        let mut text = format!(
            "database: {{url: 'sqlite:///{}'}}\napi: {{host: 127.0.0.1, port: {}}}\n\
             defaults: {{interval: {interval}, timeout: {timeout}, retry: {{enabled: false}}}}\n\
             groups:\n  bench:\n    endpoints:\n",
            place.database().display(),
            address.port()
        );
        for (i, url) in urls.iter().enumerate() {
            writeln!(text, "      e{i}: {url}")?;
        }
        std::fs::write(place.configuration(), text)?;
        Ok(place)
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("bench.yaml")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("monitor.db")
    }

    /// Bytes of the database, with what is beside it while it is open.
    pub(crate) fn database_bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.folder.path())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("monitor.db") {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes)
    }

    /// What the monitor wrote to its log.
    fn log(&self) -> PathBuf {
        self.folder.path().join("monitor.log")
    }
}

/// A running monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) process: Guarded,
    pub(crate) api: Api,
    pub(crate) started: Instant,
    /// From the start of the process until it answered `/health/live`.
    pub(crate) until_live: Duration,
}

impl Monitor {
    /// Starts the binary, without the variables of this process, and waits until it answers.
    pub(crate) fn start(session: &Session, binary: &Path, place: &Place) -> anyhow::Result<Self> {
        let binary =
            binary.canonicalize().with_context(|| format!("{} is not there: build it first", binary.display()))?;
        let log = File::create(place.log())?;
        let mut command = Command::new(binary);
        command.arg("--config").arg(place.configuration()).current_dir(place.folder.path()).env_clear();
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let api = Api::at(place.address)?;
        let started = Instant::now();
        let mut process = Guarded::spawn(&mut command, "the monitor")?;
        let answers = || {
            process.ensure_running()?;
            Ok(api.timed("/health/live").is_ok().then_some(()))
        };
        let live = session.until("the monitor starts", START_LIMIT, Duration::from_millis(2), answers);
        let until_live = started.elapsed();
        live.with_context(|| std::fs::read_to_string(place.log()).unwrap_or_default())?;
        Ok(Self { process, api, started, until_live })
    }

    /// The id of each endpoint, in the order of the configuration.
    pub(crate) fn ids(&self, endpoints: usize) -> anyhow::Result<Vec<i64>> {
        let mut ids = vec![0; endpoints];
        for offset in (0..endpoints).step_by(PAGE) {
            let page = self.api.json(&format!("/api/v1/endpoints?limit={PAGE}&offset={offset}"))?;
            for item in page["endpoints"].as_array().context("a page of endpoints has no `endpoints`")? {
                let index = item["name"].as_str().and_then(|name| name.strip_prefix('e')?.parse::<usize>().ok());
                let place =
                    index.and_then(|index| ids.get_mut(index)).context("an endpoint that was not configured")?;
                *place = item["id"].as_i64().context("an endpoint without an id")?;
            }
        }
        anyhow::ensure!(!ids.contains(&0), "the monitor does not know all endpoints");
        Ok(ids)
    }

    /// Stops the monitor in its own way.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let status = self.process.stop(STOP_LIMIT)?;
        anyhow::ensure!(status.success(), "the monitor ended with {status}");
        Ok(())
    }
}
