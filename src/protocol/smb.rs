//! SMB: who signs on to a file server.
//!
//! Reads: the dialect and the session set-up of SMB 1, 2 and 3, over port 445 or NetBIOS session service. Emits: the
//! version, and claims (`ntlm`) where NTLM carries the names in clear. Does not: read files, trees, or SMB over QUIC.
//!
//! References: [MS-SMB2] 2.1 and 2.2, [MS-CIFS] 2.2.3, RFC 1002 (4.3).

use crate::base::{Direction, Ends, IdentityKind, Sureness, Timestamp, Whereabouts};
use crate::protocol::codec::Inbox;
use crate::protocol::codec::ntlm::{Ntlm, NtlmNames, ntlm_in};
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(super) static SMB: Protocol = Protocol {
    name: "smb",
    category: Category::Other,
    carriers: &[Carrier::Stream],
    ports: &[445, 139],
    attributes: &[VERSION],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Smb::default()),
};

const VERSION: Key = "smb.version";

/// A session set-up is far smaller; longer messages carry files.
const INBOX_LIMIT: usize = 64 * 1024;
/// Messages read before the sign-on is given up.
const MAX_MESSAGES: u8 = 24;

/// How a stream begins.
enum Head {
    Smb,
    More,
    Not,
}

/// A session message (RFC 1002, 4.3.5) or a session request of NetBIOS (4.3.2) before SMB.
fn head(bytes: &[u8]) -> Head {
    match bytes {
        [0, _, _, _, 0xff | 0xfe, b'S', b'M', b'B', ..] => Head::Smb,
        // A session request names two machines in 68 bytes; 0x82 grants it.
        [0x81, 0, 0, 0x44, 0x20, ..] | [0x82, 0, 0, 0, ..] => Head::More,
        [] | [0 | 0x81 | 0x82] | [0 | 0x81 | 0x82, _] | [0 | 0x81 | 0x82, _, _] => Head::More,
        [0, _, _, _] | [0x81, 0, 0, 0x44] => Head::More,
        [0, _, _, _, rest @ ..] if b"\xffSMB".starts_with(rest) || b"\xfeSMB".starts_with(rest) => Head::More,
        _ => Head::Not,
    }
}

fn probe(opening: &Opening<'_>) -> Probe {
    match (head(after_request(opening.sent.orig)), head(after_request(opening.sent.resp))) {
        (Head::Not, _) | (_, Head::Not) => Probe::NoMatch,
        (Head::Smb, _) | (_, Head::Smb) => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// What follows the NetBIOS session request or its grant.
fn after_request(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0x81, 0, 0, 0x44, ..] => bytes.get(72..).filter(|rest| !rest.is_empty()).unwrap_or(bytes),
        [0x82, 0, 0, 0, rest @ ..] if !rest.is_empty() => rest,
        _ => bytes,
    }
}

/// Reads one connection up to the end of the sign-on.
#[derive(Debug)]
struct Smb {
    inboxes: Ends<Inbox>,
    seen: Ends<bool>,
    version_told: bool,
    /// Who wants to sign on, and waits for the answer.
    asked: Option<(Direction, Timestamp, NtlmNames)>,
    messages: u8,
    done: bool,
}

impl Default for Smb {
    fn default() -> Self {
        let inbox = || Inbox::new(INBOX_LIMIT);
        Self {
            inboxes: Ends { orig: inbox(), resp: inbox() },
            seen: Ends::default(),
            version_told: false,
            asked: None,
            messages: 0,
            done: false,
        }
    }
}

impl Analyzer for Smb {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.settle(pdu.at, pdu.dir, events);
            return;
        }
        while !self.done {
            let inbox = self.inboxes.of(pdu.dir);
            let Some([kind, a, b, c]) = inbox.bytes().first_chunk::<4>().copied() else { return };
            let len = usize::from(a & 1) << 16 | usize::from(b) << 8 | usize::from(c);
            let Some(message) = inbox.bytes().get(4..4 + len) else { return };
            let (at, message) = (inbox.time_of(len + 3), message.to_vec());
            self.inboxes.of_mut(pdu.dir).consume(len + 4);
            if kind == 0 {
                self.on_message(at, pdu.dir, &message, events);
            }
        }
    }

    fn on_close(&mut self, _at: Timestamp, events: &mut Events) {
        self.tell(Sureness::Asked, events);
    }
}

impl Smb {
    fn on_message(&mut self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) {
        let Some(version) = (match message {
            [0xff, b'S', b'M', b'B', ..] => Some("1"),
            [0xfe, b'S', b'M', b'B', ..] => Some("2"),
            // Encrypted or compressed: the sign-on is over.
            [0xfd | 0xfc, b'S', b'M', b'B', ..] => None,
            _ => {
                if !self.seen.orig && !self.seen.resp {
                    events.violation(at, dir, "smb.no-smb-header");
                }
                None
            }
        }) else {
            self.settle(at, dir, events);
            return;
        };
        let first = !std::mem::replace(self.seen.of_mut(dir), true);
        if first && *self.seen.of(dir.flip()) {
            events.confirmed(at, dir);
        }
        // A client of version 2 may begin in version 1; what the server answers in is what they speak.
        if !self.version_told && *self.seen.of(dir.flip()) {
            self.version_told = true;
            events.attribute(at, dir, VERSION, version);
        }
        self.messages += 1;
        match ntlm_in(message) {
            Some(Ntlm::Authenticate(names)) => self.asked = Some((dir, at, names)),
            _ => self.on_answer(at, dir, message, events),
        }
        if self.messages >= MAX_MESSAGES {
            self.settle(at, dir, events);
        }
    }

