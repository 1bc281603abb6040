//! RFB, the protocol of VNC: versions, how the viewer proves itself, and the desktop's name where it is in clear.
//!
//! Reads: the handshake of RFC 6143 up to ServerInit. Emits: versions, security types offered and chosen, whether the
//! authentication succeeded, name and size of the desktop; hands TLS over (types 18 and 19). Does not: read what is
//! drawn or typed, or follow vendor types (RealVNC's RA2, Apple's, Tight's) beyond their choice.
//!
//! Reference: RFC 6143; security types as registered at IANA, VeNCrypt by Berrange's note.

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static RFB: Protocol = Protocol {
    name: "rfb",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[5900, 5901, 5902, 5903, 5500],
    attributes: &[CLIENT_VERSION, SERVER_VERSION, OFFERED, CHOSEN, RESULT, REASON, DESKTOP_NAME, DESKTOP_SIZE],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Rfb::default()),
};

const CLIENT_VERSION: Key = "rfb.client_version";
const SERVER_VERSION: Key = "rfb.server_version";
const OFFERED: Key = "rfb.security_types";
const CHOSEN: Key = "rfb.security_type";
const RESULT: Key = "rfb.auth_result";
const REASON: Key = "rfb.reason";
const DESKTOP_NAME: Key = "rfb.desktop_name";
const DESKTOP_SIZE: Key = "rfb.desktop_size";

/// `RFB xxx.yyy\n`.
const VERSION_LEN: usize = 12;
const CHALLENGE_LEN: usize = 16;
/// Width, height, pixel format and length of the name.
const INIT_LEN: usize = 24;
/// Longest name or reason that is believed.
const STRING_LIMIT: usize = 4096;
/// Characters of it that are kept.
const STRING_KEPT: usize = 256;
const INBOX_LIMIT: usize = 64 * 1024;

const NONE: u8 = 1;
const VNC_AUTH: u8 = 2;
const TLS: u8 = 18;
const VENCRYPT: u8 = 19;

/// The server speaks first, so a version anywhere but in the very first bytes is another protocol's cargo.
fn probe(opening: &Opening<'_>) -> Probe {
    match [opening.sent.orig, opening.sent.resp].map(version_line) {
        [Probe::NoMatch, _] | [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

fn version_line(bytes: &[u8]) -> Probe {
    const SHAPE: &[u8; VERSION_LEN] = b"RFB 000.000\n";
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    match bytes.iter().zip(SHAPE).all(fits) {
        false => Probe::NoMatch,
        true if bytes.len() >= VERSION_LEN => Probe::Match,
        true => Probe::NeedMore,
    }
}

/// `xxx.yyy` as numbers.
type Version = (u16, u16);

fn version(line: &[u8]) -> Option<Version> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
    (version_line(line) == Probe::Match).then_some(())?;
    Some((number(line.get(4..7)?)?, number(line.get(8..11)?)?))
}

/// What is read next, and of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    ServerVersion,
    ClientVersion,
    /// 3.3: the server decides.
    Decision,
    /// 3.7 on: the server offers.
    Offer,
    Choice,
    Challenge,
    Response,
    Result,
    /// Why there is no connection.
    Reason,
    ClientInit,
    ServerInit,
    /// `VeNCrypt`: versions, acknowledgment, subtypes, choice, acknowledgment.
    VencryptServerVersion,
    VencryptClientVersion,
    VencryptAccepts,
    VencryptOffer,
    VencryptChoice,
    VencryptGo,
    /// TLS follows, and its client speaks first.
    Tls,
    Done,
}

impl Stage {
    /// Whether the server is to speak.
    const fn is_server(self) -> bool {
        !matches!(
            self,
            Self::ClientVersion
                | Self::Choice
                | Self::Response
                | Self::ClientInit
                | Self::VencryptClientVersion
                | Self::VencryptChoice
        )
    }
}

#[derive(Debug)]
struct Rfb {
    inboxes: Ends<Inbox>,
    /// The end that acts as server: the one that spoke first, since a viewer may also listen.
    server: Option<Direction>,
    stage: Stage,
    /// The version both use: the client's.
    version: Version,
    security: u8,
}

impl Default for Rfb {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) },
            server: None,
            stage: Stage::ServerVersion,
            version: (3, 3),
            security: 0,
        }
    }
}

