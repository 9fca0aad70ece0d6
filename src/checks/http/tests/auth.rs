//! Who we say that we are, and tokens that are asked for.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn with_auth(url: &str, auth: Auth) -> CheckSpec {
    CheckSpec { auth: Some(auth), ..spec(url) }
}

#[tokio::test]
async fn basic_and_bearer_take_the_place_of_what_a_header_or_the_url_says() {
    let server = Server::answering(OK).await;
    let url = format!("http://you:other@{}/", server.address);
    let basic = Auth::Basic { username: "me".to_owned(), password: "s@crét".to_owned() };
    let mut spec = with_auth(&url, basic);
    spec.headers.insert("authorization".to_owned(), "Bearer old".to_owned());
    assert_eq!(observe(&spec).await.failure, None);
    assert_eq!(observe(&with_auth(&url, Auth::Bearer("t0ken".to_owned()))).await.failure, None);
    let requests = server.requests();
    assert_eq!(header(&requests[0], "authorization"), Some("Basic bWU6c0BjcsOpdA=="));
    assert_eq!(header(&requests[1], "authorization"), Some("Bearer t0ken"));

    // Another origin is not told.
    let first = Server::answering(format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        server.url("/next")
    ))
    .await;
    assert_eq!(observe(&with_auth(&first.url("/"), Auth::Bearer("t0ken".to_owned()))).await.failure, None);
    assert_eq!(header(&first.requests()[0], "authorization"), Some("Bearer t0ken"));
    assert_eq!(header(&server.requests()[2], "authorization"), None);
}

fn json(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn credentials(server: &Server) -> Auth {
    Auth::OAuth2(ClientCredentials {
        token_url: format!("http://{}/token?tenant=a", server.address).parse().unwrap(),
        client_id: "mon itor".to_owned(),
        client_secret: "s:cret".to_owned(),
        scopes: vec!["read".to_owned(), "health".to_owned()],
    })
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_is_not_taken() {
    let given = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&given);
    let tokens = Server::start(move |stream, requests| {
        let counted = Arc::clone(&counted);
        async move {
            let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
            let body = format!("{{\"access_token\": \"token-{n}\", \"token_type\": \"Bearer\", \"expires_in\": 3600}}");
            crate::checks::testing::answer(stream, &requests, |_| json("200 OK", &body).into_bytes()).await;
        }
    })
    .await;
    // Takes the first token once, and later ones always.
    let server = Server::start(|stream, requests| async move {
        let seen = requests.clone();
        crate::checks::testing::answer(stream, &requests, |head| {
            let is_first = header(head, "authorization") == Some("Bearer token-1");
            let status = if is_first && seen.count() > 2 { "401 Unauthorized" } else { "200 OK" };
            json(status, "{}").into_bytes()
        })
        .await;
    })
    .await;
    let spec = with_auth(&server.url("/"), credentials(&tokens));
    let checker = checker(local_names());
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let seen = examine(&checker, &spec).await;
        assert_eq!(seen.failure, None);
        statuses.push(seen.status_code.unwrap());
    }
    assert_eq!(statuses, [200, 200, 401, 200, 200]);
    assert_eq!(given.load(Ordering::SeqCst), 2);
    let asked = &tokens.requests()[0];
    assert!(asked.starts_with("POST /token?tenant=a HTTP/1.1\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\ngrant_type=client_credentials&scope=read+health"), "{asked}");
    assert_eq!(header(asked, "authorization"), Some("Basic bW9uK2l0b3I6cyUzQWNyZXQ="));
    assert_eq!(header(&server.requests()[4], "authorization"), Some("Bearer token-2"));
}

#[tokio::test]
async fn checks_that_need_the_same_token_at_once_ask_for_it_once() {
    let tokens = Server::answering(json("200 OK", "{\"access_token\": \"t\"}")).await;
    let server = Server::answering(OK).await;
    let spec = with_auth(&server.url("/"), credentials(&tokens));
    let checker = checker(local_names());
    let all = futures_util::future::join_all((0..8).map(|_| examine(&checker, &spec))).await;
    assert!(all.iter().all(|seen| seen.failure.is_none()));
    assert_eq!((tokens.requests().len(), server.requests().len()), (1, 8));
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_the_failure() {
    let server = Server::answering(OK).await;
    for (answer, why) in [
        (json("401 Unauthorized", "{\"error\": \"invalid_client\"}"), "POST returned 401 (invalid_client)"),
        (json("503 Away", "<html>"), "POST returned 503"),
        (json("200 OK", "<html>"), "the answer is not the JSON of a token"),
        (json("200 OK", "{\"access_token\": \"a b\"}"), "the answer has no access_token that can be sent"),
        (json("200 OK", "{\"access_token\": \"a\", \"token_type\": \"mac\"}"), "it is of another type than Bearer"),
    ] {
        let tokens = Server::answering(answer).await;
        let seen = observe(&with_auth(&server.url("/"), credentials(&tokens))).await;
        let message = format!("The token of {} could not be had: {why}", tokens.url("/token"));
        assert_fails(&seen, FailureKind::OauthTokenFailed, &message);
        assert_eq!(seen.status_code, None);
    }
    let silent = Server::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let spec = CheckSpec { timeout: Duration::from_millis(300), ..with_auth(&server.url("/"), credentials(&silent)) };
    let message = format!(
        "The token of {} could not be had: Request timed out after 300ms while waiting for the first byte",
        silent.url("/token")
    );
    assert_fails(&observe(&spec).await, FailureKind::OauthTokenFailed, &message);
    assert!(server.requests().is_empty(), "nothing is sent without the token");
}
