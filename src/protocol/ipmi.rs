//! IPMI over LAN: a server driven through its management controller, whatever its operating system does.
//!
//! Reads: RMCP's header, IPMI sessions 1.5 and 2.0 as far as they are in clear, ASF's presence ping. Emits: how the
//! session is authenticated, the user's name, that the serial console passes through it. Does not: read commands (2.0
//! encrypts them), or follow keyboard, video and virtual media, which travel on connections of the vendor's own.
//!
//! Reference: IPMI 2.0 revision 1.1, chapter 13; DMTF DSP0136 (RMCP and ASF).

use crate::base::{Ends, IdentityKind, Reader, Whereabouts};
use crate::protocol::codec::printable;
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};

/// Sessions with a management controller.
pub(crate) static IPMI: Protocol = Protocol {
    name: "ipmi",
    category: Category::Kvm,
    carriers: &[Carrier::Datagram],
    ports: &[623],
    attributes: &[AUTH, USER, CONSOLE],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, |message| !matches!(message, Message::Presence)),
    analyzer: || Box::new(Ipmi::default()),
};

/// Whether somebody is there who speaks RMCP: what a scan asks. Nothing is driven by it, until a session follows.
pub(crate) static RMCP: Protocol = Protocol {
    name: "rmcp",
    category: Category::Other,
    carriers: &[Carrier::Datagram],
    ports: &[623, 664],
    // Of the session that it may turn out to be.
    attributes: &[AUTH, USER, CONSOLE],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, |message| matches!(message, Message::Presence)),
    analyzer: || Box::new(Ipmi { is_session: false, ..Ipmi::default() }),
};

const AUTH: Key = "ipmi.auth";
const USER: Key = "ipmi.user";
const CONSOLE: Key = "ipmi.console";

/// RMCP's version, and a sequence number that asks for no acknowledgment (DSP0136, 3.2.2).
const VERSION: u8 = 6;
const NO_ACK: u8 = 0xff;
const CLASS_ASF: u8 = 6;
const CLASS_IPMI: u8 = 7;
/// The enterprise number of ASF, and its two messages that ask and answer who is there.
const ASF: u32 = 4_542;
const PING: u8 = 0x80;
const PONG: u8 = 0x40;
/// Format of a session's header: IPMI 2.0.
const RMCP_PLUS: u8 = 6;
/// Bytes of an authentication code in IPMI 1.5.
const CODE_LEN: usize = 16;
/// Payload types of IPMI 2.0 (13.27.3): the console, an OEM's, the first and last of session setup, RAKP message 1.
const SOL: u8 = 1;
const OEM_EXPLICIT: u8 = 2;
const SETUP: std::ops::RangeInclusive<u8> = 0x10..=0x15;
const RAKP_1: u8 = 0x12;
/// Encrypted, authenticated: the top bits of a payload type.
const TYPE_BITS: u8 = 0x3f;
/// In RAKP message 1 the name stands behind tag, session, random number, role and length.
const NAME_AT: usize = 28;
const NAME_LIMIT: usize = 16;
/// A message of IPMI 1.5 has at least two addresses, function, two checksums, sequence, command.
const MESSAGE_LEAST: usize = 7;
/// Datagrams read of one flow: setup takes some ten, a console about as many more until it is open.
const DATAGRAMS: u8 = 64;

