//! Channels made through the API while the monitor runs.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, Platform};
use crate::flows::target::{self, Switched, Target};
use crate::telling::hook::Hook;

const CHANNELS: &str = "/api/v1/channels";

/// However busy the machine is.
const WITHIN: Duration = Duration::from_secs(120);

/// Watched every second, and told at the first failure.
fn watched(shop: &Switched, notify: &Value) -> Value {
    json!({
        "name": "shop", "url": shop.url("shop"), "interval": 1, "retry": {"enabled": false}, "notify": notify,
        "alert_policy": {"failure_threshold": 1, "cooldown_seconds": 0, "reminder": false}
    })
}

async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !ask().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn events(hook: &Hook) -> Vec<String> {
    hook.taken().iter().map(|(_, body)| body["event"].as_str().unwrap().to_owned()).collect()
}

async fn wait_for(hook: &Hook, expected: &[&str]) {
    until(&format!("{expected:?}"), async || events(hook) == expected).await;
}

fn webhook(name: &str, url: &str) -> Value {
    json!({"name": name, "type": "webhook", "url": url, "default": false, "headers": {"Authorization": "Bearer SECRET"}})
}

/// The newest notification with its deliveries.
async fn newest(platform: &Platform) -> Value {
    platform.get("/api/v1/notifications").await.expect(200).json()["notifications"][0].clone()
}

async fn stopped(platform: Platform) -> tempfile::TempDir {
    let Platform { folder, process, .. } = platform;
    process.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || process.wait(WITHIN)).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("SECRET") && !ended.stdout.contains("SECRET"), "{}", ended.stderr);
    folder
}

/// Where the file of the configuration itself has a channel.
fn with_default(hook: &Hook) -> String {
    format!("channels: {{usual: {{type: webhook, url: '{}'}}}}\npublic_url: http://localhost\n", hook.url())
}

#[tokio::test]
async fn a_channel_made_through_the_api_tells_moves_stays_and_goes() {
    let (shop, usual, first, second) = (Switched::good(), Hook::start(), Hook::start(), Hook::start());
    let platform = Platform::start(&with_default(&usual));
    let made = platform.send("POST", CHANNELS, &webhook("ops", &first.url())).await.expect(201);
    assert_eq!((made.header("location"), made.header("etag")), ("/api/v1/channels/ops", "\"1\""));
    let tested = platform.request("POST", "/api/v1/channels/ops/test");
    assert_eq!(platform.ask(tested).await.expect(200).json()["delivered"], true);
    platform.send("POST", "/api/v1/endpoints", &watched(&shop, &json!(["ops"]))).await.expect(201);
    shop.set(500);
    wait_for(&first, &["test", "down"]).await;

    // It moves: what comes from then on goes to the new place.
    let moved = json!({"url": second.url(), "headers": {"Authorization": "Bearer SECRET 2"}});
    let moved = platform.send("PATCH", "/api/v1/channels/ops", &moved).await.expect(200);
    shop.set(200);
    wait_for(&second, &["up"]).await;
    let shown = platform.get("/api/v1/channels/ops").await.expect(200).json();
    assert_eq!((&shown["status"], &shown["settings"]["url"]), (&json!("working"), &json!("***")));
    // What is shown is written back, and nothing changes.
    let settings = moved.json()["settings"].clone();
    let again = platform.send("PUT", "/api/v1/channels/ops", &settings).await.expect(200);
    assert_eq!(again.json()["revision"], 2);

    // It is there after a restart, and works.
    let platform = Platform::start_in(stopped(platform).await, &[]);
    assert_eq!(platform.get("/api/v1/channels/ops").await.expect(200).json()["settings"], settings);
    shop.set(500);
    wait_for(&second, &["up", "down"]).await;
    shop.set(200);
    wait_for(&second, &["up", "down", "up"]).await;

    // It goes: the endpoint that names only it is told by the default route.
    platform.ask(platform.request("DELETE", "/api/v1/channels/ops")).await.expect(409);
    platform.ask(platform.request("DELETE", "/api/v1/channels/ops?force=true")).await.expect(204);
    shop.set(500);
    wait_for(&usual, &["down"]).await;
    shop.set(200);
    wait_for(&usual, &["down", "up"]).await;
    assert_eq!((events(&first).len(), events(&second).len()), (2, 3), "nothing more");
    stopped(platform).await;
}

