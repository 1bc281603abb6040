//! XDMCP: a display asks a host for a login window, and the host then sends its programs to the display by X11.
//!
//! Reads: every packet of the protocol, whole. Emits: the host's name and status, the display's number, class and
//! addresses, why it was declined, and closed loops. Does not: keep authentication data, or follow the X11 connection,
//! which goes the other way.
//!
//! Reference: X Display Manager Control Protocol, version 1.1.

use crate::base::{Direction, Layer, Link, Reader, Timestamp};
use crate::protocol::codec::printable;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The registry's entry.
pub(crate) static XDMCP: Protocol = Protocol {
    name: "xdmcp",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Datagram],
    ports: &[177],
    attributes: &[HOST, STATUS, DISPLAY, CLASS, ADDRESSES, AUTHORIZATION, RESULT],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Xdmcp::default()),
};

const HOST: Key = "xdmcp.host";
const STATUS: Key = "xdmcp.status";
const DISPLAY: Key = "xdmcp.display";
const CLASS: Key = "xdmcp.display_class";
const ADDRESSES: Key = "xdmcp.display_addresses";
const AUTHORIZATION: Key = "xdmcp.authorization";
const RESULT: Key = "xdmcp.result";

/// Characters of a text that are kept.
const TEXT_KEPT: usize = 255;
/// Addresses of a display that are kept.
const ADDRESSES_KEPT: usize = 8;
/// Packets of a flow that are read: a login takes six, then there is one a minute.
const PACKETS: u16 = 512;

fn probe(opening: &Opening<'_>) -> Probe {
    let newest = *opening.sent.of(opening.newest);
    if Packet::read(newest).is_some() { Probe::Match } else { Probe::NoMatch }
}

/// What a packet says.
#[derive(Debug, PartialEq, Eq)]
enum Packet<'a> {
    /// Query, BroadcastQuery, IndirectQuery, ForwardQuery: who would manage me?
    Query,
    Willing {
        host: &'a [u8],
        status: &'a [u8],
    },
    Unwilling {
        host: &'a [u8],
        status: &'a [u8],
    },
    Request {
        display: u16,
        addresses: String,
    },
    Accept {
        authorization: &'a [u8],
    },
    Decline {
        status: &'a [u8],
    },
    Manage {
        display: u16,
        class: &'a [u8],
    },
    Refuse,
    Failed {
        status: &'a [u8],
    },
    KeepAlive {
        session: u32,
    },
    Alive {
        session: u32,
    },
}

impl<'a> Packet<'a> {
    /// `None` if anything is missing or left over.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (version, opcode, length) = (reader.u16()?, reader.u16()?, reader.u16()?);
        if version != 1 || usize::from(length) != reader.len() {
            return None;
        }
        let packet = Self::body(opcode, &mut reader)?;
        reader.is_empty().then_some(packet)
    }

    fn body(opcode: u16, reader: &mut Reader<'a>) -> Option<Self> {
        Some(match opcode {
            1..=3 => {
                texts(reader)?;
                Self::Query
            }
            4 => {
                text(reader)?;
                text(reader)?;
                texts(reader)?;
                Self::Query
            }
            5 => {
                text(reader)?;
                Self::Willing { host: text(reader)?, status: text(reader)? }
            }
            6 => Self::Unwilling { host: text(reader)?, status: text(reader)? },
            7 => Self::request(reader)?,
            8 => {
                reader.u32()?;
                text(reader)?;
                text(reader)?;
                let authorization = text(reader)?;
                text(reader)?;
                Self::Accept { authorization }
            }
            9 => {
                let status = text(reader)?;
                text(reader)?;
                text(reader)?;
                Self::Decline { status }
            }
            10 => {
                reader.u32()?;
                Self::Manage { display: reader.u16()?, class: text(reader)? }
            }
            11 => {
                reader.u32()?;
                Self::Refuse
            }
            12 => {
                reader.u32()?;
                Self::Failed { status: text(reader)? }
            }
            13 => {
                reader.u16()?;
                Self::KeepAlive { session: reader.u32()? }
            }
            14 => {
                reader.u8()?;
                Self::Alive { session: reader.u32()? }
            }
            _ => return None,
        })
    }

    fn request(reader: &mut Reader<'a>) -> Option<Self> {
        let display = reader.u16()?;
        let kinds = usize::from(reader.u8()?);
        let mut kinds = Reader::new(reader.take(2 * kinds)?);
        let mut addresses = Vec::new();
        for _ in 0..reader.u8()? {
            let bytes = text(reader)?;
            let kind = kinds.u16()?;
            if addresses.len() < ADDRESSES_KEPT
                && let Some(address) = address(kind, bytes)
            {
                addresses.push(address);
            }
        }
        // How the display would prove itself, what authorizations it knows, and who made it.
        text(reader)?;
        text(reader)?;
        texts(reader)?;
        text(reader)?;
        Some(Self::Request { display, addresses: addresses.join(",") })
    }
}

