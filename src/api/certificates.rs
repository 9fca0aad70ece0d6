//! `/health/ssl`: the certificates that endpoints serve.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::pagination::{PageParams, Query, sort_keys};
use crate::domain::Timestamp;
use crate::domain::certificate::ServedChain;
use crate::domain::check::CertificateSeen;
use crate::service::ServiceContext;
use crate::service::certificates::{self as verbs, CertificateReport, CertificateState};

sort_keys! {
    /// By what certificates are ordered.
    pub enum CertificateSort {
        NotAfter = "not_after",
        Subject = "subject",
    }
}

type CertificateParams = PageParams<CertificateSort>;

/// A certificate with what was served after it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CertificateItem {
    #[serde(flatten)]
    leaf: PlainCertificate,
    /// The names for which it is: the first 100.
    #[schema(max_items = 100)]
    sans: Vec<String>,
    /// Whole days until its end; negative after it.
    expires_in_days: i64,
    /// What was served after it, in its order.
    chain: Vec<PlainCertificate>,
}

/// What a certificate says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlainCertificate {
    /// SHA-256 of the whole, in hexadecimal digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    fingerprint: String,
    #[schema(example = "CN=shop.example")]
    subject: String,
    issuer: String,
    #[schema(value_type = String, format = DateTime)]
    not_before: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    not_after: Timestamp,
}

impl From<&CertificateSeen> for PlainCertificate {
    fn from(seen: &CertificateSeen) -> Self {
        Self {
            fingerprint: seen.fingerprint.clone(),
            subject: seen.subject.clone(),
            issuer: seen.issuer.clone(),
            not_before: seen.not_before,
            not_after: seen.not_after,
        }
    }
}

impl CertificateItem {
    pub(super) fn new(chain: &ServedChain, now: Timestamp) -> Self {
        Self {
            leaf: (&chain.leaf).into(),
            sans: chain.leaf.sans.clone(),
            expires_in_days: (chain.leaf.not_after - now).num_seconds().div_euclid(86_400),
            chain: chain.issuers.iter().map(Into::into).collect(),
        }
    }
}

/// A certificate that endpoints serve.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServedItem {
    #[serde(flatten)]
    certificate: CertificateItem,
    state: CertificateState,
    /// Those that served it when they were checked last.
    endpoints: Vec<ServingEndpoint>,
}

/// An endpoint that serves a certificate.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServingEndpoint {
    id: i64,
    name: String,
    group: String,
}

/// A page of certificates.
#[derive(Debug, Serialize, ToSchema)]
pub struct CertificateList {
    certificates: Vec<ServedItem>,
    /// On all pages; these too.
    total: u64,
    expiring: u64,
    expired: u64,
    limit: u64,
    offset: u64,
}

/// The certificates that endpoints serve
///
/// Each once, as it was seen by the newest check of each endpoint; the first to expire first. What an endpoint served is
/// known over a restart.
#[utoipa::path(get, path = "/health/ssl", tag = "health", params(CertificateParams),
    responses((status = 200, description = "A page of them", body = CertificateList)))]
pub async fn list(
    State(ctx): State<Arc<ServiceContext>>,
    Query(params): Query<CertificateParams>,
) -> Result<Json<CertificateList>, Problem> {
    let mut all = verbs::list(&ctx);
    if let Some(sort) = params.sort {
        sort.arrange(&mut all, |key, a, b| match key {
            CertificateSort::NotAfter => a.chain.leaf.not_after.cmp(&b.chain.leaf.not_after),
            CertificateSort::Subject => a.chain.leaf.subject.cmp(&b.chain.leaf.subject),
        });
    }
    let count = |state| all.iter().filter(|report| report.state == state).count() as u64;
    let (total, now) = (all.len() as u64, ctx.clock.now());
    let (expiring, expired) = (count(CertificateState::Expiring), count(CertificateState::Expired));
    let certificates = params.page.cut(all).iter().map(|report| item(report, now)).collect();
    let (limit, offset) = (params.page.limit, params.page.offset);
    Ok(Json(CertificateList { certificates, total, expiring, expired, limit, offset }))
}

fn item(report: &CertificateReport, now: Timestamp) -> ServedItem {
    let serving = report.endpoints.iter().map(|entry| ServingEndpoint {
        id: entry.known.id.0,
        name: entry.known.endpoint.name.clone(),
        group: entry.known.endpoint.group.clone(),
    });
    ServedItem {
        certificate: CertificateItem::new(&report.chain, now),
        state: report.state,
        endpoints: serving.collect(),
    }
}
