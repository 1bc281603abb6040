//! OpenVPN behind a scramble patch (Tunnelblick's and others' `scramble xormask`, `reverse`, `obfuscate`).
//!
//! Reads: the first byte and the length of each packet. Every mode of the patch XORs a packet's first byte, which is
//! its opcode, with the same value, so opcodes stay as far apart as they were; and lengths stay as they are. Emits:
//! the mask's first byte, and the round trip of the resets, once enough packets agree. Does not: call it confirmed,
//! since nothing in it is echoed, or know what the rest of the mask is.
//!
//! Reference: Xue et al., "OpenVPN is Open to VPN Fingerprinting" (USENIX Security 2022), for the idea;
//! Tunnelblick, "The Open VPN XOR patch"; OpenVPN wire protocol, draft-ietf-openvpn-protocol.

use crate::base::{Direction, Ends, Layer, Timestamp};
use crate::protocol::codec::Inbox;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static OPENVPN_SCRAMBLED: Protocol = Protocol {
    name: "openvpn-scrambled",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram, Carrier::Stream],
    ports: &[],
    attributes: &[SCRAMBLE],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Scrambled::default()),
};

const SCRAMBLE: Key = "openvpn.scramble";

/// First bytes of packets with key id 0, as they were before.
const CONTROL: u8 = 4 << 3;
const ACK: u8 = 5 << 3;
const CLIENT_RESET: u8 = 7 << 3;
const SERVER_RESET: u8 = 8 << 3;
const DATA: [u8; 2] = [6 << 3, 9 << 3];

/// Lengths of a client's reset: no HMAC; tls-auth with HMACs of 16 to 64 bytes; tls-crypt is as long as tls-auth's 32.
const RESET_LENGTHS: [usize; 7] = [14, 38, 42, 50, 54, 70, 86];
/// A server's reset acknowledges one packet: count, one id (the count is in both), session id.
const SERVER_MORE: usize = 4 + 8;
/// An acknowledgment of one packet, compared with a client's reset: no message id, but one acknowledged and a session id.
const ACK_MORE: usize = 8;
/// Acknowledgments one packet may hold beyond the first.
const ACKS_MORE: usize = 7;
/// A control packet holds at least some bytes of TLS.
const CONTROL_MORE: usize = 5;
/// Packets that must agree beside the two resets: of these at least two acknowledgments and a control packet each way.
const AGREEING: u8 = 8;
/// A packet of a tunnel with jumbo frames is no longer than this; a stream's buffer holds one.
const INBOX_LIMIT: usize = 16 * 1024;

fn probe(opening: &Opening<'_>) -> Probe {
    let stream = opening.carrier == Carrier::Stream;
    let (client, server) = (first(opening.sent.orig, stream), first(opening.sent.resp, stream));
    match (client, server) {
        (First::Not, _) | (_, First::Not) => Probe::NoMatch,
        (First::Packet(len, _), _) if !RESET_LENGTHS.contains(&len) => Probe::NoMatch,
        (First::Packet(asked, ask), First::Packet(answered, answer)) => {
            // A mask of zero is no disguise: that is for the plain protocol to know.
            let fits = ask ^ answer == CLIENT_RESET ^ SERVER_RESET && ask != CLIENT_RESET;
            if fits && answered == asked + SERVER_MORE { Probe::Match } else { Probe::NoMatch }
        }
        // The server waits for the client, whose bytes of a stream may still come late.
        (First::None, First::Packet(..)) if !stream => Probe::NoMatch,
        (First::None, First::Packet(answered, _))
            if !answered.checked_sub(SERVER_MORE).is_some_and(|asked| RESET_LENGTHS.contains(&asked)) =>
        {
            Probe::NoMatch
        }
        _ => Probe::NeedMore,
    }
}

/// The first packet of an end: its length and first byte.
enum First {
    None,
    Packet(usize, u8),
    Not,
}

fn first(bytes: &[u8], stream: bool) -> First {
    match (bytes, stream) {
        ([], _) => First::None,
        ([first, ..], false) => First::Packet(bytes.len(), *first),
        ([0, len, first, ..], true) => First::Packet(usize::from(*len), *first),
        ([0] | [0, _], true) => First::None,
        _ => First::Not,
    }
}

