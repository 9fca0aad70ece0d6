//! What one attempt costs: the product's own HTTP checks, on fresh and on kept connections, beside a bare reqwest client.
//! In one process and in turns, so that what else the machine does meets all of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api_monitor::checks::{Checker, HttpChecker};
use api_monitor::domain::check::CheckSpec;
use api_monitor::domain::endpoint::{EndpointSettings, Layers, Origin, resolve};
use nix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::target::Target;
use crate::{floor, show};

#[derive(Debug, clap::Args)]
pub(crate) struct Attempts {
    /// Attempts of each way in each turn
    #[arg(long, default_value_t = 2_000)]
    number: usize,
    /// How many are under way at a time
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Turns, of which the medians are shown
    #[arg(long, default_value_t = 5)]
    turns: usize,
}

/// Of one turn.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// CPU of this process, in microseconds an attempt.
    cpu_us: f64,
    per_second: f64,
}

#[derive(Debug, Clone)]
enum Way {
    Reqwest(reqwest::Client),
    Checker(Arc<HttpChecker>, Arc<Vec<CheckSpec>>),
}

impl Attempts {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let target = Target::start(self.at_once, 1)?;
        let urls = Arc::new(target.urls(self.at_once));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let checker = Arc::new(HttpChecker::new(Arc::default()).context("checks cannot be made")?);
            let specs =
                |keep: bool| urls.iter().map(|url| spec(url, keep)).collect::<anyhow::Result<Vec<_>>>().map(Arc::new);
            let ways = [
                ("reqwest, fresh connections", Way::Reqwest(floor::client()?)),
                ("checks, fresh connections", Way::Checker(Arc::clone(&checker), specs(false)?)),
                ("checks, kept connections", Way::Checker(checker, specs(true)?)),
            ];
            let mut costs = vec![Vec::new(); ways.len()];
            for turn in 0..=self.turns {
                for ((_, way), costs) in ways.iter().zip(&mut costs) {
                    let cost = self.turn(way, &urls).await?;
                    // The first is for warming up.
                    if turn > 0 {
                        costs.push(cost);
                    }
                }
            }
            show::line("| way | CPU an attempt, µs | attempts a second |\n|---|---|---|")?;
            for ((name, _), costs) in ways.iter().zip(&costs) {
                let (cpu, rate) = (median(costs, |cost| cost.cpu_us), median(costs, |cost| cost.per_second));
                show::line(&format!("| {name} | {cpu:.0} | {rate:.0} |"))?;
            }
            Ok(())
        })
    }

    async fn turn(&self, way: &Way, urls: &Arc<Vec<String>>) -> anyhow::Result<Cost> {
        let (began, cpu) = (Instant::now(), cpu()?);
        let mut under_way = JoinSet::new();
        for lane in 0..self.at_once {
            let (way, urls, number) = (way.clone(), Arc::clone(urls), self.number / self.at_once);
            under_way.spawn(async move {
                for _ in 0..number {
                    match &way {
                        Way::Reqwest(client) => drop(client.get(&urls[lane]).send().await?.bytes().await?),
                        Way::Checker(checker, specs) => {
                            let deadline = Instant::now() + Duration::from_secs(5);
                            let seen = checker.check(&specs[lane], Origin::Config, deadline).await;
                            anyhow::ensure!(seen.failure.is_none(), "{:?}", seen.failure);
                        }
                    }
                }
                anyhow::Ok(number)
            });
        }
        let mut made = 0_u32;
        while let Some(lane) = under_way.join_next().await {
            made += u32::try_from(lane??)?;
        }
        let used = self::cpu()?.checked_sub(cpu).unwrap_or_default();
        Ok(Cost {
            cpu_us: used.as_secs_f64() * 1e6 / f64::from(made),
            per_second: f64::from(made) / began.elapsed().as_secs_f64(),
        })
    }
}

fn spec(url: &str, keep: bool) -> anyhow::Result<CheckSpec> {
    let mut settings = serde_json::json!({"name": url, "url": url});
    if keep {
        settings["reuse_connection"] = true.into();
    }
    let settings: EndpointSettings = serde_json::from_value(settings)?;
    let defaults = EndpointSettings::default();
    let layers = Layers { defaults: &defaults, group: None, routes: &[], timezone: chrono_tz::UTC, channels: None };
    let endpoint = resolve(&settings, layers, api_monitor::domain::from_micros(0));
    Ok(endpoint.map_err(|wrong| anyhow::anyhow!("{wrong:?}"))?.check)
}

/// What this process has used.
fn cpu() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