/// What a datagram is.
enum Message<'a> {
    /// ASF's presence ping or pong.
    Presence,
    /// IPMI 1.5, by authentication type.
    Session { auth: u8 },
    /// IPMI 2.0, by payload type.
    Plus { kind: u8, payload: &'a [u8] },
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let [VERSION, 0, NO_ACK, class] = reader.array::<4>()? else { return None };
        match class {
            CLASS_ASF => {
                let number = reader.u32()?;
                let [kind, _tag, 0, length] = reader.array::<4>()? else { return None };
                let whole = number == ASF && reader.len() == usize::from(length) && matches!(kind, PING | PONG);
                whole.then_some(Self::Presence)
            }
            CLASS_IPMI => match reader.u8()? {
                RMCP_PLUS => Self::plus(reader),
                auth @ (0 | 1 | 2 | 4 | 5) => {
                    // Sequence and session.
                    reader.take(8)?;
                    reader.take(if auth == 0 { 0 } else { CODE_LEN })?;
                    let length = usize::from(reader.u8()?);
                    // Some sizes are filled up by one byte (13.6, "legacy pad").
                    let fits = length >= MESSAGE_LEAST && matches!(reader.len().checked_sub(length), Some(0 | 1));
                    fits.then_some(Self::Session { auth })
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn plus(mut reader: Reader<'a>) -> Option<Self> {
        let kind = reader.u8()? & TYPE_BITS;
        if kind == OEM_EXPLICIT {
            reader.take(6)?;
        } else if kind > SOL && !SETUP.contains(&kind) {
            return None;
        }
        reader.take(8)?;
        let length = reader.array().map(u16::from_le_bytes)?;
        // Behind the payload stands the padding and the code of an authenticated session.
        let payload = reader.take(usize::from(length))?;
        (!SETUP.contains(&kind) || reader.is_empty()).then_some(Self::Plus { kind, payload })
    }
}

fn probe(opening: &Opening<'_>, wanted: fn(&Message<'_>) -> bool) -> Probe {
    match Message::read(opening.sent.of(opening.newest)) {
        Some(message) if wanted(&message) => Probe::Match,
        _ => Probe::NoMatch,
    }
}

#[derive(Debug)]
struct Ipmi {
    /// A session is what the flow is named for; a ping may come before it.
    is_session: bool,
    seen: Ends<bool>,
    /// A message that was none has been told of.
    malformed: bool,
    confirmed: bool,
    datagrams: u8,
}

impl Default for Ipmi {
    fn default() -> Self {
        Self { is_session: true, seen: Ends::default(), malformed: false, confirmed: false, datagrams: 0 }
    }
}

impl Analyzer for Ipmi {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let (at, dir) = (pdu.at, pdu.dir);
        let Some(message) = Message::read(pdu.bytes) else {
            // Told once; what is nothing but junk ends it as messages do.
            if !std::mem::replace(&mut self.malformed, true) {
                events.violation(at, dir, "ipmi.malformed-message");
            }
            self.datagrams += 1;
            if self.datagrams >= DATAGRAMS {
                events.settled(at, dir);
            }
            return;
        };
        if !self.is_session && !matches!(message, Message::Presence) {
            *self = Self { malformed: self.malformed, ..Self::default() };
            events.becomes(at, dir, IPMI.name, Some(RMCP.name));
        }
        let mut over = false;
        match message {
            Message::Presence => {}
            Message::Session { auth } => {
                // Until a session is there, messages come without authentication.
                if auth != 0 {
                    events.attribute(at, dir, AUTH, auth_name(auth));
                }
            }
            Message::Plus { kind, payload } => {
                events.attribute(at, dir, AUTH, auth_name(RMCP_PLUS));
                if let (RAKP_1, Some(user)) = (kind, user(payload)) {
                    let name = user.as_str();
                    events.claim(at, dir, Claim::new("ipmi", Whereabouts::End(dir), IdentityKind::User, name));
                    events.attribute(at, dir, USER, user);
                }
                if kind == SOL {
                    events.attribute(at, dir, CONSOLE, "sol");
                    over = true;
                }
            }
        }
        *self.seen.of_mut(dir) = true;
        if *self.seen.of(dir.flip()) && !self.confirmed {
            self.confirmed = true;
            events.confirmed(at, dir);
        }
        self.datagrams += 1;
        if over && self.confirmed || self.datagrams >= DATAGRAMS {
            events.settled(at, dir);
        }
    }
}

/// The name in RAKP message 1; it may be empty.
fn user(payload: &[u8]) -> Option<String> {
    let name = payload.get(NAME_AT..)?;
    let length = usize::from(*payload.get(NAME_AT - 1)?).min(NAME_LIMIT);
    Some(printable(name.get(..length)?, NAME_LIMIT)).filter(|name| !name.is_empty())
}

const fn auth_name(kind: u8) -> &'static str {
    match kind {
        1 => "md2",
        2 => "md5",
        4 => "password",
        5 => "oem",
        RMCP_PLUS => "rmcp+",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn, said};
    use proptest::prelude::*;

    /// Get Channel Authentication Capabilities, as every client begins (IPMI 2.0, 13.14).
    const CAPABILITIES: &[u8] = b"\x06\0\xff\x07\0\0\0\0\0\0\0\0\0\x09\x20\x18\xc8\x81\0\x38\x8e\x04\xb5";
    const PING_MESSAGE: &[u8] = b"\x06\0\xff\x06\0\0\x11\xbe\x80\0\0\0";
    const PONG_MESSAGE: &[u8] = b"\x06\0\xff\x06\0\0\x11\xbe\x40\0\0\x10\0\0\x11\xbe\0\0\0\0\x81\0\0\0\0\0\0\0";

    fn plus(kind: u8, payload: &[u8], behind: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_le_bytes();
        [&[6, 0, 0xff, 7, 6, kind][..], &[0; 8], &length, payload, behind].concat()
    }

    fn rakp_1(name: &[u8]) -> Vec<u8> {
        let mut payload = vec![0; NAME_AT - 1];
        payload.push(u8::try_from(name.len()).unwrap());
        payload.extend(name);
        plus(RAKP_1, &payload, &[])
    }

    fn probe(protocol: &Protocol, bytes: &[u8]) -> Probe {
        testkit::probe(protocol, Carrier::Datagram, bytes, b"")
    }

    #[test]
    fn a_console_through_the_controller_is_told() {
        let (open, name) = (plus(0x10, &[0; 32], &[]), rakp_1(b"ADMIN"));
        let console = plus(0xc1, b"\x01\0\0\0login: ", &[0xff, 0xff, 2, 7, 0, 0, 0]);
        let turns: [Turn<'_>; 5] =
            [(Orig, CAPABILITIES), (Resp, CAPABILITIES), (Orig, &open), (Orig, &name), (Resp, &console)];
        let events = testkit::datagrams(&IPMI, &turns);
        assert_eq!(said(&events, AUTH), Some("rmcp+"));
        assert_eq!(said(&events, USER), Some("ADMIN"));
        let claim = Claim::new("ipmi", Whereabouts::End(Orig), IdentityKind::User, "ADMIN");
        assert!(events.iter().any(|e| e.kind == EventKind::Claim(Box::new(claim.clone()))));
        assert_eq!(said(&events, CONSOLE), Some("sol"));
        assert!(events.iter().any(|event| event.kind == EventKind::Confirmed));
        assert_eq!(events.last().map(|event| &event.kind), Some(&EventKind::Settled));
    }

    #[test]
    fn a_session_of_1_5_says_how_it_is_authenticated() {
        let mut message = b"\x06\0\xff\x07\x02\0\0\0\0\0\0\0\0".to_vec();
        message.extend([9; 16]);
        message.extend(b"\x07\x20\x18\xc8\x81\0\x01\x7e");
        assert_eq!(probe(&IPMI, &message), Probe::Match);
        assert_eq!(said(&testkit::datagrams(&IPMI, &[(Orig, &message)]), AUTH), Some("md5"));
    }

    #[test]
    fn a_ping_is_no_session() {
        assert_eq!((probe(&IPMI, PING_MESSAGE), probe(&RMCP, PING_MESSAGE)), (Probe::NoMatch, Probe::Match));
        assert_eq!((probe(&IPMI, CAPABILITIES), probe(&RMCP, CAPABILITIES)), (Probe::Match, Probe::NoMatch));
        let events = testkit::datagrams(&RMCP, &[(Orig, PING_MESSAGE), (Resp, PONG_MESSAGE)]);
        assert!(events.iter().any(|event| event.kind == EventKind::Confirmed));
        let session = EventKind::Becomes { to: "ipmi", over: Some("rmcp") };
        assert!(!events.iter().any(|event| event.kind == session));
        let turns: [Turn<'_>; 3] = [(Orig, PING_MESSAGE), (Resp, PONG_MESSAGE), (Orig, CAPABILITIES)];
        let events = testkit::datagrams(&RMCP, &turns);
        assert_eq!(events.last().map(|event| &event.kind), Some(&session));
    }

    #[test]
    fn what_only_begins_alike_is_neither() {
        let mut long = CAPABILITIES.to_vec();
        long.extend([0; 2]);
        let cases: [&[u8]; 7] = [
            &long,
            b"\x06\0\xff\x07",
            b"\x06\0\xff\x08\0\0\0\0",
            b"\x06\0\0\x07\0\0\0\0",
            b"",
            b"\x06\0\xff\x07\x03",
            &plus(0x30, b"", b""),
        ];
        for bytes in cases {
            assert_eq!((probe(&IPMI, bytes), probe(&RMCP, bytes)), (Probe::NoMatch, Probe::NoMatch), "{bytes:?}");
        }
    }

    /// Found by fuzzing.
    #[test]
    fn what_is_no_message_is_told_once_and_ends_it() {
        let junk: Vec<testkit::Turn<'_>> = vec![(Orig, b"junk"); usize::from(DATAGRAMS)];
        let events = testkit::datagrams(&IPMI, &junk);
        let kinds: Vec<_> = events.iter().map(|event| &event.kind).collect();
        assert!(matches!(kinds.as_slice(), [EventKind::Violation(_), EventKind::Settled]), "{kinds:?}");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(kind: u8, bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let random = plus(kind, &bytes, &[]);
            testkit::datagrams(&IPMI, &[(Orig, &random), (Resp, &bytes), (Orig, &rakp_1(b""))]);
            for protocol in [&IPMI, &RMCP] {
                probe(protocol, &bytes);
                probe(protocol, &random);
            }
        }
    }
}
