//! Tunnels in DNS: iodine, dns2tcp, dnscat2, and others that put their messages into names.
//!
//! Reads: nothing itself; DNS's reader tells by `dns.tunnel` what the names it sees give away. Emits: nothing.
//! Does not: read what is inside.
//!
//! Reference: see `codec/tunnel_names.rs`.

use crate::protocol::{Category, Protocol, Said, Shows, Sign};

/// The registry's entry.
pub(crate) static DNS_TUNNEL: Protocol = Protocol::by_signs(
    "dns-tunnel",
    Category::Other,
    &[
        Sign::new(TUNNEL, Said::Exactly("iodine"), Shows::Certain),
        Sign::new(TUNNEL, Said::Exactly("dns2tcp"), Shows::Certain),
        Sign::new(TUNNEL, Said::Exactly("dnscat2"), Shows::Certain),
        Sign::new(TUNNEL, Said::Exactly("long-names"), Shows::Likely),
    ],
);

const TUNNEL: &str = "dns.tunnel";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::codec::tunnel_names::Tunnel;

    #[test]
    fn every_word_that_the_names_give_has_its_sign() {
        for tunnel in [Tunnel::Iodine, Tunnel::Dns2tcp, Tunnel::Dnscat2, Tunnel::Names] {
            let fitting = DNS_TUNNEL.signs.iter().filter(|sign| sign.fits(tunnel.name()));
            assert_eq!(fitting.count(), 1, "{tunnel:?}");
        }
    }
}
