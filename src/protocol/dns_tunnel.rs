//! Tunnels in DNS: iodine, dns2tcp, dnscat2, and others that put their messages into names.
//!
//! Reads: nothing itself; DNS's reader tells by `dns.tunnel` what the names it sees give away. Emits: nothing.
//! Does not: read what is inside.
//!
//! Reference: see `codec/tunnel_names.rs`.

use crate::protocol::{Analyzer, Category, Events, Pdu, Probe, Protocol, Said, Shows, Sign};

/// The registry's entry.
pub(crate) static DNS_TUNNEL: Protocol = Protocol {
    name: "dns-tunnel",
    category: Category::Other,
    carriers: &[],
    ports: &[],
    attributes: &[],
    signs: &[
        Sign::new(TUNNEL, Said::Exactly("iodine"), Shows::Certain),
        Sign::new(TUNNEL, Said::Exactly("dns2tcp"), Shows::Certain),
        Sign::new(TUNNEL, Said::Exactly("dnscat2"), Shows::Certain),
        Sign::new(TUNNEL, Said::Exactly("long-names"), Shows::Likely),
    ],
    lasting: false,
    probe: |_| Probe::NoMatch,
    analyzer: || Box::new(Unread),
};

const TUNNEL: &str = "dns.tunnel";

/// Nothing is handed to this entry.
struct Unread;

impl Analyzer for Unread {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        events.settled(pdu.at, pdu.dir);
    }
}

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
