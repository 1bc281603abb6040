//! Radmin, Famatech's remote control: its frames, and the first question with its answer.
//!
//! Reads: the first frame of each end. Emits: what was asked first. Does not: decrypt, or tell versions 2 and 3 apart:
//! their hellos are the same frames.
//!
//! Reference: none is public. Frames as in `remote-desktop/ndpi__radmin3.pcapng`: a one, the payload's length and its
//! checksum (the sum of its little-endian words, zero-padded), both big-endian, the payload.

use crate::base::{Direction, Ends, Reader, Timestamp};
use crate::protocol::codec::Inbox;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static RADMIN: Protocol = Protocol {
    name: "radmin",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[4899],
    attributes: &[REQUEST],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Radmin::default()),
};

const REQUEST: Key = "radmin.request";

const HEADER: usize = 9;
/// The longest first frame that is believed; those seen have at most 37 bytes of payload.
const PAYLOAD_LIMIT: usize = 512;
/// Who are you: asked and answered first on the connection that finds the server.
const HELLO: u8 = 0x08;
/// How shall I prove who I am: asked and answered first on the connection that becomes the session.
const AUTHENTICATE: u8 = 0x27;

/// The first frame of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    More,
    Not,
    /// The first byte of its payload, which says what the frame is.
    Whole(u8),
}

impl Frame {
    fn read(bytes: &[u8]) -> Self {
        // A one and a length of at most 16 bits.
        if !bytes.iter().zip([1u8, 0, 0]).all(|(byte, wanted)| *byte == wanted) {
            return Self::Not;
        }
        let mut reader = Reader::new(bytes);
        reader.u8();
        let Some(len) = reader.u32().and_then(|len| usize::try_from(len).ok()) else { return Self::More };
        if !(1..=PAYLOAD_LIMIT).contains(&len) {
            return Self::Not;
        }
        let Some(sum) = reader.u32() else { return Self::More };
        if reader.rest().first().is_some_and(|kind| !matches!(*kind, HELLO | AUTHENTICATE)) {
            return Self::Not;
        }
        match reader.take(len) {
            Some(payload) if checksum(payload) == sum => payload.first().map_or(Self::Not, |kind| Self::Whole(*kind)),
            Some(_) => Self::Not,
            None => Self::More,
        }
    }
}

/// The sum of the little-endian words, the last one padded with zeros.
fn checksum(payload: &[u8]) -> u32 {
    let word = |chunk: &[u8]| chunk.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
    payload.chunks(4).map(word).fold(0, u32::wrapping_add)
}

