//! Teredo: a host behind a NAT asks a server for an IPv6 address.
//!
//! Reads: the router solicitation and advertisement of Teredo's qualification, and the nonce that ties them. Emits: the
//! client's address as its server sees it. Does not: read the IPv6 packets that relays carry afterwards, or measure.
//!
//! Reference: RFC 4380, 5.1.1 (encapsulation, authentication, origin) and 5.2.1 (qualification).

use crate::base::Reader;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};
use std::net::Ipv4Addr;

/// The registry's entry.
pub(crate) static TEREDO: Protocol = Protocol {
    name: "teredo",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram],
    ports: &[3544],
    attributes: &[MAPPED],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Teredo::default()),
};

const MAPPED: Key = "teredo.mapped";

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// A client asks three times, thrice (RFC 4380, 5.2.1).
const PATIENCE: u8 = 16;

fn probe(opening: &Opening<'_>) -> Probe {
    let asks = |bytes| Router::read(bytes).is_some_and(|r| r.kind == SOLICITATION);
    if asks(opening.sent.orig) || asks(opening.sent.resp) { Probe::Match } else { Probe::NoMatch }
}

/// A router solicitation or advertisement behind an authentication header.
struct Router {
    nonce: [u8; 8],
    kind: u8,
    /// The client's address and port behind its NAT, as the server tells it.
    origin: Option<(Ipv4Addr, u16)>,
}

impl Router {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u16()? != 1 {
            return None;
        }
        let (id, value) = (reader.u8()?, reader.u8()?);
        reader.take(usize::from(id) + usize::from(value))?;
        let nonce = reader.array()?;
        let _confirmation = reader.u8()?;
        let origin = match reader.rest() {
            [0, 0, ..] => {
                reader.u16()?;
                // Both are written inverted, so that no NAT changes them on the way.
                Some((!reader.u16()?, Ipv4Addr::from(!reader.u32()?))).map(|(port, address)| (address, port))
            }
            _ => None,
        };
        let version = reader.u32()? >> 28;
        let len = usize::from(reader.u16()?);
        let (next, _hops) = (reader.u8()?, reader.u8()?);
        let source = reader.take(16)?;
        reader.take(16)?;
        let kind = reader.rest().first().copied()?;
        let fits = version == 6 && next == ICMPV6 && len == reader.len() && source.starts_with(&[0xfe, 0x80]);
        (fits && matches!(kind, SOLICITATION | ADVERTISEMENT)).then_some(Self { nonce, kind, origin })
    }
}

#[derive(Debug, Default)]
struct Teredo {
    asked: Option<[u8; 8]>,
    packets: u8,
    done: bool,
}

impl Analyzer for Teredo {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        match Router::read(pdu.bytes) {
            Some(Router { kind: SOLICITATION, nonce, .. }) => self.asked = Some(nonce),
            Some(Router { kind: ADVERTISEMENT, nonce, origin }) if self.asked == Some(nonce) => {
                events.confirmed(pdu.at, pdu.dir);
                if let Some((address, port)) = origin {
                    events.attribute(pdu.at, pdu.dir, MAPPED, format!("{address}:{port}"));
                }
                self.done = true;
            }
            _ => {}
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

    fn router(nonce: u8, origin: &[u8], kind: u8, len: u8) -> Vec<u8> {
        let head = [&[0, 1, 0, 0][..], &[nonce; 8], &[0], origin].concat();
        let ip = [&[0x60, 0, 0, 0, 0, len, 58, 255, 0xfe, 0x80][..], &[0; 14], &[0xff, 2], &[0; 13], &[2]].concat();
        [&head[..], &ip, &[kind, 0, 0, 0, 0, 0, 0, 0]].concat()
    }

    #[test]
    fn an_advertisement_answers_the_solicitation_it_names() {
        let origin = [0, 0, 0xcd, 0x21, 0x3f, 0xff, 0xfd, 0xfe];
        let events =
            testkit::datagrams(&TEREDO, &[(Orig, &router(7, &[], 133, 8)), (Resp, &router(7, &origin, 134, 8))]);
        assert_eq!(testkit::said(&events, MAPPED), Some("192.0.2.1:13022"));
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        let other = testkit::datagrams(&TEREDO, &[(Orig, &router(7, &[], 133, 8)), (Resp, &router(8, &[], 134, 8))]);
        assert!(!other.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn only_a_solicitation_begins() {
        let probe = |bytes: &[u8]| testkit::probe(&TEREDO, Carrier::Datagram, bytes, b"");
        assert_eq!(probe(&router(7, &[], 133, 8)), Probe::Match);
        assert_eq!(probe(&router(7, &[], 134, 8)), Probe::NoMatch);
        assert_eq!(probe(&router(7, &[], 133, 9)), Probe::NoMatch);
        assert_eq!(probe(&[0, 1, 0, 0, 1, 2, 3]), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            testkit::datagrams(&TEREDO, &[(Orig, &bytes), (Resp, &[&[0, 1, 0, 0][..], &bytes].concat())]);
            testkit::probe(&TEREDO, Carrier::Datagram, &bytes, &bytes);
        }
    }
}
