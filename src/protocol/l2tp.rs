//! L2TP, versions 2 and 3: who opens the control connection, what the ends call themselves, and its round trips.
//!
//! Reads: control messages over UDP and (version 3) over IP, of data messages of version 2 only PPP's beginning. Emits:
//! host and vendor names, the result of a refusal, the closed loops of control messages and their acknowledgments.
//! Does not: read what is tunnelled, or hidden values (RFC 2661 4.3). L2TP in ESP is ESP.
//!
//! Stays attached, since a hello comes each minute or so and gives a round trip to each end.
//!
//! Reference: RFC 2661 (version 2), RFC 3931 (version 3).

use crate::base::{Direction, Ends, Layer, Link, Reader, Timestamp};
use crate::protocol::codec::printable;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static L2TP: Protocol = Protocol {
    name: "l2tp",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram, Carrier::Ip(115)],
    ports: &[1701],
    attributes: &[VERSION, CLIENT_HOST, CLIENT_VENDOR, SERVER_HOST, SERVER_VENDOR, RESULT, DATA],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(L2tp::default()),
};

const VERSION: Key = "l2tp.version";
const CLIENT_HOST: Key = "l2tp.client_host";
const CLIENT_VENDOR: Key = "l2tp.client_vendor";
const SERVER_HOST: Key = "l2tp.server_host";
const SERVER_VENDOR: Key = "l2tp.server_vendor";
const RESULT: Key = "l2tp.result";
const DATA: Key = "l2tp.data";

/// Type, length and sequence bits, which all control messages have set, and the version below them.
const CONTROL_V2: u16 = 0xc802;
const CONTROL_V3: u16 = 0xc803;
/// Data messages: type bit; bits that must be 0.
const TYPE: u16 = 0x8000;
const LENGTH: u16 = 0x4000;
const SEQUENCE: u16 = 0x0800;
const OFFSET: u16 = 0x0200;
const RESERVED: u16 = 0x34f0;
/// Bytes of a control message without AVPs, which only acknowledges.
const HEADER: usize = 12;
/// Message types (RFC 2661 3.2, RFC 3931 6; the explicit acknowledgment is 20).
const START_REQUEST: u16 = 1;
const START_REPLY: u16 = 2;
const STOP: u16 = 4;
const LAST_KNOWN: u16 = 28;
/// Attribute types (RFC 2661 4.4).
const MESSAGE_TYPE: u16 = 0;
const RESULT_CODE: u16 = 1;
const HOST_NAME: u16 = 7;
const VENDOR_NAME: u16 = 8;
/// Characters of a name that are kept.
const NAME_KEPT: usize = 128;
/// PPP's address and control bytes, then LCP (RFC 1661, 1662).
const PPP_LCP: [u8; 4] = [0xff, 0x03, 0xc0, 0x21];
/// AVPs of a message that are looked at.
const AVPS: usize = 32;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.sent.of(opening.newest);
    let control = Control::read(body(opening.carrier, bytes).unwrap_or_default());
    match control {
        // A bare acknowledgment is too little to go by.
        Some(control) if control.kind().is_some() => Probe::Match,
        _ if opening.carrier == Carrier::Datagram && begins_ppp(bytes) => Probe::Match,
        _ => Probe::NoMatch,
    }
}

/// The control message in a packet. Over IP a session id of 0 stands before it (RFC 3931 4.1.1).
fn body(carrier: Carrier, bytes: &[u8]) -> Option<&[u8]> {
    if carrier == Carrier::Datagram { Some(bytes) } else { bytes.strip_prefix(&[0; 4]) }
}

/// Whether a data message of version 2 carries PPP's link control: what a session begins with.
fn begins_ppp(bytes: &[u8]) -> bool {
    data_v2(bytes).is_some_and(|ppp| ppp.starts_with(&PPP_LCP))
}

/// What a data message of version 2 carries.
fn data_v2(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let flags = reader.u16()?;
    if flags & (TYPE | RESERVED) != 0 || flags & 0x000f != 2 {
        return None;
    }
    if flags & LENGTH != 0 && usize::from(reader.u16()?) != bytes.len() {
        return None;
    }
    let (tunnel, session) = (reader.u16()?, reader.u16()?);
    if flags & SEQUENCE != 0 {
        reader.u32()?;
    }
    if flags & OFFSET != 0 {
        let pad = reader.u16()?;
        reader.take(usize::from(pad))?;
    }
    (tunnel != 0 && session != 0).then(|| reader.rest())
}

