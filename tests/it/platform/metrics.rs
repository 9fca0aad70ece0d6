//! What the monitor measures of itself: single values, the document of all, and the text that Prometheus reads.

use std::time::Duration;

use serde_json::Value;

use super::Platform;

impl Platform {
    async fn metric(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/metrics/{name}")).await.expect(200).json()
    }

    /// Asks until a metric is as wanted.
    async fn metric_until(&self, name: &str, wanted: impl Fn(f64) -> bool) -> Value {
        for _ in 0..600 {
            let metric = self.metric(name).await;
            if metric["numeric_value"].as_f64().is_some_and(&wanted) {
                return metric;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} stays {}", self.metric(name).await)
    }
}

#[tokio::test]
async fn processor_and_memory_are_those_of_the_process() {
    let platform = Platform::start("endpoints: []\n");
    let cpu = platform.metric_until("cpu_usage", |_| true).await;
    assert_eq!((cpu["metric_name"].as_str(), cpu["unit"].as_str()), (Some("cpu_usage"), Some("percent")), "{cpu}");
    assert!(cpu["value"].as_str().unwrap().ends_with('%') && cpu["reason"].is_null(), "{cpu}");

    let memory = platform.metric_until("memory_usage", |bytes| bytes > 0.0).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", platform.process.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: f64 = resident.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0;
    let told = memory["numeric_value"].as_f64().unwrap();
    assert!(told > resident / 2.0 && told < resident * 2.0, "{memory} of {resident}");
    let limit = platform.metric("memory_limit").await["numeric_value"].as_f64().unwrap();
    let percent = memory["percent"].as_f64().unwrap();
    assert!((percent - told / limit * 100.0).abs() < 0.01, "{memory} of {limit}");

    let all = platform.get("/api/v1/metrics").await.expect(200).json();
    for text in ["cpu_usage", "system_cpu_usage", "memory_usage"] {
        assert!(all[text].is_string(), "{text}: {all}");
    }
    assert!(all["active_connections"].as_u64().unwrap() >= 1, "{all}");
    assert!(all["memory_usage"].as_str().unwrap().ends_with("MB"), "{all}");
}

#[tokio::test]
async fn an_unknown_metric_is_not_found_and_what_was_meant_is_said() {
    let platform = Platform::start("endpoints: []\n");
    let problem = platform.get("/api/v1/metrics/cpu_usag").await.expect(404).json();
    assert!(problem["detail"].as_str().unwrap().contains("did you mean cpu_usage?"), "{problem}");
    platform.get("/metrics/nothing-like-it").await.expect(404);
    platform.get("/api/v1/metrics?format=xml").await.expect(400);
    platform.ask(platform.request("POST", "/api/v1/metrics")).await.expect(405);
}
