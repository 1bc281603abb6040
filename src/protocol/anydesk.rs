//! AnyDesk: its own names inside TLS.
//!
//! Reads: nothing itself; the signs stand beside the facts that they rest on. AnyDesk wraps everything in TLS 1.2 to
//! its relays on 443, 80 or 6568, and between two devices on 7070. Emits: nothing. Does not: read what is in TLS, or
//! the announcements by which devices find each other in a LAN (239.255.102.18, UDP 50001 to 50003): their format is
//! not public.
//!
//! Reference: AnyDesk's help pages "Firewall" and "Connection types"; certificates as in
//! `remote-desktop/ndpi__da37f244__anydesk.pcap`; ALPN and names as nDPI and LOLRMM list them.

use crate::base::{Said, Shows, Sign};
use crate::protocol::{Carrier, Category, Protocol};

/// The registry's entry.
pub(crate) static ANYDESK: Protocol = Protocol {
    // Its ports of its own let a connection whose beginning was not captured be guessed at.
    carriers: &[Carrier::Stream],
    ports: &[7070, 6568],
    ..Protocol::by_signs(
        "anydesk",
        Category::RemoteDesktop,
        &[
            // The client makes itself this certificate when it is installed, and shows it to relay and peer.
            Sign::new("tls.client_cert_subject", Said::Contains("CN=AnyDesk Client"), Shows::Certain),
            Sign::new("tls.cert_subject", Said::Contains("CN=AnyDesk Client"), Shows::Certain),
            // The relays' certificates, from an authority of AnyDesk's own. The company's name on the web site's
            // certificate comes from a public authority, so the issuer is what tells.
            Sign::new("tls.cert_issuer", Said::Contains("CN=AnyNet"), Shows::Certain),
            Sign::new("tls.cert_subject", Said::Contains("CN=AnyNet"), Shows::Certain),
            Sign::new("tls.alpn", Said::Begins("anydesk/"), Shows::Certain),
            Sign::new("tls.alpn_offered", Said::Begins("anydesk/"), Shows::Certain),
            // `relay-` and eight hexadecimal digits, and the name that is asked for them.
            Sign::new("tls.sni", Said::Glob("relay-*.net.anydesk.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Domain("boot.net.anydesk.com"), Shows::Likely),
            Sign::new("http.host", Said::Domain("net.anydesk.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Domain("anydesk.com"), Shows::Mention),
            Sign::new("http.host", Said::Domain("anydesk.com"), Shows::Mention),
            Sign::new("proxy.target", Said::Domain("anydesk.com"), Shows::Mention),
            Sign::new("dns.query", Said::Domain("anydesk.com"), Shows::Mention),
        ],
    )
};

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &str, value: &str) -> Option<Shows> {
        ANYDESK.signs.iter().filter(|sign| sign.key == key && sign.fits(value)).map(|sign| sign.shows).max()
    }

    #[test]
    fn a_relay_is_not_the_web_site() {
        assert_eq!(shown("tls.sni", "relay-0a1b2c3d.net.anydesk.com"), Some(Shows::Likely));
        assert_eq!(shown("tls.sni", "boot.net.anydesk.com"), Some(Shows::Likely));
        assert_eq!(shown("tls.sni", "my.anydesk.com"), Some(Shows::Mention));
        assert_eq!(shown("dns.query", "relay-0a1b2c3d.net.anydesk.com"), Some(Shows::Mention));
        assert_eq!(shown("tls.sni", "notanydesk.com"), None);
    }

    #[test]
    fn only_its_own_certificates_tell() {
        assert_eq!(shown("tls.client_cert_subject", "CN=AnyDesk Client"), Some(Shows::Certain));
        assert_eq!(shown("tls.cert_subject", "C=DE, O=AnyDesk Software GmbH, CN=*.anydesk.com"), None);
        assert_eq!(shown("tls.alpn_offered", "anydesk/6.2.0/linux"), Some(Shows::Certain));
        assert_eq!(shown("tls.alpn_offered", "h2,http/1.1"), None);
    }
}
