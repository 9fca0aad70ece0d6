//! `group_messages`: when many messages to a channel become a digest.

use std::time::Duration;

use serde::Deserialize;

use super::report::Report;
use super::section::Section;
use super::tree::{Node, Value};
use crate::domain::grouping::GroupingPolicy;
use crate::domain::setting::DurationSetting;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawGroupMessages {
    after: Option<u32>,
    window: Option<DurationSetting>,
}

/// `false`: every message goes out by itself.
pub(super) fn read(root: &Node, report: &mut Report) -> Option<GroupingPolicy> {
    if let Some(node) = root.get("group_messages")
        && let Value::Scalar(scalar) = &node.value
        && matches!(scalar.text.trim(), "false")
    {
        return None;
    }
    let section = Section::of(root, "group_messages");
    let raw: RawGroupMessages = section.read(report);
    let default = GroupingPolicy::default();
    let after = section.in_range("after", raw.after, default.after, 1, 1_000, report);
    let window = raw.window.map_or(default.window, |d| d.0);
    if window < Duration::from_secs(1) || window > Duration::from_mins(10) {
        section.wrong("window", "must be 1 s to 10 min", report);
    }
    Some(GroupingPolicy { after, window })
}