/// A control message.
#[derive(Debug, Clone, Copy)]
struct Control<'a> {
    version: u8,
    sent: u16,
    received: u16,
    avps: &'a [u8],
}

impl<'a> Control<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let version = match reader.u16()? {
            CONTROL_V2 => 2,
            CONTROL_V3 => 3,
            _ => return None,
        };
        let length = usize::from(reader.u16()?);
        if length < HEADER || length > bytes.len() {
            return None;
        }
        let _connection = reader.u32()?;
        let (sent, received) = (reader.u16()?, reader.u16()?);
        Some(Self { version, sent, received, avps: bytes.get(HEADER..length)? })
    }

    /// The type, which the first AVP must hold; `None` of a bare acknowledgment, or of what is no control message.
    fn kind(&self) -> Option<u16> {
        let avp = self.avps().next().filter(|avp| avp.kind == MESSAGE_TYPE)?;
        let kind = avp.value.first_chunk::<2>().map(|b| u16::from_be_bytes(*b))?;
        (avp.value.len() == 2 && (1..=LAST_KNOWN).contains(&kind)).then_some(kind)
    }

    /// The IETF's AVPs whose values are not hidden.
    fn avps(&self) -> impl Iterator<Item = Avp<'a>> + use<'a> {
        let mut reader = Reader::new(self.avps);
        let all = std::iter::from_fn(move || Avp::read(&mut reader));
        all.take(AVPS).filter(|avp| avp.vendor == 0 && !avp.hidden)
    }
}

/// An attribute and its value (RFC 2661 4.1).
#[derive(Debug, Clone, Copy)]
struct Avp<'a> {
    hidden: bool,
    vendor: u16,
    kind: u16,
    value: &'a [u8],
}

impl<'a> Avp<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let head = reader.u16()?;
        let (vendor, kind) = (reader.u16()?, reader.u16()?);
        let value = reader.take(usize::from(head & 0x03ff).checked_sub(6)?)?;
        // Four reserved bits lie between the flags and the length.
        (head & 0x3c00 == 0).then_some(Self { hidden: head & 0x4000 != 0, vendor, kind, value })
    }
}

/// A control message that waits for its acknowledgment.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    sent: u16,
    method: &'static str,
    at: Timestamp,
    repeated: bool,
}

#[derive(Debug, Default)]
struct L2tp {
    waiting: Ends<Option<Waiting>>,
    /// Number of the newest message of each end that is not a bare acknowledgment.
    newest: Ends<Option<u16>>,
    begun: bool,
    confirmed: bool,
    data_told: bool,
}

impl Analyzer for L2tp {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let Some(control) = body(pdu.carrier, pdu.bytes).and_then(Control::read) else {
            self.on_data(pdu, events);
            return;
        };
        let kind = control.kind();
        if !std::mem::replace(&mut self.begun, true) {
            events.attribute(pdu.at, pdu.dir, VERSION, control.version.to_string());
            events.link(pdu.at, pdu.dir, Link::Pair("l2tp"));
        }
        self.on_acknowledgment(pdu, control.received, events);
        let Some(kind) = kind else { return };
        let newest = self.newest.of_mut(pdu.dir);
        let again = newest.is_some_and(|newest| newest.wrapping_sub(control.sent) < 0x8000);
        if again {
            if let Some(open) = self.waiting.of_mut(pdu.dir).as_mut().filter(|open| open.sent == control.sent) {
                open.repeated = true;
            }
            return;
        }
        *newest = Some(control.sent);
        if matches!(kind, START_REQUEST | START_REPLY | STOP) {
            Self::tell(pdu, &control, kind, events);
        }
        let method = match kind {
            START_REQUEST => "start-request",
            START_REPLY => "start-reply",
            6 => "hello",
            _ => "control",
        };
        let open = self.waiting.of_mut(pdu.dir);
        if open.is_none() {
            *open = Some(Waiting { sent: control.sent, method, at: pdu.at, repeated: false });
        }
    }
}

