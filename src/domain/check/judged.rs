//! What an observation means: the verdict, and what is kept to explain it.

use serde::{Deserialize, Serialize};

use super::secrets::{Secrets, shown_url};
use super::{CheckSpec, Observation, answered};
use crate::domain::Timestamp;
use crate::domain::condition::{Answer, ConditionSeen, Examiner, MAX_EXCERPT, Verdict};
use crate::domain::outcome::{Failure, FailureKind, Outcome};

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub outcome: Outcome,
    pub detail: CheckDetail,
}

/// What explains the verdict of a check. Bounded, and without what is secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckDetail {
    /// Of the last connection, `ip:port`.
    pub address: Option<String>,
    /// Each condition with the values that were seen; empty where there are none, or no answer came.
    pub conditions: Vec<ConditionSeen>,
    /// The beginning of the body of the last answer, where it is text and the check was not good.
    pub excerpt: Option<String>,
}

impl CheckDetail {
    /// About what it takes of memory.
    pub fn bytes(&self) -> usize {
        let texts = |condition: &ConditionSeen| {
            let why = condition.why.as_ref().map_or(0, String::len);
            size_of::<ConditionSeen>() + condition.condition.len() + condition.seen.len() + why
        };
        size_of::<Self>()
            + self.conditions.iter().map(texts).sum::<usize>()
            + [&self.address, &self.excerpt].into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// Which of the conditions for not being degraded did not hold, the first of them.
    pub fn why_degraded(&self) -> Option<String> {
        self.conditions.iter().filter(|condition| condition.degrades).find_map(|condition| condition.why.clone())
    }
}

/// The longest text of a condition that is kept, in characters.
const MAX_SHOWN: usize = 500;

/// Decides what an observation means. Conditions are examined when a whole answer came; each of them must hold. `now`:
/// when it came.
pub fn judge(spec: &CheckSpec, observation: &Observation, now: Timestamp) -> Judged {
    let outcome = answered(spec, observation);
    let mut detail = CheckDetail { address: observation.remote_address.clone(), ..CheckDetail::default() };
    if matches!(outcome, Outcome::Missed(_)) {
        return Judged { outcome, detail };
    }
    let outcome = if observation.failure.is_none() && !spec.conditions.is_empty() {
        let (judged, conditions) = examined(spec, observation, now);
        let secrets = Secrets::of(spec, observation);
        detail.conditions = conditions.into_iter().map(|condition| shown(condition, &secrets)).collect();
        let judged = match judged {
            Outcome::Down(failure) => Outcome::Down(Failure { message: secrets.hidden(failure.message), ..failure }),
            other => other,
        };
        // That the answer itself is wrong says more.
        if outcome.is_good() { judged } else { outcome }
    } else {
        outcome
    };
    if outcome != Outcome::Up {
        detail.excerpt = excerpt(&observation.evidence.body, &Secrets::of(spec, observation));
    }
    Judged { outcome, detail }
}

fn examined(spec: &CheckSpec, observation: &Observation, now: Timestamp) -> (Outcome, Vec<ConditionSeen>) {
    let seen = observation;
    let final_url = shown_url(seen.redirects.last().map_or(spec.url.as_str(), String::as_str));
    let answer = Answer {
        status: seen.status_code,
        connected: seen.remote_address.is_some() || seen.status_code.is_some(),
        ip: seen.remote_address.as_deref().and_then(|address| {
            address.parse().map(|address: core::net::SocketAddr| address.ip()).or_else(|_| address.parse()).ok()
        }),
        response_time_us: seen.timings.total_us,
        dns_us: seen.timings.dns_us,
        connect_us: seen.timings.connect_us,
        tls_us: seen.timings.tls_us,
        first_byte_us: seen.timings.first_byte_us,
        certificate_not_after: seen.certificate.as_ref().map(|certificate| certificate.not_after),
        certificate_issuer: seen.certificate.as_ref().map(|certificate| certificate.issuer.as_str()),
        http_version: seen.http_version.as_deref(),
        tls_version: seen.tls.as_ref().map(|tls| tls.version.trim_start_matches("TLS ")),
        dns_rcode: seen.answer.as_ref().and_then(super::Answer::rcode),
        final_url: Some(&final_url),
        redirects: seen.redirects.len(),
        body_bytes: seen.body_bytes,
        evidence: &seen.evidence,
        redact: &spec.redact,
        now,
    };
    let examiner = Examiner::new(&answer);
    let verdicts = |list: &[_]| list.iter().map(|condition| examiner.examine(condition)).collect::<Vec<_>>();
    let required = verdicts(&spec.conditions.required);
    let wanted = verdicts(&spec.conditions.degraded_unless);
    let shown = required.iter().map(|v| v.seen(false)).chain(wanted.iter().map(|v| v.seen(true))).collect();
    let failed: Vec<&Verdict> = required.iter().filter(|verdict| !verdict.holds).collect();
    let outcome = match failed.split_first() {
        Some((first, more)) => Outcome::Down(failure(first, more.len(), spec.max_body_bytes)),
        None if wanted.iter().all(|verdict| verdict.holds) => Outcome::Up,
        None => Outcome::Degraded,
    };
    (outcome, shown)
}

fn failure(first: &Verdict, more: usize, max_body_bytes: u64) -> Failure {
    let others = match more {
        0 => String::new(),
        1 => ", and another condition does not hold".to_owned(),
        n => format!(", and {n} other conditions do not hold"),
    };
    if first.needs_more_body() {
        let message = format!("{} (max_body_bytes is {max_body_bytes}){others}", first.sentence());
        return Failure::new(FailureKind::BodyTooLarge, message);
    }
    Failure::new(FailureKind::ConditionFailed, format!("{}{others}", first.sentence()))
}

/// The beginning of a body, where it is text. Bytes at the end that are no whole character are left out.
fn excerpt(body: &[u8], secrets: &Secrets) -> Option<String> {
    // More of it than is shown, so that a secret which reaches over the end is found, too.
    let body = body.get(..2 * MAX_EXCERPT).unwrap_or(body);
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(body.get(..error.valid_up_to())?).ok()?,
        Err(_) => return None,
    };
    let clean = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c };
    let text: String = text.chars().filter(|c| *c != '\r').map(clean).collect();
    let mut text = secrets.hidden(text);
    text.truncate(text.floor_char_boundary(MAX_EXCERPT));
    Some(text).filter(|text| !text.trim().is_empty())
}