fn probe(opening: &Opening<'_>) -> Probe {
    match [opening.sent.orig, opening.sent.resp].map(Frame::read) {
        [Frame::Not, _] | [_, Frame::Not] => Probe::NoMatch,
        [Frame::Whole(asked), Frame::Whole(answered)] if asked == answered => Probe::Match,
        [Frame::Whole(_), Frame::Whole(_)] => Probe::NoMatch,
        // The server speaks when it is spoken to.
        [Frame::Whole(_), Frame::More] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

#[derive(Debug)]
struct Radmin {
    inboxes: Ends<Inbox>,
    said: Ends<Option<u8>>,
    done: bool,
}

impl Default for Radmin {
    fn default() -> Self {
        let limit = HEADER + PAYLOAD_LIMIT;
        Self { inboxes: Ends { orig: Inbox::new(limit), resp: Inbox::new(limit) }, said: Ends::default(), done: false }
    }
}

impl Analyzer for Radmin {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || self.said.of(pdu.dir).is_some() {
            return;
        }
        let room = (HEADER + PAYLOAD_LIMIT).saturating_sub(self.inboxes.of(pdu.dir).bytes().len());
        let wanted = pdu.bytes.get(..room).unwrap_or(pdu.bytes);
        let pushed = self.inboxes.of_mut(pdu.dir).push(pdu.at, wanted);
        match Frame::read(self.inboxes.of(pdu.dir).bytes()) {
            Frame::More if pushed => {}
            Frame::More | Frame::Not => self.refuse(pdu.at, pdu.dir, "radmin.not-a-frame", events),
            Frame::Whole(kind) => {
                *self.said.of_mut(pdu.dir) = Some(kind);
                self.on_both(pdu.at, pdu.dir, events);
            }
        }
    }
}

impl Radmin {
    fn on_both(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let (Some(asked), Some(answered)) = (self.said.orig, self.said.resp) else { return };
        if asked != answered {
            self.refuse(at, dir, "radmin.answer-to-nothing", events);
            return;
        }
        events.confirmed(at, dir);
        events.attribute(at, Direction::Orig, REQUEST, if asked == HELLO { "hello" } else { "authenticate" });
        self.done = true;
        events.settled(at, dir);
    }

    fn refuse(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        events.violation(at, dir, fault);
        self.done = true;
        events.settled(at, dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn, said};
    use proptest::prelude::*;

    const ASK: &[u8] = b"\x01\0\0\0\x01\0\0\0\x08\x08";

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut out = vec![1];
        out.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        out.extend(checksum(payload).to_be_bytes());
        out.extend(payload);
        out
    }

    fn answer() -> Vec<u8> {
        let mut payload = vec![8, 2, 0, 0, 0x0a];
        payload.resize(37, 0);
        frame(&payload)
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&RADMIN, Carrier::Stream, orig, resp)
    }

    #[test]
    fn the_checksum_is_the_sum_of_words() {
        assert_eq!(frame(&[8]), ASK);
        assert_eq!(answer()[..14], *b"\x01\0\0\0\x25\0\0\x02\x12\x08\x02\0\0\x0a");
        assert_eq!(frame(b"\x27\x02\0\0\0"), b"\x01\0\0\0\x05\0\0\x02\x27\x27\x02\0\0\0");
    }

    #[test]
    fn a_question_and_its_answer_confirm() {
        for (ask, answer, word) in
            [(ASK.to_vec(), answer(), "hello"), (frame(b"\x27\x02\0\0\0"), frame(b"\x27\0\0\0\0"), "authenticate")]
        {
            let events = testkit::stream(&RADMIN, &[(Orig, &ask), (Resp, &answer)], 4096);
            assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
            assert_eq!(said(&events, REQUEST), Some(word));
        }
        assert!(testkit::stream(&RADMIN, &[(Orig, ASK)], 4096).is_empty());
    }

    #[test]
    fn look_alikes_do_not_match() {
        assert_eq!(probe(ASK, b""), Probe::Match);
        let mut wrong = ASK.to_vec();
        wrong[8] = 9;
        assert_eq!(probe(&wrong, b""), Probe::NoMatch);
        assert_eq!(probe(ASK, &frame(b"\x27\0\0\0\0")), Probe::NoMatch);
        assert_eq!(probe(ASK, b"220 ready"), Probe::NoMatch);
        assert_eq!(probe(b"", ASK), Probe::NeedMore);
        // A length-prefixed protocol with a small first field.
        assert_eq!(probe(b"\x01\0\0\0\x10\0\0\0\x20\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b""), Probe::NoMatch);
        let events = testkit::stream(&RADMIN, &[(Orig, ASK), (Resp, &frame(b"\x27\0\0\0\0"))], 4096);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..60) {
            let answer = answer();
            let turns: [Turn<'_>; 2] = [(Orig, ASK), (Resp, &answer)];
            prop_assert_eq!(testkit::stream(&RADMIN, &turns, piece), testkit::stream(&RADMIN, &turns, 4096));
        }

        #[test]
        fn random_bytes_never_panic(a in proptest::collection::vec(any::<u8>(), 0..60), len in any::<u8>()) {
            let bytes = [&[1, 0, 0, 0, len][..], &a].concat();
            testkit::stream(&RADMIN, &[(Orig, &bytes), (Resp, &bytes)], 7);
            testkit::stream(&RADMIN, &[(Orig, &a), (Resp, &bytes)], 7);
            probe(&bytes, &a);
        }
    }
}
