//! Reading X.509: the leaf for the observation, and the sentence that says why a chain was refused.

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
use x509_parser::prelude::FromDer;

use super::failure::shown;
use super::trace::Refusal;
use crate::domain::Timestamp;
use crate::domain::check::CertificateSeen;
use crate::domain::outcome::{Failure, FailureKind};

/// More names than this are not kept: a certificate may carry thousands.
const MAX_SANS: usize = 100;

/// What a certificate says of itself; `None` if it cannot be read.
pub(super) fn read(der: &[u8]) -> Option<CertificateSeen> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let sans = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| extension.value.general_names.iter().filter_map(name).take(MAX_SANS).collect())
        .unwrap_or_default();
    Some(CertificateSeen {
        fingerprint: fingerprint(der),
        subject: shown(&certificate.subject().to_string()),
        issuer: shown(&certificate.issuer().to_string()),
        not_before: Timestamp::from_timestamp(certificate.validity().not_before.timestamp(), 0)?,
        not_after: Timestamp::from_timestamp(certificate.validity().not_after.timestamp(), 0)?,
        sans,
    })
}

/// When a certificate expires, in seconds since 1970.
pub(super) fn expires(der: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

fn fingerprint(der: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    Sha256::digest(der).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some(shown(text)),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).ok().map(|o| std::net::IpAddr::from(o).to_string()),
            16 => <[u8; 16]>::try_from(*octets).ok().map(|o| std::net::IpAddr::from(o).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Why a chain was refused. `None` when the error is not about the certificate.
pub(super) fn refusal_failure(refusal: &Refusal) -> Option<Failure> {
    let rustls::Error::InvalidCertificate(error) = &refusal.error else { return None };
    let leaf = refusal.chain.first().and_then(|der| read(der));
    let subject = leaf.as_ref().map_or_else(|| "unreadable".to_owned(), subject);
    let now = instant(refusal.at)?;
    Some(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            // Of the certificate which is expired: an intermediate may be, while the leaf is not.
            let expired_at = match error {
                CertificateError::ExpiredContext { not_after, .. } => instant(*not_after),
                _ => leaf.as_ref().map(|l| l.not_after),
            };
            let of_the_leaf = leaf.as_ref().is_some_and(|l| Some(l.not_after) == expired_at);
            let whose = if of_the_leaf { "TLS certificate" } else { "An intermediate TLS certificate" };
            let of = if of_the_leaf { subject } else { format!("in the chain of {subject}") };
            let when = expired_at.map_or_else(String::new, |at| format!("{}, ", at.date_naive()));
            let ago = expired_at.map_or_else(String::new, |at| format!(" {} ago", span(now - at)));
            Failure::new(FailureKind::TlsExpired, format!("{whose} expired{ago} ({when}{of})"))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let valid_from = match error {
                CertificateError::NotValidYetContext { not_before, .. } => instant(*not_before),
                _ => leaf.as_ref().map(|l| l.not_before),
            };
            let when = valid_from
                .map_or_else(String::new, |at| format!(" for another {} (from {},", span(at - now), at.date_naive()));
            let open = if valid_from.is_some() { "" } else { " (" };
            Failure::new(FailureKind::TlsNotYetValid, format!("TLS certificate is not valid{when}{open} {subject})"))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = leaf.as_ref().map(|l| listed(&l.sans)).filter(|n| !n.is_empty()).unwrap_or(subject);
            let wanted = match error {
                CertificateError::NotValidForNameContext { expected, .. } => format!(", not for {}", host(expected)),
                _ => String::new(),
            };
            Failure::new(FailureKind::TlsHostnameMismatch, format!("TLS certificate is for {names}{wanted}"))
        }
        CertificateError::Revoked => {
            Failure::new(FailureKind::TlsRevoked, format!("TLS certificate is revoked ({subject})"))
        }
        error => untrusted(error, &refusal.chain, leaf.as_ref(), &subject),
    })
}

/// A certificate that no known authority vouches for, or that is unfit for a server.
fn untrusted(
    error: &CertificateError,
    chain: &[CertificateDer<'static>],
    leaf: Option<&CertificateSeen>,
    subject: &str,
) -> Failure {
    let Some(leaf) = leaf else {
        return Failure::new(FailureKind::TlsHandshake, "TLS certificate cannot be read");
    };
    if leaf.subject == leaf.issuer {
        // Also where it is refused for being an authority's certificate, as most self-made ones are.
        return Failure::new(FailureKind::TlsUntrusted, format!("TLS certificate is self-signed ({subject})"));
    }
    if *error != CertificateError::UnknownIssuer {
        return Failure::new(FailureKind::TlsHandshake, format!("TLS certificate is refused: {error} ({subject})"));
    }
    let last = chain.last().and_then(|der| read(der));
    let issuer = last.as_ref().map_or(leaf.issuer.as_str(), |l| l.issuer.as_str());
    let what = if last.as_ref().is_some_and(|l| l.subject == l.issuer) {
        format!("TLS certificate chain ends in an authority that is not trusted ({issuer})")
    } else if chain.last().is_some_and(|der| names_issuers(der)) {
        format!("TLS certificate chain lacks an intermediate certificate: the server does not send that of {issuer}")
    } else {
        format!(
            "TLS certificate is issued by an unknown authority, or an intermediate certificate is missing ({issuer})"
        )
    };
    Failure::new(FailureKind::TlsUntrusted, what)
}

/// Whether a certificate says where that of its issuer is to be had, as those of intermediate authorities do: roots are
/// not fetched.
fn names_issuers(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().any(|described| described.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS)
        }
        _ => false,
    })
}

/// The subject; for a certificate without one its first name.
fn subject(certificate: &CertificateSeen) -> String {
    if certificate.subject.is_empty() {
        certificate.sans.first().cloned().unwrap_or_else(|| "no name".to_owned())
    } else {
        certificate.subject.clone()
    }
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 {
        text.push_str(", …");
    }
    text
}

fn host(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
        other => other.to_str().into_owned(),
    }
}

fn instant(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_timestamp(i64::try_from(time.as_secs()).ok()?, 0)
}

/// A length of time in its largest unit: `3 days`, `1 hour`.
fn span(time: chrono::TimeDelta) -> String {
    let (number, unit) = match time.num_seconds().max(0) {
        s if s >= 86_400 => (s / 86_400, "day"),
        s if s >= 3600 => (s / 3600, "hour"),
        s if s >= 60 => (s / 60, "minute"),
        s => (s, "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}
