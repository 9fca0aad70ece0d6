//! Statistics over time, and availability against a target.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Platform;
use crate::flows::target::{Answer, Target};

/// A monitor of a good and a bad endpoint that have been checked at least three times each.
async fn checked() -> (Platform, Target) {
    let target =
        Target::answering(|path, _| if path.contains("bad") { Answer::Status(500) } else { Answer::Status(200) });
    let platform = Platform::start(&format!(
        "defaults: {{interval: 1, retry: {{enabled: false}}, alert_policy: {{confirm_interval: 1}}}}\n\
         endpoints:\n  - {{name: good, url: '{}', tags: [shop]}}\n  - {{name: '=bad<b>', group: core, url: '{}'}}\n",
        target.url("good"),
        target.url("bad")
    ));
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut enough = true;
        for id in [1, 2] {
            let stats = platform.get(&format!("/api/v1/stats/uptime/{id}")).await.expect(200).json();
            enough &= stats["total_checks"].as_u64().unwrap() >= 3;
        }
        if enough && platform.get("/api/v1/incidents").await.json()["total"] == 1 {
            return (platform, target);
        }
        assert!(Instant::now() < deadline, "not checked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn sum(points: &Value, of: &str) -> u64 {
    points.as_array().unwrap().iter().map(|point| point["checks"][of].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_series_counts_what_was_checked() {
    let (platform, _target) = checked().await;
    for step in ["1m", "1h", "1d"] {
        let before = platform.get("/api/v1/stats/uptime/1?period=24h").await.json();
        let series = platform.get(&format!("/api/v1/stats/series/1?step={step}&period=24h")).await.expect(200).json();
        let after = platform.get("/api/v1/stats/uptime/1?period=24h").await.json();
        let successful = sum(&series["points"], "successful");
        let bounds = before["successful_checks"].as_u64().unwrap()..=after["successful_checks"].as_u64().unwrap();
        assert!(bounds.contains(&successful), "{step}: {successful} {bounds:?}");
        let last = series["points"].as_array().unwrap().last().unwrap();
        let latency = &last["latency"];
        assert!(latency["p50"].as_f64().unwrap() > 0.0 && latency["max"].as_f64() >= latency["min"].as_f64(), "{last}");
        assert!(last["phases"]["connect"].as_f64().unwrap() > 0.0, "{last}");
        assert_eq!((&last["phases"]["tls"], &last["uptime_percentage"]), (&Value::Null, &serde_json::json!(100.0)));
    }
    let bad = platform.get("/api/v1/stats/series/2?metric=latency,uptime").await.expect(200).json();
    let last = bad["points"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["latency"], &last["uptime_percentage"]), (&Value::Null, &serde_json::json!(0.0)));
    assert!(last.get("checks").is_none() && last.get("phases").is_none(), "{last}");

    for query in [
        "step=2h",
        "metric=price",
        "metric=",
        "step=1m&period=30d",
        "step=1h&period=1y",
        "from=2024-01-02&to=2024-01-01",
    ] {
        let refused = platform.get(&format!("/api/v1/stats/series/1?{query}")).await;
        assert_eq!(refused.status, 400, "{query}");
    }
    platform.get("/api/v1/stats/series/99").await.expect(404);
}

#[tokio::test]
async fn a_report_says_how_much_downtime_is_left() {
    let (platform, _target) = checked().await;
    let report = platform.get("/api/v1/stats/sla?target=99.5").await.expect(200).json();
    let lines = report["endpoints"].as_array().unwrap();
    let [good, bad] = &lines[..] else { panic!("{report}") };
    assert_eq!((&good["endpoint_name"], &bad["endpoint_name"]), (&"good".into(), &"=bad<b>".into()));
    assert_eq!((&good["is_met"], &good["availability_percentage"]), (&true.into(), &serde_json::json!(100.0)));
    assert_eq!((&bad["is_met"], &bad["incidents"]), (&false.into(), &1.into()));
    let (monitored, budget) = (good["monitored_seconds"].as_f64().unwrap(), good["budget_seconds"].as_f64().unwrap());
    assert!(monitored > 0.0 && (budget - monitored * 0.005).abs() < 0.002, "{good}");
    assert!(bad["budget_remaining_seconds"].as_f64().unwrap() < 0.0, "{bad}");
    let all = report["all"]["monitored_seconds"].as_f64().unwrap();
    assert!((all - monitored - bad["monitored_seconds"].as_f64().unwrap()).abs() < 0.01, "{report}");

    for (query, names) in
        [("endpoint=1", vec!["good"]), ("group=core", vec!["=bad<b>"]), ("tag=shop", vec!["good"]), ("tag=no", vec![])]
    {
        let some = platform.get(&format!("/api/v1/stats/sla?{query}")).await.expect(200).json();
        let found: Vec<&str> =
            some["endpoints"].as_array().unwrap().iter().map(|e| e["endpoint_name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
    }
    let csv = platform.get("/api/v1/stats/sla?format=csv").await.expect(200);
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let csv = String::from_utf8(csv.body).unwrap();
    assert!(csv.starts_with("endpoint_id,group,name,") && csv.contains(",'=bad<b>,"), "{csv}");
    let browser = platform.request("GET", "/api/v1/stats/sla?format=html").header("Accept", "text/html");
    let page = platform.ask(browser).await.expect(200);
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("=bad&lt;b&gt;") && !page.contains("<b>"), "{page}");
    for query in ["target=0", "target=101", "target=NaN", "format=pdf", "endpoint=x", "endpoint=0"] {
        platform.get(&format!("/api/v1/stats/sla?{query}")).await.expect(400);
    }
    platform.get("/api/v1/stats/sla?endpoint=99").await.expect(404);
}
