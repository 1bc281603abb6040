//! VPNs that live inside HTTPS: what of them shows from outside, or where TLS ends before the capture point.
//!
//! Reads: nothing itself. Each entry is known by its signs: a method, a program's name or an upgrade in HTTP that is in
//! clear, a host name of the service, a certificate that the maker's boxes come with.
//! Does not: see a tunnel inside TLS. A certificate of a box shows its web pages too, so it only names the maker.
//!
//! Reference: [MS-SSTP] 3.2.4.1; openconnect's sources (`gpst.c`, `fortinet.c`, `pulse.c`, `nullppp.c`) and its pages on
//! each protocol; openfortivpn; IF-T/TLS (TCG TNC IF-T, binding to TLS, 2.0); SonicWall NetExtender and Check Point Mobile
//! as their administration guides describe them.

use crate::base::{Said, Shows, Sign};
use crate::protocol::{Category, Protocol};

const AGENT: &str = "http.user_agent";
const SUBJECT: &str = "tls.cert_subject";

/// Microsoft's tunnel of PPP: a method of its own, which only shows where TLS has ended.
pub(crate) static SSTP: Protocol = Protocol::by_signs(
    "sstp",
    Category::Vpn,
    &[Sign::new("http.method", Said::Exactly("SSTP_DUPLEX_POST"), Shows::Certain)],
);

/// Palo Alto's.
pub(crate) static GLOBALPROTECT: Protocol = Protocol::by_signs(
    "globalprotect",
    Category::Vpn,
    &[
        Sign::new(AGENT, Said::Begins("PAN GlobalProtect"), Shows::Likely),
        // Portals and gateways that Palo Alto runs for its customers.
        Sign::new("tls.sni", Said::Domain("gpcloudservice.com"), Shows::Likely),
        Sign::new("http.host", Said::Domain("gpcloudservice.com"), Shows::Likely),
    ],
);

/// FortiGate's SSL VPN. The program's name is FortiClient's, and openfortivpn's after it.
pub(crate) static FORTINET: Protocol = Protocol::by_signs(
    "fortinet",
    Category::Vpn,
    &[
        Sign::new(AGENT, Said::Exactly("Mozilla/5.0 SV1"), Shows::Likely),
        // The certificate that each box comes with. What a box signs for inspected pages has it as issuer, not subject.
        Sign::new(SUBJECT, Said::Contains("O=Fortinet, OU=FortiGate"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("fortiddns.com"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("fortidyndns.com"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("float-zone.com"), Shows::Mention),
    ],
);

/// Ivanti's (Pulse Secure's, Juniper's).
pub(crate) static PULSE: Protocol = Protocol::by_signs(
    "pulse-secure",
    Category::Vpn,
    &[
        Sign::new("http.upgrade", Said::Begins("IF-T/TLS"), Shows::Certain),
        Sign::new(AGENT, Said::Begins("Pulse-Secure/"), Shows::Likely),
        Sign::new(AGENT, Said::Begins("Junos-Pulse/"), Shows::Likely),
    ],
);

/// SonicWall's.
pub(crate) static NETEXTENDER: Protocol = Protocol::by_signs(
    "netextender",
    Category::Vpn,
    &[
        Sign::new(AGENT, Said::Begins("SonicWALL NetExtender"), Shows::Likely),
        Sign::new(AGENT, Said::Begins("Dell SonicWALL NetExtender"), Shows::Likely),
    ],
);

/// Check Point's.
pub(crate) static CHECK_POINT: Protocol = Protocol::by_signs(
    "check-point",
    Category::Vpn,
    &[
        Sign::new(AGENT, Said::Begins("TRAC/"), Shows::Likely),
        // What the management issues to each gateway, for all that the gateway serves.
        Sign::new(SUBJECT, Said::Contains(" VPN Certificate"), Shows::Mention),
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(protocol: &Protocol, key: &str, value: &str) -> Option<Shows> {
        protocol.signs.iter().filter(|sign| sign.key == key && sign.fits(value)).map(|sign| sign.shows).max()
    }

    #[test]
    fn the_signs_fit_what_the_programs_say_and_not_what_others_do() {
        assert_eq!(shows(&SSTP, "http.method", "SSTP_DUPLEX_POST"), Some(Shows::Certain));
        assert_eq!(shows(&SSTP, "http.method", "POST"), None);
        assert_eq!(
            shows(&GLOBALPROTECT, AGENT, "PAN GlobalProtect/6.0.7-372 (Microsoft Windows 10)"),
            Some(Shows::Likely)
        );
        assert_eq!(shows(&GLOBALPROTECT, "tls.sni", "acme.gpcloudservice.com"), Some(Shows::Likely));
        assert_eq!(shows(&GLOBALPROTECT, "tls.sni", "www.paloaltonetworks.com"), None);
        assert_eq!(shows(&FORTINET, AGENT, "Mozilla/5.0 SV1"), Some(Shows::Likely));
        assert_eq!(shows(&FORTINET, AGENT, "Mozilla/5.0 (compatible; MSIE 6.0; SV1)"), None);
        let factory = "C=US, ST=California, L=Sunnyvale, O=Fortinet, OU=FortiGate, CN=FGT60E";
        assert_eq!(shows(&FORTINET, SUBJECT, factory), Some(Shows::Mention));
        assert_eq!(shows(&FORTINET, SUBJECT, "O=Fortinet, Inc., CN=www.fortinet.com"), None);
        assert_eq!(shows(&PULSE, "http.upgrade", "IF-T/TLS 1.0"), Some(Shows::Certain));
        assert_eq!(shows(&PULSE, "http.upgrade", "websocket"), None);
        assert_eq!(shows(&NETEXTENDER, AGENT, "SonicWALL NetExtender for Linux 8.1.789"), Some(Shows::Likely));
        assert_eq!(shows(&CHECK_POINT, SUBJECT, "O=mgmt..abc123, CN=gw1 VPN Certificate"), Some(Shows::Mention));
    }
}
