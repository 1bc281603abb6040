//! Desktops of clouds and their clients, whose protocols live inside TLS and QUIC: what names them from outside.
//!
//! Entries known by their signs alone: a gateway's name, a certificate of the maker's own. Does not: read the
//! protocols, which are not public, or take a visit to a maker's pages for a session.
//!
//! Reference: Microsoft, "Required FQDNs and endpoints for Azure Virtual Desktop"; Amazon, "IP address and port
//! requirements for `WorkSpaces`" and `WorkSpaces` Applications' "Allowed domains"; certificates of `PCoIP` devices as
//! scanners know them (Nessus, device types by certificate).

use crate::protocol::{Carrier, Category, Protocol, Said, Shows, Sign};

/// `PCoIP` (Teradici, HP Anyware).
pub(crate) static PCOIP: Protocol = Protocol {
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[4172],
    ..Protocol::by_signs(
        "pcoip",
        Category::RemoteDesktop,
        &[
            Sign::new("tls.cert_issuer", Said::Contains("CN=PCoIP Root CA"), Shows::Certain),
            Sign::new("tls.cert_subject", Said::Contains("CN=PCoIP Root CA"), Shows::Certain),
            Sign::new("tls.cert_subject", Said::Contains("OU=PCoIP Device"), Shows::Certain),
            Sign::new("tls.sni", Said::Domain("teradici.com"), Shows::Mention),
            Sign::new("tls.sni", Said::Domain("anyware.hp.com"), Shows::Mention),
        ],
    )
};

/// DCV (Amazon, once NICE), also what `WorkSpaces` and `AppStream` use.
pub(crate) static DCV: Protocol = Protocol {
    ports: &[8443, 4195],
    ..Protocol::by_signs(
        "dcv",
        Category::RemoteDesktop,
        &[
            // Streaming gateways, of WorkSpaces and of AppStream.
            Sign::new("tls.sni", Said::Domain("highlander.aws.a2z.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Glob("*.streaming.*.appstream2.amazonappstream.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Glob("*.dcv-streaming.*.appstream2.amazonappstream.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Glob("*.streaming.*.appstream2-fips.amazonappstream.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Glob("*.dcv-streaming.*.appstream2-fips.amazonappstream.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Domain("amazonappstream.com"), Shows::Mention),
            Sign::new("tls.sni", Said::Domain("amazonworkspaces.com"), Shows::Mention),
        ],
    )
};

/// Azure Virtual Desktop and Windows 365: RDP that comes in reverse through a gateway.
pub(crate) static AZURE_VIRTUAL_DESKTOP: Protocol = Protocol {
    ports: &[443],
    ..Protocol::by_signs(
        "azure-virtual-desktop",
        Category::RemoteDesktop,
        &[
            // Both the client and the session host connect to it, and nobody else.
            Sign::new("tls.sni", Said::Glob("rdgateway-*.wvd.microsoft.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Glob("afd*-rdgateway-*.wvd.microsoft.com"), Shows::Likely),
            Sign::new("tls.sni", Said::Domain("wvd.microsoft.com"), Shows::Mention),
            Sign::new("tls.sni", Said::Domain("windows365.microsoft.com"), Shows::Mention),
            Sign::new("tls.sni", Said::Domain("windows.cloud.microsoft"), Shows::Mention),
        ],
    )
};

/// Blast, the display protocol of Horizon (Omnissa, once `VMware`): names of its cloud only, for Blast has no public
/// mark outside its TLS.
pub(crate) static BLAST: Protocol = Protocol {
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[22_443],
    ..Protocol::by_signs(
        "blast",
        Category::RemoteDesktop,
        &[
            Sign::new("tls.sni", Said::Domain("vmwarehorizon.com"), Shows::Mention),
            Sign::new("tls.sni", Said::Domain("horizon.omnissa.com"), Shows::Mention),
        ],
    )
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that the signs of an entry show of a value.
    fn shown(protocol: &Protocol, key: &str, value: &str) -> Option<Shows> {
        protocol.signs.iter().filter(|sign| sign.key == key && sign.fits(value)).map(|sign| sign.shows).max()
    }

    #[test]
    fn gateways_are_likely_and_pages_are_mentions() {
        for (protocol, name, expected) in [
            (&AZURE_VIRTUAL_DESKTOP, "afdfp-rdgateway-r1.wvd.microsoft.com", Some(Shows::Likely)),
            (&AZURE_VIRTUAL_DESKTOP, "rdgateway-g-us-r0.wvd.microsoft.com", Some(Shows::Likely)),
            (&AZURE_VIRTUAL_DESKTOP, "rdweb.wvd.microsoft.com", Some(Shows::Mention)),
            (&AZURE_VIRTUAL_DESKTOP, "www.microsoft.com", None),
            (&DCV, "4a80-3.prod.us-west-2.highlander.aws.a2z.com", Some(Shows::Likely)),
            (&DCV, "x.dcv-streaming.us-east-1.appstream2.amazonappstream.com", Some(Shows::Likely)),
            (&DCV, "clients.amazonworkspaces.com", Some(Shows::Mention)),
            (&DCV, "aws.amazon.com", None),
            (&PCOIP, "docs.teradici.com", Some(Shows::Mention)),
            (&BLAST, "cloud.vmwarehorizon.com", Some(Shows::Mention)),
            (&BLAST, "www.vmware.com", None),
        ] {
            assert_eq!(shown(protocol, "tls.sni", name), expected, "{name}");
        }
    }

    #[test]
    fn a_certificate_of_the_makers_own_is_certain() {
        let device = "CN=pcoip-portal-001122334455,OU=PCoIP Device,O=Teradici Corporation";
        assert_eq!(shown(&PCOIP, "tls.cert_subject", device), Some(Shows::Certain));
        let root = "CN=PCoIP Root CA,OU=PCoIP Root,O=Teradici Corporation";
        assert_eq!(shown(&PCOIP, "tls.cert_issuer", root), Some(Shows::Certain));
        assert_eq!(shown(&PCOIP, "tls.cert_subject", "CN=pcoip.example"), None);
    }
}