impl Analyzer for Rfb {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.stage == Stage::Done || pdu.bytes.is_empty() {
            return;
        }
        let server = *self.server.get_or_insert(pdu.dir);
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.give_up(pdu.at, pdu.dir, "rfb.beyond-buffer", events);
        }
        while self.stage != Stage::Done {
            let dir = if self.stage.is_server() { server } else { server.flip() };
            let inbox = self.inboxes.of(dir);
            let bytes = inbox.bytes();
            let Some(read) = needed(self.stage, bytes) else { return };
            let Some(message) = bytes.get(..read) else { return };
            let at = inbox.time_of(read.saturating_sub(1));
            let message = message.to_vec();
            match self.on_message(at, dir, &message, events) {
                Some(next) => {
                    self.inboxes.of_mut(dir).consume(read);
                    self.enter(at, dir, next, events);
                }
                None => self.give_up(at, dir, "rfb.malformed-message", events),
            }
        }
    }
}

/// Bytes that the next message takes; `None` while that is not known. At least 1.
fn needed(stage: Stage, bytes: &[u8]) -> Option<usize> {
    let long = |at: usize| {
        let length = bytes.get(at..at + 4)?.first_chunk::<4>().map(|b| u32::from_be_bytes(*b))?;
        Some(at + 4 + usize::try_from(length).unwrap_or(usize::MAX).min(STRING_LIMIT))
    };
    match stage {
        Stage::ServerVersion | Stage::ClientVersion => Some(VERSION_LEN),
        Stage::Offer => Some(1 + usize::from(*bytes.first()?)),
        Stage::VencryptOffer => Some(1 + 4 * usize::from(*bytes.first()?)),
        Stage::Challenge | Stage::Response => Some(CHALLENGE_LEN),
        Stage::Decision | Stage::Result | Stage::VencryptChoice => Some(4),
        Stage::Reason => long(0),
        Stage::ServerInit => long(INIT_LEN - 4),
        Stage::VencryptServerVersion | Stage::VencryptClientVersion => Some(2),
        Stage::Choice | Stage::ClientInit | Stage::VencryptAccepts | Stage::VencryptGo => Some(1),
        Stage::Tls | Stage::Done => None,
    }
}

impl Rfb {
    /// Reads one message and tells what comes next; `None` if it is malformed.
    fn on_message(&mut self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) -> Option<Stage> {
        let number = || message.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
        Some(match self.stage {
            Stage::ServerVersion => {
                version(message)?;
                events.attribute(at, dir, SERVER_VERSION, printable(message.get(4..11)?, 7));
                Stage::ClientVersion
            }
            Stage::ClientVersion => {
                self.version = version(message)?;
                events.attribute(at, dir, CLIENT_VERSION, printable(message.get(4..11)?, 7));
                events.confirmed(at, dir);
                // Only 3.3 lets the server decide; 3.5 never was, and is to be taken for 3.3 (RFC 6143, 7.1.1).
                if self.version < (3, 7) { Stage::Decision } else { Stage::Offer }
            }
            Stage::Decision => {
                self.security = u8::try_from(number()?).ok()?;
                self.tell_choice(at, dir, events)
            }
            Stage::Offer => {
                let names: Vec<_> = message.iter().skip(1).map(|kind| security_name(*kind)).collect();
                if names.is_empty() {
                    Stage::Reason
                } else {
                    events.attribute(at, dir, OFFERED, names.join(","));
                    Stage::Choice
                }
            }
            Stage::Choice => {
                self.security = *message.first()?;
                self.tell_choice(at, dir, events)
            }
            Stage::Challenge => Stage::Response,
            Stage::Response => Stage::Result,
            Stage::Result => self.on_result(at, dir, number()?, events)?,
            Stage::Reason => {
                events.attribute(at, dir, REASON, printable(message.get(4..)?, STRING_KEPT));
                Stage::Done
            }
            Stage::ClientInit => Stage::ServerInit,
            Stage::ServerInit => {
                let [a, b, c, d] = *message.first_chunk::<4>()?;
                let (width, height) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                events.attribute(at, dir, DESKTOP_SIZE, format!("{width}x{height}"));
                events.attribute(at, dir, DESKTOP_NAME, printable(message.get(INIT_LEN..)?, STRING_KEPT));
                Stage::Done
            }
            Stage::Done | Stage::Tls => return None,
            _ => self.on_vencrypt(message)?,
        })
    }

