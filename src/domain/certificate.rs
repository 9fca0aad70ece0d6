//! When a certificate that an endpoint serves is told to expire soon. Pure.

use std::time::Duration;

use crate::domain::check::CertificateSeen;
use crate::domain::{Timestamp, from_micros, micros};

/// A certificate with what was served after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedChain {
    pub leaf: CertificateSeen,
    /// In the order in which they were served; at most [`MAX_CHAIN`](crate::domain::check::MAX_CHAIN) with the leaf.
    pub issuers: Vec<CertificateSeen>,
}

/// How long ahead it is told: a share of the certificate's lifetime, or a length of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ahead {
    /// Percent, more than 0 and less than 100.
    Share(f64),
    Time(Duration),
}

/// `certificate` of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct CertificatePolicy {
    /// Nothing is told with none.
    pub warn: Vec<Ahead>,
}

/// The most entries of `certificate.warn`.
pub const MOST_WARNINGS: usize = 10;

impl Default for CertificatePolicy {
    /// Of a certificate for 90 days 18 days and 6 days ahead, of one for a year 73 and 25.
    fn default() -> Self {
        Self { warn: vec![Ahead::Share(20.0), Ahead::Share(7.0)] }
    }
}

impl Ahead {
    /// The instant from which a certificate is told to expire soon.
    pub fn instant(self, certificate: &CertificateSeen) -> Timestamp {
        let (from, until) = (micros(certificate.not_before), micros(certificate.not_after));
        let ahead = match self {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "to the microsecond is more than enough"
            )]
            Self::Share(percent) => (until.saturating_sub(from).max(0) as f64 * percent / 100.0) as i64,
            Self::Time(time) => i64::try_from(time.as_micros()).unwrap_or(i64::MAX),
        };
        from_micros(until.saturating_sub(ahead))
    }
}

/// Scheme, host and port of a URL: what serves a certificate.
pub fn place(url: &url::Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// The instant whose coming is to be told now: the latest of those that have come, unless it, or a later one, was told
/// before. What has expired is told no more: that is a failure of its own.
///
/// `told`: the latest instant of which it was told.
pub fn due(
    certificate: &CertificateSeen,
    warn: impl IntoIterator<Item = Ahead>,
    told: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let come = warn.into_iter().map(|ahead| ahead.instant(certificate)).filter(|instant| *instant <= now);
    let latest = come.max().filter(|_| now < certificate.not_after)?;
    told.is_none_or(|told| told < latest).then_some(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting(from: &str, until: &str) -> CertificateSeen {
        CertificateSeen {
            fingerprint: "ab".repeat(32),
            subject: "CN=shop.example".to_owned(),
            issuer: "CN=test".to_owned(),
            not_before: from.parse().unwrap(),
            not_after: until.parse().unwrap(),
            sans: Vec::new(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_share_is_of_the_lifetime_and_a_time_is_not() {
        let year = lasting("2026-01-01T00:00:00Z", "2026-04-11T00:00:00Z");
        assert_eq!(Ahead::Share(20.0).instant(&year), at("2026-03-22T00:00:00Z"), "20 of 100 days");
        assert_eq!(Ahead::Share(7.0).instant(&year), at("2026-04-04T00:00:00Z"));
        assert_eq!(Ahead::Time(30 * DAY).instant(&year), at("2026-03-12T00:00:00Z"));
        // Longer than it lasts: from its beginning on.
        assert!(Ahead::Time(400 * DAY).instant(&year) < year.not_before);
        let none = lasting("2026-04-11T00:00:00Z", "2026-01-01T00:00:00Z");
        assert_eq!(Ahead::Share(20.0).instant(&none), none.not_after, "one that was never good");
    }

    #[test]
    fn each_threshold_is_told_once_and_the_most_urgent_alone() {
        let certificate = lasting("2026-01-01T00:00:00Z", "2026-04-11T00:00:00Z");
        let warn = CertificatePolicy::default().warn;
        let due = |told: Option<Timestamp>, now: &str| due(&certificate, warn.clone(), told, at(now));
        let (first, second) = (at("2026-03-22T00:00:00Z"), at("2026-04-04T00:00:00Z"));
        assert_eq!(due(None, "2026-03-21T23:59:59Z"), None);
        assert_eq!(due(None, "2026-03-22T00:00:00Z"), Some(first));
        assert_eq!(due(Some(first), "2026-04-03T23:59:59Z"), None);
        assert_eq!(due(Some(first), "2026-04-04T00:00:00Z"), Some(second));
        assert_eq!(due(Some(second), "2026-04-10T00:00:00Z"), None);
        assert_eq!(due(None, "2026-04-10T00:00:00Z"), Some(second), "seen late: once");
        assert_eq!(due(None, "2026-04-11T00:00:00Z"), None, "expired");
        assert_eq!(super::due(&certificate, [], None, at("2026-04-10T00:00:00Z")), None, "nobody wants it");
    }
}
