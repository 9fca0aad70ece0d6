//! Each way in which a service fails, made to happen on this machine and told by the program: with the word and the
//! sentence that docs/failures.md has for it.

mod content;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use api_monitor::domain::outcome::FailureKind;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Platform;
use super::failing::{Authority, Identity, Server, Then, free_port, full_backlog, gzip};
use crate::name_server::{NameServer, Reply, address};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A row of docs/failures.md.
#[derive(Debug)]
struct Row {
    what: String,
    /// Empty: it is no failure.
    kind: String,
    /// `…` stands for anything.
    sentence: String,
    tests: Vec<String>,
}

fn shipped(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn documented() -> Vec<Row> {
    let text = shipped("docs/failures.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what "));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, kind, sentence, tests] = cells[..] else { panic!("four cells: {line}") };
        let in_code = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let one = |text: &str| in_code(text).into_iter().next().unwrap_or_default();
        Row { what: what.to_owned(), kind: one(kind), sentence: one(sentence), tests: in_code(tests) }
    })
    .collect()
}

/// Whether a text is as a pattern says.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    let pieces: Vec<&str> = pattern.split('…').collect();
    for (i, piece) in pieces.iter().enumerate() {
        let at = match rest.find(piece) {
            Some(at) if i > 0 || at == 0 => at,
            _ => return false,
        };
        if i + 1 == pieces.len() {
            return rest.ends_with(piece) && (pieces.len() > 1 || rest == *piece);
        }
        rest = &rest[at + piece.len()..];
    }
    true
}

/// Endpoints by what happens to them.
pub(super) struct Cases {
    pub(super) endpoints: BTreeMap<&'static str, Value>,
    servers: Vec<Server>,
    names: NameServer,
    folder: TempDir,
    held: Vec<Box<dyn Send>>,
}

