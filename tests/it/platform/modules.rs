//! `/modules`: the parts that configuration chooses among.

use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::{Value, json};

use super::Platform;

const MODULES: &str = "/api/v1/modules";

#[tokio::test]
async fn modules_are_listed_with_what_can_be_set_for_them() {
    let platform =
        Platform::start("endpoints: []\nchannels: {out: {type: console}, off: {type: webhook, enabled: false}}\n");
    let list = platform.get(MODULES).await.expect(200).json();
    let modules = list["modules"].as_array().unwrap();
    let of = |kind: &str| {
        modules.iter().filter(|m| m["type"] == kind).map(|m| m["name"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of("check"), ["http", "tcp", "tls", "icmp", "dns", "websocket", "grpc", "push"]);
    let transports = ["console", "email", "webhook", "telegram"].into_iter();
    assert_eq!(of("channel"), transports.chain(api_monitor::domain::preset::names()).collect::<Vec<_>>());
    assert_eq!(of("storage"), ["sqlite", "postgresql"]);
    assert_eq!(list["total"], modules.len());
    let used: Vec<_> = modules.iter().filter(|m| m["in_use"] == true).map(|m| &m["name"]).collect();
    assert_eq!(used, ["console", "sqlite"], "{list}");
    for module in modules {
        assert!(module["description"].as_str().is_some_and(|d| d.len() > 10), "{module}");
        assert!(module["parameters"]["properties"].as_object().is_some_and(|p| !p.is_empty()), "{module}");
        if module["type"] != "storage" {
            assert_eq!(module["version"], env!("CARGO_PKG_VERSION"), "{module}");
        }
    }
    let webhook = platform.get(&format!("{MODULES}/webhook")).await.expect(200).json();
    assert_eq!(webhook["parameters"]["required"], json!(["type", "url"]), "{webhook}");
    assert_eq!(webhook["parameters"]["properties"]["secret"]["writeOnly"], true, "{webhook}");
    platform.get(&format!("{MODULES}/carrier-pigeon")).await.expect(404);
    platform.get(&format!("{MODULES}?type=magic")).await.expect(400);
    let checks = platform.get(&format!("{MODULES}?type=check")).await.expect(200).json();
    assert_eq!((&checks["total"], &checks["modules"][0]["in_use"]), (&json!(8), &json!(false)), "{checks}");

    let endpoint = json!({"name": "e", "url": "http://127.0.0.1:9/", "is_active": false});
    platform.send("POST", "/api/v1/endpoints", &endpoint).await.expect(201);
    assert_eq!(platform.get(&format!("{MODULES}/http")).await.expect(200).json()["in_use"], true);
}

#[tokio::test]
async fn a_storage_has_the_version_that_answers() {
    let platform = Platform::start("endpoints: []\n");
    let db = Database::connect("sqlite::memory:").await.unwrap();
    let statement = Statement::from_string(db.get_database_backend(), "SELECT sqlite_version() AS v");
    let version: String = db.query_one_raw(statement).await.unwrap().unwrap().try_get("", "v").unwrap();
    let sqlite = platform.get(&format!("{MODULES}/sqlite")).await.expect(200).json();
    assert_eq!(sqlite["version"], version, "{sqlite}");
    let postgresql = platform.get(&format!("{MODULES}/postgresql")).await.expect(200).json();
    assert_eq!(
        (&postgresql["version"], &postgresql["in_use"]),
        (&Value::Null, &json!(false)),
        "no server is connected"
    );
}

/// The documented keys of a channel are those that its schema has.
#[tokio::test]
async fn schemas_have_every_key_of_the_reference() {
    let platform = Platform::start("endpoints: []\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/every-key.yaml");
    let every: Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut compared = 0;
    let places = [("http", &every["endpoints"][0]), ("sqlite", &every["database"])];
    let channels = every["channels"].as_object().unwrap().values();
    let channels = channels.map(|channel| (channel["type"].as_str().unwrap(), channel));
    for (name, section) in places.into_iter().chain(channels) {
        let module = platform.get(&format!("{MODULES}/{name}")).await.expect(200).json();
        for key in section.as_object().unwrap().keys().filter(|key| name != "sqlite" || *key != "type") {
            // Another name of `is_active`.
            let key = if name == "http" && key == "enabled" { "is_active" } else { key };
            assert!(module["parameters"]["properties"][key].is_object(), "{name} has no {key}: {module}");
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared} keys were compared");
}
