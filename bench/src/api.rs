//! Asking the monitor over HTTP, on one connection that is kept.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Api {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    address: SocketAddr,
}

impl Api {
    pub(crate) fn at(address: SocketAddr) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        #[expect(clippy::disallowed_methods, reason = "this client asks the API; it makes no checks")]
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { runtime, client, address })
    }

    /// The body of a successful answer, and how long it took from asking to its last byte.
    pub(crate) fn timed(&self, path: &str) -> anyhow::Result<(Duration, Vec<u8>)> {
        let url = format!("http://{}{path}", self.address);
        self.runtime.block_on(async {
            let began = Instant::now();
            let answer = self.client.get(&url).send().await?.error_for_status()?;
            let body = answer.bytes().await?;
            Ok((began.elapsed(), body.to_vec()))
        })
    }

    pub(crate) fn json(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let (_, body) = self.timed(path)?;
        serde_json::from_slice(&body).with_context(|| format!("{path} is not JSON"))
    }
}