    /// VeNCrypt: a version of its own, then a choice of its own. `None` if the message is none of its.
    fn on_vencrypt(&self, message: &[u8]) -> Option<Stage> {
        Some(match (self.stage, message) {
            (Stage::VencryptServerVersion, _) => Stage::VencryptClientVersion,
            (Stage::VencryptClientVersion, _) => Stage::VencryptAccepts,
            (Stage::VencryptAccepts, [0]) => Stage::VencryptOffer,
            (Stage::VencryptOffer, _) => Stage::VencryptChoice,
            // 256 is plain; 257 to 264 begin TLS, with or without certificates.
            (Stage::VencryptChoice, [0, 0, 1, 1..=8]) => Stage::VencryptGo,
            (Stage::VencryptGo, [1]) => Stage::Tls,
            (Stage::VencryptAccepts | Stage::VencryptChoice | Stage::VencryptGo, _) => Stage::Done,
            _ => return None,
        })
    }

    fn tell_choice(&mut self, at: Timestamp, dir: Direction, events: &mut Events) -> Stage {
        if self.security != 0 {
            events.attribute(at, dir, CHOSEN, security_name(self.security));
        }
        match self.security {
            0 => Stage::Reason,
            NONE if self.version < (3, 8) => Stage::ClientInit,
            NONE => Stage::Result,
            VNC_AUTH => Stage::Challenge,
            VENCRYPT => Stage::VencryptServerVersion,
            TLS => Stage::Tls,
            _ => Stage::Done,
        }
    }

    fn on_result(&mut self, at: Timestamp, dir: Direction, code: u32, events: &mut Events) -> Option<Stage> {
        let word = match code {
            0 => "ok",
            1 => "failed",
            2 => "too-many-tries",
            _ => return None,
        };
        events.attribute(at, dir, RESULT, word);
        // Only from 3.8 on does a failure bring its reason.
        Some(match (code, self.version >= (3, 8)) {
            (0, _) => Stage::ClientInit,
            (_, true) => Stage::Reason,
            (_, false) => Stage::Done,
        })
    }

    fn enter(&mut self, at: Timestamp, dir: Direction, next: Stage, events: &mut Events) {
        self.stage = next;
        if next == Stage::Tls {
            events.handover(at, dir, "tls", true, unused(&self.inboxes));
            self.stage = Stage::Done;
        }
        if self.stage == Stage::Done {
            events.settled(at, dir);
        }
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        events.violation(at, dir, fault);
        self.enter(at, dir, Stage::Done, events);
    }
}

