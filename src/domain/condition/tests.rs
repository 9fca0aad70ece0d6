use serde::Deserialize;

use super::*;
use crate::domain::{Timestamp, from_micros};

/// Several hundred conditions with their verdicts.
const TABLE: &str = include_str!("gatus.tsv");

#[derive(Deserialize, Default)]
struct Given {
    status: u16,
    ms: u32,
    ip: String,
    connected: bool,
    cert: i64,
    body: String,
}

fn now() -> Timestamp {
    from_micros(1_800_000_000_000_000)
}

pub(super) fn answer(evidence: &Evidence) -> Answer<'_> {
    Answer {
        status: Some(200),
        connected: true,
        ip: "127.0.0.1".parse().ok(),
        response_time_us: 250_400,
        dns_us: None,
        connect_us: Some(300),
        tls_us: Some(1500),
        first_byte_us: Some(90_000),
        certificate_not_after: now().checked_add_days(chrono::Days::new(30)),
        certificate_issuer: Some("CN=R11, O=Let's Encrypt, C=US"),
        http_version: Some("HTTP/2.0"),
        tls_version: Some("1.3"),
        dns_rcode: None,
        final_url: Some("https://a.example/x"),
        redirects: 1,
        body_bytes: evidence.body.len() as u64,
        evidence,
        redact: &[],
        now: now(),
    }
}

fn of_body(body: &str) -> Evidence {
    Evidence { body: body.into(), ..Evidence::default() }
}

