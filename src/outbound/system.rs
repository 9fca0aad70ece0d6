//! Names as every program of the machine looks them up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Lookup, failed, no_records, no_such_name};
use crate::domain::outcome::{Failure, FailureKind, shown};

/// Those that the machine is set to ask; none where that cannot be read.
pub(super) fn name_servers() -> Vec<SocketAddr> {
    let Ok((config, _)) = hickory_resolver::system_conf::read_system_conf() else { return Vec::new() };
    config.name_servers.iter().map(|server| SocketAddr::new(server.ip, 53)).collect()
}

pub(super) fn lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| failure(&name, &error))?;
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found.map(|found| found.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        })
    })
}

/// What the system's lookup said. It gives no code, only the words of the C library: glibc's and musl's.
fn failure(name: &str, error: &io::Error) -> Failure {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if says(&["Name or service not known", "Name does not resolve"]) {
        no_such_name(name)
    } else if says(&["No address associated with hostname", "Name has no usable address"]) {
        no_records(name)
    } else {
        let reason = text.rsplit(": ").next().unwrap_or_default();
        failed(FailureKind::DnsServfail, name, &shown(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_c_library_choose_the_kind() {
        let missing = "The name shop.example does not exist (NXDOMAIN)";
        let empty = "The name shop.example has no address";
        for (words, kind, message) in [
            ("Name or service not known", FailureKind::DnsNxdomain, missing),
            ("Name does not resolve", FailureKind::DnsNxdomain, missing),
            ("No address associated with hostname", FailureKind::DnsNoRecords, empty),
            ("Name has no usable address", FailureKind::DnsNoRecords, empty),
            (
                "Temporary failure in name resolution",
                FailureKind::DnsServfail,
                "The name shop.example could not be looked up: Temporary failure in name resolution",
            ),
            (
                "Non-recoverable failure in name resolution",
                FailureKind::DnsServfail,
                "The name shop.example could not be looked up: Non-recoverable failure in name resolution",
            ),
        ] {
            let error = io::Error::other(format!("failed to lookup address information: {words}"));
            assert_eq!(failure("shop.example", &error), Failure::new(kind, message));
        }
    }
}
