//! An explanation as text.

use serde_json::Value;

use super::Explained;
use crate::cli::operate::one_line;

/// The widest value that others are lined up with.
const WIDEST: usize = 40;

pub(super) fn text(explained: &Explained) -> String {
    let mut lines = vec![format!("{} ({})", explained.endpoint, explained.from), String::new()];
    let values: Vec<String> = explained.settings.iter().map(|setting| in_a_line(&setting.value)).collect();
    let of_keys = explained.settings.iter().map(|setting| setting.key.chars().count()).max().unwrap_or(0);
    let of_values = values.iter().map(|value| value.chars().count()).max().unwrap_or(0).min(WIDEST);
    for (setting, value) in explained.settings.iter().zip(&values) {
        lines.push(format!("{:<of_keys$}  {value:<of_values$}  {}", setting.key, setting.from.join(", ")));
    }
    lines.push(String::new());
    let route = &explained.route;
    if route.channels.is_empty() {
        lines.push(format!("Nobody is told ({})", route.from));
    } else {
        lines.push(format!("Told ({}):", route.from));
        let widest = route.channels.iter().map(|channel| channel.name.chars().count()).max().unwrap_or(0);
        lines.extend(route.channels.iter().map(|channel| format!("  {:<widest$}  {}", channel.name, channel.from)));
    }
    lines.push(String::new());
    match &explained.running {
        Some(why) => {
            lines.push(format!("Now ({}):", explained.asked.monitor.as_deref().unwrap_or_default()));
            lines.push(format!("  {}", one_line(why["sentence"].as_str().unwrap_or_default())));
            for holding in why["suppressors"].as_array().into_iter().flatten() {
                lines.push(format!("  - {}", suppressor(holding)));
            }
        }
        None => {
            let why = explained.asked.why_not.as_deref().unwrap_or_default().replace('\n', "\n  ");
            lines.push(format!("No running monitor was asked: {why}"));
            lines.push(if explained.asked.database {
                "Known from the configuration and the database alone:".to_owned()
            } else {
                "Known from the configuration alone:".to_owned()
            });
            if explained.known_holds.is_empty() {
                lines.push("  nothing keeps messages back".to_owned());
            }
            for hold in &explained.known_holds {
                let name = hold.name.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
                let until = hold.until.as_ref().map_or_else(String::new, |until| format!(", until {until}"));
                let reason = hold.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", one_line(reason)));
                lines.push(format!("  - {}{name}{until}{reason}", hold.by));
            }
        }
    }
    lines.join("\n")
}

/// `silence: The silence 3 by `ops` is on, until … (holds back opening, reminder, escalation)`
fn suppressor(holding: &Value) -> String {
    let text = |field: &str| one_line(holding[field].as_str().unwrap_or_default());
    let until = holding["until"].as_str().map_or_else(String::new, |until| format!(", until {until}"));
    let matters: Vec<_> = holding["holds_back"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!("{}: {}{until} (holds back {})", text("by"), text("reason"), matters.join(", "))
}

fn in_a_line(value: &Value) -> String {
    match value {
        Value::String(text) => one_line(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(in_a_line).collect();
            format!("[{}]", items.join(", "))
        }
        other => one_line(&other.to_string()),
    }
}