fn verdict(condition: &str, dialect: Dialect, answer: &Answer<'_>) -> &'static str {
    match Condition::parse(condition, dialect) {
        Err(_) => "refused",
        Ok(condition) if Examiner::new(answer).examine(&condition).holds => "holds",
        Ok(_) => "fails",
    }
}

#[test]
fn conditions_of_gatus_have_the_verdicts_of_the_table() {
    let mut answers: Vec<(&str, Given)> = Vec::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(rest) = line.strip_prefix("answer\t") {
            let (name, json) = rest.split_once('\t').unwrap();
            answers.push((name, serde_json::from_str(json).unwrap()));
            continue;
        }
        let columns: Vec<_> = line.splitn(5, '\t').collect();
        let [name, strict, compatible, gatus, condition] = columns[..] else { panic!("{line}") };
        assert!(["holds", "fails", "refused"].contains(&gatus), "{line}");
        let (_, given) = answers.iter().find(|(known, _)| *known == name).unwrap();
        let evidence = of_body(&given.body);
        let answer = Answer {
            status: Some(given.status).filter(|status| *status > 0),
            connected: given.connected,
            ip: given.ip.parse().ok(),
            response_time_us: given.ms * 1000,
            certificate_not_after: (given.cert != 0).then(|| now() + chrono::TimeDelta::milliseconds(given.cert)),
            ..answer(&evidence)
        };
        let found = [Dialect::Strict, Dialect::Gatus].map(|dialect| verdict(condition, dialect, &answer));
        if found != [strict, compatible] {
            wrong.push(format!("{name}\t{}\t{}\t{gatus}\t{condition}", found[0], found[1]));
        }
        count += 1;
    }
    assert!(count > 500, "{count} conditions");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What was added to the language of Gatus.
#[test]
fn everything_that_can_be_named_is_seen() {
    let evidence = Evidence {
        body: br#"{"items": [{"id": 3, "name": "bob", "at": "2027-01-15T07:55:00Z"}, {"id": 4, "name": "eve"}], "at": 1800000000, "bad": "soon"}"#.to_vec(),
        headers: vec![
            ("server".to_owned(), "nginx/1.2".to_owned()),
            ("date".to_owned(), "Fri, 15 Jan 2027 07:59:30 GMT".to_owned()),
            ("x-json".to_owned(), r#"{"a": [1, 2]}"#.to_owned()),
        ],
        is_cut: false,
    };
    let answer = Answer { dns_rcode: Some("NOERROR"), ..answer(&evidence) };
    for (condition, expected) in [
        ("[HEADER].server == pat(nginx*)", "holds"),
        ("[header].Server == nginx/1.2", "holds"),
        ("[HEADER].missing != x", "fails"),
        ("has([HEADER].missing) == false", "holds"),
        ("jsonpath([HEADER].x-json, \"$.a[1]\") == 2", "holds"),
        ("[CONNECT_TIME] < 1", "holds"),
        ("[CONNECT_TIME] == 0.3", "holds"),
        ("[TLS_TIME] == 1500us", "holds"),
        ("[TLS_TIME] <= 1.5ms", "holds"),
        ("[DNS_TIME] < 1h", "fails"),
        ("[FIRST_BYTE_TIME] < 100ms", "holds"),
        ("[RESPONSE_TIME] <= 250", "fails"),
        ("[CERTIFICATE_ISSUER] == contains(Let's Encrypt)", "holds"),
        ("[CERTIFICATE_EXPIRATION] > 29d", "holds"),
        ("[CERTIFICATE_EXPIRATION] > 31d", "fails"),
        ("[TLS_VERSION] == 1.3", "holds"),
        ("[TLS_VERSION] >= 1.2", "holds"),
        ("[HTTP_VERSION] == 2", "holds"),
        ("[REDIRECTS] <= 1", "holds"),
        ("[FINAL_URL] == https://a.example/x", "holds"),
        ("[DNS_RCODE] == NOERROR", "holds"),
        ("[BODY_SIZE] > 100", "holds"),
        ("[BODY] == contains(\"bob\")", "holds"),
        ("[BODY] != contains(error)", "holds"),
        ("[BODY] == contains(a == b)", "fails"),
        ("regex(\"id\": 3|x == y) == [BODY]", "holds"),
        ("[BODY] == regex((?i)\"NAME\")", "holds"),
        ("[BODY] == regex(^\\{.*\\}$)", "holds"),
        ("[HEADER].server == regex(^nginx/\\d+\\.\\d+$)", "holds"),
        ("jsonpath([BODY], \"$.items[?@.id == 3].name\") == bob", "holds"),
        ("jsonpath([BODY], '$.items[?@.name == \"eve\"].id') == 4", "holds"),
        ("jsonpath([BODY], $..name) == [\"bob\", \"eve\"]", "holds"),
        ("jsonpath([BODY], \"$..missing\") != x", "fails"),
        ("len(jsonpath([BODY], \"$..name\")) == 2", "holds"),
        ("len(jsonpath([BODY], \"$..missing\")) == 0", "holds"),
        ("len(jsonpath([BODY], \"$.items\")) == 2", "holds"),
        ("has(jsonpath([BODY], \"$..missing\")) == false", "holds"),
        ("jsonpath([BODY].items, \"$[0].id\") == 3", "holds"),
        ("age([BODY].at) == 0", "holds"),
        ("age([BODY].items[0].at) < 10m", "holds"),
        ("age([BODY].items[0].at) < 5m", "fails"),
        ("age([HEADER].date) <= 30s", "holds"),
        ("age([BODY].bad) < 1h", "fails"),
        ("age([BODY].missing) < 1h", "fails"),
        ("[CONTEXT].x == y", "fails"),
        ("[DOMAIN_EXPIRATION] > 0", "fails"),
    ] {
        assert_eq!(verdict(condition, Dialect::Strict, &answer), expected, "{condition}");
    }
}

#[test]
fn a_mistake_is_told_with_its_column() {
    for (text, column, words) in [
        ("", 1, "the condition is empty"),
        ("[STATUS]", 9, "an operator is missing"),
        ("[STATUS]==200", 9, "a space must stand on each side of `==`"),
        ("[STATUS] = 200", 10, "`=` is no operator; write `==`"),
        ("[STATUS] =< 200", 10, "`=<` is no operator; write `<=`"),
        ("[STATUS] ==", 10, "nothing stands after `==`"),
        ("[STATUS] == 200 == 200", 17, "a second operator"),
        ("[STATSU] == 200", 1, "did you mean [STATUS]?"),
        ("200 == [RESPONSE]", 8, "[RESPONSE] is no placeholder; if that text is meant, write any([RESPONSE])"),
        ("[STATUS].x == 200", 9, "[STATUS] has nothing inside"),
        ("[BODY].a[x] == 1", 10, "`x` is no index"),
        ("[BODY].ä[x] == 1", 10, "`x` is no index"),
        ("[BODY].a[1 == 1", 9, "the bracket is not closed"),
        ("[BODY]. == 1", 8, "a key is missing"),
        ("len([BODY].a.) == 1", 14, "a key is missing"),
        ("[HEADER] == x", 9, "say which header"),
        ("[BODY] == pat(a", 16, "the parenthesis is not closed"),
        ("[BODY] == pat(a) ]", 19, "the parenthesis is not closed"),
        ("len(5) == 1", 5, "len() is of something seen"),
        ("Len([BODY]) == 1", 1, "did you mean len(…)?"),
        ("[BODY] == pattern(x", 1, ""),
        ("[BODY] == contain(x)", 11, "did you mean contains(…)?"),
        ("[BODY] == regex(a(b)", 11, "the regular expression cannot be read: unclosed group"),
        ("[BODY] == regex(\\w{900}{900})", 11, "too large when compiled"),
        ("[BODY] == regex((?=x)y)", 11, "look-around"),
        ("[BODY] == pat([)", 11, "the pattern cannot be read"),
        ("jsonpath([BODY]) == 1", 10, "takes two things"),
        ("jsonpath([BODY], \"$.a[\") == 1", 18, "the path cannot be read"),
        ("jsonpath([STATUS], \"$.a\") == 1", 10, "[STATUS] is no JSON"),
        ("[STATUS] == ok", 13, "a number or a duration"),
        ("[STATUS] == 2xx", 13, "write pat(2??)"),
        ("[BODY].a < soon", 12, "a number or a duration"),
        ("[BODY].a < contains(x)", 12, "`<` compares numbers"),
        ("[BODY].a == \"ok\"", 13, "write ok without them"),
        ("has([BODY].a) == yes", 18, "has() is true or false"),
        ("[CONNECTED] == false", 16, "this can never hold"),
        ("true == true", 1, "nothing that is seen is compared"),
        ("pat(a) == any(a)", 11, "one side must be something seen"),
        ("[BODY] == contains()", 11, "every text contains nothing"),
    ] {
        match Condition::parse(text, Dialect::Strict) {
            Err(error) => {
                assert_eq!(error.column, column, "{text}: {error}");
                assert!(error.detail.contains(words), "{text}: {error}");
            }
            Ok(condition) => assert!(words.is_empty(), "{text} was read as {condition}"),
        }
    }
    let long = format!("[BODY] == {}", "x".repeat(MAX_CONDITION));
    assert!(Condition::parse(&long, Dialect::Gatus).unwrap_err().detail.contains("too long"));
}

fn shown(condition: &str, dialect: Dialect, answer: &Answer<'_>) -> (String, String) {
    let condition = Condition::parse(condition, dialect).unwrap();
    let verdict = Examiner::new(answer).examine(&condition);
    (verdict.seen(false).seen, verdict.sentence())
}

#[test]
fn a_condition_is_shown_with_what_was_seen() {
    let evidence = of_body(r#"{"status": "degraded", "a": {"b": [1, 2]}, "when": "soon"}"#);
    let answer = Answer { status: Some(502), dns_us: Some(912_340), ..answer(&evidence) };
    for (condition, seen, sentence) in [
        ("[STATUS] == 200", "[STATUS] (502) == 200", "[STATUS] was 502, expected 200"),
        ("200 == [STATUS]", "200 == [STATUS] (502)", "[STATUS] was 502, expected 200"),
        ("[STATUS] == any(200, 204)", "[STATUS] (502) == any(200, 204)", "[STATUS] was 502, expected any(200, 204)"),
        ("500 > [STATUS]", "500 > [STATUS] (502)", "[STATUS] was 502, expected less than 500"),
        ("[BODY].status == ok", "[BODY].status (degraded) == ok", "[BODY].status was \"degraded\", expected \"ok\""),
        (
            "[BODY].status != degraded",
            "[BODY].status (degraded) != degraded",
            "[BODY].status was \"degraded\", expected anything but \"degraded\"",
        ),
        ("[BODY].c == ok", "[BODY].c (not there) == ok", "[BODY].c is not there, expected \"ok\""),
        ("[DNS_TIME] < 500ms", "[DNS_TIME] (912.34) < 500ms", "[DNS_TIME] was 912.34 ms, expected less than 500ms"),
        (
            "[CERTIFICATE_EXPIRATION] > 31d",
            "[CERTIFICATE_EXPIRATION] (720h) > 31d",
            "[CERTIFICATE_EXPIRATION] was 720h, expected more than 31d",
        ),
        ("len([BODY].a.b) >= 3", "len([BODY].a.b) (2) >= 3", "len([BODY].a.b) was 2, expected at least 3"),
        (
            "[BODY].status > 5",
            "[BODY].status (degraded) > 5",
            "[BODY].status was \"degraded\", which is no number, expected more than 5",
        ),
        (
            "[BODY].status == [BODY].when",
            "[BODY].status (degraded) == [BODY].when (soon)",
            "[BODY].status was \"degraded\", expected [BODY].when (\"soon\")",
        ),
        (
            "age([BODY].when) < 1h",
            "age([BODY].when) (no time) < 1h",
            "age([BODY].when) cannot be told because the text is no time, expected less than 1h",
        ),
        ("has([BODY].c) == true", "has([BODY].c) (false) == true", "has([BODY].c) was false, expected true"),
    ] {
        assert_eq!(shown(condition, Dialect::Strict, &answer), (seen.to_owned(), sentence.to_owned()));
    }
    let html = of_body("<html>");
    let answer = self::answer(&html);
    assert_eq!(
        shown("[BODY].count < 5", Dialect::Strict, &answer).1,
        "[BODY].count cannot be read because the body is not JSON, expected less than 5"
    );
    // As Gatus shows them.
    let long = of_body("<!DOCTYPE html><html lang=\"en\"><head></head></html>");
    let answer = Answer { status: Some(404), response_time_us: 50_000, ..self::answer(&long) };
    for (condition, seen) in [
        ("[BODY].x == john", "[BODY].x (INVALID) == john"),
        ("[RESPONSE_TIME] < potato", "[RESPONSE_TIME] (50) < potato (0)"),
        ("[CERTIFICATE_EXPIRATION] > 800h", "[CERTIFICATE_EXPIRATION] (720h) > 800h"),
        ("[BODY] == pat(*john*)", "[BODY] (<!DOCTYPE html><html lang...(truncated)) == pat(*john*)"),
        ("[STATUS] == any(200, 429)", "[STATUS] (404) == any(200, 429)"),
    ] {
        assert_eq!(shown(condition, Dialect::Gatus, &answer).0, seen);
    }
}

#[test]
fn what_is_shown_is_bounded_and_holds_no_secret() {
    let body = "x\u{1b}".repeat(100_000);
    let evidence = Evidence { headers: vec![("x-api-key".to_owned(), "s3cret".to_owned())], ..of_body(&body) };
    let redact = ["x-api-key".to_owned()];
    let answer = Answer { redact: &redact, ..answer(&evidence) };
    for dialect in [Dialect::Strict, Dialect::Gatus] {
        for condition in ["[BODY] == y", "[BODY] == [HEADER].x-api-key", "[BODY] == pat(y*)"] {
            let (seen, sentence) = shown(condition, dialect, &answer);
            assert!(seen.len() < 1000 && !seen.contains('\u{1b}'), "{seen}");
            assert!(sentence.len() < 1000, "{sentence}");
        }
        for condition in
            ["[HEADER].x-api-key == other", "has([HEADER].x-api-key) == false", "len([HEADER].x-api-key) == 9"]
        {
            let (seen, sentence) = shown(condition, dialect, &answer);
            assert!(seen.contains("(***)") && sentence.contains("***"), "{seen}: {sentence}");
            assert!(!seen.contains("s3cret") && !sentence.contains("s3cret"), "{seen}: {sentence}");
        }
    }
}

#[test]
fn what_was_cut_is_needed_or_not() {
    let mut evidence = of_body("{\"status\": \"ok\", \"list\": [");
    evidence.is_cut = true;
    let answer = Answer { body_bytes: 1024, ..answer(&evidence) };
    for (condition, holds, needs_more) in [
        ("[BODY] == contains(ok)", true, false),
        ("[BODY] != contains(ok)", false, false),
        ("[BODY] == contains(missing)", false, true),
        ("[BODY] != contains(missing)", false, true),
        ("[BODY] == pat({*)", true, false),
        ("[BODY] == pat(*})", false, true),
        ("[BODY] == regex(ok)", false, true),
        ("[BODY] != x", false, true),
        ("[BODY].status == ok", false, true),
        ("has([BODY].status) == true", false, true),
        ("has([BODY]) == true", true, false),
        ("len([BODY]) > 3", false, true),
        ("len(jsonpath([BODY], $..a)) == 0", false, true),
        ("[BODY_SIZE] > 1000", true, false),
        ("1024 <= [BODY_SIZE]", true, false),
        ("[BODY_SIZE] > 1024", false, true),
        ("[BODY_SIZE] < 5000", false, true),
        ("[BODY_SIZE] == 1024", false, true),
        ("[STATUS] == 200", true, false),
    ] {
        let verdict = Examiner::new(&answer).examine(&Condition::parse(condition, Dialect::Strict).unwrap());
        assert_eq!((verdict.holds, verdict.needs_more_body()), (holds, needs_more), "{condition}");
    }
}

#[test]
fn a_large_document_takes_no_more_memory_than_allowed() {
    let evidence = of_body(&format!("[{}{{\"a\": 7}}]", "{\"a\":1},".repeat(100_000)));
    let answer = answer(&evidence);
    let (seen, sentence) = shown("jsonpath([BODY], \"$[0].b\") == 1", Dialect::Strict, &answer);
    assert_eq!(seen, "jsonpath([BODY], \"$[0].b\") (too large to be asked) == 1");
    assert!(sentence.contains("the JSON of the body is too large"), "{sentence}");
    assert_eq!(verdict("[BODY][100000].a == 7", Dialect::Strict, &answer), "holds", "a path needs no memory");
    assert_eq!(verdict("len([BODY]) == 100001", Dialect::Strict, &answer), "holds");
}

#[test]
fn of_a_body_as_much_is_kept_as_is_needed() {
    for (needs_body, pieces, max, kept, is_cut) in [
        (true, vec![600, 600], 2000, 1200, false),
        (true, vec![600, 600], 1200, 1200, false),
        (true, vec![600, 601], 1200, 1200, true),
        (false, vec![600, 600], 2000, MAX_EXCERPT, false),
        (false, vec![600, 600], 700, MAX_EXCERPT, true),
    ] {
        let mut evidence = Evidence::default();
        let mut before = 0;
        for piece in pieces {
            evidence.keep_body(&vec![b'x'; piece], before, max, Needs { body: needs_body, ..Needs::default() });
            before += piece as u64;
        }
        assert_eq!((evidence.body.len(), evidence.is_cut), (kept, is_cut));
        evidence.forget();
        assert!(evidence.body.len() <= MAX_EXCERPT);
    }
}

#[test]
fn headers_are_kept_up_to_a_bound() {
    let mut evidence = Evidence::default();
    let many: Vec<String> = (0..500).map(|i| format!("h{i}")).collect();
    let long = vec![b'x'; 100_000];
    let headers = [("a", &b"1"[..]), ("a", b"2"), ("b", &long)];
    evidence.keep_headers(headers.into_iter().chain(many.iter().map(|name| (name.as_str(), &b"v"[..]))));
    assert_eq!(evidence.header("a"), Some("1, 2"));
    assert_eq!(evidence.header("b").map(str::len), Some(MAX_HEADER));
    assert!(evidence.headers.len() < MOST_HEADERS && evidence.header("h499").is_none());
}

/// An engine that tries one way after another would not come to an end.
#[test]
fn expressions_and_patterns_take_time_linear_in_the_body() {
    let body = "a".repeat(1024 * 1024);
    let evidence = of_body(&body);
    for (condition, holds) in [
        ("[BODY] == regex((a+)+b)", false),
        ("[BODY] != regex(^(a|aa)*$)", false),
        ("[BODY] == regex((a*)*(a*)*$)", true),
        ("[BODY] == pat(*a*a*a*a*a*a*a*a*a*a*b)", false),
        ("[BODY] == contains(aaaaaaaaaaaaaaaaaaaaaaaaab)", false),
    ] {
        for dialect in [Dialect::Strict, Dialect::Gatus] {
            let read = Condition::parse(condition, dialect).unwrap();
            assert_eq!(Examiner::new(&answer(&evidence)).examine(&read).holds, holds, "{condition} {dialect:?}");
        }
    }
}
