//! NX: the compressed X11 between two proxies (nxproxy, nxagent), as X2Go and FreeNX use it.
//!
//! Reads: the first line of options of both ends. Emits: versions and the kind of link. Does not: decode what follows,
//! keep the cookie, or tell which product started the proxies. X2Go runs them inside SSH, where only SSH is seen.
//!
//! Reference: nx-libs, `nxcomp/src/Loop.cpp`; its capture in captures/protocols.

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry. Display N is served on port 4000 + N.
pub(crate) static NX: Protocol = Protocol {
    name: "nx",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[4008, 4050, 4051, 4052],
    attributes: &[CLIENT_VERSION, SERVER_VERSION, LINK, TYPE],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Nx::default()),
};

const CLIENT_VERSION: Key = "nx.client_version";
const SERVER_VERSION: Key = "nx.server_version";
const LINK: Key = "nx.link";
const TYPE: Key = "nx.session_type";

const MAGIC: &[u8] = b"NXPROXY-";
/// The longest line of options taken; real ones have some 200 bytes.
const LINE_LIMIT: usize = 1_024;
/// Characters of a value that are kept.
const TEXT_KEPT: usize = 64;

fn probe(opening: &Opening<'_>) -> Probe {
    let begins = |bytes: &[u8]| bytes.iter().zip(MAGIC).all(|(a, b)| a == b);
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    if !begins(orig) || !begins(resp) {
        return Probe::NoMatch;
    }
    let digit = |bytes: &[u8]| bytes.get(MAGIC.len()).map(u8::is_ascii_digit);
    match [digit(orig), digit(resp)] {
        [Some(false), _] | [_, Some(false)] => Probe::NoMatch,
        [None, None] => Probe::NeedMore,
        _ => Probe::Match,
    }
}

#[derive(Debug)]
struct Nx {
    inboxes: Ends<Inbox>,
    read: Ends<bool>,
    done: bool,
}

impl Default for Nx {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(LINE_LIMIT), resp: Inbox::new(LINE_LIMIT) };
        Self { inboxes, read: Ends::default(), done: false }
    }
}

impl Analyzer for Nx {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || *self.read.of(pdu.dir) {
            return;
        }
        // The line is short; what stands behind it is not.
        let inbox = self.inboxes.of_mut(pdu.dir);
        let room = LINE_LIMIT - inbox.bytes().len();
        let _ = inbox.push(pdu.at, pdu.bytes.get(..room).unwrap_or(pdu.bytes));
        match inbox.bytes().iter().position(|byte| *byte == b' ') {
            None if inbox.bytes().len() < LINE_LIMIT => return,
            None => {
                events.violation(pdu.at, pdu.dir, "nx.line-too-long");
                self.settle(pdu.at, pdu.dir, events);
                return;
            }
            Some(first) => self.on_line(pdu.dir, first, events),
        }
        if self.read.orig && self.read.resp {
            self.settle(pdu.at, pdu.dir, events);
        }
    }
}

impl Nx {
    /// The version stands before the first space; the options, if there are any, before the next.
    fn on_line(&mut self, dir: Direction, first: usize, events: &mut Events) {
        let inbox = self.inboxes.of(dir);
        let bytes = inbox.bytes();
        let Some(options) = bytes.get(first + 1..).filter(|rest| rest.contains(&b' ')) else { return };
        let options = options.split(|byte| *byte == b' ').next().unwrap_or_default();
        let at = inbox.time_of(first + 1 + options.len());
        let key = if dir == Direction::Orig { CLIENT_VERSION } else { SERVER_VERSION };
        let version = bytes.get(MAGIC.len()..first).unwrap_or_default();
        events.attribute(at, dir, key, printable(version, TEXT_KEPT));
        for option in options.split(|byte| *byte == b',') {
            for (name, key) in [(&b"link="[..], LINK), (b"type=", TYPE)] {
                if let Some(value) = option.strip_prefix(name) {
                    events.attribute(at, dir, key, printable(value, TEXT_KEPT));
                }
            }
        }
        *self.read.of_mut(dir) = true;
        if *self.read.of(dir.flip()) {
            events.confirmed(at, dir);
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
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn};
    use proptest::prelude::*;

    const TURNS: [Turn<'static>; 4] = [
        (Orig, b"NXPROXY-3.5.0-3.5.99 cookie=0123456789abcdef,stream=default,data=default "),
        (Resp, b"NXPROXY-3.5.0-3.5.99 link=ADSL,pack=adaptive-7,cache=8192k,type=default "),
        (Resp, b"cachelist=none "),
        (Orig, b"cachefile=none "),
    ];

    #[test]
    fn both_ends_say_their_version() {
        let events = testkit::stream(&NX, &TURNS, 4096);
        for (key, value) in
            [(CLIENT_VERSION, "3.5.0-3.5.99"), (SERVER_VERSION, "3.5.0-3.5.99"), (LINK, "ADSL"), (TYPE, "default")]
        {
            assert_eq!(testkit::said(&events, key), Some(value), "{key}");
        }
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        assert!(!format!("{events:?}").contains("0123456789abcdef"));
        let long = testkit::stream(&NX, &[(Orig, &[b"NXPROXY-3".as_slice(), &[b'x'; 2_000]].concat())], 4096);
        assert!(matches!(long[0].kind, EventKind::Violation(_)));
    }

    #[test]
    fn others_that_begin_alike_are_not_nx() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&NX, Carrier::Stream, orig, resp);
        assert_eq!((probe(TURNS[0].1, b""), probe(b"NXPROXY-", b"")), (Probe::Match, Probe::NeedMore));
        assert_eq!(probe(b"NXPROXY-x", b""), Probe::NoMatch);
        assert_eq!(probe(b"NXSH-6.0.0 ", b""), Probe::NoMatch);
        assert_eq!(probe(TURNS[0].1, b"HTTP/1.1 400"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..60) {
            prop_assert_eq!(testkit::stream(&NX, &TURNS, piece), testkit::stream(&NX, &TURNS, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), begun: bool) {
            let all = if begun { [MAGIC, b"3.5 ", &bytes].concat() } else { bytes };
            testkit::stream(&NX, &[(Orig, &all), (Resp, &all)], 7);
            testkit::probe(&NX, Carrier::Stream, &all, &all);
        }
    }
}
