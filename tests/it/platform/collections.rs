//! `/collections`: metrics from a moment on that the client chooses.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, Platform};

const COLLECTIONS: &str = "/api/v1/collections";

async fn ask(platform: &Platform, method: &str, path: &str) -> Answer {
    platform.ask(platform.request(method, path)).await
}

async fn uris(platform: &Platform) -> Value {
    platform.get(COLLECTIONS).await.expect(200).json()["collectionUris"].clone()
}

#[tokio::test]
async fn there_are_ten_collections_at_most() {
    let platform = Platform::start("endpoints: []\n");
    assert_eq!(uris(&platform).await, json!([]));
    for id in 0..10 {
        let made = ask(&platform, "POST", COLLECTIONS).await.expect(201);
        assert_eq!(made.header("location"), format!("{COLLECTIONS}/{id}"));
        assert_eq!(made.json(), json!({"uri": format!("collections/{id}")}));
    }
    let refused = ask(&platform, "POST", COLLECTIONS).await.expect(400).json();
    assert_eq!(refused["type"], "urn:api-monitor:problem:too-many-collections", "{refused}");
    let all: Vec<String> = (0..10).map(|id| format!("collections/{id}")).collect();
    assert_eq!(uris(&platform).await, json!(all));

    let gone = format!("{COLLECTIONS}/3");
    let deleted = ask(&platform, "DELETE", &gone).await.expect(204);
    assert!(deleted.body.is_empty());
    for method in ["GET", "PUT", "DELETE"] {
        ask(&platform, method, &gone).await.expect(404);
        ask(&platform, method, &format!("{COLLECTIONS}/99999999999999999999")).await.expect(404);
        let bad = ask(&platform, method, &format!("{COLLECTIONS}/three")).await.expect(400).json();
        assert_eq!(bad["errors"][0]["parameter"], "id", "{bad}");
    }
    let next = ask(&platform, "POST", COLLECTIONS).await.expect(201).json();
    assert_eq!(next, json!({"uri": "collections/10"}), "an id is given once");
    ask(&platform, "GET", &format!("{COLLECTIONS}?verbose=1")).await.expect(400);
}

/// The requests that a collection counted, without their times.
fn hits(collection: &Value) -> Vec<(String, String, u64)> {
    let urls = collection["httpUrls"]["data"].as_array().unwrap().iter();
    urls.map(|row| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (text("url"), text("method"), row["hits"].as_u64().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn a_collection_counts_the_requests_since_it_was_made_or_cleared() {
    let platform = Platform::start("endpoints: []\n");
    platform.get("/api/v1/endpoints").await.expect(200);
    ask(&platform, "POST", COLLECTIONS).await.expect(201);
    let uri = format!("{COLLECTIONS}/0");
    for _ in 0..5 {
        platform.get("/api/v1/endpoints?limit=3").await.expect(200);
    }
    for id in 7..10 {
        platform.get(&format!("/api/v1/endpoints/{id}")).await.expect(404);
    }
    platform.get("/nothing").await.expect(404);
    ask(&platform, "BREW", "/api/v1/endpoints").await.expect(405);
    let collection = platform.get(&uri).await.expect(200).json();
    let row = |url: &str, method: &str, hits| (url.to_owned(), method.to_owned(), hits);
    let expected = vec![
        row("/api/v1/collections", "POST", 1),
        row("/api/v1/endpoints", "GET", 5),
        row("/api/v1/endpoints", "OTHER", 1),
        row("/api/v1/endpoints/{id}", "GET", 3),
    ];
    assert_eq!(hits(&collection), expected, "{collection}");
    for row in collection["httpUrls"]["data"].as_array().unwrap() {
        let (average, longest) =
            (row["averageResponseTime"].as_f64().unwrap(), row["longestResponseTime"].as_f64().unwrap());
        assert!(average > 0.0 && average <= longest * 1.000_001 && longest < 60_000.0, "{row}");
    }
    assert_eq!(
        collection["httpUrls"]["units"],
        json!({"averageResponseTime": "ms", "longestResponseTime": "ms", "hits": "count"})
    );

    assert!(ask(&platform, "PUT", &uri).await.expect(204).body.is_empty());
    let cleared = platform.get(&uri).await.expect(200).json();
    assert_eq!(hits(&cleared), [row("/api/v1/collections/{id}", "PUT", 1)], "{cleared}");
    let start = |collection: &Value| collection["time"]["data"]["start"].as_i64().unwrap();
    assert!(start(&cleared) > start(&collection), "{cleared}");
}

/// A line of `/proc/<pid>/status` in bytes.
fn process_memory(platform: &Platform, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", platform.process.id())).ok()?;
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    Some(found.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[tokio::test]
async fn a_collection_measures_processors_and_memory() {
    let platform = Platform::start("endpoints: []\n");
    let before = chrono_now();
    ask(&platform, "POST", COLLECTIONS).await.expect(201);
    let uri = format!("{COLLECTIONS}/0");
    let deadline = Instant::now() + Duration::from_secs(120);
    // Work is made until it is seen.
    let collection = loop {
        for _ in 0..20 {
            platform.get("/api/v1/openapi.json").await.expect(200);
        }
        let collection = platform.get(&uri).await.expect(200).json();
        if collection["cpu"]["data"]["processMean"].as_f64().is_some_and(|mean| mean > 0.0) {
            break collection;
        }
        assert!(Instant::now() < deadline, "{collection}");
    };
    let cpu = &collection["cpu"]["data"];
    let share = |key: &str| cpu[key].as_f64().unwrap_or_else(|| panic!("{key}: {collection}"));
    for of in ["system", "process"] {
        let (mean, peak) = (share(&format!("{of}Mean")), share(&format!("{of}Peak")));
        assert!(mean > 0.0 && mean <= peak + 1e-9 && peak <= 1.0, "{collection}");
    }
    let fraction = "decimal fraction";
    assert_eq!(
        collection["cpu"]["units"],
        json!({"systemMean": fraction, "systemPeak": fraction, "processMean": fraction, "processPeak": fraction})
    );
    let peak = collection["memory"]["data"]["usedNativePeak"].as_u64().unwrap();
    assert!(peak > 1_048_576, "{collection}");
    if let Some(most) = process_memory(&platform, "VmHWM") {
        // The system's own counters of memory lag a little behind each other.
        assert!(peak <= most + 8 * 1_048_576, "{peak} and the system says {most}");
    }
    assert_eq!(collection["memory"]["data"]["usedHeapAfterGCPeak"], Value::Null);
    assert_eq!(collection["memory"]["units"], json!({"usedHeapAfterGCPeak": "bytes", "usedNativePeak": "bytes"}));
    assert_eq!(collection["gc"], json!({"data": {"gcTime": null}, "units": {"gcTime": fraction}}));
    assert_eq!(
        collection["reasons"],
        json!({"gc.gcTime": NO_GARBAGE, "memory.usedHeapAfterGCPeak": NO_GARBAGE}),
        "each null has its reason, and nothing else has one: {collection}"
    );
    let time = &collection["time"];
    let (start, end) = (time["data"]["start"].as_i64().unwrap(), time["data"]["end"].as_i64().unwrap());
    assert!(before <= start && start < end && end <= chrono_now(), "{time}");
    assert_eq!(time["units"], json!({"start": "UNIX time (ms)", "end": "UNIX time (ms)"}));
    assert_eq!(collection["id"], 0);
}

const NO_GARBAGE: &str = "This program collects no garbage";

#[expect(clippy::disallowed_methods, reason = "the clock by which the program is judged")]
fn chrono_now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
