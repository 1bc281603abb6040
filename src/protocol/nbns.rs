//! NetBIOS name service: machines of a Windows network say their names, and at which address they are.
//!
//! Reads: registrations, refreshes, releases, answers to questions for names, and node status answers, over UDP. Emits:
//! the first name with what was done about it; claims (`netbios`) of a machine's own names (suffixes 00 and 20) and of
//! the hardware address that a node status tells. Does not: read the datagram and session services, or claim anything of
//! groups or of the messenger's names (suffix 03), which may be a user's or the machine's.
//!
//! Reference: RFC 1001 (14.1, name encoding), RFC 1002 (4.2).

use crate::base::{Direction, IdentityKind, Reader, Stay, Sureness, Timestamp, Whereabouts};
use crate::protocol::codec::printable;
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};
use std::net::{IpAddr, Ipv4Addr};

/// The registry's entry.
pub(super) static NBNS: Protocol = Protocol {
    name: "nbns",
    category: Category::Identity,
    carriers: &[Carrier::Datagram],
    ports: &[137],
    attributes: &[NAME, OPERATION],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Nbns::default()),
};

const NAME: Key = "nbns.name";
const OPERATION: Key = "nbns.operation";

/// Messages read of one flow: a machine registers its few names when it starts.
const MESSAGES: u8 = 16;
/// Questions that may wait for their answers.
const PENDING: usize = 4;
/// A name is encoded in so many letters (RFC 1001, 14.1).
const ENCODED: usize = 32;
/// Names of one node status that are read: there is room for no more in a datagram.
const NODE_NAMES: u8 = 28;
/// Record types (RFC 1002, 4.2.1.3).
const NB: u16 = 0x20;
const NBSTAT: u16 = 0x21;
/// A name of a group (RFC 1002, 4.2.1.3, `G`).
const GROUP: u16 = 0x8000;
/// What the last byte of a name says it is for: the machine itself, its file service ([MS-NBTE] 2.2.1).
const WORKSTATION: u8 = 0x00;
const SERVER: u8 = 0x20;

fn probe(opening: &Opening<'_>) -> Probe {
    match Message::read(opening.sent.of(opening.newest)) {
        Some(_) => Probe::Match,
        None => Probe::NoMatch,
    }
}

/// What a message is about (RFC 1002, 4.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Query,
    Registration,
    Release,
    Refresh,
}

impl Operation {
    const fn of(opcode: u16) -> Option<Self> {
        match opcode {
            0 => Some(Self::Query),
            5 | 15 => Some(Self::Registration),
            6 => Some(Self::Release),
            // RFC 1002 gives both numbers for it.
            8 | 9 => Some(Self::Refresh),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Registration => "registration",
            Self::Release => "release",
            Self::Refresh => "refresh",
        }
    }
}

/// A name without its padding, and what its last byte says it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    text: String,
    suffix: u8,
}

impl Name {
    fn of(raw: [u8; 16]) -> Self {
        let [text @ .., suffix] = raw;
        let end = text.iter().rposition(|b| !matches!(b, b' ' | 0)).map_or(0, |last| last + 1);
        Self { text: printable(text.get(..end).unwrap_or_default(), 15), suffix }
    }

    /// Whether it names one machine: nobody's name begins with a star or a control character.
    fn is_a_machine(&self, flags: u16) -> bool {
        let sane = |c: char| !c.is_whitespace() && c != '*' && c != char::REPLACEMENT_CHARACTER;
        flags & GROUP == 0
            && matches!(self.suffix, WORKSTATION | SERVER)
            && !self.text.is_empty()
            && self.text.chars().all(sane)
    }
}

/// Half-ASCII: each letter from A to P is four bits (RFC 1001, 14.1). Labels of a scope may follow.
fn name(reader: &mut Reader<'_>) -> Option<Name> {
    if reader.u8()? != 0x20 {
        return None;
    }
    let letters: [u8; ENCODED] = reader.array()?;
    if !letters.iter().all(|letter| (b'A'..=b'P').contains(letter)) {
        return None;
    }
    let mut raw = [0; 16];
    for (byte, pair) in raw.iter_mut().zip(letters.chunks_exact(2)) {
        let [high, low] = *pair.first_chunk::<2>()?;
        *byte = (high - b'A') << 4 | (low - b'A');
    }
    for _ in 0..8 {
        match reader.u8()? {
            0 => return Some(Name::of(raw)),
            length @ 1..=63 => drop(reader.take(usize::from(length))?),
            _ => return None,
        }
    }
    None
}

