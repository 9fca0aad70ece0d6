//! Where addresses are: on this machine, in networks of one's own, or in the Internet.

use core::net::IpAddr;

use crate::domain::outbound;
use crate::domain::outcome::words;

words! {
    /// Where an address is.
    pub enum Reach {
        /// On this machine.
        Loopback = "loopback",
        /// In a network that is not of the Internet.
        Private = "private",
        Public = "public",
    }
}

/// Where an address is. One that only carries another is where that is.
pub fn reach_of(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    if address.is_loopback() || address.is_unspecified() {
        Reach::Loopback
    } else if outbound::is_private(address) {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// Where the addresses of an endpoint, or of the targets, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reaches {
    loopback: bool,
    private: bool,
    public: bool,
}

impl Reaches {
    /// Of a name that could not be looked up: names are looked up in the Internet.
    pub const UNRESOLVED: Self = Self { loopback: false, private: false, public: true };

    pub fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut reaches = Self::default();
        for address in addresses {
            reaches.add(reach_of(address));
        }
        reaches
    }

    pub fn add(&mut self, reach: Reach) {
        match reach {
            Reach::Loopback => self.loopback = true,
            Reach::Private => self.private = true,
            Reach::Public => self.public = true,
        }
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            loopback: self.loopback || other.loopback,
            private: self.private || other.private,
            public: self.public || other.public,
        }
    }

    pub fn contains(self, reach: Reach) -> bool {
        match reach {
            Reach::Loopback => self.loopback,
            Reach::Private => self.private,
            Reach::Public => self.public,
        }
    }

    /// Nothing is known.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Whether whatever concerns the targets concerns this, too: all of it is where targets are, and nothing of it on
    /// this machine.
    pub fn is_within(self, targets: Self) -> bool {
        !self.is_empty() && !self.loopback && (targets.private || !self.private) && (targets.public || !self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Reaches {
        Reaches::of(text.split_whitespace().map(|address| address.parse().unwrap()))
    }

    #[test]
    fn addresses_are_on_this_machine_in_networks_of_ones_own_or_in_the_internet() {
        for (address, expected) in [
            ("127.0.0.1", Reach::Loopback),
            ("127.255.3.4", Reach::Loopback),
            ("0.0.0.0", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("10.0.0.1", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("169.254.169.254", Reach::Private),
            ("203.0.113.9", Reach::Private),
            ("fd00::1", Reach::Private),
            ("fe80::1", Reach::Private),
            ("::ffff:10.0.0.1", Reach::Private),
            ("172.32.0.1", Reach::Public),
            ("100.128.0.1", Reach::Public),
            ("9.9.9.9", Reach::Public),
            ("2620:fe::fe", Reach::Public),
            ("::ffff:9.9.9.9", Reach::Public),
        ] {
            assert_eq!(reach_of(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_concerns_the_targets_concerns_what_is_where_they_are() {
        let (public, private, both) = (of("9.9.9.9"), of("10.0.0.1"), of("9.9.9.9 10.0.0.1"));
        for (what, targets, expected) in [
            (public, public, true),
            (private, public, false),
            (public, private, false),
            (private, private, true),
            (both, public, false),
            (both, both, true),
            (public, both, true),
            (Reaches::UNRESOLVED, public, true),
            (Reaches::UNRESOLVED, private, false),
            (of("127.0.0.1"), both, false),
            (of("127.0.0.1"), of("127.0.0.1"), false),
            (of("::1 9.9.9.9"), public, false),
            (Reaches::default(), both, false),
            (public, Reaches::default(), false),
            (public, of("127.0.0.1"), false),
        ] {
            assert_eq!(what.is_within(targets), expected, "{what:?} {targets:?}");
        }
    }
}
