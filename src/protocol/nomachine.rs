//! NoMachine: the version lines before its TLS, and the datagrams that carry its pictures.
//!
//! Reads: the line of each end over TCP; the short datagrams by which both ends open the UDP path. Emits: versions,
//! then hands TLS over. Does not: follow SSH (NoMachine offers it as another transport, where its program is an SSH
//! client like any other), or read the encrypted datagrams.
//!
//! Reference: none is public. Lines and datagrams as in `remote-desktop/ndpi__nomachine.pcapng`.

use crate::base::{Direction, Ends, Reader, Timestamp};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{
    Analyzer, Carrier, Category, Events, Key, Link, Opening, Pdu, Probe, Protocol, Said, Shows, Sign,
};

/// The registry's entry.
pub(crate) static NOMACHINE: Protocol = Protocol {
    name: "nomachine",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[4000, 4011, 4443],
    attributes: &[CLIENT_VERSION, SERVER_VERSION],
    signs: &[Sign::new("tls.sni", Said::Domain("nomachine.com"), Shows::Mention)],
    lasting: false,
    probe,
    analyzer: || Box::new(NoMachine::default()),
};

const CLIENT_VERSION: Key = "nomachine.client_version";
const SERVER_VERSION: Key = "nomachine.server_version";

const LINK: Link = Link::Pair("nomachine");

/// What the client says: the program that opens a shell of NX, its version, a line's end.
const CLIENT: &[u8] = b"NXSH-";
/// What the server says: the daemon of NX.
const SERVER: &[u8] = b"NXD-";
/// Characters of a version and its line's end; `8.10.1` has 6.
const VERSION_LIMIT: usize = 16;
const INBOX_LIMIT: usize = 64 * 1024;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier != Carrier::Stream {
        return probe_datagrams(opening);
    }
    match [Line::read(opening.sent.orig, CLIENT), Line::read(opening.sent.resp, SERVER)] {
        [Line::Not, _] | [_, Line::Not] => Probe::NoMatch,
        [Line::Version(..), _] | [_, Line::Version(..)] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

enum Line<'a> {
    More,
    Not,
    /// The version, and the bytes that the line takes.
    Version(&'a [u8], usize),
}

impl<'a> Line<'a> {
    fn read(bytes: &'a [u8], name: &[u8]) -> Self {
        if !bytes.iter().zip(name).all(|(byte, wanted)| byte == wanted) {
            return Self::Not;
        }
        let Some(rest) = bytes.strip_prefix(name) else { return Self::More };
        let rest = rest.get(..VERSION_LIMIT).unwrap_or(rest);
        let end = rest.iter().position(|byte| *byte == b'\n');
        let version = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        match end {
            _ if !version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') => Self::Not,
            Some(end) if end > 0 => Self::Version(version, name.len() + end + 1),
            None if rest.len() < VERSION_LIMIT => Self::More,
            _ => Self::Not,
        }
    }
}

/// The datagram by which an end says that it is there: kind, version 1, length 10, a number, zero; little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    /// Is somebody there?
    Ask = 1,
    /// Yes; sent by who was asked.
    Answer = 2,
    /// The other end is known to be there.
    Alive = 3,
}

const GREETING_LEN: usize = 10;

impl Greeting {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = reader.array::<2>()?;
        let fixed = reader.array::<4>()? == [1, 0, 10, 0] && bytes.len() == GREETING_LEN;
        reader.take(2)?;
        if !fixed || reader.array::<2>()? != [0, 0] {
            return None;
        }
        match kind {
            [1, 0] => Some(Self::Ask),
            [2, 0] => Some(Self::Answer),
            [3, 0] => Some(Self::Alive),
            _ => None,
        }
    }
}

fn probe_datagrams(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    match [Greeting::read(orig), Greeting::read(resp)] {
        [Some(_), Some(_)] => Probe::Match,
        [Some(_), None] if resp.is_empty() => Probe::NeedMore,
        [None, Some(_)] if orig.is_empty() => Probe::NeedMore,
        _ => Probe::NoMatch,
    }
}

#[derive(Debug)]
struct NoMachine {
    inboxes: Ends<Inbox>,
    versions: Ends<bool>,
    /// The datagrams seen of each end so far, as a set of kinds.
    greetings: Ends<u8>,
    done: bool,
}

impl Default for NoMachine {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self { inboxes, versions: Ends::default(), greetings: Ends::default(), done: false }
    }
}

impl Analyzer for NoMachine {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier == Carrier::Stream {
            self.on_stream(pdu, events);
        } else {
            self.on_datagram(pdu, events);
        }
    }
}

