//! Which addresses are the site's own, and which may be a worker's address inside a tunnel; and at which of several
//! sites they are.
//!
//! Reads: the user's networks. Emits: membership. Does not: know who is behind which tunnel.

use super::{GeoPoint, Networks};
use std::net::IpAddr;

/// The site's own networks and the pools that its VPN gives addresses from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Premises {
    own: Networks,
    pool: Networks,
    /// Networks with a place of their own, in the order of the user's file.
    sites: Vec<(Networks, GeoPoint)>,
    /// Where all other own addresses are.
    elsewhere: Option<GeoPoint>,
}

impl From<Networks> for Premises {
    fn from(own: Networks) -> Self {
        Self { own, ..Self::default() }
    }
}

impl Premises {
    /// Of the site's own networks and its pools; an address in both is a pool's.
    #[must_use]
    pub const fn new(own: Networks, pool: Networks) -> Self {
        Self { own, pool, sites: Vec::new(), elsewhere: None }
    }

    /// The same with several sites: what passes at servers in one of these networks was captured at its place, all else
    /// `elsewhere`.
    #[must_use]
    pub fn with_sites(self, sites: Vec<(Networks, GeoPoint)>, elsewhere: Option<GeoPoint>) -> Self {
        Self { sites, elsewhere, ..self }
    }

    /// Where the traffic of a server is captured, if there are several sites: of networks that overlap the first.
    #[must_use]
    pub fn site_of(&self, server: IpAddr) -> Option<GeoPoint> {
        if self.sites.is_empty() {
            return None;
        }
        let site = self.sites.iter().find(|(networks, _)| networks.contains(server));
        site.map(|(_, point)| *point).or(self.elsewhere)
    }

    /// Whether an address is the site's own: not judged.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(address) && !self.pool.contains(address)
    }

    /// Whether the user has said which addresses are a pool's.
    #[must_use]
    pub const fn has_pool(&self) -> bool {
        !self.pool.is_empty()
    }

    /// Whether an address is one of the pools that the site says its workers' machines have.
    #[must_use]
    pub fn is_of_pool(&self, address: IpAddr) -> bool {
        self.has_pool() && self.pool.contains(address)
    }

    /// Whether an address may be one inside a tunnel: one of the pools, or without any, one that is not public.
    #[must_use]
    pub fn may_be_inner(&self, address: IpAddr) -> bool {
        if self.has_pool() { self.pool.contains(address) } else { is_not_public(address) }
    }
}

/// Private (RFC 1918), of carriers' NAT (RFC 6598), or unique local (RFC 4193).
#[must_use]
pub fn is_not_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_pool_wins_over_the_sites_own_networks() {
        let premises = Premises::new("10.0.0.0/8".parse().unwrap(), "10.8.0.0/16,203.0.113.0/24".parse().unwrap());
        assert!(premises.is_own(ip("10.20.0.10")) && !premises.is_own(ip("10.8.0.2")));
        assert!(premises.may_be_inner(ip("10.8.0.2")) && premises.may_be_inner(ip("203.0.113.9")));
        assert!(!premises.may_be_inner(ip("10.20.0.10")));
    }

    #[test]
    fn a_server_is_at_the_first_site_that_has_it() {
        let [oslo, rome, home] =
            ["59.91,10.75", "41.9,12.5", "50.11,8.68"].map(|text| text.parse::<GeoPoint>().unwrap());
        let sites = vec![("203.0.113.0/25".parse().unwrap(), oslo), ("203.0.113.0/24".parse().unwrap(), rome)];
        let one = Premises::default().with_sites(Vec::new(), Some(home));
        assert_eq!(one.site_of(ip("203.0.113.9")), None, "one site is no matter");
        let premises = one.with_sites(sites, Some(home));
        let at = |text| premises.site_of(ip(text));
        assert_eq!([at("203.0.113.9"), at("203.0.113.200"), at("192.0.2.1")], [Some(oslo), Some(rome), Some(home)]);
    }

    #[test]
    fn without_a_pool_every_address_that_is_not_public_may_be_inside() {
        let premises = Premises::from("10.0.0.0/8".parse::<Networks>().unwrap());
        for inside in
            ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "100.127.9.9", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert!(premises.may_be_inner(ip(inside)), "{inside}");
        }
        for outside in ["100.128.0.1", "172.32.0.1", "8.8.8.8", "2001:db8::1", "169.254.1.1"] {
            assert!(!premises.may_be_inner(ip(outside)), "{outside}");
        }
    }
}
