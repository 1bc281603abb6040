//! Intel AMT's redirection: keyboard, video and mouse, serial console or disk of a machine through its chipset.
//!
//! Reads: the opening of a redirection session, its authentication by length, the opening of the channel. Emits: which
//! service is redirected and whether the user was accepted; of keyboard, video and mouse it hands on the RFB inside.
//! Does not: read the digest, or what a console or a disk carries. Through TLS (port 16995) it sees nothing.
//!
//! Reference: Intel AMT Implementation and Reference Guide (Redirection Protocol), and MeshCommander's source.

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::codec::{Inbox, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static AMT: Protocol = Protocol {
    name: "intel-amt",
    category: Category::Kvm,
    carriers: &[Carrier::Stream],
    ports: &[16_994],
    attributes: &[SERVICE, RESULT],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Amt::default()),
};

const SERVICE: Key = "amt.service";
const RESULT: Key = "amt.auth_result";

/// Commands, by their first byte.
const START: u8 = 0x10;
const START_REPLY: u8 = 0x11;
const AUTHENTICATE: u8 = 0x13;
const AUTHENTICATE_REPLY: u8 = 0x14;
const OPEN_CHANNEL: u8 = 0x40;
const OPEN_CHANNEL_REPLY: u8 = 0x41;
/// A start is the command, a variant and two zeros, and the service's four letters.
const START_LEN: usize = 8;
/// Its reply ends with a vendor's bytes, their number before them.
const START_REPLY_LEN: usize = 13;
/// Both messages of the authentication: four bytes, the method, the length of what follows.
const AUTHENTICATE_LEN: usize = 9;
const CHANNEL_LEN: usize = 8;
/// Longest digest that is believed.
const DIGEST_LIMIT: usize = 4_096;
const INBOX_LIMIT: usize = 16 * 1024;

/// The word for a service.
fn service(letters: &[u8]) -> Option<&'static str> {
    match letters {
        b"KVMR" => Some("kvm"),
        b"SOL " => Some("serial-console"),
        b"IDER" => Some("disk"),
        _ => None,
    }
}

fn probe(opening: &Opening<'_>) -> Probe {
    let (asks, answers) = (start(opening.sent.orig), opening.sent.resp);
    match answers.first() {
        Some(&START_REPLY) | None => asks,
        _ => Probe::NoMatch,
    }
}

fn start(bytes: &[u8]) -> Probe {
    let Some(message) = bytes.get(..START_LEN) else {
        let known = |letters: &[u8; 4]| {
            let whole = [&[START, 0, 0, 0][..], letters].concat();
            bytes.iter().zip(&whole).enumerate().all(|(i, (byte, own))| byte == own || i == 1 && *byte < 2)
        };
        return if [b"KVMR", b"SOL ", b"IDER"].into_iter().any(known) { Probe::NeedMore } else { Probe::NoMatch };
    };
    match message {
        [START, 0 | 1, 0, 0, letters @ ..] if service(letters).is_some() => Probe::Match,
        _ => Probe::NoMatch,
    }
}

#[derive(Debug)]
struct Amt {
    inboxes: Ends<Inbox>,
    is_kvm: bool,
    done: bool,
}

impl Default for Amt {
    fn default() -> Self {
        let inbox = || Inbox::new(INBOX_LIMIT);
        Self { inboxes: Ends { orig: inbox(), resp: inbox() }, is_kvm: false, done: false }
    }
}

impl Analyzer for Amt {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.settle(pdu.at, pdu.dir, events);
        }
        while !self.done {
            let inbox = self.inboxes.of(pdu.dir);
            let Some(needed) = needed(inbox.bytes()) else { return };
            let Some(message) = inbox.bytes().get(..needed).map(<[u8]>::to_vec) else { return };
            let at = inbox.time_of(needed - 1);
            self.inboxes.of_mut(pdu.dir).consume(needed);
            self.on_message(at, pdu.dir, &message, events);
        }
    }
}

/// Bytes of the next message; `None` while that is not known. What is no command is one byte long.
fn needed(bytes: &[u8]) -> Option<usize> {
    Some(match *bytes.first()? {
        START => START_LEN,
        // A refusal ends behind its status.
        START_REPLY if *bytes.get(1)? != 0 => 4,
        START_REPLY => START_REPLY_LEN + usize::from(*bytes.get(START_REPLY_LEN - 1)?),
        AUTHENTICATE | AUTHENTICATE_REPLY => {
            let length = u32::from_le_bytes(*bytes.get(AUTHENTICATE_LEN - 4..)?.first_chunk()?);
            AUTHENTICATE_LEN + usize::try_from(length).unwrap_or(usize::MAX).min(DIGEST_LIMIT)
        }
        OPEN_CHANNEL | OPEN_CHANNEL_REPLY => CHANNEL_LEN,
        _ => 1,
    })
}

