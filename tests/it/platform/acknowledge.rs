//! The link in a message: its page shows an outage, its button acknowledges, and nothing else does.

use serde_json::{Value, json};

use super::{Answer, Platform, until};
use crate::flows::target::Switched;
use crate::notify::receivers::{Receiver, answer};

const NAME: &str = "<b>api</b>\"&'";

/// A monitor whose only endpoint is down, and the path of the link that was told.
struct Down {
    platform: Platform,
    target: Switched,
    service: Receiver,
    path: String,
}

async fn down(sections: &str) -> Down {
    let target = Switched::good();
    target.set(503);
    let service = Receiver::answering((0..20).map(|_| answer(200, "{}"))).await;
    let platform = Platform::start(&format!(
        "public_url: https://monitor.example/\n\
         endpoints:\n  - name: {}\n    url: '{}'\n    interval: 1\n    retry: {{enabled: false}}\n    \
         alert_policy: {{failure_threshold: 1, confirm_interval: 1}}\n\
         channels:\n  hook: {{type: webhook, url: '{}', payload_template: '{{\"ack\": \"{{ack_url}}\"}}', \
         recovery_template: '{{\"over\": true}}'}}\n{sections}",
        serde_json::to_string(NAME).unwrap(),
        target.url("e"),
        service.url("/hook")
    ));
    until("it is told", async || !service.received().is_empty()).await;
    let told = service.received()[0].json();
    let link = told["ack"].as_str().unwrap();
    let path = link.strip_prefix("https://monitor.example").unwrap_or_else(|| panic!("{told}")).to_owned();
    Down { platform, target, service, path }
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// Every page is one that keeps to itself.
fn assert_quiet(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!((answer.header("referrer-policy"), answer.header("cache-control")), ("no-referrer", "no-store"));
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    for part in ["form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    let page = text(answer);
    assert!(page.contains("name=\"viewport\"") && !page.contains("<script") && !page.contains("<b>"), "{page}");
}

impl Down {
    async fn incident(&self) -> Value {
        self.platform.get("/api/v1/incidents/1").await.expect(200).json()
    }

    async fn post(&self, headers: &[(&str, &str)]) -> Answer {
        let request =
            self.platform.request("POST", &self.path).header("Content-Type", "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.platform.ask(request.body("")).await
    }
}

#[tokio::test]
async fn the_page_shows_the_outage_and_only_the_button_acknowledges_it() {
    let down = down("").await;
    for method in ["GET", "HEAD", "GET"] {
        let shown = down.platform.ask(down.platform.request(method, &down.path).header("Accept", "text/html")).await;
        let shown = shown.expect(200);
        if method == "GET" {
            assert_quiet(&shown);
            let page = text(&shown);
            assert!(page.contains("&lt;b&gt;api&lt;/b&gt;&quot;&amp;&#39; is down"), "{page}");
            assert!(
                page.contains("<form method=\"post\"><button type=\"submit\">Acknowledge</button></form>"),
                "{page}"
            );
            assert!(page.contains("503"), "{page}");
        }
    }
    assert!(down.incident().await["acknowledgement"].is_null(), "looking changes nothing");

    // As a browser does from a page that tells nobody where it is.
    let done = down.post(&[("Origin", "null"), ("Sec-Fetch-Site", "same-origin")]).await.expect(200);
    assert_quiet(&done);
    assert!(text(&done).contains("Acknowledged: &lt;b&gt;api"), "{}", text(&done));
    let incident = down.incident().await;
    assert_eq!(incident["acknowledgement"]["by"], "link (hook)", "{incident}");
    let audit = down.platform.get("/api/v1/audit?action=incident.acknowledge").await.expect(200).json();
    assert_eq!(audit["entries"][0]["actor"], "link (hook)", "{audit}");

    // Once more says who looks after it, and changes nothing.
    let again = down.post(&[]).await.expect(409);
    assert_quiet(&again);
    assert!(text(&again).contains("link (hook) looks after it"), "{}", text(&again));
    let shown = down.platform.get(&down.path).await.expect(200);
    assert!(text(&shown).contains("Somebody looks after") && !text(&shown).contains("<button"), "{}", text(&shown));
    assert_eq!(down.incident().await["acknowledgement"]["at"], incident["acknowledgement"]["at"]);

    down.target.set(200);
    until("it is over", async || down.incident().await["status"] == "resolved").await;
    assert!(text(&down.platform.get(&down.path).await.expect(200)).contains("It is over"));
    assert!(text(&down.post(&[]).await.expect(409)).contains("there is nothing to acknowledge"));
    until("its end is told", async || down.service.received().iter().any(|sent| sent.json()["over"] == true)).await;
}

#[tokio::test]
async fn what_is_forged_has_ended_or_comes_from_elsewhere_is_refused() {
    let down = down("").await;
    let token = down.path.rsplit('/').next().unwrap().to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let [_, ends, channel, signature] = parts.as_slice() else { panic!("{token}") };
    let other = token.replace('a', "b").replace('A', "B");
    for forged in [
        format!("2.{ends}.{channel}.{signature}"),
        format!("1.99999999999.{channel}.{signature}"),
        format!("1.{ends}.b3Bz.{signature}"),
        format!("1.{ends}.{channel}."),
        format!("1.{ends}.{channel}"),
        "x".to_owned(),
        "%ff".to_owned(),
        "%3Cscript%3E".to_owned(),
        format!("{other}~"),
    ] {
        for method in ["GET", "POST"] {
            let refused =
                down.platform.ask(down.platform.request(method, &format!("/acknowledge/{forged}"))).await.expect(404);
            assert_quiet(&refused);
            assert!(text(&refused).contains("not known here"), "{forged}: {}", text(&refused));
        }
    }
    for headers in [
        &[("Origin", "https://evil.example")][..],
        &[("Origin", "null"), ("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
    ] {
        let refused = down.post(headers).await.expect(403);
        assert_quiet(&refused);
    }
    assert!(down.incident().await["acknowledgement"].is_null());
    // From the page itself, as browsers tell it that know no more.
    down.post(&[("Origin", "null")]).await.expect(200);
    assert_eq!(down.incident().await["acknowledgement"]["by"], "link (hook)");
    down.platform.ask(down.platform.request("PUT", &down.path)).await.expect(405);
}

#[tokio::test]
async fn a_link_needs_no_key_and_stands_nowhere_but_in_its_message() {
    let key = "0123456789abcdef0123456789abcdef";
    let down = down(&format!("api: {{auth: {{api_key: {key}}}}}\nlogging: {{access: all, level: DEBUG}}\n")).await;
    let token = down.path.rsplit('/').next().unwrap().to_owned();
    let get = async |path: &str| {
        let request = down.platform.request("GET", path).header("X-API-Key", key);
        down.platform.ask(request).await.expect(200).json()
    };
    down.platform.get("/api/v1/incidents/1").await.expect(401);
    down.platform.get(&down.path).await.expect(200);
    for path in ["/api/v1/notifications", "/api/v1/incidents/1", "/api/v1/endpoints/1/why-not-told"] {
        let shown = get(path).await.to_string();
        assert!(!shown.contains("/acknowledge/") && !shown.contains(&token), "{path}: {shown}");
    }
    down.post(&[("Origin", "https://monitor.example")]).await.expect(200);
    assert_eq!(get("/api/v1/incidents/1").await["acknowledgement"]["by"], "link (hook)");
    let log = down.platform.process.stderr();
    assert!(log.contains("/acknowledge/{token}"), "the access log has the route");
    assert!(!log.contains(&token) && !log.contains(token.rsplit('.').next().unwrap()), "and not the link");
    let audit = get("/api/v1/audit").await.to_string();
    assert!(!audit.contains(&token), "{audit}");
}

#[tokio::test]
async fn a_link_goes_on_after_a_restart_and_without_an_address_there_is_none() {
    let Down { platform, target, service, path } = down("").await;
    let Platform { folder, process, .. } = platform;
    drop(process);
    let platform = Platform::start_in(folder, &[]);
    let page = platform.get(&path).await.expect(200);
    assert!(text(&page).contains("is down"), "{}", text(&page));
    drop((target, service));

    let target = Switched::good();
    target.set(503);
    let service = Receiver::answering([answer(200, "{}")]).await;
    let platform = Platform::start(&format!(
        "endpoints: [{{name: e, url: '{}', interval: 1, retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1}}}}]\n\
         channels: {{hook: {{type: webhook, url: '{}', payload_template: '{{\"ack\": \"{{ack_url}}\"}}'}}}}\n",
        target.url("e"),
        service.url("/hook")
    ));
    until("it is told", async || !service.received().is_empty()).await;
    assert_eq!(service.received()[0].json(), json!({"ack": "N/A"}));
    drop(platform);
}

#[tokio::test]
async fn services_with_buttons_get_one() {
    let target = Switched::good();
    target.set(503);
    let service = Receiver::answering([answer(200, "{}")]).await;
    let platform = Platform::start(&format!(
        "public_url: https://monitor.example\n\
         endpoints: [{{name: e, url: '{}', interval: 1, retry: {{enabled: false}}, alert_policy: {{failure_threshold: 1}}}}]\n\
         channels: {{phone: {{type: ntfy, server: '{}', topic: alerts}}}}\n",
        target.url("e"),
        service.url("")
    ));
    until("it is told", async || !service.received().is_empty()).await;
    let sent = service.received()[0].json();
    let action = &sent["actions"][0];
    assert_eq!((&action["action"], &action["label"]), (&json!("view"), &json!("Acknowledge")), "{sent}");
    let link = action["url"].as_str().unwrap();
    assert!(sent["message"].as_str().unwrap().contains(&format!("Acknowledge: {link}")), "{sent}");
    let page = platform.get(link.strip_prefix("https://monitor.example").unwrap()).await.expect(200);
    assert!(text(&page).contains("e is down"), "{}", text(&page));
}
