//! WireGuard: who opens a tunnel, and the round trip of its handshake.
//!
//! Reads: message types, lengths, sender and receiver indices, whether MAC2 is set. Emits: the closed loops of each
//! handshake. Does not: decrypt, or follow a peer to another address.
//!
//! Stays attached for four handshakes (a rekey comes every two minutes), since each gives one more round trip; a data
//! message then costs one look at its first byte and, only while a response waits for its answer, one at its index.
//!
//! Reference: Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel" (NDSS 2017), 5.4.

use crate::base::{Direction, Ends, Layer, Reader, Timestamp};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static WIREGUARD: Protocol = Protocol {
    name: "wireguard",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram],
    ports: &[51_820],
    attributes: &[VARIANT, COOKIE],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(WireGuard::default()),
};

const VARIANT: Key = "wireguard.variant";
const COOKIE: Key = "wireguard.cookie";

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE_REPLY: u8 = 3;
const DATA: u8 = 4;

const INITIATION_LEN: usize = 148;
const RESPONSE_LEN: usize = 92;
const COOKIE_REPLY_LEN: usize = 64;
/// Padding stops at the tunnel's MTU, so a large message may end anywhere; no tunnel has an MTU of less than this.
const UNPADDED: usize = 576;
/// A data message holds a header of 16 and a tag of 16 bytes around a payload padded to 16.
const KEEPALIVE_LEN: usize = 32;

/// Handshakes that are read before the flow is left alone.
const HANDSHAKES: u8 = 4;
/// Initiations that are kept while no response names one; they are 5 s apart and given up after 90 s.
const PENDING: usize = 4;
/// Nobody has sent so many packets in one session that its counter is larger: a session ends after 2^60 messages by
/// rule and after 180 s in fact. Keeps other formats with a 4 in front out.
const COUNTER_LIMIT: u64 = 1 << 40;

fn probe(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (Message::read(opening.sent.orig, 0), Message::read(opening.sent.resp, 0));
    let either = |message: &Option<Message>, bytes: &[u8]| message.is_some() || bytes.is_empty();
    if !either(&orig, opening.sent.orig) || !either(&resp, opening.sent.resp) {
        return Probe::NoMatch;
    }
    match (orig, resp) {
        (Some(a), Some(b)) if a.kind == DATA && b.kind == DATA => {
            if a.plain && b.plain {
                Probe::Match
            } else {
                Probe::NoMatch
            }
        }
        (Some(a), Some(b)) if answers(&b, &a) || answers(&a, &b) => Probe::Match,
        // A retransmitted initiation is newer than the one that was answered.
        (a, b) => match [a, b].into_iter().flatten().find(|m| matches!(m.kind, INITIATION | RESPONSE) && m.plain) {
            Some(_) => Probe::Match,
            None => Probe::NeedMore,
        },
    }
}

/// Whether `response` names `initiation` as what it answers.
fn answers(response: &Message, initiation: &Message) -> bool {
    initiation.kind == INITIATION && response.kind == RESPONSE && response.receiver == initiation.sender
}

/// The clear part of a message.
#[derive(Debug, Clone, Copy)]
struct Message {
    kind: u8,
    /// Reserved bytes and length are as they should be.
    plain: bool,
    /// On the wire, in bytes.
    len: usize,
    sender: u32,
    receiver: u32,
    /// MAC2 is set: its sender was given a cookie by a peer under load.
    cookie: bool,
}

impl Message {
    /// `None` if length and type do not go together. `missing` bytes were cut off by the snap length.
    fn read(bytes: &[u8], missing: u32) -> Option<Self> {
        let whole = bytes.len().saturating_add(usize::try_from(missing).unwrap_or(usize::MAX));
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let zero = reader.take(3)? == [0, 0, 0];
        let mut index = || reader.array().map(u32::from_le_bytes);
        let (sender, receiver) = match (kind, whole) {
            // Some providers pad the handshake to be less conspicuous; the echoed index still tells.
            (INITIATION, INITIATION_LEN..) => (index()?, 0),
            (RESPONSE, RESPONSE_LEN..) => (index()?, index()?),
            (COOKIE_REPLY, COOKIE_REPLY_LEN) => (0, index()?),
            (DATA, KEEPALIVE_LEN..) if whole % 16 == 0 || whole > UNPADDED => (0, index()?),
            _ => return None,
        };
        if kind == DATA && u64::from_le_bytes(reader.array()?) >= COUNTER_LIMIT {
            return None;
        }
        let exact = match kind {
            INITIATION => whole == INITIATION_LEN,
            RESPONSE => whole == RESPONSE_LEN,
            _ => true,
        };
        let mac2 = bytes.len().checked_sub(16).and_then(|at| bytes.get(at..)).unwrap_or_default();
        let cookie = missing == 0 && exact && matches!(kind, INITIATION | RESPONSE) && mac2.iter().any(|b| *b != 0);
        Some(Self { kind, plain: zero && exact, len: whole, sender, receiver, cookie })
    }
}

/// An index one end chose, and when the message that brought it passed.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    dir: Direction,
    index: u32,
    at: Timestamp,
    /// The message's length on the wire, in bytes.
    len: usize,
}

