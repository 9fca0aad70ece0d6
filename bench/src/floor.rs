//! The least that makes the same checks: one loop, one client, a fresh connection each time, the answer read and
//! dropped. Spread over the interval as the product spreads its slots.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use api_monitor::domain::endpoint::EndpointId;
use api_monitor::domain::schedule::golden_offset;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::process::Guarded;
use crate::target;

/// Starts it as a process of its own.
pub(crate) fn start(endpoints: usize, interval: u64, addresses: &[SocketAddr]) -> anyhow::Result<Guarded> {
    let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["floor", "--endpoints", &endpoints.to_string(), "--interval", &interval.to_string()]);
    command.args(["--addresses", &addresses.join(",")]);
    Guarded::spawn(command.stdin(Stdio::piped()), "the floor")
}

/// The process itself: checks until standard input ends.
pub(crate) fn run(endpoints: usize, interval: u64, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    let interval = Duration::from_secs(interval);
    let mut checks = Vec::with_capacity(endpoints);
    for (id, url) in (1..).zip(target::urls(addresses, endpoints)) {
        checks.push((golden_offset(EndpointId(id), interval), reqwest::Url::parse(&url)?));
    }
    checks.sort_unstable_by_key(|(phase, _)| *phase);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (done, ended) = oneshot::channel();
        std::thread::spawn(move || done.send(std::io::stdin().lines().last()));
        let mut loops = JoinSet::new();
        let client = client()?;
        loops.spawn(check_all(client, checks, interval));
        tokio::select! {
            _ = ended => Ok(()),
            _ = loops.join_next() => anyhow::bail!("the loop ended by itself"),
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "a bare client is what the product is compared with")]
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(5));
    builder.build().context("the client cannot be built")
}

async fn check_all(client: reqwest::Client, checks: Vec<(Duration, reqwest::Url)>, interval: Duration) {
    let mut under_way = JoinSet::new();
    let mut cycle = Instant::now();
    loop {
        for (phase, url) in &checks {
            sleep_until(cycle + *phase).await;
            let request = client.get(url.clone());
            under_way.spawn(async move {
                // The target counts what arrived; the answer is of no interest.
                if let Ok(answer) = request.send().await {
                    drop(answer.bytes().await);
                }
            });
            while under_way.try_join_next().is_some() {}
        }
        cycle += interval;
        if checks.is_empty() {
            sleep_until(cycle).await;
        }
    }
}
