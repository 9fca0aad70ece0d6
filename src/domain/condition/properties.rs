use proptest::prelude::*;

use super::tests::answer;
use super::*;

/// Pieces of which conditions, and what only looks like them, are made.
fn piece() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "[STATUS]",
        "[BODY]",
        "[BODY].a",
        "[BODY][0]",
        "[BODY].a.b[1].c",
        "[HEADER].x-y",
        "[RESPONSE_TIME]",
        "[CONTEXT].u",
        "[CERTIFICATE_EXPIRATION]",
        "[body_size]",
        "len(",
        "has(",
        "age(",
        "pat(",
        "any(",
        "regex(",
        "contains(",
        "jsonpath([BODY], \"$..a\")",
        "jsonpath([BODY], $.a[?@.b == 'x'])",
        "jsonpath(",
        ")",
        "(",
        ",",
        ", ",
        " == ",
        " != ",
        " <= ",
        " >= ",
        " < ",
        " > ",
        "==",
        " ",
        "200",
        "0x1F",
        "1h30m",
        "500ms",
        "10d",
        "1e6",
        "-1.5",
        "ok",
        "*",
        "?",
        "[a-z]",
        "\\",
        "\"",
        "$",
        ".",
        "..",
        "[",
        "]",
        "true",
        "{\"a\":1}",
        "[1 2]",
        "äöü",
        "\u{feff}",
        "(?i)x+",
    ]);
    prop_oneof![6 => known.prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::collection::vec(piece(), 0..10).prop_map(|pieces| pieces.concat()),
        // Mostly well formed.
        3 => (piece(), piece(), piece(), proptest::sample::select(vec![" == ", " != ", " < ", " >= "]), piece(), piece())
            .prop_map(|(a, b, c, operator, d, e)| format!("{a}{b}{c}{operator}{d}{e}")),
        3 => (
            proptest::sample::select(vec!["[BODY]", "[BODY].a", "[BODY][0].b", "len([BODY].a)", "jsonpath([BODY], $..b)", "age([BODY].a)", "has([BODY].a)"]),
            proptest::sample::select(vec![" == ", " != ", " < ", " >= "]),
            piece(),
        )
            .prop_map(|(a, operator, b)| format!("{a}{operator}{b}")),
        1 => "\\PC{0,40}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,8}".prop_map(Into::into),
        "2027-01-[0-3][0-9]T07:55:00Z".prop_map(Into::into),
    ];
    let json = leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            proptest::collection::vec(("[ab]|\\PC{0,3}", inner), 0..4)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    });
    prop_oneof![
        4 => json.prop_map(|json| json.to_string().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..60),
        1 => "[\\[\\]{}\":,0-9a-b ]{0,30}".prop_map(String::into_bytes),
    ]
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::Strict), Just(Dialect::Gatus)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn reading_never_panics_and_printing_is_read_as_the_same(text in text(), dialect in dialect()) {
        match Condition::parse(&text, dialect) {
            Ok(condition) => {
                let printed = condition.to_string();
                prop_assert_eq!(Condition::parse(&printed, dialect), Ok(condition), "{} printed as {}", text, printed);
            }
            Err(error) => prop_assert!(error.column <= text.chars().count() + 1, "{text}: {error}"),
        }
    }

    #[test]
    fn examining_never_panics(text in text(), dialect in dialect(), body in body(), is_cut in any::<bool>()) {
        if let Ok(condition) = Condition::parse(&text, dialect) {
            let evidence = Evidence { body, is_cut, ..Evidence::default() };
            let answer = answer(&evidence);
            let verdict = Examiner::new(&answer).examine(&condition);
            let seen = verdict.seen(false);
            prop_assert_eq!(&seen.condition, &condition.to_string());
            prop_assert!(seen.seen.len() < 2 * MAX_CONDITION + 2000);
            prop_assert!(!verdict.sentence().is_empty());
        }
    }

    /// What is compared, strictly, with something that is not there holds in neither way.
    #[test]
    fn nothing_holds_over_what_is_not_there(operator in "==|!=|<|<=|>|>=", literal in "[0-9]{1,3}", body in body()) {
        let evidence = Evidence { body, ..Evidence::default() };
        let answer = answer(&evidence);
        for source in ["[BODY].zz", "len([BODY].zz)", "age([BODY].zz)", "jsonpath([BODY], $.zz)", "[HEADER].zz"] {
            let condition = Condition::parse(&format!("{source} {operator} {literal}"), Dialect::Strict);
            prop_assert!(!Examiner::new(&answer).examine(&condition.unwrap()).holds, "{source} {operator} {literal}");
        }
    }

    /// A condition and its opposite never hold both.
    #[test]
    fn opposites_exclude_each_other(literal in "[0-9a-z]{0,4}", body in body(), dialect in dialect()) {
        let evidence = Evidence { body, ..Evidence::default() };
        let answer = answer(&evidence);
        let holds = |operator: &str| {
            let condition = Condition::parse(&format!("[BODY].a {operator} {literal}"), dialect);
            condition.is_ok_and(|condition| Examiner::new(&answer).examine(&condition).holds)
        };
        prop_assert!(!(holds("==") && holds("!=")));
        prop_assert!(!(holds("<") && holds(">=")));
    }
}
