//! Pages from elsewhere.

use crate::app::TestApp;

const LISTED: &str = "api: {port: 0, auth: {api_key: k}, cors: {enabled: true, allow_origins: ['https://a.example', 'https://b.example'], allow_credentials: true}}\n";

#[tokio::test]
async fn a_browser_may_ask_beforehand_without_the_key() {
    let app = TestApp::with_config(LISTED).await;
    let ask = async |origin: &str| {
        let call = app.call("OPTIONS", "/api/v1/endpoints/1").header("origin", origin);
        let call = call.header("access-control-request-method", "PATCH");
        call.header("access-control-request-headers", "x-api-key,content-type").send().await
    };
    let allowed = ask("https://b.example").await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://b.example");
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"), "{allowed:?}");
    let headers = allowed.header("access-control-allow-headers");
    assert!(["x-api-key", "content-type", "if-match"].iter().all(|name| headers.contains(name)), "{headers}");
    assert_ne!(allowed.header("x-request-id"), "");
    let refused = ask("https://c.example").await;
    assert_eq!(refused.header("access-control-allow-origin"), "");
    assert!(refused.header("vary").contains("origin"));
}

#[tokio::test]
async fn answers_can_be_read_by_pages_that_may() {
    let app = TestApp::with_config(LISTED).await;
    let ask = async |origin: &str, key: &str| {
        app.call("GET", "/api/v1/endpoints").header("origin", origin).header("x-api-key", key).send().await
    };
    let good = ask("https://a.example", "k").await;
    assert_eq!((good.status.as_u16(), good.header("access-control-allow-origin")), (200, "https://a.example"));
    let exposed = good.header("access-control-expose-headers");
    for name in ["x-request-id", "etag", "location", "retry-after", "ratelimit-remaining"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let wrong_key = ask("https://a.example", "wrong").await;
    wrong_key.problem(401, "unauthorized");
    assert_eq!(wrong_key.header("access-control-allow-origin"), "https://a.example", "problems can be read too");
    assert_eq!(ask("https://c.example", "k").await.header("access-control-allow-origin"), "");
    let plain = app.call("OPTIONS", "/api/v1/endpoints").send().await;
    assert_eq!((plain.status.as_u16(), plain.header("allow")), (204, "GET, HEAD, OPTIONS, POST"));
}

#[tokio::test]
async fn any_origin_and_none() {
    let any = "api: {port: 0, cors: {enabled: true, allow_origins: ['*']}}\n";
    let app = TestApp::with_config(any).await;
    let answer = app.call("GET", "/").header("origin", "https://x.example").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "");

    let app = TestApp::start().await;
    let preflight = app.call("OPTIONS", "/").header("origin", "https://x.example");
    let answer = preflight.header("access-control-request-method", "GET").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (204, ""));
}
