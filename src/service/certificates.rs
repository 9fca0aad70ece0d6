//! The certificates that endpoints serve, with who serves each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::ServiceContext;
use crate::board::Entry;
use crate::domain::Timestamp;
use crate::domain::certificate::ServedChain;
use crate::domain::outcome::words;

words! {
    /// How a certificate stands.
    pub enum CertificateState {
        /// Its time has not begun.
        NotYetValid = "not_yet_valid",
        Valid = "valid",
        /// Its end is so near that it was, or would be, told.
        Expiring = "expiring",
        Expired = "expired",
    }
}

/// A certificate, and the endpoints that served it when they were checked last.
#[derive(Debug)]
pub struct CertificateReport {
    pub chain: Arc<ServedChain>,
    pub state: CertificateState,
    /// By group and name.
    pub endpoints: Vec<Entry>,
}

/// All that endpoints serve, the first to expire first.
pub fn list(ctx: &ServiceContext) -> Vec<CertificateReport> {
    let now = ctx.clock.now();
    let mut served: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in ctx.board.entries() {
        if let Some(chain) = &entry.live.certificate {
            served.entry(chain.leaf.fingerprint.clone()).or_default().push(entry);
        }
    }
    let report = |mut endpoints: Vec<Entry>| {
        let chain = endpoints[0].live.certificate.clone()?;
        endpoints.sort_by(|a, b| {
            let key = |entry: &Entry| (entry.known.endpoint.group.clone(), entry.known.endpoint.name.clone());
            key(a).cmp(&key(b))
        });
        let state = state(&chain, &endpoints, now);
        Some(CertificateReport { chain, state, endpoints })
    };
    let mut reports: Vec<_> = served.into_values().filter_map(report).collect();
    reports.sort_by_key(|report| report.chain.leaf.not_after);
    reports
}

fn state(chain: &ServedChain, endpoints: &[Entry], now: Timestamp) -> CertificateState {
    let leaf = &chain.leaf;
    let mut warn = endpoints.iter().flat_map(|entry| &entry.known.endpoint.certificate.warn);
    if leaf.not_after <= now {
        CertificateState::Expired
    } else if now < leaf.not_before {
        CertificateState::NotYetValid
    } else if warn.any(|ahead| ahead.instant(leaf) <= now) {
        CertificateState::Expiring
    } else {
        CertificateState::Valid
    }
}
