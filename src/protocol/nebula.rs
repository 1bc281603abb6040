//! Nebula: the handshake of two hosts of a mesh, and its round trip.
//!
//! Reads: the header of 16 bytes before each packet, and whether the second handshake packet names the index that the
//! first one carries in clear. Emits: the closed loop of the handshake. Does not: decrypt, or read certificates.
//!
//! Reference: Nebula's sources, `header/header.go` (read); `nebula.proto` from general knowledge; the handshake is Noise IX (revision 34, 7.5),
//! whose first message is not encrypted.

use crate::base::{Direction, Layer, Reader};
use crate::protocol::{Analyzer, Carrier, Category, Events, Link, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static NEBULA: Protocol = Protocol {
    name: "nebula",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram],
    ports: &[4242],
    attributes: &[],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Nebula::default()),
};

/// Version 1 in the upper half, the type in the lower.
const HANDSHAKE: u8 = 0x10;
const MESSAGE: u8 = 0x11;
const HEADER: usize = 16;
/// An ephemeral and a static key of 32 bytes come before the certificate, which has a signature of 64.
const FIRST_LEN: usize = HEADER + 32 + 32 + 64;
/// Packets read for an answer.
const PATIENCE: u8 = 32;

fn probe(opening: &Opening<'_>) -> Probe {
    let first = |bytes: &[u8]| Header::read(bytes).is_some_and(|h| h.is_first() && bytes.len() >= FIRST_LEN);
    if first(opening.sent.orig) || first(opening.sent.resp) { Probe::Match } else { Probe::NoMatch }
}

struct Header {
    kind: u8,
    index: u32,
    counter: u64,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let _subtype = reader.u8().filter(|subtype| kind != HANDSHAKE || *subtype == 0)?;
        let reserved = reader.u16()?;
        let header = Self { kind, index: reader.u32()?, counter: reader.u64()? };
        (reserved == 0 && kind >> 4 == 1 && kind & 0xf <= 6).then_some(header)
    }

    /// Opens a handshake: knows no index yet, and is the first message of its session.
    const fn is_first(&self) -> bool {
        self.kind == HANDSHAKE && self.index == 0 && self.counter == 1
    }

    /// Answers one.
    const fn is_second(&self) -> bool {
        self.kind == HANDSHAKE && self.index != 0 && self.counter == 2
    }
}

/// Whether a first handshake packet carries this index: field 2 of its protobuf details, a varint.
fn carries(first: &[u8], index: u32) -> bool {
    let mut field = vec![0x10];
    let mut rest = index;
    while rest >= 0x80 {
        field.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    field.push(rest.to_le_bytes()[0]);
    first.get(HEADER..).is_some_and(|body| body.windows(field.len()).any(|window| window == field))
}

#[derive(Debug, Default)]
struct Nebula {
    /// The newest first packet and who sent it.
    first: Option<(Direction, Vec<u8>)>,
    packets: u8,
    done: bool,
}

impl Analyzer for Nebula {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        let header = Header::read(pdu.bytes);
        match (&self.first, header) {
            (_, Some(header)) if header.is_first() => {
                events.ask(pdu.at, pdu.dir, Layer::Overlay, "nebula-handshake");
                self.first = Some((pdu.dir, pdu.bytes.to_vec()));
            }
            (Some((asker, first)), Some(header)) if header.is_second() && pdu.dir == asker.flip() => {
                if carries(first, header.index) {
                    events.answer(pdu.at, pdu.dir, Layer::Overlay, "nebula-handshake");
                    events.confirmed(pdu.at, pdu.dir);
                    events.link(pdu.at, pdu.dir, Link::Pair("nebula"));
                    self.done = true;
                }
            }
            (_, Some(Header { kind: MESSAGE.., .. })) => {}
            _ => {
                events.violation(pdu.at, pdu.dir, "nebula.malformed-header");
                self.done = true;
            }
        }
        self.packets = self.packets.saturating_add(1);
        if self.done || self.packets >= PATIENCE {
            self.done = true;
            events.settled(pdu.at, pdu.dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn};
    use proptest::prelude::*;

    const INDEX: u32 = 0x9e37_79b9;

    fn packet(kind: u8, index: u32, counter: u64, body: &[u8]) -> Vec<u8> {
        [&[kind, 0, 0, 0][..], &index.to_be_bytes(), &counter.to_be_bytes(), body].concat()
    }

    fn first() -> Vec<u8> {
        // Keys and certificate, then the index as a varint.
        packet(HANDSHAKE, 0, 1, &[&[7; 200][..], &[0x10, 0xb9, 0xf3, 0xdd, 0xf1, 0x09]].concat())
    }

    fn confirmed(turns: &[Turn<'_>]) -> bool {
        testkit::datagrams(&NEBULA, turns).iter().any(|e| e.kind == EventKind::Confirmed)
    }

    #[test]
    fn an_answer_names_the_index_it_was_given() {
        let answer = packet(HANDSHAKE, INDEX, 2, &[9; 200]);
        let events = testkit::datagrams(&NEBULA, &[(Orig, &first()), (Resp, &answer)]);
        assert_eq!(testkit::loops(&events).len(), 1);
        assert!(confirmed(&[(Orig, &first()), (Resp, &answer)]));
        assert!(!confirmed(&[(Orig, &first()), (Resp, &packet(HANDSHAKE, INDEX + 1, 2, &[9; 200]))]));
        assert!(!confirmed(&[(Orig, &first()), (Orig, &answer)]));
    }

    #[test]
    fn look_alikes_do_not_match() {
        let probe = |bytes: &[u8]| testkit::probe(&NEBULA, Carrier::Datagram, bytes, b"");
        assert_eq!(probe(&first()), Probe::Match);
        for other in [
            packet(HANDSHAKE, 0, 1, &[]),
            packet(HANDSHAKE, 1, 1, &[0; 200]),
            packet(HANDSHAKE, 0, 0, &[0; 200]),
            packet(0x20, 0, 1, &[0; 200]),
            packet(MESSAGE, INDEX, 3, &[0; 200]),
        ] {
            assert_eq!(probe(&other), Probe::NoMatch);
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            testkit::datagrams(&NEBULA, &[(Orig, &first()), (Resp, &bytes), (Orig, &bytes)]);
            testkit::probe(&NEBULA, Carrier::Datagram, &bytes, &bytes);
        }
    }
}