/// An address by its family's number in X11: 0 is IPv4, 6 is IPv6.
fn address(kind: u16, bytes: &[u8]) -> Option<String> {
    match kind {
        0 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
        6 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_string()),
        _ => None,
    }
}

/// `ARRAY8`.
fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    reader.block_u16().map(|block| block.rest())
}

/// `ARRAYofARRAY8`.
fn texts(reader: &mut Reader<'_>) -> Option<()> {
    for _ in 0..reader.u8()? {
        text(reader)?;
    }
    Some(())
}

/// What of an end is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Query,
    Request,
    Alive(u32),
}

#[derive(Debug, Default)]
struct Xdmcp {
    asked: Option<(Direction, Asked)>,
    confirmed: bool,
    packets: u16,
    done: bool,
}

impl Analyzer for Xdmcp {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        self.packets += 1;
        let (at, dir) = (pdu.at, pdu.dir);
        let Some(packet) = Packet::read(pdu.bytes) else {
            if pdu.missing == 0 {
                events.violation(at, dir, "xdmcp.malformed-packet");
                self.settle(at, dir, events);
            }
            return;
        };
        self.on_packet(at, dir, packet, events);
        if self.packets >= PACKETS {
            self.settle(at, dir, events);
        }
    }
}

impl Xdmcp {
    fn on_packet(&mut self, at: Timestamp, dir: Direction, packet: Packet<'_>, events: &mut Events) {
        let say = |key, value: &[u8], events: &mut Events| {
            if !value.is_empty() {
                events.attribute(at, dir, key, printable(value, TEXT_KEPT));
            }
        };
        match packet {
            Packet::Query => self.ask(at, dir, Asked::Query, events),
            Packet::Willing { host, status } => {
                self.answer(at, dir, Asked::Query, events);
                say(HOST, host, events);
                say(STATUS, status, events);
            }
            Packet::Unwilling { host, status } => {
                self.answer(at, dir, Asked::Query, events);
                say(HOST, host, events);
                say(STATUS, status, events);
                say(RESULT, b"unwilling", events);
            }
            Packet::Request { display, addresses } => {
                self.ask(at, dir, Asked::Request, events);
                events.attribute(at, dir, DISPLAY, display.to_string());
                say(ADDRESSES, addresses.as_bytes(), events);
            }
            Packet::Accept { authorization } => {
                self.answer(at, dir, Asked::Request, events);
                say(AUTHORIZATION, authorization, events);
                say(RESULT, b"accepted", events);
            }
            Packet::Decline { status } => {
                self.answer(at, dir, Asked::Request, events);
                say(STATUS, status, events);
                say(RESULT, b"declined", events);
            }
            Packet::Manage { display, class } => {
                events.attribute(at, dir, DISPLAY, display.to_string());
                say(CLASS, class, events);
            }
            Packet::Refuse => say(RESULT, b"refused", events),
            Packet::Failed { status } => {
                say(STATUS, status, events);
                say(RESULT, b"failed", events);
            }
            Packet::KeepAlive { session } => self.ask(at, dir, Asked::Alive(session), events),
            Packet::Alive { session } => self.answer(at, dir, Asked::Alive(session), events),
        }
    }

    fn ask(&mut self, at: Timestamp, dir: Direction, asked: Asked, events: &mut Events) {
        self.asked = Some((dir, asked));
        events.ask(at, dir, Layer::Xdmcp, method(asked));
    }

    /// The answer repeats nothing of the question but a session's number, so a question sent twice makes it ambiguous.
    fn answer(&mut self, at: Timestamp, dir: Direction, asked: Asked, events: &mut Events) {
        if self.asked != Some((dir.flip(), asked)) {
            return;
        }
        self.asked = None;
        events.answer(at, dir, Layer::Xdmcp, method(asked));
        if !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(at, dir);
            events.link(at, dir, Link::Pair("x11"));
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.settled(at, dir);
    }
}

