//! Many messages at once: which of what is told waits for a digest, by the windows of each channel.

use std::collections::BTreeMap;

use super::said::{Said, What};
use crate::domain::Timestamp;
use crate::domain::grouping::{Admission, GroupingPolicy, MOST_IN_A_DIGEST, Windows, is_grouped};

/// Messages that a channel gets together. One alone goes out as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    pub at: Timestamp,
    pub channel: String,
    /// Which of what was said, in its order.
    pub messages: Vec<usize>,
}

/// What of this is told together, and when, in the order of time. `may_group`: whether messages to a channel are grouped.
pub fn together(said: &[Said], policy: &GroupingPolicy, may_group: impl Fn(&str) -> bool) -> Vec<Together> {
    let mut windows: BTreeMap<&str, Windows> = BTreeMap::new();
    let mut held: BTreeMap<(Timestamp, &str), Vec<usize>> = BTreeMap::new();
    for (n, one) in said.iter().enumerate() {
        let What::Message { event, to, held_by: None, .. } = &one.what else { continue };
        if !is_grouped(*event) {
            continue;
        }
        for channel in to.iter().filter(|channel| may_group(channel)) {
            let of_channel = windows.entry(channel).or_default();
            if let Admission::Held { until } = of_channel.admit(policy, one.at, one.at) {
                held.entry((until, channel)).or_default().push(n);
            }
        }
    }
    let mut all = Vec::new();
    for ((at, channel), messages) in held {
        // Each endpoint is in one of them.
        let mut endpoints: Vec<_> = messages.iter().map(|n| said[*n].endpoint).collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        for of_one in endpoints.chunks(MOST_IN_A_DIGEST) {
            let is_in = |n: &usize| of_one.binary_search(&said[*n].endpoint).is_ok();
            let messages = messages.iter().copied().filter(is_in).collect();
            all.push(Together { at, channel: channel.to_owned(), messages });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::endpoint::EndpointId;
    use crate::domain::from_micros;
    use crate::domain::notification::Event;

    fn down(second: i64, endpoint: i64, to: &[&str]) -> Said {
        let at = from_micros(second * 1_000_000);
        let (to, id) = (to.iter().map(|name| (*name).to_owned()).collect(), format!("{endpoint} {second}"));
        let what = What::Message { event: Event::Down, span: at, ordinal: 0, id, to, held_by: None };
        Said { at, endpoint: EndpointId(endpoint), what }
    }

    #[test]
    fn the_fourth_in_a_window_and_those_after_it_go_together_through_channels_that_group() {
        let said: Vec<Said> = (0..6).map(|n| down(n, n, &["mail", "pager"])).chain([down(40, 9, &["mail"])]).collect();
        let found = together(&said, &GroupingPolicy::default(), |channel| channel != "pager");
        let at = said[0].at + TimeDelta::seconds(30);
        assert_eq!(found, [Together { at, channel: "mail".to_owned(), messages: vec![3, 4, 5] }]);
    }
}