#[derive(Debug, Default)]
struct WireGuard {
    /// Initiations without a response, oldest first.
    pending: [Option<Chosen>; PENDING],
    /// A response whose answer has not come.
    responded: Option<Chosen>,
    /// Receiver index of each end's data and the highest counter, for flows whose handshake was not seen.
    data: Ends<Option<(u32, u64)>>,
    handshakes: u8,
    seen_initiation: bool,
    cookie_told: bool,
    done: bool,
}

impl Analyzer for WireGuard {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let data = pdu.bytes.first() == Some(&DATA);
        // The common case first: data, and nothing waits for it.
        if self.done || (data && self.handshakes > 0 && self.responded.is_none()) {
            return;
        }
        let Some(message) = Message::read(pdu.bytes, pdu.missing) else {
            if self.handshakes == 0 {
                events.violation(pdu.at, pdu.dir, "wireguard.malformed-message");
                self.done = true;
                events.settled(pdu.at, pdu.dir);
            }
            return;
        };
        if message.cookie && !std::mem::replace(&mut self.cookie_told, true) {
            events.attribute(pdu.at, pdu.dir, COOKIE, "mac2");
        }
        match message.kind {
            INITIATION => self.on_initiation(pdu, &message),
            RESPONSE => self.on_response(pdu, &message, events),
            DATA => self.on_data(pdu, &message, events),
            _ => {}
        }
    }
}

impl WireGuard {
    fn on_initiation(&mut self, pdu: &Pdu<'_>, message: &Message) {
        self.seen_initiation = true;
        let known = |slot: &Option<Chosen>| slot.is_some_and(|c| c.dir == pdu.dir && c.index == message.sender);
        if self.pending.iter().any(known) {
            return;
        }
        self.pending.rotate_left(1);
        if let Some(newest) = self.pending.last_mut() {
            *newest = Some(Chosen { dir: pdu.dir, index: message.sender, at: pdu.at, len: message.len });
        }
    }

    /// The response names its initiation, so even after retransmissions it is clear which one it answers.
    fn on_response(&mut self, pdu: &Pdu<'_>, message: &Message, events: &mut Events) {
        let asked =
            |slot: &&mut Option<Chosen>| slot.is_some_and(|c| c.dir == pdu.dir.flip() && c.index == message.receiver);
        let Some(asked) = self.pending.iter_mut().find(asked).and_then(Option::take) else {
            if self.handshakes == 0 && self.seen_initiation {
                events.violation(pdu.at, pdu.dir, "wireguard.response-to-nothing");
                self.done = true;
                events.settled(pdu.at, pdu.dir);
            }
            return;
        };
        if self.handshakes == 0 {
            if (asked.len, message.len) != (INITIATION_LEN, RESPONSE_LEN) {
                events.attribute(pdu.at, pdu.dir, VARIANT, format!("lengths-{}-{}", asked.len, message.len));
            } else if !message.plain {
                events.attribute(pdu.at, pdu.dir, VARIANT, "reserved-bytes");
            }
            events.confirmed(pdu.at, pdu.dir);
        }
        self.handshakes += 1;
        events.ask(asked.at, asked.dir, Layer::WireGuard, "handshake-init");
        events.answer(pdu.at, pdu.dir, Layer::WireGuard, "handshake-init");
        self.responded = Some(Chosen { dir: pdu.dir, index: message.sender, at: pdu.at, len: message.len });
    }

    fn on_data(&mut self, pdu: &Pdu<'_>, message: &Message, events: &mut Events) {
        if let Some(response) = self.responded {
            // Only who has read the response can know the index in it; data of the session before bears another.
            if pdu.dir == response.dir.flip() && message.receiver == response.index {
                self.responded = None;
                events.ask(response.at, response.dir, Layer::WireGuard, "handshake-response");
                events.answer(pdu.at, pdu.dir, Layer::WireGuard, "handshake-response");
                if self.handshakes >= HANDSHAKES {
                    self.done = true;
                    events.settled(pdu.at, pdu.dir);
                }
            }
        } else if self.handshakes == 0 {
            self.on_headless(pdu, message, events);
        }
    }

