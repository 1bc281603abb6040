//! Commercial VPN services, by the names of their servers and by certificates of their own making.
//!
//! Reads: nothing itself; its signs are matched on what TLS, QUIC and HTTP say. Emits: the service as the session's
//! application; as its protocol only where the name belongs to machines that end tunnels and to nothing else. Does
//! not: know a service by addresses, which change owners and would name a whole provider after one customer.
//!
//! A tunnel that is seen to be OpenVPN, WireGuard or IKE keeps that name. A service's web site, shop and interface for
//! programs are mentions: somebody looked at it, nobody is shown to have a tunnel.
//!
//! Reference: captures where one is named beside the signs. The other names are what is generally known of each service;
//! those that make a session likely were, but for Opera's servers and Windscribe's certificate, found in public
//! repositories; none was checked with the services.

use crate::base::Key;
use crate::protocol::{Category, Protocol, Said, Shows, Sign};

const SNI: Key = "tls.sni";
const ISSUER: Key = "tls.cert_issuer";

/// The maker's domain, which its shop and its interface for programs are below too.
const fn mention(domain: &'static str) -> Sign {
    Sign::new(SNI, Said::Domain(domain), Shows::Mention)
}

/// Names that only machines have that end tunnels.
const fn tunnel(said: Said) -> Sign {
    Sign::new(SNI, said, Shows::Likely)
}

/// Cloudflare WARP, also as Zero Trust's client ("WARP with firewall": the host names of the MASQUE tunnel and of the
/// registration).
pub(crate) static WARP: Protocol = Protocol::by_signs(
    "cloudflare-warp",
    Category::Vpn,
    &[
        tunnel(Said::Exactly("consumer-masque.cloudflareclient.com")),
        tunnel(Said::Exactly("zt-masque.cloudflareclient.com")),
        mention("cloudflareclient.com"),
    ],
);

/// NordVPN; its OpenVPN servers and proxies are `CCnumber.nordvpn.com`, as its server list says.
pub(crate) static NORDVPN: Protocol = Protocol::by_signs(
    "nordvpn",
    Category::Vpn,
    &[mention("nordvpn.com"), mention("nordvpn.net"), mention("nordaccount.com")],
);

/// Proton VPN; its servers are `node-cc-number.protonvpn.net` (the published clients' server list).
pub(crate) static PROTONVPN: Protocol = Protocol::by_signs(
    "protonvpn",
    Category::Vpn,
    &[
        tunnel(Said::Glob("node-*.protonvpn.net")),
        mention("protonvpn.com"),
        mention("protonvpn.net"),
        mention("protonvpn.ch"),
        mention("vpn-api.proton.me"),
    ],
);

/// Mullvad; `cc-city-wg-number.relays.mullvad.net` are its relays (its published relay list).
pub(crate) static MULLVAD: Protocol = Protocol::by_signs(
    "mullvad",
    Category::Vpn,
    &[tunnel(Said::Domain("relays.mullvad.net")), mention("mullvad.net"), mention("mullvad.org")],
);

/// ExpressVPN.
pub(crate) static EXPRESSVPN: Protocol =
    Protocol::by_signs("expressvpn", Category::Vpn, &[mention("expressvpn.com"), mention("expressapisv2.net")]);

/// Surfshark; `cc-city.prod.surfshark.com` are its servers (its guides to manual setup).
pub(crate) static SURFSHARK: Protocol = Protocol::by_signs(
    "surfshark",
    Category::Vpn,
    &[tunnel(Said::Domain("prod.surfshark.com")), mention("surfshark.com")],
);

/// Windscribe; its servers over TLS ("Stealth") show a certificate that it issued itself
/// (`vpn/ndpi__windscribe.pcapng`).
pub(crate) static WINDSCRIBE: Protocol = Protocol::by_signs(
    "windscribe",
    Category::Vpn,
    &[
        Sign::new(ISSUER, Said::Contains("O=Windscribe"), Shows::Likely),
        mention("windscribe.com"),
        mention("whiskergalaxy.com"),
    ],
);

/// TunnelBear; `cc.lazerpenguin.com` are its servers (OpenVPN profiles and proxy clients in public repositories).
pub(crate) static TUNNELBEAR: Protocol = Protocol::by_signs(
    "tunnelbear",
    Category::Vpn,
    &[tunnel(Said::Domain("lazerpenguin.com")), mention("tunnelbear.com"), mention("polargrizzly.com")],
);

/// CyberGhost; `number-cc.cg-dialup.net` are its servers, which answer other programs of its own, too.
pub(crate) static CYBERGHOST: Protocol = Protocol::by_signs(
    "cyberghost",
    Category::Vpn,
    &[mention("cg-dialup.net"), mention("cyberghostvpn.com"), mention("cyberghost.ro")],
);

/// Private Internet Access; `place.privacy.network` are its servers, which also end TLS on 443 for OpenVPN's sake (its
/// published connection scripts).
pub(crate) static PIA: Protocol = Protocol::by_signs(
    "private-internet-access",
    Category::Vpn,
    &[mention("privateinternetaccess.com"), mention("piaservers.net"), mention("privacy.network")],
);

/// Hotspot Shield and the others of Aura.
pub(crate) static HOTSPOT_SHIELD: Protocol =
    Protocol::by_signs("hotspot-shield", Category::Vpn, &[mention("hotspotshield.com"), mention("hsselite.com")]);