impl L2tp {
    /// Whatever the other end sends next names the number that it waits for: all before are acknowledged.
    fn on_acknowledgment(&mut self, pdu: &Pdu<'_>, received: u16, events: &mut Events) {
        let asking = pdu.dir.flip();
        let acknowledges = |open: &Waiting| (1..0x8000).contains(&received.wrapping_sub(open.sent));
        let Some(open) = self.waiting.of(asking).filter(acknowledges) else { return };
        *self.waiting.of_mut(asking) = None;
        events.ask(open.at, asking, Layer::L2tp, open.method);
        if open.repeated {
            events.ask(open.at, asking, Layer::L2tp, open.method);
        }
        events.answer(pdu.at, pdu.dir, Layer::L2tp, open.method);
        if !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(pdu.at, pdu.dir);
        }
    }

    fn on_data(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.data_told {
            return;
        }
        let ppp = pdu.carrier == Carrier::Datagram && data_v2(pdu.bytes).is_some();
        let over_ip = pdu.carrier != Carrier::Datagram && pdu.bytes.len() > 4;
        if ppp || over_ip {
            self.data_told = true;
            events.attribute(pdu.at, pdu.dir, DATA, if ppp { "ppp" } else { "over-ip" });
            if !std::mem::replace(&mut self.begun, true) {
                events.link(pdu.at, pdu.dir, Link::Pair("l2tp"));
            }
        } else if !self.begun {
            events.violation(pdu.at, pdu.dir, "l2tp.not-a-message");
            events.settled(pdu.at, pdu.dir);
        }
    }

    /// Who the end says that it is, or why it goes.
    fn tell(pdu: &Pdu<'_>, control: &Control<'_>, kind: u16, events: &mut Events) {
        let client = pdu.dir == Direction::Orig;
        for avp in control.avps() {
            let (key, value) = match avp.kind {
                HOST_NAME => (if client { CLIENT_HOST } else { SERVER_HOST }, printable(avp.value, NAME_KEPT)),
                VENDOR_NAME => {
                    let vendor = printable(avp.value, NAME_KEPT);
                    if let Some(program) = program(&vendor) {
                        events.application(pdu.at, pdu.dir, program);
                    }
                    (if client { CLIENT_VENDOR } else { SERVER_VENDOR }, vendor)
                }
                RESULT_CODE if kind == STOP => {
                    let Some(code) = avp.value.first_chunk::<2>() else { continue };
                    (RESULT, u16::from_be_bytes(*code).to_string())
                }
                _ => continue,
            };
            if !value.is_empty() {
                events.attribute(pdu.at, pdu.dir, key, value);
            }
        }
    }
}