#[derive(Debug)]
struct Scrambled {
    inboxes: Ends<Inbox>,
    /// Length, first byte and time of the client's reset, and the time of the server's.
    reset: Option<(usize, u8, Timestamp)>,
    answered: Option<Timestamp>,
    /// The client's reset was sent anew, so which one was answered is unknown.
    again: bool,
    controls: Ends<u8>,
    acks: u8,
    agreed: u8,
    done: bool,
}

impl Default for Scrambled {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self {
            inboxes,
            reset: None,
            answered: None,
            again: false,
            controls: Ends::default(),
            acks: 0,
            agreed: 0,
            done: false,
        }
    }
}

impl Analyzer for Scrambled {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier != Carrier::Stream {
            let len = pdu.bytes.len().saturating_add(usize::try_from(pdu.missing).unwrap_or(usize::MAX));
            return self.on_packet(pdu.at, pdu.dir, len, pdu.bytes.first().copied(), events);
        }
        let mut inbox = std::mem::replace(self.inboxes.of_mut(pdu.dir), Inbox::new(0));
        if !inbox.push(pdu.at, pdu.bytes) {
            self.refuse(pdu.at, pdu.dir, events);
        }
        while !self.done {
            let mut reader = crate::base::Reader::new(inbox.bytes());
            let Some(block) = reader.block_u16() else { break };
            let (at, len) = (inbox.time_of(0), block.len());
            self.on_packet(at, pdu.dir, len, block.rest().first().copied(), events);
            inbox.consume(len + 2);
        }
        *self.inboxes.of_mut(pdu.dir) = inbox;
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        if !self.done {
            self.refuse(at, dir, events);
        }
    }

    /// What ends before enough packets agreed may be anything.
    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        if !self.done {
            self.refuse(at, Direction::Orig, events);
        }
    }
}

impl Scrambled {
    fn on_packet(&mut self, at: Timestamp, dir: Direction, len: usize, first: Option<u8>, events: &mut Events) {
        let Some(first) = first else { return self.refuse(at, dir, events) };
        let Some((asked, byte, asked_at)) = self.reset else {
            if dir == Direction::Orig && RESET_LENGTHS.contains(&len) {
                self.reset = Some((len, first, at));
            } else {
                self.refuse(at, dir, events);
            }
            return;
        };
        let mask = byte ^ CLIENT_RESET;
        let more = len.checked_sub(asked);
        let agrees = match first ^ mask {
            // Sent anew: the answer may be to either, so the round trip is not told.
            CLIENT_RESET => dir == Direction::Orig && len == asked && self.answered.is_none(),
            SERVER_RESET => dir == Direction::Resp && more == Some(SERVER_MORE),
            // A control packet may acknowledge, or not; TLS' alerts are its shortest content.
            CONTROL => self.answered.is_some() && more.is_some_and(|more| more >= CONTROL_MORE),
            ACK => more
                .and_then(|more| more.checked_sub(ACK_MORE))
                .is_some_and(|more| more % 4 == 0 && more / 4 <= ACKS_MORE),
            other => DATA.contains(&other) && *self.controls.of(dir) > 0,
        };
        if !agrees {
            return self.refuse(at, dir, events);
        }
        match first ^ mask {
            CLIENT_RESET => {
                self.again = true;
                return;
            }
            SERVER_RESET => {
                self.answered = self.answered.or(Some(at));
                return;
            }
            CONTROL => *self.controls.of_mut(dir) = self.controls.of(dir).saturating_add(1),
            ACK => self.acks = self.acks.saturating_add(1),
            _ => {}
        }
        self.agreed = self.agreed.saturating_add(1);
        let both = self.controls.orig > 0 && self.controls.resp > 0;
        if let (Some(answered), true) = (self.answered, both && self.acks >= 2 && self.agreed >= AGREEING) {
            events.attribute(at, dir, SCRAMBLE, format!("xor-{mask:02x}"));
            events.application(at, dir, "openvpn");
            if !self.again {
                events.ask(asked_at, Direction::Orig, Layer::OpenVpn, "client-reset");
                events.answer(answered, Direction::Resp, Layer::OpenVpn, "client-reset");
            }
            self.done = true;
            events.settled(at, dir);
        }
    }

