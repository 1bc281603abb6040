//! PPTP: its control connection over TCP, and the GRE of its own that carries PPP.
//!
//! Reads: control messages, and headers of GRE version 1 that the decoder could not open (what is encrypted, PPP's own
//! protocols, bare acknowledgments). Emits: host and vendor names, the closed loops of requests and replies, and of
//! packets and their acknowledgments. Does not: decrypt, or read PPP.
//!
//! Reference: RFC 2637.

use crate::base::{Direction, Ends, Layer, Link, Reader, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static PPTP: Protocol = Protocol {
    name: "pptp",
    category: Category::Vpn,
    carriers: &[Carrier::Stream, Carrier::Ip(47)],
    ports: &[1723],
    attributes: &[CLIENT_HOST, CLIENT_VENDOR, SERVER_HOST, SERVER_VENDOR, RESULT],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(Pptp::default()),
};

const CLIENT_HOST: Key = "pptp.client_host";
const CLIENT_VENDOR: Key = "pptp.client_vendor";
const SERVER_HOST: Key = "pptp.server_host";
const SERVER_VENDOR: Key = "pptp.server_vendor";
const RESULT: Key = "pptp.result";

/// The control connection and the GRE between two addresses are one session.
const TUNNEL: Link = Link::Pair("pptp");
/// Behind the length stand the type of message, control, and the cookie (RFC 2637 1.4).
const MARK: [u8; 6] = [0, 1, 0x1a, 0x2b, 0x3c, 0x4d];
/// Bytes of header, and of the longest message (start of the control connection; a call request has 168).
const HEADER: usize = 12;
const LENGTH_LIMIT: usize = 220;
/// Control message types.
const START_REQUEST: u16 = 1;
const START_REPLY: u16 = 2;
const ECHO_REQUEST: u16 = 5;
const ECHO_REPLY: u16 = 6;
// A call's request and its reply are no loops: pptp-linux waits a second before it calls, servers start pppd first.
/// Bytes of a name.
const NAME: usize = 64;
/// GRE: key, sequence number, version 1; PPP.
const GRE_HEAD: u16 = 0x2001;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGMENT: u16 = 0x0080;
const GRE_PPP: u16 = 0x880b;
/// Loops of GRE that are told; more would say nothing new.
const GRE_LOOPS: u8 = 48;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier != Carrier::Stream {
        return match Gre::read(opening.sent.of(opening.newest)) {
            Some(_) => Probe::Match,
            None => Probe::NoMatch,
        };
    }
    match (begins(opening.sent.orig), begins(opening.sent.resp)) {
        (Probe::NoMatch, _) | (_, Probe::NoMatch) => Probe::NoMatch,
        (Probe::Match, _) | (_, Probe::Match) => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// Whether a stream begins with a control message.
fn begins(bytes: &[u8]) -> Probe {
    let fits = bytes.iter().take(8).enumerate().all(|(i, byte)| match i {
        0 => *byte == 0,
        1 => (HEADER..LENGTH_LIMIT).contains(&usize::from(*byte)),
        _ => MARK.get(i - 2) == Some(byte),
    });
    match fits {
        false => Probe::NoMatch,
        true if bytes.len() >= 8 => Probe::Match,
        true => Probe::NeedMore,
    }
}

/// A packet of GRE version 1.
#[derive(Debug, Clone, Copy)]
struct Gre {
    sent: Option<u32>,
    acknowledged: Option<u32>,
}

impl Gre {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (flags, kind, length, _call) = (reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?);
        if flags & !(SEQUENCE | ACKNOWLEDGMENT) != GRE_HEAD || kind != GRE_PPP {
            return None;
        }
        let sent = if flags & SEQUENCE == 0 { None } else { Some(reader.u32()?) };
        let acknowledged = if flags & ACKNOWLEDGMENT == 0 { None } else { Some(reader.u32()?) };
        // A packet has a payload and a number, or is a bare acknowledgment (RFC 2637 4.1).
        let agree = if sent.is_some() { length > 0 } else { length == 0 && acknowledged.is_some() };
        agree.then_some(Self { sent, acknowledged })
    }
}

#[derive(Debug)]
struct Pptp {
    inboxes: Ends<Inbox>,
    begun: bool,
    confirmed: bool,
    done: bool,
    /// GRE: number and time of a packet of each end that waits for its acknowledgment.
    waiting: Ends<Option<(u32, Timestamp)>>,
    /// GRE: the highest number that each end acknowledged, and the highest that it sent.
    acknowledged: Ends<Option<u32>>,
    sent: Ends<Option<u32>>,
    loops: u8,
}

impl Default for Pptp {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(4 * LENGTH_LIMIT), resp: Inbox::new(4 * LENGTH_LIMIT) };
        Self {
            inboxes,
            begun: false,
            confirmed: false,
            done: false,
            waiting: Ends::default(),
            acknowledged: Ends::default(),
            sent: Ends::default(),
            loops: 0,
        }
    }
}

