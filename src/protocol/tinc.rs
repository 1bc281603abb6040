//! tinc 1.0 and 1.1: who opens a connection between two nodes of a mesh, under which names.
//!
//! Reads: the ID line of each end of the meta connection. Emits: the nodes' names, the protocol's versions, and the
//! closed loops of the two ID lines. Does not: decrypt, or name the UDP flow beside it, whose packets are encrypted
//! whole; the pair of addresses is given as a link for whoever can.
//!
//! Reference: the tinc manual, "The meta-protocol" and "Authentication protocol"; `protocol_auth.c` says who waits for
//! whom.

use crate::base::{Direction, Ends, Layer, Timestamp};
use crate::protocol::codec::Inbox;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Link, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static TINC: Protocol = Protocol {
    name: "tinc",
    category: Category::Vpn,
    carriers: &[Carrier::Stream],
    ports: &[655],
    attributes: &[CLIENT_NAME, SERVER_NAME, VERSION],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Tinc::default()),
};

const CLIENT_NAME: Key = "tinc.client_name";
const SERVER_NAME: Key = "tinc.server_name";
const VERSION: Key = "tinc.version";

/// `MAX_STRING_SIZE` of tinc's sources is 2049; names are made of the network's and are short.
const LINE: usize = 128;
/// The ID line, and the first bytes of what follows.
const INBOX_LIMIT: usize = 16 * 1024;

/// The node that connects speaks first; its line must be whole, what the other end said so far must fit one.
fn probe(opening: &Opening<'_>) -> Probe {
    match (Line::read(opening.sent.orig), Line::read(opening.sent.resp)) {
        (Line::Not, _) | (_, Line::Not) => Probe::NoMatch,
        (Line::Whole(_), Line::Whole(_)) => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// An ID line: request number, the node's name, protocol version.
enum Line<'a> {
    Partial,
    Whole(Id<'a>),
    Not,
}

struct Id<'a> {
    name: &'a str,
    version: &'a str,
    /// With its end.
    len: usize,
}

impl<'a> Line<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let whole = line.len() < bytes.len();
        let Ok(text) = std::str::from_utf8(line) else { return Self::Not };
        if text.len() > LINE {
            return Self::Not;
        }
        let Some(rest) = text.strip_prefix("0 ") else {
            return if "0 ".starts_with(text) && !whole { Self::Partial } else { Self::Not };
        };
        let (name, version) = rest.split_once(' ').unwrap_or((rest, ""));
        let named = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let versioned = "17.".starts_with(version)
            || version.strip_prefix("17.").is_some_and(|m| m.len() < 3 && m.bytes().all(|b| b.is_ascii_digit()));
        let complete = !name.is_empty() && version.len() > 1 && !version.ends_with('.');
        match (named && versioned, whole) {
            (true, true) if complete => Self::Whole(Id { name, version, len: line.len() + 1 }),
            (true, false) => Self::Partial,
            _ => Self::Not,
        }
    }
}

#[derive(Debug)]
struct Tinc {
    inboxes: Ends<Inbox>,
    said: Ends<bool>,
    /// An end has spoken behind its ID line.
    went_on: Ends<bool>,
    done: bool,
}

impl Default for Tinc {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self { inboxes, said: Ends::default(), went_on: Ends::default(), done: false }
    }
}

impl Analyzer for Tinc {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        let inbox = self.inboxes.of_mut(pdu.dir);
        if !inbox.push(pdu.at, pdu.bytes) {
            return self.settle(pdu.at, pdu.dir, events);
        }
        if !*self.said.of(pdu.dir) {
            let (len, ended) = match Line::read(inbox.bytes()) {
                Line::Partial => return,
                Line::Not => {
                    events.violation(pdu.at, pdu.dir, "tinc.no-id");
                    return self.settle(pdu.at, pdu.dir, events);
                }
                Line::Whole(id) => {
                    let ended = inbox.time_of(id.len - 1);
                    let key = if pdu.dir == Direction::Orig { CLIENT_NAME } else { SERVER_NAME };
                    events.attribute(ended, pdu.dir, key, id.name);
                    if pdu.dir == Direction::Resp {
                        events.attribute(ended, pdu.dir, VERSION, id.version);
                    }
                    (id.len, ended)
                }
            };
            inbox.consume(len);
            *self.said.of_mut(pdu.dir) = true;
            events.ask(ended, pdu.dir, Layer::Overlay, "tinc-id");
            if *self.said.of(pdu.dir.flip()) {
                events.confirmed(ended, pdu.dir);
                events.link(ended, pdu.dir, Link::Pair("tinc"));
            }
        }
        self.on_more(pdu, events);
    }
}

impl Tinc {
    /// A node goes on only when it has read the other's ID: the version in it decides how.
    fn on_more(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let inbox = self.inboxes.of(pdu.dir);
        if inbox.bytes().is_empty() || *self.went_on.of(pdu.dir) || !*self.said.of(pdu.dir.flip()) {
            return;
        }
        *self.went_on.of_mut(pdu.dir) = true;
        events.answer(inbox.time_of(0), pdu.dir, Layer::Overlay, "tinc-id");
        if *self.went_on.of(pdu.dir.flip()) {
            self.settle(pdu.at, pdu.dir, events);
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.settled(at, dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use proptest::prelude::*;

    const DIALOGUE: [Turn<'static>; 4] =
        [(Orig, b"0 alpha 17\n"), (Resp, b"0 beta_2 17.7\n"), (Resp, b"1 94 64 0 0 AB\n"), (Orig, b"1 429 672 0\n")];

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&TINC, Carrier::Stream, orig, resp)
    }

    #[test]
    fn two_nodes_say_who_they_are() {
        let events = testkit::stream(&TINC, &DIALOGUE, usize::MAX);
        assert_eq!(testkit::said(&events, CLIENT_NAME), Some("alpha"));
        assert_eq!(testkit::said(&events, SERVER_NAME), Some("beta_2"));
        assert_eq!(testkit::said(&events, VERSION), Some("17.7"));
        assert!(events.iter().any(|e| e.kind == crate::protocol::EventKind::Confirmed));
    }

    #[test]
    fn both_lines_are_needed() {
        assert_eq!(probe(b"0 alpha 17\n", b""), Probe::NeedMore);
        assert_eq!(probe(b"0 alpha 17\n", b"0 b"), Probe::NeedMore);
        assert_eq!(probe(b"0 alpha 17\n", b"0 b 17.7\n1 "), Probe::Match);
        for other in
            [&b"0 alpha 18\n"[..], b"0 al-pha 17\n", b"0  17\n", b"0 alpha\n", b"1 alpha 17\n", b"0\n", b"GET "]
        {
            assert_eq!(probe(other, b""), Probe::NoMatch, "{other:?}");
            assert_eq!(probe(b"0 alpha 17\n", other), Probe::NoMatch, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_attributes(piece in 1usize..20) {
            let whole = testkit::stream(&TINC, &DIALOGUE, usize::MAX);
            prop_assert_eq!(testkit::stream(&TINC, &DIALOGUE, piece), whole);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
            testkit::stream(&TINC, &[(Orig, b"0 alpha 17\n"), (Resp, &bytes), (Orig, &bytes)], piece);
            probe(&bytes, b"");
        }
    }
}
