//! TLS in TLS: a proxy that hides in a TLS connection (trojan, VLESS, CONNECT over TLS) carries its user's own handshake.
//!
//! Reads: sizes and turns of the first packets after the outer handshake. Emits: `tls.inner_handshake`, by which the
//! entry's name becomes the flow's application. Does not: decrypt, see a handshake that is resumed, split up, padded or
//! carried beside others (VMess, obfs4, multiplexed proxies), or ever say more than `likely`.
//!
//! What is looked for is a handshake's turns: a ClientHello, a server's flight with its certificates, the client's
//! Finished. The first two have sizes that much else has. The third has one of four sizes to the byte, once what the outer
//! record adds is taken off, and is what keeps web traffic out.
//!
//! Reference: Xue, Kallitsis, Houmansadr, Ensafi, "Fingerprinting Obfuscated Proxy Traffic with Encapsulated TLS
//! Handshakes", USENIX Security 2024, for the observation and the bursts. Their classifier learns the bursts'
//! distribution from one network's traffic; here they are computed from the formats (RFC 8446 4.4.4 and 5.2, RFC 5246
//! 7.4.7 and 6.2.3, RFC 8446 D.4 for the ChangeCipherSpec, RFC 6455 5.2).

use crate::base::{Burst, Direction, Said, Shape, Shows, Sign};
use crate::protocol::{Category, Gait, Key, Protocol};

/// The registry's entry: a kind of proxy, mentioned by its shape.
pub(crate) static TLS_IN_TLS: Protocol = Protocol {
    attributes: &[INNER],
    ..Protocol::by_signs("tls-in-tls", Category::Proxy, &[Sign::new(INNER, Said::Exactly(LIKELY), Shows::Mention)])
};

/// How TLS connections go on after their handshake, as far as that is looked at.
pub(crate) static GAIT: Gait = Gait { protocol: "tls", key: INNER, packets: Some(PACKETS), of: inner_handshake };

const INNER: Key = "tls.inner_handshake";
const LIKELY: &str = "likely";

/// Packets looked at: a proxy's own exchange, a ClientHello in three, a flight of 16 kB in twelve, and what follows.
const PACKETS: u32 = 48;
/// A proxy exchanges words of its own before the handshake: none (trojan), one (CONNECT, WebSocket) or two.
const STARTS: usize = 3;

/// Content of the client's flight that ends a TLS 1.3 handshake: ChangeCipherSpec (6), and a record with a Finished by
/// SHA-256 or SHA-384: header 5, message header 4, hash, content type 1, tag 16.
const FINISHED: [u32; 2] = [6 + 5 + 4 + 32 + 1 + 16, 6 + 5 + 4 + 48 + 1 + 16];
/// Before TLS 1.3, with AES-GCM: ClientKeyExchange with a point of X25519 (42) or P-256 (75), ChangeCipherSpec (6),
/// Finished (5 + 8 + 4 + 12 + 16).
const KEY_EXCHANGE: [u32; 2] = [42 + 6 + 45, 75 + 6 + 45];
/// What the server answers to it: ChangeCipherSpec and Finished, or a session ticket before them.
const SERVER_FINISHED: u32 = 6 + 45;
const WITH_TICKET: std::ops::RangeInclusive<u32> = 150..=350;
/// A masked WebSocket frame's header around so little.
const FRAMES: [u32; 2] = [0, 6];

/// A ClientHello, with what a proxy puts before it: without post-quantum shares 250 to 700 bytes, with them up to 2.2 kB.
const HELLO: std::ops::RangeInclusive<u32> = 250..=2_600;
/// From here on a packet is a full one of a message that goes on in the next.
const FULL: u32 = Shape::FULL;
/// A server's flight: from a lone certificate on an elliptic curve to a chain of RSA certificates with many names.
const FLIGHT: std::ops::RangeInclusive<u32> = 900..=16_000;

fn inner_handshake(shape: &Shape, said: &[(Key, String)]) -> Option<&'static str> {
    let outer = overhead(said)?;
    let bursts = shape.bursts.begun();
    // A server may send its session tickets before the client says anything.
    let first = usize::from(shape.bursts.opened_by() == Some(Direction::Resp));
    let turns = bursts.get(first..)?.windows(4).step_by(2).take(STARTS);
    turns.into_iter().any(|turn| is_handshake(turn, outer)).then_some(LIKELY)
}

