//! What the API promises to machines, asked of the real program over real sockets: the tests that the table at the
//! end of docs/api.md names.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::process::Running;

mod access;
mod acknowledge;
mod alarm;
mod alerts;
mod backups;
mod bad_input;
mod certificates;
mod channels;
mod checking;
mod collections;
mod conditions;
mod connections;
mod descriptions;
mod digests;
mod echoes;
mod endpoints;
mod events;
mod examples;
mod explain;
mod failing;
mod failures;
mod grouping;
mod groups;
mod hostile;
mod incidents;
mod kept;
mod kinds;
mod lists;
mod logins;
mod maintenance;
mod metrics;
mod modules;
mod network;
mod operate;
mod outbound;
mod parents;
mod presets;
mod push;
mod query_stats;
mod requests;
mod root;
mod routes;
mod secure;
mod sessions;
mod statistics;
mod tasks;
mod threads;
mod why;

/// A running monitor in a folder of its own, with a client. Killed when the test ends.
pub(crate) struct Platform {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    pub(crate) folder: TempDir,
    pub(crate) process: Running,
    client: reqwest::Client,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Platform {
    /// With sections of the configuration beside `api.port` and an empty list of endpoints where there is none.
    pub(crate) fn start(sections: &str) -> Self {
        Self::start_with(sections, &[])
    }

    /// And with variables of the environment.
    pub(crate) fn start_with(sections: &str, variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("config.yaml"), sections).unwrap();
        Self::start_in(folder, variables)
    }

    /// With what is in the folder: once more after an end, for example.
    pub(crate) fn start_in(folder: TempDir, variables: &[(&str, &str)]) -> Self {
        let mut process = Self::spawn(folder.path(), variables);
        let address = process.address();
        #[expect(clippy::disallowed_methods, reason = "the client of the tests")]
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(nothing_trusted())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self { address, folder, process, client }
    }

    fn spawn(folder: &Path, variables: &[(&str, &str)]) -> Running {
        let own = [("API_HOST", "127.0.0.1"), ("API_PORT", "0"), ("LOG_FORMAT", "json")];
        let variables: Vec<_> = own.iter().chain(variables).copied().collect();
        Running::start_with(folder, &["--config", "config.yaml"], &variables)
    }

    /// A request to be completed, for example with `.header(…)` or `.json(…)`. For streams; else see
    /// [`ask`](Self::ask).
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("http://{}{path}", self.address))
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let mut response = response;
        while let Some(chunk) = response.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(self.request("GET", path)).await
    }

    /// With a JSON body.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(method, path).header("Content-Type", "application/json").body(body.to_string());
        self.ask(request).await
    }
}

/// Asks again and again until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(2);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// No request of these tests is encrypted: nothing is trusted.
pub(crate) fn nothing_trusted() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
