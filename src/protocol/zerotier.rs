//! ZeroTier: who greets whom, and with which version.
//!
//! Reads: the addresses in each packet's header, and the HELLO, which alone is not encrypted. Emits: both nodes'
//! addresses, the sender's versions. Does not: decrypt, read fragments, or measure: a peer that knows the greeter
//! already may send to it before it has read the HELLO.
//!
//! Reference: ZeroTier's sources, `node/Packet.hpp` (header, verbs, HELLO) and `node/Identity.hpp`.

use crate::base::{Direction, Reader};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static ZEROTIER: Protocol = Protocol {
    name: "zerotier",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram],
    ports: &[9993],
    attributes: &[VERSION, PROTOCOL, ADDRESS, PEER],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(ZeroTier::default()),
};

const VERSION: Key = "zerotier.version";
const PROTOCOL: Key = "zerotier.protocol";
const ADDRESS: Key = "zerotier.address";
const PEER: Key = "zerotier.peer";

/// Cipher suite 0 authenticates and does not encrypt; HELLO is its only user.
const CIPHER: u8 = 0x38;
const VERB_HELLO: u8 = 1;
/// Protocol versions 1 to 13 have been released; twice that leaves room.
const PROTOCOLS: std::ops::RangeInclusive<u8> = 4..=26;
/// Packets read for an answer to the HELLO.
const PATIENCE: u8 = 32;

fn probe(opening: &Opening<'_>) -> Probe {
    let hello = |bytes| Hello::read(bytes).is_some();
    if hello(opening.sent.orig) || hello(opening.sent.resp) { Probe::Match } else { Probe::NoMatch }
}

type Address = [u8; 5];

/// Destination, source and flags of a packet.
fn header(bytes: &[u8]) -> Option<(Address, Address, u8, Reader<'_>)> {
    let mut reader = Reader::new(bytes);
    reader.take(8)?;
    let (to, from, flags) = (reader.array()?, reader.array()?, reader.u8()?);
    reader.take(8)?;
    // All zeros is nobody; 0xff is reserved (`ZT_ADDRESS_RESERVED_PREFIX`).
    let real = |address: &Address| *address != [0; 5] && address.first() != Some(&0xff);
    (real(&to) && real(&from)).then_some((to, from, flags, reader))
}

struct Hello {
    to: Address,
    from: Address,
    protocol: u8,
    version: (u8, u8, u16),
}

impl Hello {
    /// The identity inside must name the sender again, which is what makes this certain.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (to, from, flags, mut reader) = header(bytes)?;
        let verb = reader.u8()?;
        let protocol = reader.u8().filter(|protocol| PROTOCOLS.contains(protocol))?;
        let version = (reader.u8()?, reader.u8()?, reader.u16()?);
        reader.take(8)?;
        let named: Address = reader.array()?;
        (flags & CIPHER == 0 && verb == VERB_HELLO && named == from).then_some(Self { to, from, protocol, version })
    }
}

fn text(address: Address) -> String {
    address.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Default)]
struct ZeroTier {
    /// Who greeted: direction, own address, the other's.
    greeter: Option<(Direction, Address, Address)>,
    packets: u8,
    done: bool,
}

impl Analyzer for ZeroTier {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        match self.greeter {
            None => {
                if let Some(hello) = Hello::read(pdu.bytes) {
                    self.greeter = Some((pdu.dir, hello.from, hello.to));
                    let (major, minor, revision) = hello.version;
                    events.attribute(pdu.at, pdu.dir, VERSION, format!("{major}.{minor}.{revision}"));
                    events.attribute(pdu.at, pdu.dir, PROTOCOL, hello.protocol.to_string());
                    events.attribute(pdu.at, pdu.dir, ADDRESS, text(hello.from));
                    events.attribute(pdu.at, pdu.dir, PEER, text(hello.to));
                }
            }
            Some((dir, own, peer)) => {
                let back = header(pdu.bytes).is_some_and(|(to, from, ..)| to == own && from == peer);
                if back && pdu.dir == dir.flip() {
                    events.confirmed(pdu.at, pdu.dir);
                    self.done = true;
                }
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
    use crate::protocol::testkit;
    use proptest::prelude::*;

    const A: Address = [0x9a, 1, 2, 3, 4];
    const B: Address = [0x62, 0xf8, 0x65, 0xae, 0x71];

    fn packet(to: Address, from: Address, flags: u8, body: &[u8]) -> Vec<u8> {
        [&[0xc1; 8][..], &to, &from, &[flags], &[0xee; 8], body].concat()
    }

    fn hello(named: Address) -> Vec<u8> {
        packet(B, A, 0, &[&[1, 12, 1, 14, 0, 2][..], &[0; 8], &named, &[0; 70]].concat())
    }

    #[test]
    fn a_greeting_and_its_answer() {
        let answer = packet(A, B, 0x08, &[0x55; 60]);
        let events = testkit::datagrams(&ZEROTIER, &[(Orig, &hello(A)), (Resp, &answer)]);
        assert_eq!(testkit::said(&events, VERSION), Some("1.14.2"));
        assert_eq!(testkit::said(&events, ADDRESS), Some("9a01020304"));
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        let stranger = packet(A, [1; 5], 0x08, &[0x55; 60]);
        let events = testkit::datagrams(&ZEROTIER, &[(Orig, &hello(A)), (Resp, &stranger)]);
        assert!(!events.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn a_greeting_names_its_sender_twice() {
        let probe = |bytes: &[u8]| testkit::probe(&ZEROTIER, Carrier::Datagram, bytes, b"");
        assert_eq!(probe(&hello(A)), Probe::Match);
        assert_eq!(probe(&hello(B)), Probe::NoMatch);
        assert_eq!(probe(&[0; 120]), Probe::NoMatch);
        assert_eq!(probe(&packet(B, A, 0x08, &[1; 90])), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..150)) {
            testkit::datagrams(&ZEROTIER, &[(Orig, &hello(A)), (Resp, &bytes), (Orig, &bytes)]);
            prop_assert_ne!(testkit::probe(&ZEROTIER, Carrier::Datagram, &bytes, b""), Probe::NeedMore);
        }
    }
}
