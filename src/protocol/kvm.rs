//! KVM boxes on the network and servers' management controllers, by what their web interface says of itself.
//!
//! Reads: nothing; each entry is a list of signs in the attributes of TLS, HTTP, DNS and DHCP. Emits: nothing. Does
//! not: follow the video (MJPEG in HTTP, H.264 in WebRTC or a WebSocket), or know a box by its Ethernet address, which
//! no analyzer sees outside of DHCP.
//!
//! A certificate that a box makes for itself is certain. A path, a service's own host or the name that a box has in the
//! local network unless somebody changed it is likely. A name in DNS or DHCP, and the maker's site, is a mention.
//!
//! Reference: the sources of kvmd, glkvm, JetKVM, NanoKVM, TinyPilot and BliKVM; the default certificates of iDRAC, iLO
//! and Supermicro's BMC.

use crate::protocol::{Category, Protocol, Said, Shows, Sign};

/// `PiKVM`, made at home or bought.
pub(crate) static PIKVM: Protocol = Protocol::by_signs(
    "pikvm",
    Category::Kvm,
    &[
        // kvmd-gencert: C=US, O=PiKVM, OU=PiKVM, CN=localhost.
        Sign::new(SUBJECT, Said::Contains("O=PiKVM, OU=PiKVM"), Shows::Certain),
        Sign::new(ISSUER, Said::Contains("O=PiKVM, OU=PiKVM"), Shows::Certain),
        // Where its nginx offers the video; boxes that run kvmd under another name have the same.
        Sign::new(PATH, Said::Exactly("/streamer/stream"), Shows::Likely),
        Sign::new(PATH, Said::Exactly("/api/media/ws"), Shows::Likely),
        Sign::new(PATH, Said::Exactly("/share/js/kvm/main.js"), Shows::Likely),
        Sign::new(PATH, Said::Exactly("/api/hid/print"), Shows::Likely),
        Sign::new(SNI, Said::Exactly("pikvm.local"), Shows::Likely),
        Sign::new(HOST, Said::Exactly("pikvm.local"), Shows::Likely),
        Sign::new(SNI, Said::Domain("pikvm.org"), Shows::Mention),
        Sign::new(HOST, Said::Domain("pikvm.org"), Shows::Mention),
        Sign::new(QUERY, Said::Domain("pikvm.org"), Shows::Mention),
        Sign::new(QUERY, Said::Domain("_pikvm._tcp.local"), Shows::Mention),
        Sign::new(ANNOUNCED, Said::Domain("_pikvm._tcp.local"), Shows::Mention),
        Sign::new(ANNOUNCED, Said::Exactly("pikvm.local"), Shows::Mention),
        Sign::new(QUERY, Said::Exactly("pikvm.local"), Shows::Mention),
        Sign::new(DHCP_NAME, Said::Exactly("pikvm"), Shows::Mention),
    ],
);

/// GL.iNet's Comet (GL-RM1 and its kin), which runs a descendant of kvmd.
pub(crate) static GLINET_COMET: Protocol = Protocol::by_signs(
    "glinet-comet",
    Category::Kvm,
    &[
        // The factory's certificate: C=US, O=GLKVM, OU=GLKVM, CN=localhost.
        Sign::new(SUBJECT, Said::Contains("O=GLKVM, OU=GLKVM"), Shows::Certain),
        Sign::new(ISSUER, Said::Contains("O=GLKVM, OU=GLKVM"), Shows::Certain),
        Sign::new(SNI, Said::Exactly("glkvm.local"), Shows::Likely),
        Sign::new(HOST, Said::Exactly("glkvm.local"), Shows::Likely),
        Sign::new(SNI, Said::Domain("glkvm.com"), Shows::Mention),
        Sign::new(QUERY, Said::Domain("glkvm.com"), Shows::Mention),
        Sign::new(QUERY, Said::Exactly("glkvm.local"), Shows::Mention),
        Sign::new(ANNOUNCED, Said::Exactly("glkvm.local"), Shows::Mention),
        Sign::new(DHCP_NAME, Said::Exactly("glkvm"), Shows::Mention),
    ],
);

