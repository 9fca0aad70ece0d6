//! `outbound:`: where endpoints and channels that are made through the API may connect to.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::report::Report;
use super::section::Section;
use crate::domain::outbound::OutboundPolicy;

/// Networks of `deny`: each address that is connected to is compared with all of them.
const MAX_NETWORKS: usize = 1_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawOutbound {
    allow_private: Option<bool>,
    deny: Option<Vec<String>>,
}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> OutboundPolicy {
    let raw: RawOutbound = section.read(report);
    let default = OutboundPolicy::default();
    let deny = raw.deny.unwrap_or_default();
    if deny.len() > MAX_NETWORKS {
        section.wrong("deny", format!("too many networks: at most {MAX_NETWORKS}"), report);
    }
    OutboundPolicy {
        allow_private: raw.allow_private.unwrap_or(default.allow_private),
        deny: networks(section, "deny", &deny, report),
    }
}

/// Addresses and networks, each as a network.
pub(super) fn networks(section: &Section<'_>, key: &str, items: &[String], report: &mut Report) -> Vec<IpNet> {
    let mut all = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let item = item.trim();
        match item.parse::<IpNet>().ok().or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from)) {
            Some(network) => all.push(network.trunc()),
            None => {
                let message = format!("`{item}` is not an address or a network, such as 10.0.0.5 or 10.0.0.0/8");
                section.wrong(&format!("{key}.{i}"), message, report);
            }
        }
    }
    all
}
