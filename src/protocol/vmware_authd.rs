//! `VMware`'s authentication daemon (port 902): the door to a virtual machine's console, and to its disks.
//!
//! Reads: the greeting. Emits: version, what the daemon offers; hands TLS over. Does not: know which of them is used,
//! which is said inside TLS: so it counts as a service, not as a desktop.
//!
//! Reference: none of the maker; the greeting as scanners know it (nmap, Metasploit's `vmauthd` modules).

use crate::base::{Direction, Ends};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Link, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static VMWARE_AUTHD: Protocol = Protocol {
    name: "vmware-authd",
    category: Category::Other,
    carriers: &[Carrier::Stream],
    ports: &[902, 912],
    attributes: &[VERSION, OFFERS],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Authd::default()),
};

const VERSION: Key = "vmware_authd.version";
const OFFERS: Key = "vmware_authd.offers";

const GREETING: &[u8] = b"220 VMware Authentication Daemon Version ";
/// Greetings seen have about 150 bytes.
const LINE_LIMIT: usize = 1_024;
const INBOX_LIMIT: usize = 64 * 1024;
const TEXT_KEPT: usize = 256;

/// The server speaks first.
fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.sent.resp;
    if !bytes.iter().zip(GREETING).all(|(byte, wanted)| byte == wanted) {
        Probe::NoMatch
    } else if bytes.len() >= GREETING.len() {
        Probe::Match
    } else {
        Probe::NeedMore
    }
}

#[derive(Debug)]
struct Authd {
    inboxes: Ends<Inbox>,
    greeted: bool,
    done: bool,
}

impl Default for Authd {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self { inboxes, greeted: false, done: false }
    }
}

impl Analyzer for Authd {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        let whole = self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes);
        if !self.greeted {
            self.on_greeting(pdu, events);
        }
        match self.inboxes.orig.bytes() {
            _ if self.done => {}
            _ if !whole => self.settle(pdu, events),
            [] => {}
            // The client speaks when it has been greeted: TLS, or USER and PASS in clear.
            [0x16, ..] if self.greeted => {
                events.confirmed(pdu.at, Direction::Orig);
                events.handover(pdu.at, Direction::Orig, "tls", true, unused(&self.inboxes));
                self.done = true;
            }
            [_, ..] if self.greeted => {
                events.confirmed(pdu.at, Direction::Orig);
                self.settle(pdu, events);
            }
            _ => {}
        }
    }
}

impl Authd {
    fn on_greeting(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let dir = Direction::Resp;
        let bytes = self.inboxes.resp.bytes();
        // At the limit whether or not more is there, so that the cut of the stream does not tell.
        let Some(end) = bytes.iter().take(LINE_LIMIT + 1).position(|byte| *byte == b'\n') else {
            if bytes.len() > LINE_LIMIT {
                events.violation(pdu.at, dir, "vmware-authd.greeting-too-long");
                self.settle(pdu, events);
            }
            return;
        };
        let Some(line) = bytes.get(..end).and_then(|line| line.strip_prefix(GREETING)) else {
            events.violation(pdu.at, dir, "vmware-authd.not-a-greeting");
            self.settle(pdu, events);
            return;
        };
        let line = line.trim_ascii_end();
        let version = line.split(|byte| matches!(byte, b':' | b',' | b' ')).next().unwrap_or_default();
        events.attribute(pdu.at, dir, VERSION, printable(version, 16));
        let rest = line.get(version.len()..).unwrap_or_default();
        let words = rest.split(|byte| matches!(byte, b':' | b',')).map(<[u8]>::trim_ascii);
        let offers: Vec<_> = words.filter(|word| !word.is_empty()).map(|word| printable(word, TEXT_KEPT)).collect();
        if !offers.is_empty() {
            events.attribute(pdu.at, dir, OFFERS, printable(offers.join(",").as_bytes(), TEXT_KEPT));
        }
        events.link(pdu.at, dir, Link::Pair("vmware-authd"));
        self.greeted = true;
        self.inboxes.resp.consume(end + 1);
    }

    fn settle(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        self.done = true;
        events.settled(pdu.at, pdu.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const DIALOGUE: [Turn<'static>; 2] = [
        (
            Resp,
            b"220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP, \
              MKSDisplayProtocol:VNC , , NFCSSL supported/t\r\n",
        ),
        (Orig, b"\x16\x03\x01\x02\0"),
    ];

    #[test]
    fn the_greeting_is_told_and_tls_goes_on() {
        let events = testkit::stream(&VMWARE_AUTHD, &DIALOGUE, 4096);
        assert_eq!(said(&events, VERSION), Some("1.10"));
        assert!(said(&events, OFFERS).unwrap().contains("MKSDisplayProtocol,VNC"));
        assert!(matches!(events.last().map(|e| &e.kind), Some(EventKind::Handover { to: "tls", .. })));
    }

    #[test]
    fn mail_and_file_servers_are_none() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&VMWARE_AUTHD, Carrier::Stream, orig, resp);
        assert_eq!(probe(b"", b"220 VMware Authentication Daemon Version 1.0\r\n"), Probe::Match);
        assert_eq!(probe(b"", b"220 "), Probe::NeedMore);
        assert_eq!(probe(b"", b"220 mail.example ESMTP\r\n"), Probe::NoMatch);
        assert_eq!(probe(b"", b"220 VMware Virtual FTP\r\n"), Probe::NoMatch);
        let long = [GREETING, &[b'1'; LINE_LIMIT]].concat();
        let events = testkit::stream(&VMWARE_AUTHD, &[(Resp, &long)], 4096);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
        let ended = [&long[..], b"\n"].concat();
        assert_eq!(testkit::stream(&VMWARE_AUTHD, &[(Resp, &ended)], 4096), events);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..60) {
            let kinds = |events: Vec<Event>| {
                let kind = |e: Event| match e.kind {
                    EventKind::Handover { to, .. } => format!("handover {to}"),
                    kind => format!("{kind:?}"),
                };
                events.into_iter().map(kind).collect::<Vec<_>>()
            };
            let whole = kinds(testkit::stream(&VMWARE_AUTHD, &DIALOGUE, 4096));
            prop_assert_eq!(kinds(testkit::stream(&VMWARE_AUTHD, &DIALOGUE, piece)), whole);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let begun = [GREETING, &bytes].concat();
            testkit::stream(&VMWARE_AUTHD, &[(Resp, &begun), (Orig, &bytes)], 7);
        }
    }
}