impl Amt {
    fn on_message(&mut self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) {
        match message {
            [START, _, _, _, letters @ ..] if dir == Direction::Orig => {
                if let Some(name) = service(letters) {
                    events.attribute(at, dir, SERVICE, name);
                    self.is_kvm = name == "kvm";
                }
            }
            [START_REPLY, status, ..] if dir == Direction::Resp => {
                events.confirmed(at, dir);
                if *status != 0 {
                    events.attribute(at, dir, RESULT, "refused");
                    self.settle(at, dir, events);
                }
            }
            // The first reply of a digest brings its challenge and is no verdict; the method's list (0) is none either.
            [AUTHENTICATE_REPLY, 0, _, _, method, ..] if *method != 0 => events.attribute(at, dir, RESULT, "ok"),
            [AUTHENTICATE | AUTHENTICATE_REPLY | OPEN_CHANNEL, ..] => {}
            [OPEN_CHANNEL_REPLY, ..] if self.is_kvm => {
                events.handover(at, dir, "rfb", false, unused(&self.inboxes));
                self.settle(at, dir, events);
            }
            _ => self.settle(at, dir, events),
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.done, true) {
            events.settled(at, dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn, said};
    use proptest::prelude::*;

    const REPLY: &[u8] = &[0x11, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0xaa, 0xbb];

    fn dialogue() -> Vec<Turn<'static>> {
        vec![
            (Orig, b"\x10\x01\0\0KVMR"),
            (Resp, REPLY),
            (Orig, b"\x13\0\0\0\0\0\0\0\0"),
            (Resp, b"\x14\0\0\0\0\x01\0\0\0\x04"),
            (Orig, b"\x13\0\0\0\x04\x02\0\0\0xx"),
            (Resp, b"\x14\x01\0\0\x04\x03\0\0\0abc"),
            (Orig, b"\x13\0\0\0\x04\x02\0\0\0yy"),
            (Resp, b"\x14\0\0\0\x04\0\0\0\0"),
            (Orig, b"\x40\0\0\0\0\0\0\0"),
            (Resp, b"\x41\0\0\0\0\0\0\0RFB 004.000\n"),
        ]
    }

    #[test]
    fn the_desktop_inside_is_handed_on() {
        let events = testkit::stream(&AMT, &dialogue(), 4_096);
        assert_eq!((said(&events, SERVICE), said(&events, RESULT)), (Some("kvm"), Some("ok")));
        assert!(events.iter().any(|event| event.kind == EventKind::Confirmed));
        let handed = events.iter().find_map(|event| match &event.kind {
            EventKind::Handover { to: "rfb", as_carrier: false, rest } => Some(rest[0].bytes.clone()),
            _ => None,
        });
        assert_eq!(handed.as_deref(), Some(&b"RFB 004.000\n"[..]));
    }

    #[test]
    fn a_console_and_a_refusal_are_told() {
        let console = testkit::stream(&AMT, &[(Orig, b"\x10\0\0\0SOL "), (Resp, REPLY)], 1);
        assert_eq!(said(&console, SERVICE), Some("serial-console"));
        let refused = testkit::stream(&AMT, &[(Orig, b"\x10\0\0\0IDER"), (Resp, &[0x11, 1, 0, 0])], 1);
        assert_eq!(said(&refused, RESULT), Some("refused"));
    }

    #[test]
    fn only_the_whole_opening_is_one() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&AMT, Carrier::Stream, orig, resp);
        assert_eq!(probe(b"\x10\x01\0\0KVMR", b""), Probe::Match);
        assert_eq!(probe(b"\x10\0\0\0SO", b""), Probe::NeedMore);
        assert_eq!(probe(b"\x10\0\0\0SOX", b""), Probe::NoMatch);
        assert_eq!(probe(b"\x10\x02\0\0KVMR", b""), Probe::NoMatch);
        // MQTT begins with 0x10, too.
        assert_eq!(probe(b"\x10\x10\0\x04MQTT\x04\x02", b""), Probe::NoMatch);
        assert_eq!(probe(b"\x10\x01\0\0KVMR", b"HTTP/1.1 400"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..40) {
            // How much of the desktop's bytes is handed on depends on the cut, so they come in a turn of their own.
            let mut turns = dialogue();
            turns[9].1 = &turns[9].1[..CHANNEL_LEN];
            prop_assert_eq!(testkit::stream(&AMT, &turns, piece), testkit::stream(&AMT, &turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            kept in 0usize..10,
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            orig: bool,
        ) {
            let mut turns = dialogue();
            turns.truncate(kept);
            turns.push((if orig { Orig } else { Resp }, &bytes));
            testkit::stream(&AMT, &turns, 3);
            testkit::probe(&AMT, Carrier::Stream, &bytes, b"");
        }
    }
}