/// A message with one name in it.
#[derive(Debug)]
struct Message<'a> {
    id: u16,
    operation: Operation,
    is_answer: bool,
    accepted: bool,
    name: Name,
    /// Type and value of the record about the name, if there is one.
    record: Option<(u16, Reader<'a>)>,
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (id, flags) = (reader.u16()?, reader.u16()?);
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = reader.u16()?;
        }
        let operation = Operation::of(flags >> 11 & 15)?;
        let is_answer = flags & 0x8000 != 0;
        let expected: &[[u16; 4]] = match (is_answer, operation) {
            // A negative answer counts none, and has its record all the same (4.2.14).
            (true, _) => &[[0, 1, 0, 0], [0, 0, 0, 0]],
            (false, Operation::Query) => &[[1, 0, 0, 0]],
            (false, _) => &[[1, 0, 0, 1]],
        };
        if !expected.contains(&counts) {
            return None;
        }
        let name = name(&mut reader)?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        if class != 1 || !matches!(kind, NB | NBSTAT | 0x0a | 1 | 2) {
            return None;
        }
        let record = if is_answer {
            record_body(kind, &mut reader)
        } else if counts == [1, 0, 0, 1] {
            // The record's name points at the question's, or says it again (RFC 1002, 4.2.2).
            match reader.rest().first()? {
                0xc0.. => drop(reader.u16()?),
                _ => drop(self::name(&mut reader)?),
            }
            let kind = reader.u16()?;
            reader.u16()?;
            Some(record_body(kind, &mut reader)?)
        } else {
            None
        };
        Some(Self { id, operation, is_answer, accepted: flags & 15 == 0, name, record })
    }
}

/// Behind type and class: time to live, length, value.
fn record_body<'a>(kind: u16, reader: &mut Reader<'a>) -> Option<(u16, Reader<'a>)> {
    reader.take(4)?;
    Some((kind, reader.block_u16()?))
}

#[derive(Debug, Default)]
struct Nbns {
    /// Numbers of questions and registrations, and who sent them.
    pending: [Option<(u16, Direction)>; PENDING],
    messages: u8,
    told: bool,
    confirmed: bool,
}

impl Analyzer for Nbns {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let (at, dir) = (pdu.at, pdu.dir);
        let Some(message) = Message::read(pdu.bytes) else {
            if self.messages == 0 {
                events.violation(at, dir, "nbns.malformed-message");
                events.settled(at, dir);
            }
            return;
        };
        if !std::mem::replace(&mut self.told, true) {
            events.attribute(at, dir, NAME, message.name.text.as_str());
            events.attribute(at, dir, OPERATION, message.operation.name());
        }
        if message.is_answer {
            self.on_answer(at, dir, &message, events);
        } else {
            self.pending.rotate_left(1);
            if let Some(newest) = self.pending.last_mut() {
                *newest = Some((message.id, dir));
            }
            if message.operation != Operation::Query {
                let stay = if message.operation == Operation::Release { Stay::Ends } else { Stay::Goes };
                claim_addresses(at, dir, &message, (stay, Sureness::Said), events);
            }
        }
        self.messages += 1;
        if self.messages >= MESSAGES {
            events.settled(at, dir);
        }
    }
}

impl Nbns {
    fn on_answer(&mut self, at: Timestamp, dir: Direction, message: &Message<'_>, events: &mut Events) {
        let asked = |slot: &&mut Option<(u16, Direction)>| **slot == Some((message.id, dir.flip()));
        let answers = self.pending.iter_mut().find(asked).and_then(Option::take).is_some();
        if answers && !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(at, dir);
        }
        if !message.accepted {
            return;
        }
        match message.operation {
            Operation::Query if matches!(message.record, Some((NBSTAT, _))) => claim_node(at, dir, message, events),
            Operation::Query => claim_addresses(at, dir, message, (Stay::Goes, Sureness::Said), events),
            Operation::Release => {}
            // A name server has entered the name: but for being unique it checks nothing.
            Operation::Registration | Operation::Refresh if answers => {
                claim_addresses(at, dir, message, (Stay::Goes, Sureness::Said), events);
            }
            Operation::Registration | Operation::Refresh => {}
        }
    }
}