impl Analyzer for Pptp {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier != Carrier::Stream {
            if let Some(gre) = Gre::read(pdu.bytes) {
                self.on_gre(pdu, gre, events);
            }
            return;
        }
        for part in pdu.bytes.chunks(LENGTH_LIMIT) {
            let mut inbox = std::mem::replace(self.inboxes.of_mut(pdu.dir), Inbox::new(0));
            if !inbox.push(pdu.at, part) {
                self.give_up(pdu, events);
            }
            while !self.done && self.on_bytes(pdu, &inbox, events) {
                let length = inbox.bytes().get(1).map_or(0, |byte| usize::from(*byte));
                inbox.consume(length);
            }
            *self.inboxes.of_mut(pdu.dir) = inbox;
        }
    }
}

impl Pptp {
    fn give_up(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        self.done = true;
        events.violation(pdu.at, pdu.dir, "pptp.not-a-control-message");
        events.settled(pdu.at, pdu.dir);
    }

    /// Reads the message at the head of an end's bytes; false if it is not whole.
    fn on_bytes(&mut self, pdu: &Pdu<'_>, inbox: &Inbox, events: &mut Events) -> bool {
        if begins(inbox.bytes()) == Probe::NoMatch {
            self.give_up(pdu, events);
            return false;
        }
        let mut reader = Reader::new(inbox.bytes());
        let length = reader.u16().map_or(0, usize::from);
        let message = inbox.bytes().get(..length).filter(|_| length >= HEADER);
        let Some(kind) = message.and_then(|m| m.get(8..10)).and_then(|b| b.first_chunk::<2>()) else { return false };
        let span = (inbox.time_of(0), inbox.time_of(length.saturating_sub(1)));
        let kind = u16::from_be_bytes(*kind);
        self.on_message(pdu.dir, span, kind, message.unwrap_or_default(), events);
        true
    }

    fn on_message(
        &mut self,
        dir: Direction,
        (first, last): (Timestamp, Timestamp),
        kind: u16,
        message: &[u8],
        events: &mut Events,
    ) {
        if !std::mem::replace(&mut self.begun, true) {
            events.link(last, dir, TUNNEL);
        }
        match kind {
            START_REQUEST => {
                tell_names(last, dir, message, events);
                events.ask(last, dir, Layer::Pptp, "start-request");
            }
            START_REPLY => {
                events.answer(first, dir, Layer::Pptp, "start-request");
                tell_names(last, dir, message, events);
                if let Some(code) = message.get(14).filter(|code| **code != 1) {
                    events.attribute(last, dir, RESULT, code.to_string());
                }
                if !std::mem::replace(&mut self.confirmed, true) {
                    events.confirmed(last, dir);
                }
            }
            ECHO_REQUEST => events.ask(last, dir, Layer::Pptp, "echo"),
            ECHO_REPLY => events.answer(first, dir, Layer::Pptp, "echo"),
            _ => {}
        }
    }