impl Cases {
    /// Everything that fails, with its servers.
    pub(super) async fn all() -> Self {
        let names = NameServer::start(|name, _| match name {
            "shop.example" => address("127.0.0.1"),
            "half.example" => Reply::Addresses(["127.0.0.2", "127.0.0.1"].map(|ip| ip.parse().unwrap()).to_vec()),
            "empty.example" => Reply::Addresses(Vec::new()),
            "alias.example" => Reply::AliasOfNothing("gone.example"),
            "broken.example" => Reply::Code(2),
            "closed.example" => Reply::Code(5),
            "silent.example" => Reply::Silence,
            _ => Reply::Code(3),
        })
        .await;
        let folder = TempDir::new().unwrap();
        let mut cases = Self { endpoints: BTreeMap::new(), servers: Vec::new(), names, folder, held: Vec::new() };
        cases.names_and_connections().await;
        let (full, backlog) = full_backlog().await;
        cases.held.push(Box::new(backlog));
        cases.case("no answer to SYN", format!("http://{full}/"), json!({"timeout": "2s"}));
        cases.certificates().await;
        cases.handshakes().await;
        cases.answers().await;
        cases.content().await;
        cases
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn case(&mut self, what: &'static str, url: String, settings: Value) {
        let mut endpoint = json!({
            "name": what, "url": url, "interval": "1d", "timeout": "20s", "retry": {"enabled": false}, "notify": [],
            "resolver": self.names.address.to_string(),
        });
        for (key, value) in settings.as_object().unwrap() {
            endpoint[key] = value.clone();
        }
        assert!(self.endpoints.insert(what, endpoint).is_none(), "{what}");
    }

    async fn answer(&mut self, what: &'static str, answer: impl Into<Vec<u8>>, then: Then, settings: Value) {
        let server = Server::answering(answer, then).await;
        self.case(what, format!("http://{}/", server.address), settings);
        self.servers.push(server);
    }

    async fn secure(&mut self, what: &'static str, identity: &Identity, tls: Value) {
        let server = Server::secure(identity, OK).await;
        let url = format!("https://shop.example:{}/", server.port());
        self.case(what, url, json!({"tls": tls}));
        self.servers.push(server);
    }

    async fn names_and_connections(&mut self) {
        let alive = Server::answering(OK, Then::Close).await;
        let port = alive.port();
        for (what, host) in [
            ("a name that does not exist", "missing.example"),
            ("an alias of a name that does not exist", "alias.example"),
            ("the resolver fails", "broken.example"),
            ("the resolver refuses", "closed.example"),
            ("a name without addresses", "empty.example"),
            ("one of two addresses is dead", "half.example"),
        ] {
            self.case(what, format!("http://{host}:{port}/"), json!({}));
        }
        self.case("the resolver is silent", format!("http://silent.example:{port}/"), json!({"timeout": "1s"}));
        self.servers.push(alive);
        let free = free_port().await;
        self.case("nobody listens", format!("http://shop.example:{free}/"), json!({}));
        let free = format!("http://127.0.0.1:{free}");
        self.case("the proxy is not there", "http://shop.example/".to_owned(), json!({"proxy": free}));
    }

    async fn certificates(&mut self) {
        let root = Authority::new("Test Root");
        let ca_file = self.file("ca.pem", &root.pem);
        let trusted = json!({"ca_file": ca_file});
        self.secure("an expired certificate", &root.issue("shop.example", -90, -3), trusted.clone()).await;
        self.secure("a certificate of the future", &root.issue("shop.example", 2, 90), trusted.clone()).await;
        self.secure("a certificate for another host", &root.issue("other.example", -1, 30), trusted.clone()).await;
        self.secure("a self-signed certificate", &Identity::self_signed("shop.example"), json!({})).await;
        let mut unknown = root.issue("shop.example", -1, 30);
        unknown.chain.push(root.der.clone());
        self.secure("an unknown authority", &unknown, json!({})).await;
        let middle = root.subordinate("Test Intermediate");
        self.secure("a missing intermediate", &middle.issue_naming_its_issuer("shop.example"), trusted.clone()).await;
        let crl_file = self.file("crl.pem", &root.revocations());
        let revoking = json!({"ca_file": trusted["ca_file"], "crl_file": crl_file});
        self.secure("a revoked certificate", &root.issue("shop.example", -1, 30), revoking).await;

        let location = "HTTP/1.1 302 Found\r\nlocation: http://shop.example/\r\ncontent-length: 0\r\n\r\n";
        let server = Server::secure(&root.issue("shop.example", -1, 30), location).await;
        let url = format!("https://shop.example:{}/", server.port());
        self.case("a redirect that gives up encryption", url, json!({"tls": trusted}));
        self.servers.push(server);
    }

    async fn handshakes(&mut self) {
        // Alerts as old servers send them: protocol_version and handshake_failure.
        const ONLY_TLS_1_1: &[u8] = &[0x15, 3, 2, 0, 2, 2, 70];
        const NO_COMMON_CIPHER: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];
        for (what, reply, then, timeout) in [
            ("only TLS 1.1", ONLY_TLS_1_1, Then::Close, "20s"),
            ("no common cipher", NO_COMMON_CIPHER, Then::Close, "20s"),
            ("no TLS on the port", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Then::Close, "20s"),
            ("a handshake that is reset", b"", Then::Reset, "20s"),
            ("a handshake that hangs", b"", Then::Hold, "2s"),
        ] {
            let server = Server::replying(reply, then).await;
            self.case(what, format!("https://{}/", server.address), json!({"timeout": timeout}));
            self.servers.push(server);
        }
    }

