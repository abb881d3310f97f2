//! Ranges of addresses, and which of them are as good as the whole internet.

use std::net::IpAddr;

/// A range of addresses, as AWS writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// `None`: not a range of addresses.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix = prefix.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Whether all of `other` is in this range. No range of one version of IP is in one of the other.
    pub(crate) fn contains(self, other: Self) -> bool {
        let is_same_version = self.address.is_ipv4() == other.address.is_ipv4();
        is_same_version
            && self.prefix <= other.prefix
            && self.network(self.prefix) == other.network(self.prefix)
    }

    /// The first so many bits of the address.
    fn network(self, prefix: u8) -> u128 {
        let (bits, length) = match self.address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        // A shift by the whole length would overflow.
        bits.checked_shr(length - u32::from(prefix)).unwrap_or_default()
    }

    /// Judged by the length of the prefix, not by the text: `0.0.0.0/1` and `128.0.0.0/1` together are everyone.
    ///
    /// IPv4: shorter than /8, the largest block that one network was ever given. IPv6: shorter than /16, since the
    /// blocks of the regional registries are /12, and what they give to one network is not larger than a /16.
    /// Unique local addresses (`fc00::/7`) are nobody on the internet, as `10.0.0.0/8` is.
    pub(crate) fn is_world(self) -> bool {
        match self.address {
            IpAddr::V4(_) => self.prefix < 8,
            IpAddr::V6(address) => {
                let is_unique_local = self.prefix >= 7 && address.segments()[0] & 0xfe00 == 0xfc00;
                self.prefix < 16 && !is_unique_local
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_world(text: &str) -> bool {
        Cidr::parse(text).unwrap().is_world()
    }

    #[test]
    fn judges_by_the_length_of_the_prefix() {
        for world in [
            "0.0.0.0/0",
            "203.0.113.9/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "64.0.0.0/2",
            "10.0.0.0/7",
            "::/0",
            "::/1",
            "8000::/1",
            "2000::/3",
            "2a00::/12",
            "2a00::/15",
            "f000::/4",
            "fc00::/6",
        ] {
            assert!(is_world(world), "{world}");
        }
        for narrow in [
            "10.0.0.0/8",
            "3.0.0.0/8",
            "0.0.0.0/16",
            "203.0.113.0/24",
            "203.0.113.9/32",
            "2600::/16",
            "2001:db8::/32",
            "2001:db8::1/128",
            "fc00::/7",
            "fd00::/8",
        ] {
            assert!(!is_world(narrow), "{narrow}");
        }
    }

    #[test]
    fn reads_nothing_but_ranges() {
        for wrong in
            ["", "/", "0.0.0.0", "0.0.0.0/", "0.0.0.0/33", "::/129", "0.0.0/0", "a/0", "0.0.0.0/-1"]
        {
            assert!(Cidr::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn knows_what_it_contains() {
        let contains = |one, other| Cidr::parse(one).unwrap().contains(Cidr::parse(other).unwrap());
        for (one, other) in [
            ("0.0.0.0/0", "203.0.113.9/32"),
            ("0.0.0.0/0", "198.51.100.7/0"),
            ("10.0.0.0/8", "10.1.0.0/16"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::/0", "2001:db8::/32"),
            ("fc00::/7", "fd00::/8"),
        ] {
            assert!(contains(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("10.1.0.0/16", "10.0.0.0/8"),
            ("0.0.0.0/1", "128.0.0.0/1"),
            ("0.0.0.0/0", "::/0"),
            ("::/0", "10.0.0.0/8"),
            ("203.0.113.9/32", "203.0.113.8/32"),
        ] {
            assert!(!contains(one, other), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,50}|[0-9a-f:.]{0,20}/[0-9]{1,3}") {
            Cidr::parse(&text).map(|range| (range.is_world(), range.contains(range)));
        }

        #[test]
        fn what_holds_the_world_is_the_world(address: u32, prefix in 0u8..=32, less in 0u8..=32) {
            let range = |prefix| Cidr { address: IpAddr::V4(address.into()), prefix };
            prop_assert!(range(prefix.saturating_sub(less)).is_world() || !range(prefix).is_world());
        }

        #[test]
        fn what_holds_the_world_is_the_world_in_ipv6(address: u128, prefix in 0u8..=20, less in 0u8..=20) {
            let range = |prefix| Cidr { address: IpAddr::V6(address.into()), prefix };
            prop_assert!(range(prefix.saturating_sub(less)).is_world() || !range(prefix).is_world());
        }
    }
}