    /// A packet's number is acknowledged by the other end at once or with its own next packet.
    fn on_gre(&mut self, pdu: &Pdu<'_>, gre: Gre, events: &mut Events) {
        if !std::mem::replace(&mut self.begun, true) {
            events.link(pdu.at, pdu.dir, TUNNEL);
        }
        let other = pdu.dir.flip();
        if let Some(number) = gre.acknowledged {
            // Certain once an end acknowledges what the other was seen to send.
            if !self.confirmed && self.sent.of(other).is_some_and(|sent| sent.wrapping_sub(number) < 1 << 16) {
                self.confirmed = true;
                events.confirmed(pdu.at, pdu.dir);
            }
            let reached = |(waiting, _): &(u32, Timestamp)| number.wrapping_sub(*waiting) < 1 << 31;
            if let Some((_, asked)) = self.waiting.of(other).filter(reached) {
                *self.waiting.of_mut(other) = None;
                events.ask(asked, other, Layer::Pptp, "gre-acknowledgment");
                events.answer(pdu.at, pdu.dir, Layer::Pptp, "gre-acknowledgment");
                self.loops += 1;
                if self.loops >= GRE_LOOPS {
                    self.done = true;
                    events.settled(pdu.at, pdu.dir);
                }
            }
            *self.acknowledged.of_mut(pdu.dir) = Some(number);
        }
        if let Some(number) = gre.sent {
            *self.sent.of_mut(pdu.dir) = Some(number);
            // A number below what the other end has acknowledged would be taken for answered at once.
            let old = self.acknowledged.of(other).is_some_and(|high| high.wrapping_sub(number) < 1 << 31);
            if !old && self.waiting.of(pdu.dir).is_none() {
                *self.waiting.of_mut(pdu.dir) = Some((number, pdu.at));
            }
        }
    }
}

