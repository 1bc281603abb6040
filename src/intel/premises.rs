//! Which addresses are the site's own, and which may be a worker's address inside a tunnel.
//!
//! Reads: the user's networks. Emits: membership. Does not: know who is behind which tunnel.

use super::Networks;
use std::net::IpAddr;

/// The site's own networks and the pools that its VPN gives addresses from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Premises {
    own: Networks,
    pool: Networks,
}

impl From<Networks> for Premises {
    fn from(own: Networks) -> Self {
        Self { own, pool: Networks::default() }
    }
}

impl Premises {
    /// Of the site's own networks and its pools; an address in both is a pool's.
    #[must_use]
    pub const fn new(own: Networks, pool: Networks) -> Self {
        Self { own, pool }
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