    /// The answer to a session set-up that brought names: status 0 means that they were accepted.
    fn on_answer(&mut self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) {
        if self.asked.as_ref().is_none_or(|(asker, ..)| *asker != dir.flip()) {
            return;
        }
        let (set_up, status) = match message {
            [0xff, _, _, _, command, rest @ ..] => (*command == 0x73, rest.get(..4)),
            _ => (message.get(12..14) == Some(&[1, 0]), message.get(8..12)),
        };
        if !set_up {
            return;
        }
        if status == Some(&[0; 4]) {
            self.tell(Sureness::Accepted, events);
            self.settle(at, dir, events);
        } else {
            self.asked = None;
        }
    }

    fn tell(&mut self, sureness: Sureness, events: &mut Events) {
        let Some((dir, at, names)) = self.asked.take() else { return };
        let named = [(IdentityKind::User, names.user), (IdentityKind::Host, names.workstation)];
        for (kind, name) in named {
            if let Some(name) = name {
                // The server checks the account; the machine's name is its own word.
                let worth = if kind == IdentityKind::User { sureness } else { Sureness::Said };
                events.claim(at, dir, Claim::new("ntlm", Whereabouts::End(dir), kind, name).worth(worth));
            }
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
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
    }

    /// A message of SMB 2 with this command and status, and a body.
    fn smb2(command: u8, status: u32, body: &[u8]) -> Vec<u8> {
        let mut header = b"\xfeSMB\x40\0\0\0".to_vec();
        header.extend(status.to_le_bytes());
        header.extend([command, 0]);
        header.resize(64, 0);
        framed(&[header.as_slice(), body].concat())
    }

    fn authenticate() -> Vec<u8> {
        let mut ntlm = b"NTLMSSP\0\x03\0\0\0".to_vec();
        ntlm.extend([0; 16]);
        for (offset, len) in [(64u32, 8u16), (72, 10), (82, 6)] {
            ntlm.extend([len.to_le_bytes(), len.to_le_bytes()].concat());
            ntlm.extend(offset.to_le_bytes());
        }
        ntlm.extend([0; 8]);
        ntlm.extend([1, 0, 0, 0]);
        ntlm.extend("CORPalicePC7".encode_utf16().flat_map(u16::to_le_bytes));
        ntlm
    }

    fn dialogue(status: u32) -> Vec<(Direction, Vec<u8>)> {
        vec![
            (Orig, smb2(0, 0, b"negotiate")),
            (Resp, smb2(0, 0, b"dialects")),
            (Orig, smb2(1, 0, b"NTLMSSP\0\x01\0\0\0")),
            (Resp, smb2(1, 0xc000_0016, b"NTLMSSP\0\x02\0\0\0")),
            (Orig, smb2(1, 0, &authenticate())),
            (Resp, smb2(1, status, b"")),
        ]
    }

    fn run(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&SMB, &turns, piece)
    }

    fn claims(events: &[Event]) -> Vec<(String, Sureness)> {
        let told = |e: &Event| match &e.kind {
            EventKind::Claim(c) => Some((c.identity.name.clone(), c.sureness)),
            _ => None,
        };
        events.iter().filter_map(told).collect()
    }

    #[test]
    fn who_signs_on_is_told_once_the_server_accepts() {
        let events = run(&dialogue(0), 4096);
        assert_eq!(
            claims(&events),
            [("CORP\\alice".to_owned(), Sureness::Accepted), ("PC7".to_owned(), Sureness::Said)]
        );
        assert_eq!(testkit::said(&events, VERSION), Some("2"));
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        assert!(claims(&run(&dialogue(0xc000_006d), 4096)).is_empty());
        let unanswered = run(&dialogue(0)[..5], 4096);
        assert_eq!(claims(&unanswered)[0].1, Sureness::Asked);
    }

    #[test]
    fn only_smb_is_smb() {
        let probe = |bytes: &[u8]| testkit::probe(&SMB, Carrier::Stream, bytes, b"");
        assert_eq!(probe(&smb2(0, 0, b"")), Probe::Match);
        assert_eq!(probe(b"\0\0\0\x85\xffSMBr"), Probe::Match);
        assert_eq!(probe(b"\0\0\0\x85\xffS"), Probe::NeedMore);
        assert_eq!(probe(b"\0\0\0\x85\x6a\x81"), Probe::NoMatch);
        assert_eq!(probe(b"\x16\x03\x01"), Probe::NoMatch);
        let request = [b"\x81\0\0\x44\x20".as_slice(), &[b'C'; 67], b"\0\0\0\x85\xffSMB"].concat();
        assert_eq!(probe(&request[..40]), Probe::NeedMore);
        assert_eq!(probe(&request), Probe::Match);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..300) {
            prop_assert_eq!(run(&dialogue(0), piece), run(&dialogue(0), usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..90)), 0..8,
        )) {
            let wrap = |(orig, wrapped, bytes): (bool, bool, Vec<u8>)| {
                (if orig { Orig } else { Resp }, if wrapped { framed(&[b"\xfeSMB".as_slice(), &bytes].concat()) } else { bytes })
            };
            let turns: Vec<_> = turns.into_iter().map(wrap).collect();
            run(&turns, 11);
        }
    }
}