/// The addresses of a record of type NB: flags and address, each (RFC 1002, 4.2.13).
fn claim_addresses(
    at: Timestamp,
    dir: Direction,
    message: &Message<'_>,
    (stay, worth): (Stay, Sureness),
    events: &mut Events,
) {
    let Some((NB, value)) = &message.record else { return };
    let mut value = *value;
    while let (Some(flags), Some(octets)) = (value.u16(), value.array::<4>()) {
        let address = Ipv4Addr::from(octets);
        if message.name.is_a_machine(flags) && !address.is_unspecified() && !address.is_broadcast() {
            let place = Whereabouts::Address(IpAddr::V4(address));
            let claim = Claim::new("netbios", place, IdentityKind::Host, message.name.text.as_str()).worth(worth);
            events.claim(at, dir, Claim { stay, ..claim });
        }
    }
}

/// A node tells all its names and its hardware address (RFC 1002, 4.2.18).
fn claim_node(at: Timestamp, dir: Direction, message: &Message<'_>, events: &mut Events) {
    let Some((NBSTAT, value)) = &message.record else { return };
    let mut value = *value;
    let Some(count) = value.u8().filter(|count| *count <= NODE_NAMES) else { return };
    let mut told: Option<String> = None;
    for _ in 0..count {
        let (Some(raw), Some(flags)) = (value.array::<16>(), value.u16()) else { return };
        let name = Name::of(raw);
        if name.is_a_machine(flags) && told.as_ref() != Some(&name.text) {
            let claim = Claim::new("netbios", Whereabouts::End(dir), IdentityKind::Host, name.text.as_str());
            events.claim(at, dir, claim);
            told = Some(name.text);
        }
    }
    if let Some(mac) = value.array::<6>().filter(|mac| mac.iter().any(|octet| *octet != 0)) {
        let mac: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
        let claim = Claim::new("netbios", Whereabouts::End(dir), IdentityKind::Device, mac.join(":"));
        events.claim(at, dir, claim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit;
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    /// RFC 1001, 14.1: each half of a byte is a letter.
    fn encoded(text: &str, suffix: u8) -> Vec<u8> {
        let mut raw = format!("{text:<15}").into_bytes();
        raw.push(suffix);
        let mut out = vec![0x20];
        out.extend(raw.iter().flat_map(|b| [b'A' + (b >> 4), b'A' + (b & 15)]));
        out.push(0);
        out
    }

    fn head(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
        [&[id, flags][..], &counts].concat().iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn address(flags: u16, ip: [u8; 4]) -> Vec<u8> {
        [&[0, 4, 0x93, 0xe0, 0, 6][..], &flags.to_be_bytes(), &ip].concat()
    }

    /// A registration (opcode 5), refresh (8) or release (6), to everybody.
    fn registration(opcode: u16, text: &str, suffix: u8, flags: u16) -> Vec<u8> {
        let about = [0xc0, 0x0c, 0, 0x20, 0, 1];
        [
            head(7, opcode << 11 | 0x0110, [1, 0, 0, 1]),
            encoded(text, suffix),
            vec![0, 0x20, 0, 1],
            about.to_vec(),
            address(flags, [192, 168, 1, 20]),
        ]
        .concat()
    }

    fn query(id: u16, text: &str, kind: u8) -> Vec<u8> {
        [head(id, 0x0110, [1, 0, 0, 0]), encoded(text, 0x20), vec![0, kind, 0, 1]].concat()
    }

    fn answer(id: u16, flags: u16, text: &str, kind: u8, body: &[u8]) -> Vec<u8> {
        [head(id, flags, [0, 1, 0, 0]), encoded(text, 0x20), vec![0, kind, 0, 1], body.to_vec()].concat()
    }

    fn node_status(id: u16) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, 0, 3 * 18 + 1 + 46, 3];
        for (text, suffix, flags) in [("PC7", 0u8, 0x0400u16), ("CORP", 0, 0x8400), ("PC7", 0x20, 0x0400)] {
            body.extend(format!("{text:<15}").bytes());
            body.push(suffix);
            body.extend(flags.to_be_bytes());
        }
        body.extend([2, 0, 0x5e, 0x10, 0, 1]);
        body.resize(body.len() + 40, 0);
        answer(id, 0x8400, "*", 0x21, &body)
    }

    fn claims(events: &[Event]) -> Vec<String> {
        let told = |e: &Event| match &e.kind {
            EventKind::Claim(c) => {
                Some(format!("{:?} {} {:?} {:?}", c.identity.kind, c.identity.name, c.place, c.stay))
            }
            _ => None,
        };
        events.iter().filter_map(told).collect()
    }

    fn at(ip: &str) -> String {
        format!("Address({ip})")
    }

    #[test]
    fn a_machine_says_its_name_and_takes_it_back() {
        let (register, refresh, release) =
            (registration(5, "PC7", 0, 0), registration(8, "PC7", 0x20, 0x6000), registration(6, "PC7", 0, 0));
        let events = testkit::datagrams(&NBNS, &[(Orig, &register), (Orig, &refresh), (Orig, &release)]);
        let here = at("192.168.1.20");
        assert_eq!(
            claims(&events),
            [format!("Host PC7 {here} Goes"), format!("Host PC7 {here} Goes"), format!("Host PC7 {here} Ends")]
        );
        assert_eq!(testkit::said(&events, NAME), Some("PC7"));
        assert_eq!(testkit::said(&events, OPERATION), Some("registration"));
        assert!(!events.iter().any(|e| e.kind == EventKind::Confirmed), "nobody has answered");
    }

    #[test]
    fn groups_messengers_and_browsers_are_nobody() {
        for (text, suffix, flags) in [("CORP", 0, GROUP), ("ALICE", 3, 0), ("CORP", 0x1d, 0), ("*", 0, 0), ("", 0, 0)] {
            let events = testkit::datagrams(&NBNS, &[(Orig, &registration(5, text, suffix, flags))]);
            assert!(claims(&events).is_empty(), "{text} {suffix:x}");
        }
    }

    #[test]
    fn answers_say_where_a_name_is_and_a_node_says_all_of_its_names() {
        let (ask, reply) = (query(9, "PC7", 0x20), answer(9, 0x8500, "PC7", 0x20, &address(0, [192, 168, 1, 21])));
        let events = testkit::datagrams(&NBNS, &[(Orig, &ask), (Resp, &reply)]);
        assert_eq!(claims(&events), [format!("Host PC7 {} Goes", at("192.168.1.21"))]);
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        let events = testkit::datagrams(&NBNS, &[(Orig, &query(10, "*", 0x21)), (Resp, &node_status(10))]);
        assert_eq!(claims(&events), ["Host PC7 End(Resp) Goes", "Device 02:00:5e:10:00:01 End(Resp) Goes"]);
        // A refused name is nobody's.
        let refused = answer(9, 0xad86, "PC7", 0x20, &address(0, [192, 168, 1, 21]));
        let events = testkit::datagrams(&NBNS, &[(Orig, &registration(5, "PC7", 0, 0)), (Resp, &refused)]);
        assert_eq!(claims(&events).len(), 1, "only what it says of itself");
    }

    #[test]
    fn look_alikes_are_not_matched() {
        let register = registration(5, "PC7", 0, 0);
        let mut dns = head(7, 0x0100, [1, 0, 0, 0]);
        dns.extend(b"\x03www\x07example\x03com\0\0\x01\0\x01");
        let mut lower = register.clone();
        lower[13] = b'q';
        let mut opcode = register.clone();
        opcode[2] = 0x39;
        for bytes in [dns, lower, opcode, register[..40].to_vec(), vec![0; 62], Vec::new()] {
            assert_eq!(testkit::probe(&NBNS, Carrier::Datagram, &bytes, b""), Probe::NoMatch);
        }
        assert_eq!(testkit::probe(&NBNS, Carrier::Datagram, &register, b""), Probe::Match);
    }

    proptest! {
        #[test]
        fn bent_messages_never_panic(at in 0usize..200, value: u8, cut in 0usize..220, which in 0usize..3) {
            let mut bytes = [registration(5, "PC7", 0, 0), node_status(1), query(1, "PC7", 0x20)][which].clone();
            let len = bytes.len();
            bytes[at % len] = value;
            bytes.truncate(cut);
            let _ = testkit::datagrams(&NBNS, &[(Orig, &bytes), (Resp, &bytes)]);
            let _ = testkit::probe(&NBNS, Carrier::Datagram, &bytes, &bytes);
        }
    }
}
