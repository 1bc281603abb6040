//! `DameWare` Mini Remote Control: the version that both ends say first.
//!
//! Reads: the first message of each end. Emits: the versions. Does not: read the settings and the authentication that
//! follow, or the SSL that newer versions use for all of it.
//!
//! Reference: none of the maker. The message is public through the exploits of CVE-2003-0960 and CVE-2019-3980: kind
//! 0x1130 in 8 bytes, little-endian, the version as a 64-bit float, zeros, 40 bytes in all.

use crate::base::{Direction, Ends, Reader};
use crate::protocol::codec::Inbox;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static DAMEWARE: Protocol = Protocol {
    name: "dameware",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[6129, 6130],
    attributes: &[CLIENT_VERSION, SERVER_VERSION],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(DameWare::default()),
};

const CLIENT_VERSION: Key = "dameware.client_version";
const SERVER_VERSION: Key = "dameware.server_version";

const MESSAGE: usize = 40;
const KIND: [u8; 8] = [0x30, 0x11, 0, 0, 0, 0, 0, 0];

/// The version that a message says; `None` if it is no version message.
fn version(message: &[u8]) -> Option<f64> {
    let mut reader = Reader::new(message);
    if reader.array::<8>()? != KIND {
        return None;
    }
    let version = f64::from_le_bytes(reader.array()?);
    // Versions are numbers such as 3.72 and 12.1; a float of random bytes is hardly ever among them.
    let hundredths = version * 100.0;
    let round = (hundredths - hundredths.round()).abs() < 1e-6;
    ((1.0..100.0).contains(&version) && round && message.len() >= MESSAGE).then_some(version)
}

fn one_end(bytes: &[u8]) -> Probe {
    if !bytes.iter().zip(KIND).all(|(byte, wanted)| *byte == wanted) {
        return Probe::NoMatch;
    }
    match bytes.get(..MESSAGE) {
        None => Probe::NeedMore,
        Some(message) if version(message).is_some() => Probe::Match,
        Some(_) => Probe::NoMatch,
    }
}

fn probe(opening: &Opening<'_>) -> Probe {
    match [opening.sent.orig, opening.sent.resp].map(one_end) {
        [Probe::NoMatch, _] | [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

#[derive(Debug)]
struct DameWare {
    inboxes: Ends<Inbox>,
    said: Ends<bool>,
    done: bool,
}

impl Default for DameWare {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(MESSAGE), resp: Inbox::new(MESSAGE) };
        Self { inboxes, said: Ends::default(), done: false }
    }
}

impl Analyzer for DameWare {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || *self.said.of(pdu.dir) {
            return;
        }
        let inbox = self.inboxes.of_mut(pdu.dir);
        let room = MESSAGE.saturating_sub(inbox.bytes().len());
        // Within the bound by construction.
        let _ = inbox.push(pdu.at, pdu.bytes.get(..room).unwrap_or(pdu.bytes));
        if one_end(inbox.bytes()) == Probe::NeedMore {
            return;
        }
        let Some(version) = version(inbox.bytes()) else {
            events.violation(pdu.at, pdu.dir, "dameware.not-a-version");
            self.done = true;
            events.settled(pdu.at, pdu.dir);
            return;
        };
        let key = if pdu.dir == Direction::Orig { CLIENT_VERSION } else { SERVER_VERSION };
        events.attribute(pdu.at, pdu.dir, key, format!("{version:.2}"));
        *self.said.of_mut(pdu.dir) = true;
        if self.said.orig && self.said.resp {
            events.confirmed(pdu.at, pdu.dir);
            self.done = true;
            events.settled(pdu.at, pdu.dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn message(version: f64) -> Vec<u8> {
        let mut out = KIND.to_vec();
        out.extend(version.to_le_bytes());
        out.resize(MESSAGE, 0);
        out
    }

    #[test]
    fn versions_of_both_ends_confirm() {
        // As the exploits send it: 3.72.
        assert_eq!(message(3.72)[8..16], *b"\xc3\xf5\x28\x5c\x8f\xc2\x0d\x40");
        let (server, client) = (message(12.1), message(3.72));
        let events = testkit::stream(&DAMEWARE, &[(Resp, &server), (Orig, &client)], 4096);
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        assert_eq!((said(&events, SERVER_VERSION), said(&events, CLIENT_VERSION)), (Some("12.10"), Some("3.72")));
    }

    #[test]
    fn look_alikes_do_not_match() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&DAMEWARE, Carrier::Stream, orig, resp);
        assert_eq!(probe(b"", &message(7.5)), Probe::Match);
        assert_eq!(probe(b"", &message(7.5)[..39]), Probe::NeedMore);
        for odd in [0.0, -3.0, 1e300, f64::NAN, 7.123_456] {
            assert_eq!(probe(b"", &message(odd)), Probe::NoMatch, "{odd}");
        }
        assert_eq!(probe(b"\x30\x11\0\0\0\0\0\x01", b""), Probe::NoMatch);
        // LDAP's sequence of 17 bytes.
        assert_eq!(probe(b"\x30\x11\x02\x01\x01\x60\x0c", b""), Probe::NoMatch);
        assert_eq!(probe(b"GET /", &message(7.5)), Probe::NoMatch);
        let events = testkit::stream(&DAMEWARE, &[(Resp, &message(0.0))], 4096);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..60) {
            let (server, client) = ([message(9.0), vec![7; 99]].concat(), message(9.01));
            let turns: [Turn<'_>; 2] = [(Resp, &server), (Orig, &client)];
            let kinds = |events: Vec<Event>| events.into_iter().map(|e| (e.dir, e.kind)).collect::<Vec<_>>();
            let whole = kinds(testkit::stream(&DAMEWARE, &turns, 4096));
            prop_assert_eq!(kinds(testkit::stream(&DAMEWARE, &turns, piece)), whole);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let begun = [&KIND[..], &bytes].concat();
            testkit::stream(&DAMEWARE, &[(Orig, &begun), (Resp, &bytes)], 7);
        }
    }
}