/// JetKVM.
pub(crate) static JETKVM: Protocol = Protocol::by_signs(
    "jetkvm",
    Category::Kvm,
    &[
        Sign::new(ISSUER, Said::Contains("CN=JetKVM Self-Signed CA"), Shows::Certain),
        Sign::new(SUBJECT, Said::Contains("OU=JetKVM Self-Signed"), Shows::Certain),
        // The box and the page that drives it both speak to the cloud's interface; the page comes from `app`.
        Sign::new(SNI, Said::Exactly("api.jetkvm.com"), Shows::Likely),
        Sign::new(SNI, Said::Exactly("app.jetkvm.com"), Shows::Likely),
        Sign::new(PATH, Said::Exactly("/webrtc/signaling/client"), Shows::Likely),
        Sign::new(SNI, Said::Exactly("jetkvm.local"), Shows::Likely),
        Sign::new(HOST, Said::Exactly("jetkvm.local"), Shows::Likely),
        Sign::new(SNI, Said::Domain("jetkvm.com"), Shows::Mention),
        Sign::new(QUERY, Said::Domain("jetkvm.com"), Shows::Mention),
        Sign::new(QUERY, Said::Domain("_jetkvm._tcp.local"), Shows::Mention),
        Sign::new(ANNOUNCED, Said::Domain("_jetkvm._tcp.local"), Shows::Mention),
        Sign::new(ANNOUNCED, Said::Exactly("jetkvm.local"), Shows::Mention),
        Sign::new(QUERY, Said::Exactly("jetkvm.local"), Shows::Mention),
        Sign::new(DHCP_NAME, Said::Exactly("jetkvm"), Shows::Mention),
    ],
);

/// Sipeed's NanoKVM. Its certificate is any Go program's `CN=localhost`, so nothing about it is certain.
pub(crate) static NANOKVM: Protocol = Protocol::by_signs(
    "nanokvm",
    Category::Kvm,
    &[
        Sign::new(PATH, Said::Exactly("/api/stream/mjpeg"), Shows::Likely),
        Sign::new(PATH, Said::Exactly("/api/stream/h264"), Shows::Likely),
        Sign::new(PATH, Said::Exactly("/api/stream/h264/direct"), Shows::Likely),
        Sign::new(SNI, Said::Exactly("nanokvm.local"), Shows::Likely),
        Sign::new(HOST, Said::Exactly("nanokvm.local"), Shows::Likely),
        // Sipeed's other boards fetch from there, too.
        Sign::new(SNI, Said::Exactly("cdn.sipeed.com"), Shows::Mention),
        Sign::new(HOST, Said::Exactly("cdn.sipeed.com"), Shows::Mention),
        Sign::new(QUERY, Said::Exactly("cdn.sipeed.com"), Shows::Mention),
        Sign::new(QUERY, Said::Exactly("nanokvm.local"), Shows::Mention),
        Sign::new(ANNOUNCED, Said::Exactly("nanokvm.local"), Shows::Mention),
        Sign::new(DHCP_NAME, Said::Exactly("nanokvm"), Shows::Mention),
    ],
);

/// `TinyPilot`. Its paths are those of any Flask application; its host names and its gatekeeper are its own.
pub(crate) static TINYPILOT: Protocol = Protocol::by_signs(
    "tinypilot",
    Category::Kvm,
    &[
        Sign::new(SNI, Said::Exactly("gk.tinypilotkvm.com"), Shows::Likely),
        Sign::new(SNI, Said::Exactly("tinypilot.local"), Shows::Likely),
        Sign::new(HOST, Said::Exactly("tinypilot.local"), Shows::Likely),
        Sign::new(SNI, Said::Domain("tinypilotkvm.com"), Shows::Mention),
        Sign::new(QUERY, Said::Domain("tinypilotkvm.com"), Shows::Mention),
        Sign::new(QUERY, Said::Exactly("tinypilot.local"), Shows::Mention),
        Sign::new(ANNOUNCED, Said::Exactly("tinypilot.local"), Shows::Mention),
        Sign::new(DHCP_NAME, Said::Exactly("tinypilot"), Shows::Mention),
    ],
);

/// `BliKVM`, where it runs its own system; with `PiKVM`'s it looks like that.
pub(crate) static BLIKVM: Protocol = Protocol::by_signs(
    "blikvm",
    Category::Kvm,
    &[
        Sign::new(SNI, Said::Exactly("blikvm.local"), Shows::Likely),
        Sign::new(HOST, Said::Exactly("blikvm.local"), Shows::Likely),
        Sign::new(SNI, Said::Domain("blikvm.com"), Shows::Mention),
        Sign::new(QUERY, Said::Domain("blikvm.com"), Shows::Mention),
        Sign::new(QUERY, Said::Exactly("blikvm.local"), Shows::Mention),
        Sign::new(ANNOUNCED, Said::Exactly("blikvm.local"), Shows::Mention),
        Sign::new(DHCP_NAME, Said::Exactly("blikvm"), Shows::Mention),
    ],
);

/// Dell's iDRAC with the certificate that it came with.
pub(crate) static IDRAC: Protocol = Protocol::by_signs(
    "idrac",
    Category::Kvm,
    &[
        Sign::new(SUBJECT, Said::Contains("OU=Remote Access Group"), Shows::Certain),
        Sign::new(ISSUER, Said::Contains("OU=Remote Access Group"), Shows::Certain),
    ],
);

/// HPE's iLO.
pub(crate) static ILO: Protocol = Protocol::by_signs(
    "ilo",
    Category::Kvm,
    &[
        Sign::new(ISSUER, Said::Contains("Default Issuer (Do not trust)"), Shows::Certain),
        Sign::new(SERVER, Said::Begins("HPE-iLO-Server/"), Shows::Certain),
        Sign::new(SERVER, Said::Begins("HP-iLO-Server/"), Shows::Certain),
    ],
);