impl NoMachine {
    fn on_stream(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.refuse(pdu.at, pdu.dir, "nomachine.beyond-buffer", events);
            return;
        }
        if !*self.versions.of(pdu.dir) {
            let (name, key) = match pdu.dir {
                Direction::Orig => (CLIENT, CLIENT_VERSION),
                Direction::Resp => (SERVER, SERVER_VERSION),
            };
            match Line::read(self.inboxes.of(pdu.dir).bytes(), name) {
                Line::More => return,
                Line::Not => {
                    self.refuse(pdu.at, pdu.dir, "nomachine.not-a-version", events);
                    return;
                }
                Line::Version(version, len) => {
                    events.attribute(pdu.at, pdu.dir, key, printable(version, VERSION_LIMIT));
                    self.inboxes.of_mut(pdu.dir).consume(len);
                    *self.versions.of_mut(pdu.dir) = true;
                }
            }
            if self.versions.orig && self.versions.resp {
                events.confirmed(pdu.at, pdu.dir);
                events.link(pdu.at, pdu.dir, LINK);
            }
        }
        // The client goes on when it has the server's line.
        if self.versions.orig && self.versions.resp && !self.inboxes.orig.bytes().is_empty() {
            self.done = true;
            events.handover(pdu.at, Direction::Orig, "tls", true, unused(&self.inboxes));
        }
    }

    fn on_datagram(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let Some(greeting) = Greeting::read(pdu.bytes) else {
            self.refuse(pdu.at, pdu.dir, "nomachine.not-a-greeting", events);
            return;
        };
        *self.greetings.of_mut(pdu.dir) |= 1 << greeting as u8;
        let has = |dir: Direction, greeting: Greeting| self.greetings.of(dir) & (1 << greeting as u8) != 0;
        let asked = has(Direction::Orig, Greeting::Ask) && has(Direction::Resp, Greeting::Answer);
        if asked && has(Direction::Orig, Greeting::Alive) {
            events.confirmed(pdu.at, pdu.dir);
            events.link(pdu.at, pdu.dir, LINK);
            self.done = true;
            events.settled(pdu.at, pdu.dir);
        }
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
    use crate::protocol::testkit::{self, Turn, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const DIALOGUE: [Turn<'static>; 3] = [(Orig, b"NXSH-8.10.1\n"), (Resp, b"NXD-8.10.1\n"), (Orig, b"\x16\x03\x01")];

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    fn greeting(kind: u8, number: u8) -> Vec<u8> {
        vec![kind, 0, 1, 0, 10, 0, number, 0, 0, 0]
    }

    #[test]
    fn versions_are_told_and_tls_goes_on() {
        let events = testkit::stream(&NOMACHINE, &DIALOGUE, 4096);
        assert!(confirmed(&events));
        assert_eq!((said(&events, CLIENT_VERSION), said(&events, SERVER_VERSION)), (Some("8.10.1"), Some("8.10.1")));
        let Some(EventKind::Handover { to: "tls", as_carrier: true, rest }) = events.last().map(|e| &e.kind) else {
            panic!("{events:?}")
        };
        assert_eq!(rest[0].bytes, b"\x16\x03\x01");
    }

    #[test]
    fn datagrams_that_find_each_other_confirm() {
        let (a, b, c) = (greeting(1, 0), greeting(2, 0), greeting(3, 1));
        let turns: [Turn<'_>; 3] = [(Orig, &a), (Resp, &b), (Orig, &c)];
        assert!(confirmed(&testkit::datagrams(&NOMACHINE, &turns)));
        assert!(!confirmed(&testkit::datagrams(&NOMACHINE, &turns[..2])));
    }

    #[test]
    fn look_alikes_do_not_match() {
        let stream = |orig: &[u8], resp: &[u8]| testkit::probe(&NOMACHINE, Carrier::Stream, orig, resp);
        assert_eq!(stream(b"NXSH-8.1\n", b""), Probe::Match);
        assert_eq!(stream(b"NXSH-", b"NXD-9"), Probe::NeedMore);
        for orig in [&b"NXSH-eight\n"[..], b"NXSH-\n", b"NXSH-1234567890.1234567890\n", b"NXPROXY-3.5.0\n", b"NXD-8\n"]
        {
            assert_eq!(stream(orig, b""), Probe::NoMatch);
        }
        assert_eq!(stream(b"NXSH-8.1\n", b"SSH-2.0-x\r\n"), Probe::NoMatch);
        let datagram = |orig: &[u8], resp: &[u8]| testkit::probe(&NOMACHINE, Carrier::Datagram, orig, resp);
        assert_eq!(datagram(&greeting(1, 0), b""), Probe::NeedMore);
        assert_eq!(datagram(&greeting(1, 0), &greeting(2, 0)), Probe::Match);
        assert_eq!(datagram(&greeting(1, 0), b"\0"), Probe::NoMatch);
        assert_eq!(datagram(&greeting(4, 0), b""), Probe::NoMatch);
        assert_eq!(datagram(b"\x01\0\x01\0\x0b\0\0\0\0\0\0", b""), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..20) {
            let kinds = |events: Vec<Event>| {
                let kind = |e: Event| match e.kind {
                    // The rest may come in more or fewer handovers' pieces; its bytes go on to TLS all the same.
                    EventKind::Handover { to, .. } => format!("handover {to}"),
                    kind => format!("{kind:?}"),
                };
                events.into_iter().map(kind).collect::<Vec<_>>()
            };
            let whole = kinds(testkit::stream(&NOMACHINE, &DIALOGUE, 4096));
            prop_assert_eq!(kinds(testkit::stream(&NOMACHINE, &DIALOGUE, piece)), whole);
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..30)), 0..6,
        )) {
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(orig, begins, bytes)| {
                    let head = if begins { if orig { CLIENT } else { SERVER } } else { b"" };
                    (if orig { Orig } else { Resp }, [head, &bytes].concat())
                })
                .collect();
            let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
            testkit::stream(&NOMACHINE, &turns, 5);
            testkit::datagrams(&NOMACHINE, &turns);
        }
    }
}
