//! Names as one server of the operator's choice knows them, asked anew each time: a monitor asks whether a new visitor
//! gets in, and an answer of the past would hide that a name has gone.
//!
//! Asked by UDP, and by TCP where an answer is too long for it. Names are taken as they are: no search list, no hosts
//! file; only `localhost` is known here. Answers are believed, without DNSSEC.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::timeout;

use super::{Lookup, failed, no_records, no_such_name};
use crate::domain::outcome::{Failure, FailureKind, shown};

/// A question without an answer is asked again after this time, [`RETRIES`] times.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const RETRIES: usize = 1;
/// Of a whole lookup, also where long answers are fetched once more by TCP. The timeout of a check is its own.
const LIMIT: Duration = Duration::from_secs(5);
/// When one family of addresses is known, the other is not waited for longer.
const OTHER_FAMILY_LIMIT: Duration = Duration::from_millis(500);
/// Questions under way on one TCP connection; beyond them further ones wait.
const MAX_QUESTIONS: usize = 1_024;

pub(super) fn lookup(server: SocketAddr) -> Result<Lookup, String> {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port).to_vec();
    let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
    name_server.connections = connections;
    let config = ResolverConfig::from_name_servers(vec![name_server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.timeout = ANSWER_LIMIT;
    options.attempts = RETRIES;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = MAX_QUESTIONS;
    let resolver = Arc::new(builder.build().map_err(|e| format!("the resolver {server} cannot be asked: {e}"))?);
    Ok(Arc::new(move |name| {
        let resolver = Arc::clone(&resolver);
        Box::pin(async move {
            let overdue = || failed(FailureKind::DnsTimeout, &name, &silent(server, LIMIT));
            timeout(LIMIT, ask(&resolver, server, &name)).await.unwrap_or_else(|_| Err(overdue()))
        })
    }))
}

/// Both families at once; IPv4 comes first.
async fn ask(resolver: &TokioResolver, server: SocketAddr, name: &str) -> Result<Vec<IpAddr>, Failure> {
    let mut whole = Name::from_utf8(name).map_err(|e| {
        Failure::new(FailureKind::DnsNxdomain, format!("The name {name} cannot exist: {}", shown(&e.to_string())))
    })?;
    whole.set_fqdn(true);
    let family = |record_type| {
        let question = resolver.lookup(whole.clone(), record_type);
        Box::pin(async move {
            let answer = question.await.map_err(|error| failure(server, name, &error))?;
            Ok::<Vec<IpAddr>, Failure>(answer.answers().iter().filter_map(|record| address(&record.data)).collect())
        })
    };
    let (mut v4, mut v6) = (Err(no_records(name)), Err(no_records(name)));
    match select(family(RecordType::A), family(RecordType::AAAA)).await {
        Either::Left((first, other)) => {
            v4 = first;
            v6 = the_other(&v4, other).await.unwrap_or(v6);
        }
        Either::Right((first, other)) => {
            v6 = first;
            v4 = the_other(&v6, other).await.unwrap_or(v4);
        }
    }
    match (v4, v6) {
        (Ok(mut v4), Ok(v6)) => {
            v4.extend(v6);
            Ok(v4)
        }
        (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.is_empty() => Ok(some),
        (Ok(_), Err(failure)) | (Err(failure), Ok(_)) => Err(failure),
        (Err(v4), Err(v6)) => Err(if tells_more(&v6) > tells_more(&v4) { v6 } else { v4 }),
    }
}

/// `None`: it was not worth waiting for.
async fn the_other<F: Future>(first: &Result<Vec<IpAddr>, Failure>, other: F) -> Option<F::Output> {
    match first {
        Ok(addresses) if !addresses.is_empty() => timeout(OTHER_FAMILY_LIMIT, other).await.ok(),
        _ => Some(other.await),
    }
}

/// A name that does not exist has no addresses of either family, and one that has none of one family may have some of
/// the other.
fn tells_more(failure: &Failure) -> u8 {
    match failure.kind {
        FailureKind::DnsNxdomain => 2,
        FailureKind::DnsNoRecords => 0,
        _ => 1,
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(v4) => Some(v4.0.into()),
        RData::AAAA(v6) => Some(v6.0.into()),
        _ => None,
    }
}

fn silent(server: SocketAddr, limit: Duration) -> String {
    format!("the resolver {server} did not answer within {} s", limit.as_secs())
}

fn failure(server: SocketAddr, name: &str, error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            no_such_name(name)
        }
        NetError::Dns(DnsError::NoRecordsFound(_)) => no_records(name),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
            failed(FailureKind::DnsRefused, name, &format!("the resolver {server} refuses to answer (REFUSED)"))
        }
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => {
            failed(FailureKind::DnsServfail, name, &format!("the resolver {server} failed (SERVFAIL)"))
        }
        NetError::Timeout => {
            let limit = ANSWER_LIMIT * u32::try_from(RETRIES + 1).unwrap_or(u32::MAX);
            failed(FailureKind::DnsTimeout, name, &silent(server, limit))
        }
        NetError::Io(error) => {
            let why = format!("the resolver {server} cannot be reached: {}", shown(&error.to_string()));
            failed(FailureKind::DnsServfail, name, &why)
        }
        other => {
            let why = format!("the resolver {server} cannot be understood: {}", shown(&other.to_string()));
            failed(FailureKind::DnsServfail, name, &why)
        }
    }
}