    /// Data whose handshake was not seen: the index must stay and the counter must not stand still.
    fn on_headless(&mut self, pdu: &Pdu<'_>, message: &Message, events: &mut Events) {
        let counter = pdu.bytes.get(8..16).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b));
        let seen = self.data.of_mut(pdu.dir);
        let odd = seen.is_some_and(|(index, highest)| {
            (index != message.receiver && !self.seen_initiation) || (index == message.receiver && counter == highest)
        });
        let highest = seen.filter(|(index, _)| *index == message.receiver).map_or(0, |(_, highest)| highest);
        *seen = Some((message.receiver, counter.max(highest)));
        if odd {
            events.violation(pdu.at, pdu.dir, "wireguard.data-inconsistent");
            self.done = true;
            events.settled(pdu.at, pdu.dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn message(kind: u8, first: u32, second: u32, len: usize) -> Vec<u8> {
        let mut out = vec![kind, 0, 0, 0];
        out.extend(first.to_le_bytes());
        out.extend(second.to_le_bytes());
        out.resize(len, 0);
        out
    }

    fn initiation(sender: u32) -> Vec<u8> {
        message(1, sender, 77, 148)
    }

    fn response(sender: u32, receiver: u32) -> Vec<u8> {
        message(2, sender, receiver, 92)
    }

    fn data(receiver: u32, counter: u32) -> Vec<u8> {
        message(4, receiver, counter, 96)
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&WIREGUARD, &turns)
    }

    fn loops(events: &[Event]) -> Vec<(&'static str, bool, i64)> {
        let told = |e: &Event| match e.kind {
            EventKind::Ask(l) => Some((l.method, true, e.at.nanos() / 1_000_000)),
            EventKind::Answer(l) => Some((l.method, false, e.at.nanos() / 1_000_000)),
            _ => None,
        };
        events.iter().filter_map(told).collect()
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&WIREGUARD, Carrier::Datagram, orig, resp)
    }

    #[test]
    fn a_handshake_closes_two_loops() {
        let events = run(&[(Orig, initiation(5)), (Resp, response(6, 5)), (Resp, data(5, 0)), (Orig, data(6, 0))]);
        let (init, resp) = ("handshake-init", "handshake-response");
        assert_eq!(loops(&events), [(init, true, 0), (init, false, 1), (resp, true, 1), (resp, false, 3)]);
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
    }

    #[test]
    fn a_response_answers_the_initiation_it_names() {
        // The second initiation crosses the response to the first.
        let events = run(&[(Orig, initiation(5)), (Orig, initiation(9)), (Resp, response(6, 5)), (Orig, data(6, 0))]);
        assert_eq!(loops(&events)[0], ("handshake-init", true, 0));
        let stranger = run(&[(Orig, initiation(5)), (Resp, response(6, 4))]);
        assert!(matches!(stranger[0].kind, EventKind::Violation(_)));
    }

    #[test]
    fn data_of_the_old_session_answers_nothing() {
        let mut turns = Vec::new();
        for i in 0..4 {
            turns.extend([(Orig, initiation(10 + i)), (Resp, response(20 + i, 10 + i))]);
            turns.extend([(Orig, data(19 + i, 500)), (Orig, data(20 + i, 0))]);
        }
        let events = run(&turns);
        let answered: Vec<_> =
            loops(&events).into_iter().filter(|l| l.0 == "handshake-response" && !l.1).map(|l| l.2).collect();
        assert_eq!(answered, [3, 7, 11, 15]);
        assert_eq!(events.last().map(|e| &e.kind), Some(&EventKind::Settled));
    }

    #[test]
    fn data_alone_is_never_certain() {
        assert_eq!(probe(&data(5, 3), &data(6, 9)), Probe::Match);
        assert_eq!(probe(&data(5, 3), b""), Probe::NeedMore);
        let events = run(&[(Orig, data(5, 3)), (Resp, data(6, 9)), (Orig, data(5, 4)), (Resp, data(6, 10))]);
        assert!(events.is_empty());
        let wrong = run(&[(Orig, data(5, 3)), (Orig, data(8, 4))]);
        assert!(matches!(wrong[0].kind, EventKind::Violation(_)));
    }

    #[test]
    fn reserved_bytes_in_use_need_both_ends() {
        let (mut ask, mut answer) = (initiation(5), response(6, 5));
        ask[1] = 0xab;
        answer[1] = 0xab;
        assert_eq!(probe(&ask, b""), Probe::NeedMore);
        assert_eq!(probe(&ask, &answer), Probe::Match);
        answer[8] = 4;
        assert_eq!(probe(&ask, &answer), Probe::NeedMore);
        assert_eq!(probe(&initiation(1)[..147], b""), Probe::NoMatch);
        // Padded by the provider, as TunnelBear does.
        let (long, longer) = (message(1, 5, 0, 204), message(2, 6, 5, 100));
        assert_eq!((probe(&long, b""), probe(&long, &longer)), (Probe::NeedMore, Probe::Match));
        let events = run(&[(Orig, long), (Resp, longer)]);
        let variant = EventKind::Attribute { key: VARIANT, value: "lengths-204-100".to_owned() };
        assert!(events.iter().any(|e| e.kind == variant));
        assert_eq!(probe(&initiation(1), b"\x04\x01"), Probe::NoMatch);
    }

    #[test]
    fn random_datagrams_of_the_right_length_do_not_match() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        };
        for round in 0..100_000_usize {
            let len: usize = [148, 92, 64, 32][round % 4];
            let bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random()).take(len).collect();
            assert_ne!(probe(&bytes, b""), Probe::Match);
            assert_ne!(probe(&bytes, &bytes), Probe::Match);
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), 0u8..6, proptest::collection::vec(any::<u8>(), 0..150)), 0..12,
        )) {
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(orig, kind, mut bytes)| {
                    if let Some(first) = bytes.first_mut() {
                        *first = kind;
                    }
                    (if orig { Orig } else { Resp }, bytes)
                })
                .collect();
            run(&turns);
            for (_, bytes) in &turns {
                probe(bytes, bytes);
            }
        }
    }
}