    fn refuse(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.violation(at, dir, "openvpn.opcodes-inconsistent");
        events.settled(at, dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const MASK: u8 = 0x74;

    fn packet(opcode: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xa7; len];
        bytes[0] = opcode ^ MASK;
        bytes
    }

    /// The lengths of a session with tls-auth of 512 bits, as in `vpn/ndpi__openvpn_obfuscated.pcapng`.
    fn dialogue() -> Vec<(Direction, Vec<u8>)> {
        vec![
            (Orig, packet(CLIENT_RESET, 86)),
            (Resp, packet(SERVER_RESET, 98)),
            (Orig, packet(CONTROL, 375)),
            (Resp, packet(ACK, 94)),
            (Resp, packet(CONTROL, 1_116)),
            (Resp, packet(CONTROL, 1_116)),
            (Orig, packet(ACK, 98)),
            (Orig, packet(ACK, 102)),
            (Resp, packet(CONTROL, 803)),
            (Orig, packet(CONTROL, 740)),
            (Resp, packet(ACK, 94)),
            (Orig, packet(DATA[1], 120)),
        ]
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&OPENVPN_SCRAMBLED, &turns)
    }

    fn framed(turns: &[(Direction, Vec<u8>)]) -> Vec<(Direction, Vec<u8>)> {
        let frame = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        turns.iter().map(|(dir, bytes)| (*dir, frame(bytes))).collect()
    }

    fn stream(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&OPENVPN_SCRAMBLED, &turns, piece)
    }

    #[test]
    fn opcodes_that_stay_apart_tell_the_mask() {
        let events = run(&dialogue());
        assert_eq!(testkit::said(&events, SCRAMBLE), Some("xor-74"));
        assert_eq!(testkit::loops(&events).len(), 1);
        assert!(!events.iter().any(|e| e.kind == EventKind::Confirmed), "nothing is echoed");
    }

    #[test]
    fn one_packet_that_does_not_fit_ends_it() {
        for i in 2..8 {
            for (byte, len) in [(0x11, 98), (ACK ^ MASK, 95), (CONTROL ^ MASK, 20)] {
                let mut turns = dialogue();
                turns[i].1 = vec![byte; len];
                let events = run(&turns);
                assert!(testkit::said(&events, SCRAMBLE).is_none(), "{i} {byte} {len}");
            }
        }
        let short = stream(&framed(&dialogue()[..6]), 4_000);
        assert!(short.iter().any(|e| matches!(e.kind, EventKind::Violation(_))), "too few agree");
    }

    #[test]
    fn the_resets_must_be_as_far_apart_as_opcodes() {
        let turns = dialogue();
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&OPENVPN_SCRAMBLED, Carrier::Datagram, orig, resp);
        assert_eq!(probe(&turns[0].1, b""), Probe::NeedMore);
        assert_eq!(probe(&turns[0].1, &turns[1].1), Probe::Match);
        assert_eq!(probe(&turns[0].1, &packet(SERVER_RESET, 97)), Probe::NoMatch);
        assert_eq!(probe(&turns[0].1, &packet(CONTROL, 98)), Probe::NoMatch);
        assert_eq!(probe(&turns[0].1[..80], b""), Probe::NoMatch);
        // Over TCP the server's packet may be seen first, and what no server answers with is none of its.
        let stream = |orig: &[u8], resp: &[u8]| testkit::probe(&OPENVPN_SCRAMBLED, Carrier::Stream, orig, resp);
        assert_eq!(
            (stream(b"", &[0, 54, 0x51]), stream(&[0, 42, 0x29], &[0, 54, 0x51])),
            (Probe::NeedMore, Probe::Match)
        );
        assert_eq!(stream(b"", &[0, 55, 0x51]), Probe::NoMatch);
        let plain = |opcode: u8, len: usize| [&[opcode][..], &vec![3; len - 1]].concat();
        assert_eq!(probe(&plain(CLIENT_RESET, 86), &plain(SERVER_RESET, 98)), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..200) {
            let turns = framed(&dialogue());
            let told = |events: Vec<Event>| testkit::said(&events, SCRAMBLE).map(str::to_owned);
            prop_assert_eq!(told(stream(&turns, piece)), Some("xor-74".to_owned()));
        }

        #[test]
        fn random_bytes_are_nothing(
            parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..130)), 0..16),
        ) {
            let mut turns = dialogue()[..2].to_vec();
            turns.extend(parts.into_iter().map(|(orig, bytes)| (if orig { Orig } else { Resp }, bytes)));
            let turns: Vec<_> = turns.into_iter().chain([(Orig, vec![0xff; 60])]).collect();
            let events = run(&turns);
            prop_assert_eq!(testkit::said(&events, SCRAMBLE), None);
            stream(&turns, 7);
        }
    }
}