/// Bytes that a record of the outer connection adds to its content: header, explicit nonce, content type, tag. `None` for
/// ciphers whose records are padded.
fn overhead(said: &[(Key, String)]) -> Option<u32> {
    let of = |wanted| said.iter().find(|(key, _)| *key == wanted).map_or("", |(_, value)| value.as_str());
    let cipher = of("tls.cipher");
    match of("tls.version") {
        "TLSv1.3" => Some(5 + 1 + 16),
        "TLSv1.2" if cipher.contains("GCM") => Some(5 + 8 + 16),
        "TLSv1.2" if cipher.contains("CHACHA20") => Some(5 + 16),
        _ => None,
    }
}

/// Whether four turns, the client's first, are a handshake's.
fn is_handshake(turns: &[Burst], outer: u32) -> bool {
    let [hello, flight, finished, answer] = turns else { return false };
    // One message: in one packet, or in full ones. HTTP/2's acknowledgments make small packets beside a request.
    let one = hello.packets == 1 || hello.first >= FULL;
    let inner = |bytes: u32| bytes.saturating_sub(outer);
    let ends = FRAMES.iter().any(|frame| {
        let content = inner(finished.first).saturating_sub(*frame);
        let said = inner(answer.first);
        let ticket = said == SERVER_FINISHED || WITH_TICKET.contains(&said);
        FINISHED.contains(&content) || (KEY_EXCHANGE.contains(&content) && ticket)
    });
    one && ends && HELLO.contains(&inner(hello.bytes)) && FLIGHT.contains(&flight.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GCM: &str = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";

    /// What the packets of a connection show, each by its size; those of the server are negative.
    fn shown(packets: &[i32], version: &str, cipher: &str) -> Option<&'static str> {
        let mut shape = Shape::default();
        for packet in packets {
            let dir = if *packet > 0 { Direction::Orig } else { Direction::Resp };
            shape.bursts.on_packet(dir, packet.unsigned_abs());
        }
        inner_handshake(&shape, &[("tls.version", version.to_owned()), ("tls.cipher", cipher.to_owned())])
    }

    fn tls13(packets: &[i32]) -> bool {
        shown(packets, "TLSv1.3", "TLS_AES_256_GCM_SHA384") == Some(LIKELY)
    }

    /// Packets as real programs sent them: trojan 1.16, V2Ray 4.34, CONNECT over stunnel, Opera's VPN.
    #[test]
    fn proxies_carry_handshakes() {
        assert!(tls13(&[96, -79, 539, -1448, -623, 102, 118, -1059]), "trojan");
        assert!(tls13(&[1448, 507, -1208, -917, 86, 626, -626]), "VLESS, post-quantum");
        assert!(tls13(&[213, -151, 579, -1448, -617, 92, 572, -297]), "VLESS in WebSocket");
        assert!(tls13(&[-271, 107, -92, 1448, 553, -1448, -1448, 86, 586, -293]), "CONNECT, tickets first");
        assert!(tls13(&[1425, -39, -65, 539, -1046, -1046, -1046, 148, -193, -115, 60]), "TLS 1.2 within");
        assert!(shown(&[546, -1448, -900, 93, -80, 300], "TLSv1.2", GCM).is_some());
    }

    #[test]
    fn other_traffic_does_not() {
        // HTTP/2 as browsers send it: the second request is small, but hardly ever that small.
        assert!(!tls13(&[-271, -302, 31, 559, -1448, -198, 89, -6278]));
        assert!(!tls13(&[559, 31, -1262, 86, -1184]), "a request and an acknowledgment are no single message");
        assert!(!tls13(&[545, -1448, -900, 31, 86, -500]));
        // HTTP/1.1 with cookies, and a name server's padded questions.
        assert!(!tls13(&[1240, 475, -1428, -167, 1173, 377, -198]));
        assert!(shown(&[159, -499, 159, -499, 159, -499], "TLSv1.2", GCM).is_none());
        // A download, an upload, silence, what is cut off.
        assert!(!tls13(&[539, -1448, -30_000, 86, -100]) && !tls13(&[30_000, -1_448, 86, -100]));
        assert!(!tls13(&[]) && !tls13(&[539, -2_000]) && !tls13(&[539, -2_000, 86]));
        // Records that are padded to blocks, and those of which nothing is known.
        assert!(shown(&[539, -1448, -900, 86, -500], "TLSv1.2", "TLS_RSA_WITH_AES_128_CBC_SHA").is_none());
        assert!(shown(&[539, -1448, -900, 86, -500], "", "").is_none());
    }

    proptest! {
        #[test]
        fn any_packets_are_read(packets in proptest::collection::vec(-20_000i32..20_000, 0..60)) {
            tls13(&packets);
        }
    }
}