    async fn answers(&mut self) {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
        let brief = || json!({"timeout": "2s"});
        self.answer("accepted, and silent", "", Then::Hold, brief()).await;
        self.answer("closed without an answer", "", Then::Close, json!({})).await;
        self.answer("a body that stalls", format!("{head}half"), Then::Hold, brief()).await;
        let drip = Then::Repeat(b"x".to_vec(), Duration::from_millis(500));
        self.answer("a body that drips", head, drip, brief()).await;
        self.answer("a body shorter than its length", format!("{head}half"), Then::Close, json!({})).await;
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        self.answer("chunks without an end", format!("{chunked}4\r\nhalf\r\n"), Then::Close, json!({})).await;
        self.answer("broken chunks", format!("{chunked}zz\r\nhalf\r\n"), Then::Close, json!({})).await;
        let whole = gzip(&(0..=255).cycle().take(50_000).collect::<Vec<u8>>());
        let cut = &whole[..whole.len() / 2];
        let compressed = |body: &[u8]| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        };
        self.answer("a compressed body that is cut", compressed(cut), Then::Close, json!({})).await;
        self.answer("a damaged compressed body", compressed(b"no gzip"), Then::Close, json!({})).await;
        let bomb = compressed(&gzip(&vec![0; 32 * 1024 * 1024]));
        self.answer("a compressed bomb", bomb, Then::Close, json!({})).await;
        let endless = Then::Repeat(vec![b'x'; 16_384], Duration::ZERO);
        self.answer("a body without an end", "HTTP/1.1 200 OK\r\n\r\n", endless, json!({})).await;
        let flood = Then::Repeat(vec![b'y'; 4_096], Duration::ZERO);
        self.answer("a flood of headers", "HTTP/1.1 200 OK\r\nx: ", flood, json!({})).await;
        self.answer("not HTTP", "220 mail.example ESMTP\r\n", Then::Close, json!({})).await;
        for (what, status) in [
            ("an error of the server", "502 Bad Gateway"),
            ("an error of the request", "404 Not Found"),
            ("too many requests", "429 Too Many Requests"),
        ] {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            self.answer(what, answer, Then::Close, json!({})).await;
        }
        let to = |location: &str| format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        self.answer("redirects in a circle", to("/"), Then::Close, json!({})).await;
        self.answer("too many redirects", to("more/"), Then::Close, json!({"redirects": {"max": 1}})).await;
        let same = json!({"redirects": {"hosts": "same"}});
        self.answer("a redirect to another host", to("http://evil.example/"), Then::Close, same).await;
        let tokens = Server::answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
        let oauth2 = json!({
            "token_url": format!("http://{}/token", tokens.address), "client_id": "me", "client_secret": "hush"
        });
        self.case("no token is given", "http://shop.example/".to_owned(), json!({"auth": {"oauth2": oauth2}}));
        self.servers.push(tokens);
    }
}

#[tokio::test]
async fn each_failure_is_told_by_its_word_and_its_sentence() {
    let cases = Cases::all().await;
    let endpoints: Vec<&Value> = cases.endpoints.values().collect();
    let config = json!({"endpoints": endpoints, "connectivity": null});
    let platform = Platform::start(&config.to_string());
    let this = "each_failure_is_told_by_its_word_and_its_sentence";
    let rows = documented();
    let of_this: Vec<&Row> =
        rows.iter().filter(|row| row.tests.iter().any(|test| test.ends_with(&format!("::{this}")))).collect();
    let documented: BTreeSet<&str> = of_this.iter().map(|row| row.what.as_str()).collect();
    let made: BTreeSet<&str> = cases.endpoints.keys().copied().collect();
    assert_eq!(documented, made, "docs/failures.md has what happens here");

    let mut wrong = Vec::new();
    for row in of_this {
        let by_key = format!("/api/v1/endpoints/by-key/{}", row.what.replace(' ', "%20"));
        let id = platform.get(&by_key).await.expect(200).json()["id"].clone();
        let body = json!({"use_retry": false});
        let checked = platform.send("POST", &format!("/api/v1/endpoints/{id}/check"), &body).await.expect(200).json();
        let kind = checked["failure_kind"].as_str().unwrap_or_default();
        let sentence = checked["error_message"].as_str().unwrap_or_default();
        if kind != row.kind || !is_like(sentence, &row.sentence) {
            wrong.push(format!("{}: {kind}: {sentence}", row.what));
        }
    }
    assert!(wrong.is_empty(), "not as docs/failures.md says:\n{}", wrong.join("\n"));
}

#[test]
fn every_failure_is_documented_with_the_tests_that_make_it_happen() {
    let rows = documented();
    for kind in FailureKind::ALL {
        assert!(rows.iter().any(|row| row.kind == kind.as_str()), "{kind} is not in docs/failures.md");
    }
    for row in &rows {
        let known = row.kind.is_empty() || FailureKind::ALL.iter().any(|kind| kind.as_str() == row.kind);
        assert!(known, "{row:?} has a word that is no failure's");
        assert!(!row.tests.is_empty(), "{row:?} names no test");
        for test in &row.tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{test} is not file::test"));
            assert!(shipped(file).contains(&format!("fn {name}(")), "{test} is not there");
        }
    }
}

#[test]
fn a_sentence_is_compared_with_its_pattern() {
    for (text, pattern, like) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("abc", "bc", false),
        ("a 1 b 2", "a … b …", true),
        ("x a 1 b", "a … b", false),
        ("a 1 b c", "a … b", false),
        ("", "", true),
    ] {
        assert_eq!(is_like(text, pattern), like, "{text} {pattern}");
    }
}