#[tokio::test]
async fn what_waits_in_a_channel_goes_to_where_it_leads_then() {
    let (shop, usual, working) = (Switched::good(), Hook::start(), Hook::start());
    // What looks permanent is tried again after 5 minutes only.
    let closed = Target::answering(|_, _| target::Answer::Status(404));
    let platform = Platform::start(&with_default(&usual));
    let settings = json!({"name": "ops", "type": "webhook", "url": closed.url("hook"), "retry_count": 1});
    platform.send("POST", CHANNELS, &settings).await.expect(201);
    platform.send("POST", "/api/v1/endpoints", &watched(&shop, &json!(["ops"]))).await.expect(201);
    shop.set(500);
    let channel = async || platform.get("/api/v1/channels/ops").await.expect(200).json();
    until("the failure", async || newest(&platform).await["deliveries"][0]["attempts"] == 1).await;
    let waiting = newest(&platform).await;
    assert_eq!((channel().await["status"].clone(), channel().await["pending"].clone()), (json!("failing"), json!(1)));

    platform.send("PATCH", "/api/v1/channels/ops", &json!({"url": working.url()})).await.expect(200);
    wait_for(&working, &["down"]).await;
    assert_eq!(working.taken()[0].1["id"], waiting["id"], "the same message");
    until("its row", async || newest(&platform).await["deliveries"][0]["state"] == "delivered").await;
    until("the status", async || channel().await["status"] == "working").await;
    shop.set(200);
    wait_for(&working, &["down", "up"]).await;
    stopped(platform).await;
}

#[tokio::test]
async fn what_waits_in_a_deleted_channel_is_given_up_with_its_reason() {
    let (shop, usual) = (Switched::good(), Hook::start());
    let closed = Target::answering(|_, _| target::Answer::Status(503));
    let platform = Platform::start(&with_default(&usual));
    let settings = json!({"name": "ops", "type": "webhook", "url": closed.url("hook"), "retry_count": 1});
    platform.send("POST", CHANNELS, &settings).await.expect(201);
    platform.send("POST", "/api/v1/endpoints", &watched(&shop, &json!(["ops", "usual"]))).await.expect(201);
    shop.set(500);
    wait_for(&usual, &["down"]).await;
    let of_ops = async || {
        let newest = newest(&platform).await;
        let deliveries = newest["deliveries"].as_array().unwrap();
        deliveries.iter().find(|delivery| delivery["channel"] == "ops").unwrap().clone()
    };
    until("an attempt", async || of_ops().await["attempts"] != 0).await;
    platform.ask(platform.request("DELETE", "/api/v1/channels/ops?force=true")).await.expect(204);
    until("the end", async || of_ops().await["state"] == "dead").await;
    let given_up = of_ops().await;
    assert!(given_up["last_error"].as_str().unwrap().contains("no longer configured"), "{given_up}");
    let health = platform.get("/health").await.expect(200).json();
    assert_eq!((&health["channels_failing"], &health["deliveries_pending"]), (&json!([]), &json!(0)), "{health}");
    // Its recovery is told to who is there, and the row of the other says why not.
    shop.set(200);
    wait_for(&usual, &["down", "up"]).await;
    until("the row", async || of_ops().await["state"] == "dead").await;

    // Made again under the same name it is a channel as any other.
    let again = Hook::start();
    platform.send("POST", CHANNELS, &webhook("ops", &again.url())).await.expect(201);
    shop.set(500);
    wait_for(&again, &["down"]).await;
    wait_for(&usual, &["down", "up", "down"]).await;
    stopped(platform).await;
}

