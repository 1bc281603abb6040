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