const fn method(asked: Asked) -> &'static str {
    match asked {
        Asked::Query => "query",
        Asked::Request => "request",
        Asked::Alive(_) => "keep-alive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn array(text: &[u8]) -> Vec<u8> {
        [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
    }

    fn packet(opcode: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[0, 1, 0, opcode][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat()
    }

    fn request() -> Vec<u8> {
        let addresses = [&[2][..], &array(&[192, 0, 2, 1]), &array(&[0; 16])].concat();
        packet(
            7,
            &[
                &[0, 3],
                &[2, 0, 0, 0, 6],
                &addresses,
                &array(b""),
                &array(b""),
                &[1],
                &array(b"MIT-MAGIC-COOKIE-1"),
                &array(b""),
            ],
        )
    }

    fn dialogue() -> Vec<(Direction, Vec<u8>)> {
        let session = [1, 2, 3, 4];
        vec![
            (Orig, packet(2, &[&[0]])),
            (Resp, packet(5, &[&array(b""), &array(b"host"), &array(b"Willing to manage")])),
            (Orig, request()),
            (Resp, packet(8, &[&session, &array(b""), &array(b""), &array(b"MIT-MAGIC-COOKIE-1"), &array(&[9; 16])])),
            (Orig, packet(10, &[&session, &[0, 3], &array(b"MIT-unspecified")])),
            (Orig, packet(13, &[&[0, 3], &session])),
            (Resp, packet(14, &[&[1], &session])),
        ]
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&XDMCP, &turns)
    }

    fn probe(bytes: &[u8]) -> Probe {
        testkit::probe(&XDMCP, Carrier::Datagram, bytes, b"")
    }

    #[test]
    fn a_login_is_read_from_the_question_to_the_sign_of_life() {
        let events = run(&dialogue());
        for (key, value) in [
            (HOST, "host"),
            (STATUS, "Willing to manage"),
            (DISPLAY, "3"),
            (ADDRESSES, "192.0.2.1,::"),
            (AUTHORIZATION, "MIT-MAGIC-COOKIE-1"),
            (RESULT, "accepted"),
            (CLASS, "MIT-unspecified"),
        ] {
            assert_eq!(testkit::said(&events, key), Some(value), "{key}");
        }
        let at = testkit::at;
        let expected = [(at(0), at(1), "query"), (at(2), at(3), "request"), (at(5), at(6), "keep-alive")];
        assert_eq!(testkit::loops(&events), expected);
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
    }

    #[test]
    fn an_answer_to_another_question_closes_nothing() {
        let mut turns = dialogue();
        turns.swap(1, 3);
        turns.truncate(2);
        let events = run(&turns);
        assert!(testkit::loops(&events).is_empty());
        assert!(!events.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn every_opcode_must_fill_its_packet() {
        let session = [0, 0, 0, 1];
        for good in [
            packet(1, &[&[0]]),
            packet(3, &[&[1], &array(b"XDM-AUTHENTICATION-1")]),
            packet(4, &[&array(&[192, 0, 2, 1]), &array(&[0, 9]), &[0]]),
            packet(6, &[&array(b"host"), &array(b"busy")]),
            packet(9, &[&array(b"no"), &array(b""), &array(b"")]),
            packet(11, &[&session]),
            packet(12, &[&session, &array(b"no display")]),
        ] {
            assert_eq!(probe(&good), Probe::Match, "{good:x?}");
            assert_eq!(probe(&good[..good.len() - 1]), Probe::NoMatch);
            assert_eq!(probe(&[&good[..], &[0]].concat()), Probe::NoMatch);
        }
        assert_eq!(run(&[(Orig, packet(2, &[&[0]])), (Resp, b"\0\x01\0\x05\0\x01".to_vec())]).len(), 3);
        // STUN, TFTP, DNS, an unknown opcode.
        assert_eq!(probe(b"\x00\x01\x00\x08\x21\x12\xa4\x42abcdefghijkl\x00\x03\x00\x04\0\0\0\0"), Probe::NoMatch);
        assert_eq!(probe(b"\x00\x01boot\0octet\0"), Probe::NoMatch);
        assert_eq!(probe(b"\x00\x01\x01\x00\x00\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01"), Probe::NoMatch);
        assert_eq!(probe(&packet(15, &[])), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), 0u8..16, proptest::collection::vec(any::<u8>(), 0..60)), 0..12,
        )) {
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(orig, opcode, bytes)| (if orig { Orig } else { Resp }, packet(opcode, &[&bytes])))
                .collect();
            run(&turns);
            turns.iter().for_each(|(_, bytes)| { let _ = probe(bytes); });
        }
    }
}