/// The program or maker by the name of its vendor, as its control messages have it.
fn program(vendor: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 7] = [
        ("xelerance.com", "xl2tpd"),
        ("Microsoft", "microsoft"),
        ("MikroTik", "mikrotik"),
        ("Cisco", "cisco"),
        ("SoftEther", "softether"),
        ("accel-ppp", "accel-ppp"),
        ("Roaring Penguin", "rp-l2tp"),
    ];
    KNOWN.iter().find(|(begins, _)| vendor.starts_with(begins)).map(|(_, program)| *program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, at, loops, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn avp(kind: u16, value: &[u8]) -> Vec<u8> {
        let head = 0x8000 | u16::try_from(6 + value.len()).unwrap();
        [&head.to_be_bytes()[..], &[0, 0], &kind.to_be_bytes(), value].concat()
    }

    fn control(flags: u16, numbers: (u16, u16), avps: &[Vec<u8>]) -> Vec<u8> {
        let avps = avps.concat();
        let mut out = flags.to_be_bytes().to_vec();
        out.extend(u16::try_from(HEADER + avps.len()).unwrap().to_be_bytes());
        out.extend([0, 7, 0, 0]);
        out.extend(numbers.0.to_be_bytes());
        out.extend(numbers.1.to_be_bytes());
        out.extend(avps);
        out
    }

    fn message(kind: u16, numbers: (u16, u16), avps: &[Vec<u8>]) -> Vec<u8> {
        control(CONTROL_V2, numbers, &[&[avp(0, &kind.to_be_bytes())], avps].concat())
    }

    fn dialogue() -> Vec<(Direction, Vec<u8>)> {
        let names = |host: &[u8]| [avp(HOST_NAME, host), avp(VENDOR_NAME, b"xelerance.com")];
        vec![
            (Orig, message(START_REQUEST, (0, 0), &names(b"lac"))),
            (Resp, message(START_REPLY, (0, 1), &names(b"lns"))),
            (Orig, message(3, (1, 1), &[])),
            (Resp, control(CONTROL_V2, (1, 2), &[])),
            (Orig, [&[0, 2, 0, 1, 0, 2][..], &PPP_LCP, &[1, 1, 0, 4]].concat()),
            (Resp, message(6, (1, 2), &[])),
            (Orig, control(CONTROL_V2, (2, 2), &[])),
        ]
    }

    fn run(all: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = all.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&L2TP, &turns)
    }

    fn probe(carrier: Carrier, bytes: &[u8]) -> Probe {
        testkit::probe(&L2TP, carrier, bytes, b"")
    }

    #[test]
    fn acknowledgments_close_loops_to_both_ends() {
        let events = run(&dialogue());
        let expected = [(0, 1, "start-request"), (1, 2, "start-reply"), (2, 3, "control"), (5, 6, "hello")];
        assert_eq!(loops(&events), expected.map(|(a, b, method)| (at(a), at(b), method)));
        assert_eq!((said(&events, CLIENT_HOST), said(&events, SERVER_HOST)), (Some("lac"), Some("lns")));
        assert_eq!((said(&events, VERSION), said(&events, DATA)), (Some("2"), Some("ppp")));
        assert!(events.iter().any(|e| e.kind == EventKind::Application("xl2tpd")));
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
    }

    #[test]
    fn a_message_sent_again_asks_twice_or_not_at_all() {
        let mut all = dialogue();
        all.insert(1, all[0].clone());
        all.insert(5, all[3].clone());
        let asks = run(&all).iter().filter(|e| matches!(e.kind, EventKind::Ask(_))).count();
        assert_eq!((asks, loops(&run(&all)).len()), (5, 4));
    }

    #[test]
    fn a_refusal_says_why() {
        let all = [(Orig, message(START_REQUEST, (0, 0), &[])), (Resp, message(STOP, (0, 1), &[avp(1, &[0, 4])]))];
        assert_eq!(said(&run(&all), RESULT), Some("4"));
    }

    #[test]
    fn over_ip_a_session_of_zero_is_control() {
        let start = control(CONTROL_V3, (0, 0), &[avp(0, &[0, 1])]);
        assert_eq!(probe(Carrier::Ip(115), &[&[0; 4][..], &start].concat()), Probe::Match);
        assert_eq!(probe(Carrier::Ip(115), &start), Probe::NoMatch);
        assert_eq!(probe(Carrier::Datagram, &start), Probe::Match);
    }

    #[test]
    fn look_alikes_do_not_match() {
        let good = dialogue();
        assert_eq!(probe(Carrier::Datagram, &good[0].1), Probe::Match);
        assert_eq!(probe(Carrier::Datagram, &good[4].1), Probe::Match);
        // An acknowledgment alone, a type that is none, another first attribute, a length beyond the end, PPP of IP.
        let mut long = good[0].1.clone();
        long[3] += 1;
        let others = [
            good[3].1.clone(),
            message(LAST_KNOWN + 1, (0, 0), &[]),
            control(CONTROL_V2, (0, 0), &[avp(7, b"xx")]),
            long,
            vec![0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21],
            vec![0, 2, 0, 0, 0, 2, 0xff, 3, 0xc0, 0x21],
        ];
        for other in others {
            assert_eq!(probe(Carrier::Datagram, &other), Probe::NoMatch, "{other:x?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(all in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..12,
        )) {
            let random = |(orig, framed, bytes): (bool, bool, Vec<u8>)| {
                let bytes = if framed { control(CONTROL_V2, (9, 1), &[avp(0, &[0, 1]), bytes]) } else { bytes };
                (if orig { Orig } else { Resp }, bytes)
            };
            let all: Vec<_> = dialogue().into_iter().chain(all.into_iter().map(random)).collect();
            run(&all);
            run(&all[7..]);
            for (_, bytes) in &all {
                probe(Carrier::Datagram, bytes);
                probe(Carrier::Ip(115), bytes);
            }
        }
    }
}