/// Host and vendor, the last two fields of a start (RFC 2637 2.1, 2.2).
fn tell_names(at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) {
    let Some(names) = message.len().checked_sub(2 * NAME).and_then(|place| message.get(place..)) else { return };
    let (host, vendor) = names.split_at_checked(NAME).unwrap_or_default();
    let keys = if dir == Direction::Orig { [CLIENT_HOST, CLIENT_VENDOR] } else { [SERVER_HOST, SERVER_VENDOR] };
    for (key, field) in keys.into_iter().zip([host, vendor]) {
        let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
        if !text.is_empty() {
            events.attribute(at, dir, key, printable(text, NAME));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, at, loops, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn control(kind: u16, length: u8, names: Option<(&str, &str)>) -> Vec<u8> {
        let mut out = [&[0, length][..], &MARK, &kind.to_be_bytes(), &[0, 0, 1, 0, 1, 0]].concat();
        out.resize(usize::from(length), 0);
        if let Some((host, vendor)) = names {
            let place = out.len() - 2 * NAME;
            out[place..place + host.len()].copy_from_slice(host.as_bytes());
            out[place + NAME..place + NAME + vendor.len()].copy_from_slice(vendor.as_bytes());
        }
        out
    }

    fn dialogue() -> Vec<(Direction, Vec<u8>)> {
        vec![
            (Orig, control(START_REQUEST, 156, Some(("", "Microsoft")))),
            (Resp, control(START_REPLY, 156, Some(("gate", "Linux")))),
            (Orig, control(7, 168, None)),
            (Resp, control(8, 32, None)),
            (Resp, control(ECHO_REQUEST, 16, None)),
            (Orig, [control(15, 24, None), control(ECHO_REPLY, 20, None)].concat()),
        ]
    }

    fn turns(all: &[(Direction, Vec<u8>)]) -> Vec<Turn<'_>> {
        all.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect()
    }

    fn gre(sent: Option<u32>, acknowledged: Option<u32>) -> Vec<u8> {
        let bit = |set: bool, bit: u16| if set { bit } else { 0 };
        let flags = GRE_HEAD | bit(sent.is_some(), SEQUENCE) | bit(acknowledged.is_some(), ACKNOWLEDGMENT);
        let mut out = [flags.to_be_bytes(), GRE_PPP.to_be_bytes()].concat();
        out.extend([0, if sent.is_some() { 4 } else { 0 }, 0, 9]);
        for number in [sent, acknowledged].into_iter().flatten() {
            out.extend(number.to_be_bytes());
        }
        if sent.is_some() {
            out.extend([0, 0xfd, 0x90, 1]);
        }
        out
    }

    fn packets(all: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let mut analyzer = (PPTP.analyzer)();
        let mut events = Events::default();
        for (i, (dir, bytes)) in all.iter().enumerate() {
            analyzer.on_pdu(&Pdu { at: at(i), dir: *dir, bytes, carrier: Carrier::Ip(47), missing: 0 }, &mut events);
        }
        events.drain().collect()
    }

    fn timed(events: &[Event]) -> Vec<(usize, usize, &'static str)> {
        let ms = |t: Timestamp| usize::try_from(t.nanos() / 1_000_000).unwrap();
        loops(events).into_iter().map(|(a, b, method)| (ms(a), ms(b), method)).collect()
    }

    #[test]
    fn requests_and_replies_close_loops() {
        let all = dialogue();
        let events = testkit::stream(&PPTP, &turns(&all), usize::MAX);
        assert_eq!(timed(&events), [(0, 1, "start-request"), (4, 5, "echo")]);
        assert_eq!((said(&events, CLIENT_HOST), said(&events, CLIENT_VENDOR)), (None, Some("Microsoft")));
        assert_eq!((said(&events, SERVER_HOST), said(&events, SERVER_VENDOR)), (Some("gate"), Some("Linux")));
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
        assert!(events.iter().any(|e| e.kind == EventKind::Link(TUNNEL)));
    }

    #[test]
    fn acknowledgments_of_gre_close_loops() {
        let all = [
            (Orig, gre(Some(1), None)),
            (Orig, gre(Some(2), None)),
            (Resp, gre(None, Some(2))),
            (Resp, gre(Some(7), Some(2))),
            (Orig, gre(Some(3), Some(7))),
            // A packet that was overtaken waits for nothing.
            (Orig, gre(Some(2), None)),
        ];
        let events = packets(&all);
        let method = "gre-acknowledgment";
        assert_eq!(timed(&events), [(0, 2, method), (3, 4, method)]);
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
    }

    #[test]
    fn look_alikes_do_not_match() {
        let stream = |orig: &[u8], resp: &[u8]| testkit::probe(&PPTP, Carrier::Stream, orig, resp);
        let good = control(START_REQUEST, 156, None);
        assert_eq!((stream(&good, b""), stream(&good[..7], b"")), (Probe::Match, Probe::NeedMore));
        assert_eq!((stream(&good, b"HTTP"), stream(b"\0\x9c\0\x02", b"")), (Probe::NoMatch, Probe::NoMatch));
        let packet = |bytes: &[u8]| testkit::probe(&PPTP, Carrier::Ip(47), bytes, b"");
        assert_eq!((packet(&gre(Some(1), None)), packet(&gre(None, Some(1)))), (Probe::Match, Probe::Match));
        assert_eq!(packet(&gre(None, None)), Probe::NoMatch);
        assert_eq!(packet(&[0x20, 0, 0x88, 0x0b, 0, 4, 0, 9, 0, 0, 0, 1]), Probe::NoMatch);
        assert_eq!(packet(&[0x20, 1, 0x64, 0, 0, 4, 7, 0, 1, 2, 3, 4]), Probe::NoMatch);
    }

    #[test]
    fn what_is_no_control_message_is_taken_back() {
        let all = [(Orig, [&[0, 16][..], &MARK, &[0; 8]].concat()), (Resp, b"HTTP/1.1 400".to_vec())];
        let events = testkit::stream(&PPTP, &turns(&all), usize::MAX);
        assert!(events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..120) {
            let all = dialogue();
            prop_assert_eq!(
                testkit::stream(&PPTP, &turns(&all), piece),
                testkit::stream(&PPTP, &turns(&all), usize::MAX)
            );
        }

        #[test]
        fn random_bytes_never_panic(all in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20,
        )) {
            let random = |(orig, marked, bytes): (bool, bool, Vec<u8>)| {
                let bytes = if marked { [&[0, 40][..], &MARK, &bytes].concat() } else { bytes };
                (if orig { Orig } else { Resp }, bytes)
            };
            let all: Vec<_> = all.into_iter().map(random).collect();
            testkit::stream(&PPTP, &turns(&all), 11);
            packets(&all);
        }
    }
}