/// A condition as it was seen, bounded.
fn shown(condition: ConditionSeen, secrets: &Secrets) -> ConditionSeen {
    let bounded = |text: String| match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    };
    let ConditionSeen { condition, success, seen, degrades, why } = condition;
    let (seen, why) = (bounded(secrets.hidden(seen)), why.map(|why| bounded(secrets.hidden(why))));
    ConditionSeen { condition: bounded(condition), success, seen, degrades, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::{CertificateSeen, tests::spec};
    use crate::domain::condition::{Conditions, Dialect, Evidence};
    use crate::domain::from_micros;
    use crate::domain::outcome::MissedReason;

    fn conditions(required: &[&str], degraded_unless: &[&str]) -> Conditions {
        let read = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            let (conditions, mistakes) = Conditions::read(&texts, Dialect::Strict);
            assert_eq!(mistakes, []);
            conditions
        };
        Conditions { required: read(required), degraded_unless: read(degraded_unless), ..Conditions::default() }
    }

    fn given(required: &[&str], degraded_unless: &[&str]) -> CheckSpec {
        CheckSpec {
            url: "https://user:pw@a.example/x?token=abcdef".parse().unwrap(),
            method: "GET".to_owned(),
            redact: vec!["authorization".to_owned()],
            max_body_bytes: 1_048_576,
            conditions: conditions(required, degraded_unless),
            ..spec(&serde_json::json!(200))
        }
    }

    fn saw(status: u16, body: &str) -> Observation {
        Observation {
            status_code: Some(status),
            remote_address: Some("[::1]:443".to_owned()),
            body_bytes: body.len() as u64,
            evidence: Evidence { body: body.into(), ..Evidence::default() },
            ..Observation::default()
        }
    }

    fn told(spec: &CheckSpec, seen: &Observation) -> (Outcome, Vec<String>) {
        let Judged { outcome, detail } = judge(spec, seen, from_micros(0));
        (outcome, detail.conditions.into_iter().map(|condition| condition.seen).collect())
    }

    fn down(kind: FailureKind, message: &str) -> Outcome {
        Outcome::Down(Failure::new(kind, message))
    }

    #[test]
    fn conditions_decide_after_the_answer_itself() {
        use FailureKind::{ConditionFailed, HttpStatus};
        let good = ["[BODY].status == ok"];
        let slow = ["[RESPONSE_TIME] < 800ms"];
        let late = Observation {
            timings: super::super::Timings { total_us: 912_000, ..Default::default() },
            ..saw(200, r#"{"status": "ok"}"#)
        };
        for (spec, seen, outcome, shown) in [
            (given(&good, &[]), saw(200, r#"{"status": "ok"}"#), Outcome::Up, vec!["[BODY].status (ok) == ok"]),
            (
                given(&good, &[]),
                saw(200, r#"{"status": "bad"}"#),
                down(ConditionFailed, "[BODY].status was \"bad\", expected \"ok\""),
                vec!["[BODY].status (bad) == ok"],
            ),
            (
                given(&["[BODY].a == 1", "[BODY].b == 2", "[IP] == ::1", "[BODY].c == 3"], &[]),
                saw(200, "{}"),
                down(ConditionFailed, "[BODY].a is not there, expected 1, and 2 other conditions do not hold"),
                vec![
                    "[BODY].a (not there) == 1",
                    "[BODY].b (not there) == 2",
                    "[IP] (::1) == ::1",
                    "[BODY].c (not there) == 3",
                ],
            ),
            (
                given(&good, &slow),
                saw(503, r#"{"status": "ok"}"#),
                down(HttpStatus, "GET returned 503, expected 200"),
                vec!["[BODY].status (ok) == ok", "[RESPONSE_TIME] (0) < 800ms"],
            ),
            (
                given(&["[STATUS] == any(200, 503)"], &[]),
                saw(503, ""),
                Outcome::Up,
                vec!["[STATUS] (503) == any(200, 503)"],
            ),
            (
                given(&[], &["[STATUS] == 503"]),
                saw(503, ""),
                down(HttpStatus, "GET returned 503, expected 200"),
                vec!["[STATUS] (503) == 503"],
            ),
            (
                given(&good, &slow),
                late.clone(),
                Outcome::Degraded,
                vec!["[BODY].status (ok) == ok", "[RESPONSE_TIME] (912) < 800ms"],
            ),
            (
                given(&["[BODY].status == bad"], &slow),
                late,
                down(ConditionFailed, "[BODY].status was \"ok\", expected \"bad\""),
                vec!["[BODY].status (ok) == bad", "[RESPONSE_TIME] (912) < 800ms"],
            ),
        ] {
            assert_eq!(told(&spec, &seen), (outcome, shown.into_iter().map(str::to_owned).collect()));
        }
    }

    #[test]
    fn without_a_whole_answer_nothing_is_examined() {
        let cut = Failure::new(FailureKind::BodyTruncated, "cut");
        let spec = given(&["[STATUS] == 200"], &["[STATUS] == 201"]);
        let seen = Observation { failure: Some(cut.clone()), ..saw(200, "x") };
        assert_eq!(told(&spec, &seen), (Outcome::Down(cut), vec![]));
        let seen = Observation { own_trouble: true, ..saw(200, "x") };
        assert_eq!(told(&spec, &seen), (Outcome::Missed(MissedReason::Overload), vec![]));
    }

    #[test]
    fn a_condition_over_what_was_not_read_says_so() {
        let mut seen = saw(200, "{\"a\": 1");
        seen.evidence.is_cut = true;
        let (outcome, _) = told(&CheckSpec { max_body_bytes: 8, ..given(&["[BODY].a == 1"], &[]) }, &seen);
        let sentence = "[BODY].a needs more of the body than is read, expected 1 (max_body_bytes is 8)";
        assert_eq!(outcome, down(FailureKind::BodyTooLarge, sentence));
        assert_eq!(told(&given(&["[STATUS] == 200"], &[]), &seen).0, Outcome::Up, "nothing of it is needed");
        assert_eq!(told(&given(&[], &["[BODY].a == 1"]), &seen).0, Outcome::Degraded);
    }

    #[test]
    fn the_connection_is_seen_too() {
        let certificate = CertificateSeen {
            subject: "CN=a.example".to_owned(),
            issuer: "CN=R11".to_owned(),
            not_before: from_micros(0),
            not_after: from_micros(86_400_000_000),
            sans: Vec::new(),
            fingerprint: String::new(),
        };
        let seen = Observation {
            certificate: Some(certificate),
            redirects: vec!["https://u:p@b.example/y?api_key=s3cret&z=1#f".to_owned()],
            http_version: Some("HTTP/1.1".to_owned()),
            ..saw(200, "")
        };
        let all = [
            "[CERTIFICATE_ISSUER] == CN=R11",
            "[CERTIFICATE_EXPIRATION] == 24h",
            "[FINAL_URL] == https://b.example/y?api_key=***&z=1",
            "[REDIRECTS] == 1",
            "[HTTP_VERSION] == 1.1",
            "[CONNECTED] == true",
        ];
        assert_eq!(told(&given(&all, &[]), &seen).0, Outcome::Up);
        let direct = Observation { redirects: Vec::new(), ..seen };
        assert_eq!(told(&given(&["[FINAL_URL] == https://a.example/x?token=***"], &[]), &direct).0, Outcome::Up);
    }

    #[test]
    fn what_is_kept_is_bounded_and_holds_no_secret() {
        let mut spec = given(&["[BODY] == contains(missing)", "[BODY].x == y"], &[]);
        spec.headers.insert("authorization".to_owned(), "Bearer t0ken-of-ours".to_owned());
        let seen = saw(200, &format!("you sent Bearer t0ken-of-ours\r\n\u{1b}{}", "x".repeat(5000)));
        let Judged { outcome, detail } = judge(&spec, &seen, from_micros(0));
        let all = format!("{outcome:?} {detail:?}");
        assert!(all.contains("you sent ***") && !all.contains("t0ken") && !all.contains('\u{1b}'), "{all}");
        let excerpt = detail.excerpt.unwrap();
        assert!(excerpt.len() <= MAX_EXCERPT + 10 && excerpt.contains('\n') && !excerpt.contains('\r'));
        for (body, expected) in [
            (&b""[..], None),
            (b" \n", None),
            (b"\xff\xfe", None),
            (b"a\xc3", Some("a")),
            ("äö".as_bytes(), Some("äö")),
        ] {
            assert_eq!(super::excerpt(body, &Secrets::of(&spec, &Observation::default())).as_deref(), expected);
        }
        assert_eq!(
            judge(&spec, &Observation { evidence: Evidence::default(), ..seen }, from_micros(0)).detail.excerpt,
            None
        );
        let up = judge(&given(&[], &[]), &saw(200, "hello"), from_micros(0));
        assert_eq!((up.outcome, up.detail.excerpt), (Outcome::Up, None));
    }
}
