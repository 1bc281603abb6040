//! Sets of networks: which addresses are the company's, which are its VPN's.
//!
//! Reads: CIDR lists (RFC 4632, RFC 4291). Emits: membership. Does not: know what a network is for.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A set of networks, ready to be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    // Disjoint and ascending, so that at most one can hold an address: the last that does not begin after it.
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

/// An item of a list that is neither a network nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{item}' (item {position}) is not a network such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct NetworksError {
    /// What was written.
    pub item: String,
    /// Where in the list, counted from 1.
    pub position: usize,
}

impl Networks {
    /// Whether one of the networks holds `ip`. An IPv4 address in IPv6 clothes (`::ffff:0:0/96`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.contains_v4(ip),
            IpAddr::V6(ip) => self.contains_v6(ip),
        }
    }

    fn contains_v4(&self, ip: Ipv4Addr) -> bool {
        let after = self.v4.partition_point(|net| net.network() <= ip);
        after.checked_sub(1).and_then(|at| self.v4.get(at)).is_some_and(|net| net.contains(&ip))
    }

    fn contains_v6(&self, ip: Ipv6Addr) -> bool {
        let after = self.v6.partition_point(|net| net.network() <= ip);
        after.checked_sub(1).and_then(|at| self.v6.get(at)).is_some_and(|net| net.contains(&ip))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The networks, IPv4 first, ascending, neighbours joined.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.v4.iter().copied().map(IpNet::V4).chain(self.v6.iter().copied().map(IpNet::V6))
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        Self { v4: Ipv4Net::aggregate(&v4), v6: Ipv6Net::aggregate(&v6) }
    }
}

impl FromStr for Networks {
    type Err = NetworksError;

    /// Reads networks with commas between them; an address alone is a network of one; an empty text has none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',')
            .enumerate()
            .map(|(i, item)| {
                network(item.trim()).ok_or_else(|| NetworksError { item: item.trim().to_owned(), position: i + 1 })
            })
            .collect()
    }
}

/// A network, its host bits cleared, or an address as a network of one.
pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().map(|net| net.trunc()).or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_holds_what_it_says() {
        let nets: Networks = "192.0.2.0/24, 10.20.0.0/16,2001:db8::/32,198.51.100.7".parse().unwrap();
        for inside in ["192.0.2.255", "10.20.255.255", "2001:db8:ffff::1", "198.51.100.7", "::ffff:192.0.2.1"] {
            assert!(nets.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["192.0.3.0", "10.21.0.0", "2001:db9::", "198.51.100.8", "::192.0.2.1", "0.0.0.0"] {
            assert!(!nets.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn everything_and_nothing_are_lists_too() {
        assert!("0.0.0.0/0".parse::<Networks>().unwrap().contains("255.255.255.255".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Networks>().unwrap().contains("::1".parse().unwrap()));
        assert!(" ".parse::<Networks>().unwrap().is_empty());
    }

    #[test]
    fn a_wrong_item_is_named_with_its_place() {
        let error = "10.0.0.0/8,10.0.0.0/33".parse::<Networks>().unwrap_err();
        assert_eq!(error, NetworksError { item: "10.0.0.0/33".into(), position: 2 });
        assert!("10.0.0.0/8,".parse::<Networks>().is_err());
        assert!("corp.example".parse::<Networks>().is_err());
    }

    proptest! {
        /// Sorted search agrees with asking every network in turn.
        #[test]
        fn membership_is_that_of_the_networks_as_typed(
            nets in prop::collection::vec((any::<[u8; 2]>(), 4u8..=24), 0..12), ip in any::<[u8; 2]>(),
        ) {
            let nets: Vec<IpNet> = nets
                .iter()
                .map(|([a, b], len)| IpNet::new(Ipv4Addr::new(*a, *b, 0, 0).into(), *len).unwrap())
                .collect();
            let ip = IpAddr::from([ip[0], ip[1], 0, 1]);
            let set: Networks = nets.iter().copied().collect();
            prop_assert_eq!(set.contains(ip), nets.iter().any(|net| net.contains(&ip)));
        }
    }
}