/// Opera's built-in VPN: a proxy over TLS (`vpn/ndpi__opera-vpn.pcapng`; published proxy clients for it).
pub(crate) static OPERA_VPN: Protocol = Protocol::by_signs(
    "opera-vpn",
    Category::Proxy,
    &[
        tunnel(Said::Glob("eu*.sec-tunnel.com")),
        tunnel(Said::Glob("am*.sec-tunnel.com")),
        tunnel(Said::Glob("as*.sec-tunnel.com")),
        mention("sec-tunnel.com"),
    ],
);

/// Shellfire.
pub(crate) static SHELLFIRE: Protocol =
    Protocol::by_signs("shellfire", Category::Vpn, &[mention("shellfire.de"), mention("shellfire.net")]);

/// Astrill: its tunnels (OpenWeb, StealthVPN) name no host of its own; what is public is its site.
pub(crate) static ASTRILL: Protocol = Protocol::by_signs(
    "astrill",
    Category::Vpn,
    &[mention("astrill.com"), mention("astrill.org"), mention("getastr.com")],
);

/// Hola, and the network of homes that it sells as Bright Data. Names of its relays are not known.
pub(crate) static HOLA: Protocol =
    Protocol::by_signs("hola", Category::Proxy, &[mention("hola.org"), mention("svd-cdn.com")]);

/// Psiphon hides in names of others; what is public is its site and its address for feedback.
pub(crate) static PSIPHON: Protocol = Protocol::by_signs(
    "psiphon",
    Category::Proxy,
    &[mention("psiphon.ca"), mention("psiphon3.com"), mention("psi.cash")],
);

/// Lantern, likewise.
pub(crate) static LANTERN: Protocol = Protocol::by_signs(
    "lantern",
    Category::Proxy,
    &[mention("getlantern.org"), mention("getiantem.org"), mention("lantern.io")],
);

/// iCloud Private Relay's ingress proxies (Apple, "Prepare your network for iCloud Private Relay").
pub(crate) static PRIVATE_RELAY: Protocol = Protocol::by_signs(
    "icloud-private-relay",
    Category::Proxy,
    &[tunnel(Said::Exactly("mask.icloud.com")), tunnel(Said::Exactly("mask-h2.icloud.com"))],
);

/// Norton Secure VPN, whose servers are SurfEasy's.
pub(crate) static NORTON_VPN: Protocol = Protocol::by_signs("norton-vpn", Category::Vpn, &[mention("surfeasy.com")]);

/// NetBird. `PLACE.relay.netbird.io` are the service's relays (its client's status, quoted in public notes); a relay of
/// one's own is known by what a client wants to speak with it over QUIC (netbirdio/netbird `relay/tls/alpn.go`).
pub(crate) static NETBIRD: Protocol = Protocol::by_signs(
    "netbird",
    Category::Vpn,
    &[
        Sign::new("tls.alpn_offered", Said::Exactly("nb-quic"), Shows::Certain),
        tunnel(Said::Domain("relay.netbird.io")),
        mention("netbird.io"),
        mention("wiretrustee.com"),
    ],
);

/// LogMeIn Hamachi; `bibi.hamachi.cc` mediates and carries no tunnel by itself (public port lists).
pub(crate) static HAMACHI: Protocol =
    Protocol::by_signs("hamachi", Category::Vpn, &[mention("hamachi.cc"), mention("vpn.net")]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::REGISTRY;

    /// What the strongest sign of any entry here says of a host name.
    fn shown(host: &str) -> Option<(Shows, &'static str)> {
        let signs = REGISTRY.iter().flat_map(|p| p.signs.iter().map(move |sign| (sign, p.name)));
        signs.filter(|(s, _)| s.key == SNI && s.fits(host)).map(|(s, name)| (s.shows, name)).max_by_key(|(s, _)| *s)
    }

    #[test]
    fn who_looks_at_a_site_has_no_tunnel() {
        for (host, name) in [
            ("www.nordvpn.com", "nordvpn"),
            ("vpn-api.proton.me", "protonvpn"),
            ("www.shellfire.de", "shellfire"),
            ("api.surfshark.com", "surfshark"),
            ("api.cloudflareclient.com", "cloudflare-warp"),
            ("account.astrill.com", "astrill"),
            ("www.netbird.io", "netbird"),
        ] {
            assert_eq!(shown(host), Some((Shows::Mention, name)), "{host}");
        }
        for host in ["www.cloudflare.com", "proton.me", "www.opera.com", "www.icloud.com", "notnordvpn.com"] {
            assert_eq!(shown(host), None, "{host}");
        }
    }

    #[test]
    fn a_machine_that_ends_tunnels_is_likely_one() {
        for (host, name) in [
            ("us-nyc.prod.surfshark.com", "surfshark"),
            ("node-ch-12.protonvpn.net", "protonvpn"),
            ("se-got-wg-001.relays.mullvad.net", "mullvad"),
            ("eu0.sec-tunnel.com", "opera-vpn"),
            ("mask.icloud.com", "icloud-private-relay"),
            ("consumer-masque.cloudflareclient.com", "cloudflare-warp"),
        ] {
            assert_eq!(shown(host), Some((Shows::Likely, name)), "{host}");
        }
    }
}
