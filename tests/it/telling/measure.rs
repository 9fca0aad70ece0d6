//! How long it takes from the end of the failing check to the receipt of the message. Printed, not asserted, and only
//! when asked for.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::hook::Hook;
use crate::flows::harness::Place;
use crate::flows::target::{Answer, Target};

/// Each is checked once a second.
const ENDPOINTS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_failed_check_to_the_receipt() {
    if std::env::var_os("API_MONITOR_MEASURE").is_none() {
        return;
    }
    // Each fails once, at a moment of its own within some twenty seconds, and notes when.
    let failed: Arc<Mutex<Vec<Option<Instant>>>> = Arc::new(Mutex::new(vec![None; ENDPOINTS]));
    let noted = failed.clone();
    let target = Target::answering(move |path, before| {
        let number: usize = path.trim_start_matches('e').parse().unwrap();
        if before != 5 + number % 20 {
            return Answer::Status(200);
        }
        noted.lock().unwrap()[number] = Some(Instant::now());
        Answer::Status(500)
    });
    let hook = Hook::start();
    let mut yaml = format!(
        "monitoring: {{max_checks_per_host: 500}}\nchannels: {{hook: {{type: webhook, url: '{}'}}}}\n\
         defaults: {{interval: 1, retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1}}}}\nendpoints:\n",
        hook.url()
    );
    for n in 0..ENDPOINTS {
        writeln!(yaml, "  - {{name: e{n}, url: '{}'}}", target.url(&format!("e{n}"))).unwrap();
    }
    let place = Place::real();
    let live = place.start(&yaml).await;
    let deadline = Instant::now() + Duration::from_secs(90);
    let downs = || hook.taken().into_iter().filter(|(_, body)| body["event"] == "down").collect::<Vec<_>>();
    while downs().len() < ENDPOINTS && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let failed = failed.lock().unwrap().clone();
    let mut took: Vec<Duration> = downs()
        .iter()
        .filter_map(|(at, body)| {
            let number: usize = body["endpoint_name"].as_str()?.trim_start_matches('e').parse().ok()?;
            Some(*at - failed[number]?)
        })
        .collect();
    took.sort_unstable();
    assert!(!took.is_empty(), "nothing was told");
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    println!(
        "from the target's failing answer to the receipt, {} incidents at {ENDPOINTS} checks/s: p50 {:.1?}, p99 \
         {:.1?}, longest {:.1?}",
        took.len(),
        at(50),
        at(99),
        took[took.len() - 1]
    );
    live.stop().await;
}
