//! `/query_stats`: what the database is asked.

use serde_json::json;

use std::time::Duration;

use tokio::time::Instant;

use super::Platform;
use super::alerts::locked;

const STATS: &str = "/api/v1/query_stats";

#[tokio::test]
async fn statements_are_counted_in_all_and_by_shape() {
    let platform = Platform::start("endpoints: []\n");
    let before = platform.get(STATS).await.expect(200).json();
    // Paused, so that no check of it is written.
    let endpoint = json!({"name": "kept-out-of-texts", "url": "http://127.0.0.1:9/", "is_active": false});
    platform.send("POST", "/api/v1/endpoints", &endpoint).await.expect(201);
    let after = platform.get(STATS).await.expect(200).json();
    let number =
        |document: &serde_json::Value, key: &str| document[key].as_f64().unwrap_or_else(|| panic!("{document}"));
    assert!(number(&after, "total_queries_executed") > number(&before, "total_queries_executed"), "{after}");

    let average = after["average_execution_time"].as_str().unwrap().strip_suffix("ms").unwrap().parse::<f64>().unwrap();
    assert!((average - number(&after, "average_execution_time_ms")).abs() <= 0.05, "{after}");
    assert!(number(&after, "max_execution_time_ms") >= number(&after, "average_execution_time_ms"), "{after}");
    assert!(number(&after, "slow_queries") <= number(&after, "total_queries_executed"), "{after}");

    let statements = after["statements"].as_array().unwrap();
    assert_eq!(statements.len(), usize::try_from(after["total"].as_u64().unwrap()).unwrap());
    let executions: f64 = statements.iter().map(|statement| number(statement, "executions")).sum();
    // A statement of the housekeeping may come between the sum and the list.
    assert!(executions >= number(&after, "total_queries_executed"), "{after}");
    let times: Vec<f64> = statements.iter().map(|statement| number(statement, "total_time_ms")).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let inserts = |document: &serde_json::Value| {
        let statements = document["statements"].as_array().unwrap().iter();
        let of_endpoints =
            statements.filter(|s| s["statement"].as_str().unwrap().starts_with("INSERT INTO \"endpoints\""));
        of_endpoints.map(|s| s["executions"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((inserts(&before), inserts(&after)), (0, 1));
    assert!(!after.to_string().contains("kept-out-of-texts"), "a value is shown: {after}");
    assert!(after.to_string().contains("VALUES (?)"), "{after}");
}

/// Somebody else holds the lock of the database for a while: what is written meanwhile is slow.
#[tokio::test]
async fn a_statement_that_takes_long_is_a_slow_one() {
    let platform = Platform::start("database: {url: 'sqlite://monitor.db'}\nendpoints: []\n");
    let of_rows = |document: &serde_json::Value| {
        let statements = document["statements"].as_array().unwrap().iter();
        let mut inserts =
            statements.filter(|s| s["statement"].as_str().is_some_and(|s| s.starts_with("INSERT INTO \"audit_log\"")));
        inserts.next().map_or((0, 0.0), |s| (s["slow"].as_u64().unwrap(), s["max_time_ms"].as_f64().unwrap()))
    };
    let deadline = Instant::now() + Duration::from_mins(2);
    for n in 0.. {
        let before = platform.get(STATS).await.expect(200).json();
        let lock = locked(&platform).await;
        // Who reads what only administrators may read has a row in the audit log: here it has to wait.
        let path = format!("/api/v1/connections/conn_9999{n}");
        let released = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            lock.rollback().await.unwrap();
        };
        let (answer, ()) = tokio::join!(platform.get(&path), released);
        answer.expect(404);
        let after = platform.get(STATS).await.expect(200).json();
        let (slow, longest) = of_rows(&after);
        if slow > of_rows(&before).0 {
            assert!(after["slow_queries"].as_u64() > before["slow_queries"].as_u64(), "{after}");
            assert!(longest >= 100.0 && after["max_execution_time_ms"].as_f64() >= Some(longest), "{after}");
            return;
        }
        assert!(Instant::now() < deadline, "{after}");
    }
}

#[tokio::test]
async fn statements_are_paged_and_ordered() {
    let platform = Platform::start("endpoints: []\n");
    let page = platform.get(&format!("{STATS}?sort=executions&limit=2&offset=1")).await.expect(200).json();
    assert_eq!(
        (page["statements"].as_array().unwrap().len(), &page["limit"], &page["offset"]),
        (2, &json!(2), &json!(1))
    );
    let executions: Vec<_> = page["statements"].as_array().unwrap().iter().map(|s| s["executions"].as_u64()).collect();
    assert!(executions.is_sorted_by(|a, b| a >= b), "{page}");
    for bad in ["sort=speed", "limit=0", "limit=1001", "offset=-1", "nonsense=1", "limit=1&limit=2"] {
        let problem = platform.get(&format!("{STATS}?{bad}")).await.expect(400).json();
        assert_eq!(problem["errors"][0]["code"], "InvalidParameter", "{bad}: {problem}");
    }
}
