//! DTLS on its own or under ICE: tunnels, CoAP, calls and data channels of WebRTC.
//!
//! Reads: a flow that opens with a DTLS hello or with protected records; whatever shares it with DTLS is read too
//! (`codec::multiplex`). Emits: TLS's attributes and DTLS's own, the handshake's round trips. Does not: decrypt.
//!
//! Reference: RFC 6347 (1.2), RFC 9147 (1.3), RFC 5764 and RFC 7983 (with SRTP and STUN), RFC 9146.

use crate::base::Timestamp;
use crate::protocol::codec::dtls_record::{Shape, shape};
use crate::protocol::codec::multiplex::{ATTRIBUTES, Multiplex, Name};
use crate::protocol::{Analyzer, Carrier, Category, Events, Opening, Pdu, Probe, Protocol};

/// DTLS.
pub(super) static DTLS: Protocol = Protocol {
    name: "dtls",
    category: Category::Other,
    carriers: &[Carrier::Datagram],
    ports: &[4433, 5684, 5349],
    attributes: ATTRIBUTES,
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(Reader(Multiplex::new(Name::Dtls))),
};

fn probe(opening: &Opening<'_>) -> Probe {
    match shape(opening.sent.of(opening.newest), 0) {
        Shape::Hello | Shape::Protected => Probe::Match,
        Shape::Other => Probe::NoMatch,
    }
}

struct Reader(Multiplex);

impl Analyzer for Reader {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        self.0.on_datagram(pdu.at, pdu.dir, pdu.bytes, pdu.missing, events);
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        self.0.on_close(at, events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testkit;

    fn is(datagram: &[u8]) -> Probe {
        testkit::probe(&DTLS, Carrier::Datagram, datagram, b"")
    }

    #[test]
    fn what_only_begins_like_a_record_is_none() {
        // The shortest hello, a server's request to come again.
        let head = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15];
        let hello = [&head[..], &[3, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3, 0xfe, 0xfd, 0]].concat();
        assert_eq!(is(&hello), Probe::Match);
        let with = |place: usize, value: u8| {
            let mut bytes = hello.clone();
            bytes[place] = value;
            bytes
        };
        for other in [
            // TLS in a datagram, another version, a kind of record that is none, a length beyond the datagram.
            with(1, 3),
            with(2, 0x11),
            with(0, 19),
            with(12, 200),
            // WireGuard, QUIC's short header, RTP, a counter.
            [&[1, 0, 0, 0][..], &[7; 144]].concat(),
            [&[0x43][..], &[7; 60]].concat(),
            [&[0x80, 96][..], &[7; 60]].concat(),
            vec![23, 0, 0, 1, 0, 0, 0, 2],
            b"\x16".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(is(&other), Probe::NoMatch, "{other:02x?}");
        }
    }
}
