//! What Telegram would read, by small readers of its parse modes, is what was meant.

use proptest::prelude::*;

use super::*;
use crate::domain::notification::Notification;
use crate::notify::testing::{down, hostile};

/// Reads the old `Markdown`: the text without markup, or why Telegram would refuse it.
fn read_markdown(text: &str) -> Result<String, String> {
    let mut read = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\\' && rest[1..].starts_with(['_', '*', '`', '[']) {
            read.push_str(&rest[1..2]);
            rest = &rest[2..];
            continue;
        }
        let (open, end) = match c {
            '`' if rest.starts_with("```") => ("```", "```"),
            '`' => ("`", "`"),
            '_' => ("_", "_"),
            '*' => ("*", "*"),
            '[' => ("[", "]"),
            c => {
                read.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        let inner = &rest[open.len()..];
        let at = inner.find(end).ok_or_else(|| format!("no end of {open}: {rest}"))?;
        read.push_str(&inner[..at]);
        rest = &inner[at + end.len()..];
        if open == "[" {
            let address = rest.strip_prefix('(').ok_or_else(|| format!("no address: {rest}"))?;
            rest = &address[address.find(')').ok_or_else(|| format!("no end of the address: {rest}"))? + 1..];
        }
    }
    Ok(read)
}

/// Reads `MarkdownV2` with bold and code only.
fn read_v2(text: &str) -> Result<String, String> {
    let mut read = String::new();
    let mut open: Vec<char> = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().filter(char::is_ascii).ok_or("a backslash before nothing")?;
                read.push(escaped);
            }
            '*' | '`' => match open.last() {
                Some(last) if *last == c => drop(open.pop()),
                _ => open.push(c),
            },
            c if V2_SPECIAL.contains(c) && open.last() != Some(&'`') => {
                return Err(format!("'{c}' is reserved and must be escaped: {text}"));
            }
            c => read.push(c),
        }
    }
    if open.is_empty() { Ok(read) } else { Err(format!("no end of {open:?}: {text}")) }
}

/// Reads HTML with bold, code and links only.
fn read_html(text: &str) -> Result<String, String> {
    let mut read = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&', '>']) {
        read.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [
            ("<b>", ""),
            ("</b>", ""),
            ("<code>", ""),
            ("</code>", ""),
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&amp;", "&"),
            ("&quot;", "\""),
            ("&#39;", "'"),
        ];
        let (markup, meant) =
            known.iter().find(|(markup, _)| rest.starts_with(markup)).ok_or_else(|| format!("markup: {rest}"))?;
        read.push_str(meant);
        rest = &rest[markup.len()..];
    }
    Ok(read + rest)
}

fn named(name: &str, error: &str) -> Notification {
    let mut notification = down();
    notification.endpoint_name = name.to_owned();
    notification.error = Some(error.to_owned());
    notification
}

fn filled(template: &str, notification: &Notification, mode: Mode) -> String {
    fill(&Template::parse(template).unwrap(), &Facts::new(notification, chrono_tz::UTC), mode, usize::MAX)
}

#[test]
fn the_originals_template_is_right_for_names_with_markup() {
    let notification = named("my_api *2* [x]", "a_b `c` \\");
    let text = filled("🚨 *{endpoint_name}* is DOWN\nError: {error}", &notification, Mode::Markdown);
    assert_eq!(text, "🚨 *my_api *\\**2*\\** [x]* is DOWN\nError: a\\_b \\`c\\` \\\u{200b}");
    let text = filled("🚨 *{endpoint_name}* is DOWN", &notification, Mode::MarkdownV2);
    assert_eq!(text, "🚨 *my\\_api \\*2\\* \\[x\\]* is DOWN");
    assert_eq!(filled("<b>{endpoint_name}</b>", &named("a<b>&", ""), Mode::Html), "<b>a&lt;b&gt;&amp;</b>");
    assert_eq!(filled("*{endpoint_name}*", &notification, Mode::None), "*my_api *2* [x]*");
}

#[test]
fn values_in_links_do_not_end_them() {
    let mut notification = named("a](b", "");
    notification.url = "https://example.com/a_(b)".to_owned();
    let text = filled("[{endpoint_name}]({url}) _{endpoint_name}_", &notification, Mode::Markdown);
    assert_eq!(text, "[a)(b](https://example.com/a_(b%29) _a](b_");
    assert_eq!(read_markdown(&text).unwrap(), "a)(b a](b");
}

proptest! {
    #[test]
    fn hostile_values_are_read_as_text(name in hostile(), error in hostile()) {
        let notification = named(&name, &error);
        let meant = format!("🚨 {name} is DOWN\nError: {error} ({name})");
        let text = filled("🚨 *{endpoint_name}* is DOWN\nError: {error} ({endpoint_name})", &notification, Mode::Markdown);
        prop_assert_eq!(read_markdown(&text).unwrap().replace('\u{200b}', ""), meant.replace('\u{200b}', ""));
        let text = filled("🚨 *{endpoint_name}* is DOWN\nError: {error} \\(`{endpoint_name}`\\)", &notification, Mode::MarkdownV2);
        prop_assert_eq!(read_v2(&text).unwrap(), meant.clone());
        let text = filled("🚨 <b>{endpoint_name}</b> is DOWN\nError: {error} ({endpoint_name})", &notification, Mode::Html);
        prop_assert_eq!(read_html(&text).unwrap(), meant);
    }

    #[test]
    fn code_and_italics_hold_hostile_values(value in hostile()) {
        let notification = named(&value, "");
        let text = filled("_{endpoint_name}_ `{endpoint_name}` end", &notification, Mode::Markdown);
        prop_assert_eq!(read_markdown(&text).unwrap(), format!("{value} {value} end"));
        let text = filled("```{endpoint_name}``` end", &notification, Mode::Markdown);
        prop_assert_eq!(read_markdown(&text).unwrap(), format!("{} end", value.replace('`', "'")));
    }

    #[test]
    fn our_own_text_is_right_in_every_mode(value in hostile()) {
        let notification = named(&value, &value);
        let facts = Facts::new(&notification, chrono_tz::UTC);
        let meant = facts.words.text();
        let plain = |text: String| text.replace('\u{200b}', "");
        for (mode, read) in [
            (Mode::Markdown, read_markdown as fn(&str) -> Result<String, String>),
            (Mode::MarkdownV2, read_v2),
            (Mode::Html, read_html),
            (Mode::None, |text: &str| Ok(text.to_owned())),
        ] {
            let text = super::super::ours(&facts, mode, usize::MAX);
            prop_assert_eq!(plain(read(&text).unwrap()), plain(meant.clone()));
        }
    }
}
