//! Certificates that endpoints serve, and their end, told ahead.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::secure::Secure;
use super::{Platform, until};
use crate::telling::hook::Hook;

fn yaml(hook: &Hook, endpoints: &[(&str, &str, String)]) -> String {
    let mut yaml = format!(
        "channels: {{out: {{type: webhook, url: '{}'}}}}\n\
         defaults: {{interval: 1, timeout: 1, retry: {{enabled: false}}, tls: {{verify: false}}}}\nendpoints:\n",
        hook.url()
    );
    for (name, more, url) in endpoints {
        writeln!(yaml, "  - {{name: {name}, group: web, url: '{url}', {more}}}").unwrap();
    }
    yaml
}

fn told(hook: &Hook) -> Vec<Value> {
    let taken = hook.taken().into_iter().map(|(_, body)| body);
    taken.filter(|body| body["event"] == "certificate_expiring").collect()
}

async fn served(platform: &Platform) -> Value {
    platform.get("/health/ssl").await.expect(200).json()
}

fn names(item: &Value) -> Vec<&str> {
    item["endpoints"].as_array().unwrap().iter().map(|endpoint| endpoint["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_once_ahead_for_all_that_serve_it() {
    let hook = Hook::start();
    // Of 100 days 10 are left: one threshold has come, 20 %.
    let (old, fresh) =
        (Secure::start(&["shop.test", "www.shop.test"], (-90, 10)), Secure::start(&["new.test"], (-1, 89)));
    let endpoints = [
        ("one", "tags: [a]", old.url("one")),
        ("two", "tags: [b]", old.url("two")),
        ("off", "certificate: {warn: []}", old.url("off")),
        ("fresh", "tags: []", fresh.url("")),
    ];
    let platform = Platform::start(&yaml(&hook, &endpoints));
    until("all are seen", async || {
        let list = served(&platform).await;
        list["total"] == 2 && names(&list["certificates"][0]).len() == 3
    })
    .await;
    until("it is told", async || !told(&hook).is_empty()).await;
    let message = &told(&hook)[0];
    assert_eq!(
        (&message["endpoint_name"], &message["status"], &message["previous_status"], &message["severity"]),
        (&json!("shop.test"), &json!("expiring"), &json!("valid"), &json!("warning")),
        "{message}"
    );
    assert_eq!(message["endpoint"]["kind"], "certificate");
    assert!(message["error"].as_str().unwrap().starts_with("It expires in 9 days, at 20"), "{message}");
    let remarks: Vec<&str> = message["remarks"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
    assert!(remarks[0].starts_with("Served by web/") && !remarks[0].contains("off"), "{message}");

    let list = served(&platform).await;
    let [first, second] = list["certificates"].as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!((&first["state"], &second["state"]), (&json!("expiring"), &json!("valid")), "{list}");
    assert_eq!((names(first), names(second)), (vec!["off", "one", "two"], vec!["fresh"]), "{list}");
    assert_eq!((&list["expiring"], &list["expired"]), (&json!(1), &json!(0)));
    assert_eq!((&first["expires_in_days"], &first["sans"]), (&json!(9), &json!(["shop.test", "www.shop.test"])));
    let one = platform.get("/api/v1/endpoints/1").await.expect(200).json();
    assert_eq!(one["certificate"]["fingerprint"], first["fingerprint"], "{one}");
    assert_eq!(one["effective"]["certificate"], json!({"warn": ["20%", "7%"]}));

    // What was told and what is served is known over a restart, also while the target is away.
    let Platform { folder, process, .. } = platform;
    drop(process);
    let platform = Platform::start_in(folder, &[]);
    let again = served(&platform).await;
    assert_eq!(again["certificates"][0]["fingerprint"], first["fingerprint"], "from the beginning: {again}");

    // A shorter one, of which both thresholds have come: the more urgent is told, alone.
    old.renew(&["shop.test"], (-99, 1));
    until("the other is told", async || told(&hook).len() > 1).await;
    until("all serve it", async || names(&served(&platform).await["certificates"][0]).len() == 3).await;
    let message = told(&hook)[1].clone();
    assert!(message["error"].as_str().unwrap().starts_with("It expires in less than a day"), "{message}");
    assert_ne!(message["id"], told(&hook)[0]["id"]);
    old.renew(&["shop.test"], (-1, 99));
    until("it is renewed", async || served(&platform).await["expiring"] == 0).await;
    assert_eq!(told(&hook).len(), 2, "{:?}", told(&hook));
}

#[tokio::test]
async fn an_endpoint_that_leads_elsewhere_serves_nothing_that_is_known() {
    let (hook, secure) = (Hook::start(), Secure::start(&["shop.test"], (-1, 89)));
    let plain = crate::flows::target::Switched::good();
    let platform = Platform::start(&yaml(&hook, &[]).replace("endpoints:\n", "endpoints: []\n"));
    let made = json!({"name": "e", "url": secure.url(""), "interval": 1, "timeout": 1, "tls": {"verify": false}});
    platform.send("POST", "/api/v1/endpoints", &made).await.expect(201);
    until("it is seen", async || served(&platform).await["total"] == 1).await;
    platform.send("PATCH", "/api/v1/endpoints/1", &json!({"url": plain.url("e")})).await.expect(200);
    until("it is forgotten", async || served(&platform).await["total"] == 0).await;
    assert_eq!(platform.get("/api/v1/endpoints/1").await.json()["certificate"], Value::Null);
}
