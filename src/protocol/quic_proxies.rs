//! Proxies that are QUIC, with an ordinary name and ALPN: Hysteria 2 and TUIC, where the parameters of the client tell.
//!
//! Reads: nothing itself; the [`Sign`]s stand beside the facts that they rest on and are found in `quic.parameters`.
//! Emits: nothing. Does not: know Hysteria 2 since its client shows a browser's hello and parameters, or under a
//! disguise (Salamander leaves no QUIC; what it leaves is in `obfuscated`).
//!
//! What a client grants its server before anything is encrypted it takes from the configuration of its QUIC library.
//! These combinations are the proxies' own defaults, far from the libraries'.
//!
//! Reference: apernet/hysteria `core/client/config.go` (`defaultStreamReceiveWindow`, `defaultConnReceiveWindow`), which
//! sing-quic, mihomo and Xray repeat; EAimTY/tuic `tuic-client/src/connection/mod.rs` and `config.rs` (32 streams, a
//! window of 8 MiB a stream, no idle time) on quinn; sing-box 1.14.4 as captured.

use crate::protocol::{Category, Protocol, Said, Shows, Sign};

const PARAMETERS: &str = "quic.parameters";

/// Hysteria 2: 8 MiB a stream, two and a half times that in all.
pub(crate) static HYSTERIA2: Protocol = Protocol::by_signs(
    "hysteria2",
    Category::Proxy,
    &[Sign::new(PARAMETERS, Said::Contains("data=20971520 local=8388608 remote=8388608 uni=8388608 "), Shows::Likely)],
);

/// TUIC 5.
pub(crate) static TUIC: Protocol = Protocol::by_signs(
    "tuic",
    Category::Proxy,
    &[
        // sing-box: 2^60 streams of one direction, and the library's 100 of both.
        Sign::new(PARAMETERS, Said::Contains(" bidi-streams=100 uni-streams=1152921504606846976 "), Shows::Likely),
        // Its own client: what quinn has for "no limit" in all, and no idle time.
        Sign::new(PARAMETERS, Said::Begins(QUINN_WITHOUT_IDLE_TIME), Shows::Likely),
    ],
);

const QUINN_WITHOUT_IDLE_TIME: &str = "udp=1472 data=4611686018427387903 local=8388608 remote=8388608 uni=8388608 \
     bidi-streams=32 uni-streams=32 ";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(protocol: &Protocol, value: &str) -> Option<Shows> {
        protocol.signs.iter().filter(|sign| sign.fits(value)).map(|sign| sign.shows).max()
    }

    #[test]
    fn the_defaults_of_libraries_and_browsers_are_none() {
        let hysteria = "idle=30000 udp=1452 data=20971520 local=8388608 remote=8388608 uni=8388608 bidi-streams=0 \
                        uni-streams=100 ack-delay=26 ids=4 datagram=16383";
        let sing_box = "idle=30000 udp=1452 data=3145728 local=2097152 remote=2097152 uni=2097152 bidi-streams=100 \
                        uni-streams=1152921504606846976 ack-delay=26 ids=4 datagram=16383";
        let own = "udp=1472 data=4611686018427387903 local=8388608 remote=8388608 uni=8388608 bidi-streams=32 \
                   uni-streams=32 ids=5 datagram=65535";
        assert_eq!(shown(&HYSTERIA2, hysteria), Some(Shows::Likely));
        assert_eq!((shown(&TUIC, sing_box), shown(&TUIC, own)), (Some(Shows::Likely), Some(Shows::Likely)));
        for other in [
            // Chrome, and Hysteria 2.13, which shows the same.
            "idle=30000 udp=1472 data=15728640 local=6291456 remote=6291456 uni=6291456 bidi-streams=100 \
             uni-streams=103 datagram=65536",
            // quic-go, quinn and cloudflared as they come.
            "idle=30000 udp=1452 data=786432 local=524288 remote=524288 uni=524288 bidi-streams=100 uni-streams=100 \
             ack-delay=26 ids=4",
            "idle=30000 udp=1472 data=4611686018427387903 local=1250000 remote=1250000 uni=1250000 bidi-streams=100 \
             uni-streams=100 ids=5 datagram=65535",
            "idle=5000 udp=1452 data=31457280 local=6291456 remote=6291456 uni=6291456 \
             bidi-streams=1152921504606846976 uni-streams=1152921504606846976 ack-delay=26 ids=4 datagram=16383",
        ] {
            assert_eq!((shown(&HYSTERIA2, other), shown(&TUIC, other)), (None, None), "{other}");
        }
    }
}
