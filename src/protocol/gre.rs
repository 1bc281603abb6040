//! GRE whose inside stays closed: what it carries and with which key.
//!
//! Reads: flags, protocol type and key of the first packets that the decoder could not open. Emits: those. Does not:
//! open anything (the decoder does, and then the flows inside are what is reported), read PPTP's GRE, or measure.
//!
//! Reference: RFC 2784, RFC 2890; RFC 1701 (routing); MikroTik's EoIP as its public descriptions have it.

use crate::base::Reader;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static GRE: Protocol = Protocol {
    name: "gre",
    category: Category::Vpn,
    carriers: &[Carrier::Ip(47)],
    ports: &[],
    attributes: &[CARRIES, KEY],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, false),
    analyzer: || Box::new(Gre::default()),
};

/// The registry's entry for mirrored frames that could not be opened: a tunnel, but not of a private network.
pub(crate) static ERSPAN: Protocol = Protocol {
    name: "erspan",
    category: Category::Other,
    carriers: &[Carrier::Ip(47)],
    ports: &[],
    attributes: &[CARRIES, KEY],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, true),
    analyzer: || Box::new(Gre::default()),
};

const CARRIES: Key = "gre.carries";
const KEY: Key = "gre.key";

/// Flags: checksum, routing, key, sequence number; recursion and version stand below.
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const HAS_KEY: u16 = 0x2000;
/// Bits that RFC 2784 2.1 wants to be 0 and RFC 1701 has no use for.
const RESERVED: u16 = 0x00f8;
const VERSION: u16 = 0x0007;
/// Ethernet of MikroTik's routers: version 1, key, and a type of their own; length and tunnel id follow.
const EOIP: [u8; 4] = [0x20, 0x01, 0x64, 0x00];
/// Protocol types of ERSPAN: I and II, III (draft-foschiano-erspan-03).
const MIRRORED: [u16; 2] = [0x88be, 0x22eb];
/// Packets that must agree.
const SURE: u8 = 2;

fn probe(opening: &Opening<'_>, mirrored: bool) -> Probe {
    match Header::read(opening.sent.of(opening.newest)) {
        Some(header) if MIRRORED.contains(&header.kind) == mirrored => Probe::Match,
        _ => Probe::NoMatch,
    }
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: u16,
    key: Option<u32>,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if let Some(mut rest) = bytes.strip_prefix(&EOIP).map(Reader::new) {
            let (length, id) = (rest.u16()?, rest.array::<2>()?);
            // The tunnel id is little-endian, and the frame fills the packet.
            let fits = usize::from(length) == rest.len();
            return fits.then_some(Self { kind: 0x6400, key: Some(u32::from(u16::from_le_bytes(id))) });
        }
        let (flags, kind) = (reader.u16()?, reader.u16()?);
        if flags & VERSION != 0 || flags & RESERVED != 0 {
            return None;
        }
        if flags & (CHECKSUM | ROUTING) != 0 {
            reader.u32()?;
        }
        let key = if flags & HAS_KEY == 0 { None } else { Some(reader.u32()?) };
        // Protocol types are EtherTypes; 0 is a keepalive's inside, and lower ones are 802.3 lengths.
        (kind == 0 || kind >= 0x0600).then_some(Self { kind, key })
    }
}

/// A protocol type in words.
const fn carried(kind: u16) -> Option<&'static str> {
    Some(match kind {
        0x0000 => "keepalive",
        0x0800 => "ipv4",
        0x86dd => "ipv6",
        0x6558 => "ethernet",
        0x6400 => "eoip",
        0x8847 | 0x8848 => "mpls",
        0x880b => "ppp",
        0x88be | 0x22eb => "erspan",
        0x883e => "wccp",
        0x2001 => "nhrp",
        0x8200 => "aruba",
        _ => return None,
    })
}

#[derive(Debug, Default)]
struct Gre {
    first: Option<Header>,
    agreeing: u8,
    done: bool,
}

impl Analyzer for Gre {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        let Some(header) = Header::read(pdu.bytes) else { return };
        let first = *self.first.get_or_insert_with(|| {
            let name = carried(header.kind).map_or_else(|| format!("0x{:04x}", header.kind), ToOwned::to_owned);
            events.attribute(pdu.at, pdu.dir, CARRIES, name);
            if let Some(key) = header.key {
                events.attribute(pdu.at, pdu.dir, KEY, key.to_string());
            }
            if header.kind == 0x6400 {
                events.application(pdu.at, pdu.dir, "mikrotik");
            }
            header
        });
        // A keepalive shares the tunnel with what it keeps alive.
        if header.key == first.key {
            self.agreeing += 1;
        }
        if self.agreeing >= SURE {
            self.done = true;
            events.confirmed(pdu.at, pdu.dir);
            events.settled(pdu.at, pdu.dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn run(all: &[&[u8]]) -> Vec<Event> {
        let turns: Vec<_> =
            all.iter().zip([Orig, Resp].into_iter().cycle()).map(|(bytes, dir)| (dir, *bytes)).collect();
        testkit::datagrams(&GRE, &turns)
    }

    fn probe(bytes: &[u8]) -> Probe {
        testkit::probe(&GRE, Carrier::Ip(47), bytes, b"")
    }

    #[test]
    fn packets_that_agree_are_certain() {
        let keyed = [0x20, 0, 0x20, 0x01, 0, 0, 0, 9, 1, 2, 3];
        let events = run(&[&keyed, &keyed]);
        assert_eq!((said(&events, CARRIES), said(&events, KEY)), (Some("nhrp"), Some("9")));
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        let other = [0x20, 0, 0x20, 0x01, 0, 0, 0, 8, 1, 2, 3];
        assert!(!run(&[&keyed, &other]).iter().any(|e| e.kind == EventKind::Confirmed));
        assert_eq!(said(&run(&[&[0, 0, 0x12, 0x34]]), CARRIES), Some("0x1234"));
    }

    #[test]
    fn ethernet_of_mikrotik() {
        let frame = [&EOIP[..], &[0, 4, 7, 0], b"abcd"].concat();
        let events = run(&[&frame, &frame]);
        assert_eq!((said(&events, CARRIES), said(&events, KEY)), (Some("eoip"), Some("7")));
        assert_eq!(probe(&frame[..10]), Probe::NoMatch);
    }

    #[test]
    fn mirrored_frames_are_no_vpn() {
        let mirrored = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 9];
        assert_eq!(probe(&mirrored), Probe::NoMatch);
        assert_eq!(testkit::probe(&ERSPAN, Carrier::Ip(47), &mirrored, b""), Probe::Match);
        assert_eq!(testkit::probe(&ERSPAN, Carrier::Ip(47), &[0, 0, 0x12, 0x34], b""), Probe::NoMatch);
    }

    #[test]
    fn other_versions_and_reserved_bits_do_not_match() {
        assert_eq!(probe(&[0x30, 0x01, 0x88, 0x0b, 0, 4, 0, 1, 0, 0, 0, 1]), Probe::NoMatch);
        assert_eq!(probe(&[0, 0x10, 8, 0, 0, 0]), Probe::NoMatch);
        assert_eq!(probe(&[0, 0, 0x01, 0x00]), Probe::NoMatch);
        assert_eq!(probe(&[0, 0]), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(all in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..24), 0..6)) {
            let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            run(&all);
            all.iter().for_each(|bytes| { probe(bytes); });
        }
    }
}