/// Supermicro's management controller with the certificate that it came with. The maker's own site has `O=` alike.
pub(crate) static SUPERMICRO: Protocol = Protocol::by_signs(
    "supermicro-bmc",
    Category::Kvm,
    &[
        Sign::new(SUBJECT, Said::Contains("OU=Software, CN=IPMI"), Shows::Likely),
        Sign::new(SUBJECT, Said::Contains("O=Super Micro Computer, CN=IPMI"), Shows::Likely),
    ],
);

const SUBJECT: &str = "tls.cert_subject";
const ISSUER: &str = "tls.cert_issuer";
const SNI: &str = "tls.sni";
const HOST: &str = "http.host";
const PATH: &str = "http.path";
const SERVER: &str = "http.server";
const QUERY: &str = "dns.query";
const ANNOUNCED: &str = "dns.announced";
const DHCP_NAME: &str = "dhcp.host_name";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&Protocol; 9] =
        [&PIKVM, &GLINET_COMET, &JETKVM, &NANOKVM, &TINYPILOT, &BLIKVM, &IDRAC, &ILO, &SUPERMICRO];

    /// Who is shown by a value, and how surely; the surest sign of each.
    fn shown(key: &str, value: &str) -> Vec<(&'static str, Shows)> {
        let surest = |protocol: &&Protocol| {
            let signs = protocol.signs.iter().filter(|sign| sign.key == key && sign.fits(value));
            signs.map(|sign| (protocol.name, sign.shows)).max_by_key(|(_, shows)| *shows)
        };
        ALL.iter().filter_map(surest).collect()
    }

    #[test]
    fn a_box_is_known_by_the_certificate_it_made() {
        for (key, value, name) in [
            (SUBJECT, "C=US, O=PiKVM, OU=PiKVM, CN=localhost", "pikvm"),
            (SUBJECT, "C=US, O=GLKVM, OU=GLKVM, CN=localhost", "glinet-comet"),
            (SUBJECT, "O=JetKVM, OU=JetKVM Self-Signed, CN=jetkvm.local", "jetkvm"),
            (ISSUER, "O=JetKVM, OU=JetKVM Self-Signed, CN=JetKVM Self-Signed CA", "jetkvm"),
            (SUBJECT, "C=US, ST=Texas, L=Round Rock, O=Dell Inc., OU=Remote Access Group, CN=idrac", "idrac"),
            (ISSUER, "C=US, L=Houston, O=Hewlett Packard Enterprise, OU=ISS, CN=Default Issuer (Do not trust)", "ilo"),
            (SERVER, "HPE-iLO-Server/1.30", "ilo"),
        ] {
            assert_eq!(shown(key, value), [(name, Shows::Certain)], "{value}");
        }
        let value = "C=US, O=Super Micro Computer, Inc., OU=Software, CN=IPMI";
        assert_eq!(shown(SUBJECT, value), [("supermicro-bmc", Shows::Likely)]);
    }

    #[test]
    fn a_makers_site_and_somebody_elses_certificate_show_no_box() {
        for (key, value) in
            [(SNI, "docs.pikvm.org"), (SNI, "jetkvm.com"), (SNI, "tinypilotkvm.com"), (QUERY, "pikvm.org")]
        {
            assert_eq!(
                shown(key, value).iter().map(|(_, shows)| *shows).collect::<Vec<_>>(),
                [Shows::Mention],
                "{value}"
            );
        }
        for (key, value) in [
            (SUBJECT, "CN=localhost"),
            (SUBJECT, "C=US, O=Super Micro Computer, Inc., CN=www.supermicro.com"),
            (SUBJECT, "O=Dell Inc., CN=www.dell.com"),
            (SUBJECT, "CN=pikvm.org"),
            (SNI, "notpikvm.org"),
            (PATH, "/streamer"),
            (PATH, "/janus/ws"),
            (PATH, "/api/ws"),
            (PATH, "/stream"),
            (HOST, "pikvm.local.example.com"),
        ] {
            assert_eq!(shown(key, value), [], "{value}");
        }
    }

    #[test]
    fn what_a_box_or_its_driver_asks_for_is_likely() {
        for (key, value, name) in [
            (PATH, "/streamer/stream", "pikvm"),
            (PATH, "/webrtc/signaling/client", "jetkvm"),
            (PATH, "/api/stream/mjpeg", "nanokvm"),
            (SNI, "api.jetkvm.com", "jetkvm"),
            (SNI, "gk.tinypilotkvm.com", "tinypilot"),
            (HOST, "tinypilot.local", "tinypilot"),
            (HOST, "blikvm.local", "blikvm"),
        ] {
            assert_eq!(shown(key, value), [(name, Shows::Likely)], "{value}");
        }
    }
}