/// The word for a security type.
fn security_name(kind: u8) -> &'static str {
    match kind {
        0 => "invalid",
        NONE => "none",
        VNC_AUTH => "vnc-auth",
        5 => "ra2",
        6 => "ra2ne",
        16 => "tight",
        17 => "ultra",
        TLS => "tls",
        VENCRYPT => "vencrypt",
        20 => "sasl",
        21 => "md5-hash",
        22 => "xvp",
        23 => "secure-tunnel",
        24 => "integrated-ssh",
        30 => "apple-dh",
        33 => "apple-33",
        35 => "apple-35",
        31..=36 => "apple",
        113 => "ms-logon-2",
        129 => "ra2-256",
        130 => "ra2ne-256",
        3..=15 | 128..=255 => "realvnc",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const INIT: &[u8] = b"\x05\x00\x03\x00................\x00\x00\x00\x04desk";

    fn attributes(events: &[Event]) -> Vec<String> {
        let pair = |e: &Event| match &e.kind {
            EventKind::Attribute { key, value } => Some(format!("{key}={value}")),
            _ => None,
        };
        events.iter().filter_map(pair).collect()
    }

    fn has(events: &[Event], wanted: &str) -> bool {
        attributes(events).iter().any(|a| a == wanted)
    }

    /// 3.8 with VNC authentication, the server in `server`'s direction.
    fn dialogue(server: Direction) -> Vec<Turn<'static>> {
        let client = server.flip();
        vec![
            (server, b"RFB 003.008\n"),
            (client, b"RFB 003.008\n"),
            (server, &[2, 2, 16]),
            (client, &[2]),
            (server, &[0x11; 16]),
            (client, &[0x22; 16]),
            (server, &[0, 0, 0, 0]),
            (client, &[1]),
            (server, INIT),
        ]
    }

    #[test]
    fn a_whole_handshake_is_told() {
        let expected = [
            "rfb.server_version=003.008",
            "rfb.client_version=003.008",
            "rfb.security_types=vnc-auth,tight",
            "rfb.security_type=vnc-auth",
            "rfb.auth_result=ok",
            "rfb.desktop_size=1280x768",
            "rfb.desktop_name=desk",
        ];
        for server in [Resp, Orig] {
            let events = testkit::stream(&RFB, &dialogue(server), 4096);
            assert_eq!(attributes(&events), expected);
            assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
            assert_eq!(events.last().map(|e| (&e.kind, e.dir)), Some((&EventKind::Settled, server)));
        }
    }

    #[test]
    fn older_versions_let_the_server_decide() {
        let turns: [Turn<'_>; 5] =
            [(Resp, b"RFB 003.003\n"), (Orig, b"RFB 003.003\n"), (Resp, &[0, 0, 0, 1]), (Orig, &[1]), (Resp, INIT)];
        let events = testkit::stream(&RFB, &turns, 4096);
        assert!(has(&events, "rfb.security_type=none") && has(&events, "rfb.desktop_name=desk"));
        // Apple's and RealVNC's own versions offer a list.
        for line in [&b"RFB 003.889\n"[..], b"RFB 004.001\n", b"RFB 005.000\n"] {
            let events = testkit::stream(&RFB, &[(Resp, line), (Orig, line), (Resp, &[2, 30, 129])], 4096);
            assert!(has(&events, "rfb.security_types=apple-dh,ra2-256"));
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let refuse: [Turn<'_>; 3] =
            [(Resp, b"RFB 003.008\n"), (Orig, b"RFB 003.008\n"), (Resp, b"\x00\x00\x00\x00\x04full")];
        assert!(has(&testkit::stream(&RFB, &refuse, 3), "rfb.reason=full"));
        let mut wrong = dialogue(Resp);
        wrong.truncate(6);
        wrong.push((Resp, b"\x00\x00\x00\x01\x00\x00\x00\x02no"));
        let events = testkit::stream(&RFB, &wrong, 4096);
        assert!(has(&events, "rfb.auth_result=failed") && has(&events, "rfb.reason=no"));
    }

    #[test]
    fn tls_inside_is_handed_over() {
        let mut turns: Vec<Turn<'_>> = vec![
            (Resp, b"RFB 003.008\n"),
            (Orig, b"RFB 003.008\n"),
            (Resp, &[1, 19]),
            (Orig, &[19]),
            (Resp, &[0, 2]),
            (Orig, &[0, 2]),
            (Resp, &[0]),
            (Resp, &[1, 0, 0, 1, 4]),
            (Orig, &[0, 0, 1, 4]),
            (Resp, &[1]),
        ];
        let handed = EventKind::Handover { to: "tls", as_carrier: true, rest: Vec::new() };
        assert!(testkit::stream(&RFB, &turns, 4096).iter().any(|e| e.kind == handed));
        // Bytes of TLS in the segments that end RFB, of both ends.
        let mut eager = turns.clone();
        (eager[8].1, eager[9].1) = (&[0, 0, 1, 4, 22], &[1, 21]);
        let kept = testkit::stream(&RFB, &eager, 4096).into_iter().find_map(|e| match e.kind {
            EventKind::Handover { rest, .. } => Some(rest.into_iter().map(|p| (p.dir, p.bytes)).collect::<Vec<_>>()),
            _ => None,
        });
        assert_eq!(kept, Some(vec![(Orig, vec![22]), (Resp, vec![21])]));
        turns[8].1 = &[0, 0, 1, 0];
        assert!(!testkit::stream(&RFB, &turns, 4096).iter().any(|e| e.kind == handed));
    }

    #[test]
    fn a_version_in_somebody_elses_bytes_is_not_one() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&RFB, Carrier::Stream, orig, resp);
        assert_eq!(probe(b"", b"RFB 003.008\n"), Probe::Match);
        assert_eq!(probe(b"", b"RFB 00"), Probe::NeedMore);
        assert_eq!(probe(b"", b"RFB 00x"), Probe::NoMatch);
        assert_eq!(probe(b"GET /", b"RFB 003.008\n"), Probe::NoMatch);
        assert_eq!(probe(b"", b"HTTP/1.1 200 OK\r\n\r\nRFB 003.008\n"), Probe::NoMatch);
        assert_eq!(probe(b"", b"\nRFB 003.008\n"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..40) {
            let turns = dialogue(Resp);
            prop_assert_eq!(testkit::stream(&RFB, &turns, piece), testkit::stream(&RFB, &turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            kept in 0usize..9,
            turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..10),
        ) {
            let mut all = dialogue(Resp);
            all.truncate(kept);
            all.extend(turns.iter().map(|(orig, bytes)| (if *orig { Orig } else { Resp }, bytes.as_slice())));
            testkit::stream(&RFB, &all, 3);
        }
    }
}
