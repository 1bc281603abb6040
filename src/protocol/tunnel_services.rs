//! Tunnels to a public relay or over a WebSocket, known by the names and words in their carrier: ngrok, Cloudflare
//! Tunnel, Microsoft's dev tunnels (Visual Studio Code), chisel, wstunnel.
//!
//! Reads: nothing itself; the [`Sign`]s are found in TLS, QUIC and HTTP. Emits: nothing. Does not: tell what is inside.
//!
//! The relay's host names are the agent's; the names under which a tunnel's visitors reach it (`*.ngrok-free.app`,
//! `*.trycloudflare.com`, `*.devtunnels.ms`) are only mentioned, since a visit is an ordinary page.
//!
//! Reference: ngrok.com/docs (connect URL), developers.cloudflare.com (Tunnel, firewall), github.com/cloudflare/cloudflared
//! (`TLSServerName`, `argotunnel`), learn.microsoft.com/azure/developer/dev-tunnels/security, github.com/jpillora/chisel
//! (`ProtocolVersion`), github.com/erebe/wstunnel (`JWT_HEADER_PREFIX`).

use crate::protocol::{Category, Protocol, Said, Shows, Sign};

const SNI: &str = "tls.sni";

/// ngrok's agent.
pub(crate) static NGROK: Protocol = Protocol::by_signs(
    "ngrok",
    Category::Proxy,
    &[
        Sign::new(SNI, Said::Domain("ngrok-agent.com"), Shows::Likely),
        // Before version 3.
        Sign::new(SNI, Said::Exactly("tunnel.ngrok.com"), Shows::Likely),
        Sign::new(SNI, Said::Glob("tunnel.*.ngrok.com"), Shows::Likely),
        Sign::new(SNI, Said::Domain("ngrok.com"), Shows::Mention),
        Sign::new(SNI, Said::Domain("ngrok.io"), Shows::Mention),
        Sign::new(SNI, Said::Domain("ngrok.app"), Shows::Mention),
        Sign::new(SNI, Said::Domain("ngrok-free.app"), Shows::Mention),
        Sign::new(SNI, Said::Domain("ngrok-free.dev"), Shows::Mention),
    ],
);

/// Cloudflare Tunnel's daemon.
pub(crate) static CLOUDFLARED: Protocol = Protocol::by_signs(
    "cloudflared",
    Category::Proxy,
    &[
        Sign::new("tls.alpn_offered", Said::Exactly("argotunnel"), Shows::Certain),
        Sign::new(SNI, Said::Domain("cftunnel.com"), Shows::Likely),
        Sign::new(SNI, Said::Domain("argotunnel.com"), Shows::Likely),
        Sign::new(SNI, Said::Exactly("api.trycloudflare.com"), Shows::Likely),
        Sign::new(SNI, Said::Domain("trycloudflare.com"), Shows::Mention),
    ],
);

/// Microsoft's dev tunnels, which carry Visual Studio Code's remote tunnels: host and client meet at one relay.
pub(crate) static DEV_TUNNELS: Protocol = Protocol::by_signs(
    "dev-tunnels",
    Category::Proxy,
    &[
        Sign::new(SNI, Said::Domain("tunnels.api.visualstudio.com"), Shows::Likely),
        Sign::new(SNI, Said::Domain("devtunnels.ms"), Shows::Mention),
    ],
);

/// chisel: SSH over a WebSocket of its own subprotocol.
pub(crate) static CHISEL: Protocol = Protocol::by_signs(
    "chisel",
    Category::Proxy,
    &[Sign::new("http.subprotocol", Said::Glob("chisel-v*"), Shows::Certain)],
);

/// wstunnel: its request stands in a token that is sent as a WebSocket subprotocol.
pub(crate) static WSTUNNEL: Protocol = Protocol::by_signs(
    "wstunnel",
    Category::Proxy,
    &[Sign::new("http.subprotocol", Said::Contains("authorization.bearer.ey"), Shows::Likely)],
);

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(protocol: &Protocol, key: &str, value: &str) -> Option<Shows> {
        protocol.signs.iter().filter(|sign| sign.key == key && sign.fits(value)).map(|sign| sign.shows).max()
    }

    #[test]
    fn an_agents_relay_is_told_from_a_page() {
        for (protocol, key, value, expected) in [
            (&NGROK, SNI, "connect.ngrok-agent.com", Some(Shows::Likely)),
            (&NGROK, SNI, "tunnel.us.ngrok.com", Some(Shows::Likely)),
            (&NGROK, SNI, "dashboard.ngrok.com", Some(Shows::Mention)),
            (&NGROK, SNI, "shop.ngrok-free.app", Some(Shows::Mention)),
            (&NGROK, SNI, "ngrok.com.example", None),
            (&CLOUDFLARED, "tls.alpn_offered", "argotunnel", Some(Shows::Certain)),
            (&CLOUDFLARED, SNI, "h2.cftunnel.com", Some(Shows::Likely)),
            (&CLOUDFLARED, SNI, "www.cloudflare.com", None),
            (&DEV_TUNNELS, SNI, "use2-data.rel.tunnels.api.visualstudio.com", Some(Shows::Likely)),
            (&DEV_TUNNELS, SNI, "marketplace.visualstudio.com", None),
            (&CHISEL, "http.subprotocol", "chisel-v3", Some(Shows::Certain)),
            (&CHISEL, "http.subprotocol", "mqtt", None),
            (&WSTUNNEL, "http.subprotocol", "v1, authorization.bearer.eyJ0eXAiOiJKV1Qi", Some(Shows::Likely)),
            (&WSTUNNEL, "http.subprotocol", "v1.kernel.websocket.jupyter.org", None),
        ] {
            assert_eq!(shows(protocol, key, value), expected, "{} {value}", protocol.name);
        }
    }
}
