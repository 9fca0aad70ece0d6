//! `/threads`: the workers, and how busy they are.

use serde_json::{Value, json};

use super::Platform;

const THREADS: &str = "/api/v1/threads";

fn busy(document: &Value, runtime: &str) -> f64 {
    let threads = document["threads"].as_array().unwrap().iter().filter(|thread| thread["runtime"] == runtime);
    threads.map(|thread| thread["busy_seconds"].as_f64().unwrap()).sum()
}

#[tokio::test]
async fn the_workers_of_both_runtimes_are_seen() {
    let platform = Platform::start("endpoints: []\napi: {workers: 4}\n");
    let first = platform.get(THREADS).await.expect(200).json();
    let runtimes = first["runtimes"].as_array().unwrap();
    assert_eq!(runtimes.iter().map(|r| &r["name"]).collect::<Vec<_>>(), ["checks", "api"], "{first}");
    assert_eq!(runtimes[1]["workers"], 2, "half of what is configured: {first}");
    for runtime in runtimes {
        assert!(
            runtime["alive_tasks"].as_u64() > Some(0) && runtime["uptime_seconds"].as_f64() > Some(0.0),
            "{runtime}"
        );
        assert!(runtime["global_queue_depth"].is_u64(), "{runtime}");
        assert_eq!(runtime["blocking_threads"], Value::Null, "it is not told");
    }
    for field in ["blocking_threads", "local_queue_depth"] {
        assert!(first["reasons"][field].as_str().is_some_and(|why| !why.is_empty()), "{first}");
    }
    let workers: u64 = runtimes.iter().map(|runtime| runtime["workers"].as_u64().unwrap()).sum();
    assert_eq!(
        (&first["total"], first["threads"].as_array().unwrap().len()),
        (&json!(workers), usize::try_from(workers).unwrap())
    );
    for thread in first["threads"].as_array().unwrap() {
        let ratio = thread["busy_ratio"].as_f64().unwrap();
        assert!(
            (0.0..=1.0).contains(&ratio) && thread["is_parked"].is_boolean() && thread["parks"].is_u64(),
            "{thread}"
        );
        assert_eq!(thread["local_queue_depth"], Value::Null, "it is not told");
    }
    let awake =
        first["threads"].as_array().unwrap().iter().filter(|t| t["runtime"] == "api" && t["is_parked"] == false);
    assert!(awake.count() >= 1, "somebody answers: {first}");

    for _ in 0..20 {
        platform.get("/api/v1/openapi.json").await.expect(200);
    }
    let later = platform.get(THREADS).await.expect(200).json();
    assert!(busy(&later, "api") > busy(&first, "api"), "{first} {later}");
    if cfg!(target_os = "linux") {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", platform.process.id())).unwrap();
        let named = tasks.filter(|task| {
            let name = std::fs::read_to_string(task.as_ref().unwrap().path().join("comm")).unwrap_or_default();
            name.trim() == "API"
        });
        assert!(named.count() >= 2, "the system sees them too");
    }
    let page = platform.get(&format!("{THREADS}?limit=1&offset=1")).await.expect(200).json();
    assert_eq!(page["threads"][0]["id"], first["threads"][1]["id"], "{page}");
    platform.get(&format!("{THREADS}?state=busy")).await.expect(400);
}