#[tokio::test]
async fn what_is_under_way_ends_as_it_began() {
    let (shop, usual, other) = (Switched::good(), Hook::start(), Hook::start());
    let slow = Target::answering(|_, _| target::Answer::After(Duration::from_secs(2), 200));
    let platform = Platform::start(&with_default(&usual));
    let settings = json!({"name": "ops", "type": "webhook", "url": slow.url("hook"), "default": false});
    platform.send("POST", CHANNELS, &settings).await.expect(201);
    platform.send("POST", "/api/v1/endpoints", &watched(&shop, &json!(["ops"]))).await.expect(201);
    let state_of = async |event: &str| {
        let all = platform.get("/api/v1/notifications").await.expect(200).json();
        let all = all["notifications"].as_array().unwrap();
        let newest = all.iter().find(|notification| notification["event"] == event);
        newest.map(|notification| notification["deliveries"][0]["state"].clone())
    };
    shop.set(500);
    until("the attempt", async || slow.hits("hook").len() == 1).await;
    // It moves in the middle of an attempt, which is made once, and first.
    platform.send("PATCH", "/api/v1/channels/ops", &json!({"url": other.url()})).await.expect(200);
    shop.set(200);
    wait_for(&other, &["up"]).await;
    until("the row", async || state_of("down").await == Some(json!("delivered"))).await;
    assert_eq!(slow.hits("hook").len(), 1);

    // And it goes in the middle of one.
    platform.send("PATCH", "/api/v1/channels/ops", &json!({"url": slow.url("hook")})).await.expect(200);
    shop.set(500);
    until("the attempt", async || slow.hits("hook").len() == 2).await;
    platform.ask(platform.request("DELETE", "/api/v1/channels/ops?force=true")).await.expect(204);
    until("the outcome", async || state_of("down").await != Some(json!("pending"))).await;
    assert_eq!(state_of("down").await, Some(json!("delivered")));
    assert_eq!((events(&other).len(), slow.hits("hook").len()), (1, 2));
    stopped(platform).await;
}

#[tokio::test]
async fn a_channel_that_can_no_longer_work_is_shown_and_mended() {
    let (shop, usual, mended) = (Switched::good(), Hook::start(), Hook::start());
    let platform = Platform::start(&with_default(&usual));
    let authority = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let file = platform.folder.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let mail = json!({"name": "ops", "type": "email", "smtp_host": "localhost", "from_addr": "a@example.com",
        "to_addrs": ["b@example.com"], "ca_file": file});
    platform.send("POST", CHANNELS, &mail).await.expect(201);
    let folder = stopped(platform).await;
    std::fs::remove_file(&file).unwrap();
    let platform = Platform::start_in(folder, &[]);
    let shown = platform.get("/api/v1/channels/ops").await.expect(200).json();
    assert_eq!((&shown["status"], &shown["type"]), (&json!("failing"), &json!("email")), "{shown}");
    assert!(shown["last_error"].as_str().unwrap().contains("ca.pem cannot be read"), "{shown}");
    platform.send("POST", "/api/v1/endpoints", &watched(&shop, &json!(["ops"]))).await.expect(201);
    shop.set(500);
    until("an attempt", async || newest(&platform).await["deliveries"][0]["attempts"] == 1).await;
    let hook = json!({"type": "webhook", "url": mended.url()});
    platform.send("PUT", "/api/v1/channels/ops", &hook).await.expect(200);
    wait_for(&mended, &["down"]).await;
    stopped(platform).await;
}

#[tokio::test]
async fn a_name_in_both_is_the_files() {
    let (usual, ours) = (Hook::start(), Hook::start());
    let platform = Platform::start(&with_default(&usual));
    let problem = platform.send("PATCH", "/api/v1/channels/usual", &json!({"enabled": false})).await.expect(409).json();
    assert_eq!(problem["type"], "urn:api-monitor:problem:managed-by-config");
    assert!(problem["detail"].as_str().unwrap().contains("config.yaml:1"), "{problem}");
    platform.send("POST", CHANNELS, &webhook("ops", &ours.url())).await.expect(201);
    let folder = stopped(platform).await;
    let both = format!("{}heartbeat: null\n", with_default(&usual)).replace("usual:", "ops:");
    std::fs::write(folder.path().join("config.yaml"), both).unwrap();
    let platform = Platform::start_in(folder, &[]);
    platform.process.logs(WITHIN, "the configuration has the channel ops now");
    let shown = platform.get("/api/v1/channels/ops").await.expect(200).json();
    assert_eq!((&shown["origin"], &shown["revision"]), (&json!("config"), &Value::Null));
    let tested: Answer = platform.ask(platform.request("POST", "/api/v1/channels/ops/test")).await;
    assert_eq!(tested.expect(200).json()["delivered"], true);
    assert_eq!((events(&usual).len(), events(&ours).len()), (1, 0));
    stopped(platform).await;
}
