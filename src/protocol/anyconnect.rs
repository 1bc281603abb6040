//! AnyConnect's DTLS (Cisco's clients, openconnect; ASA, IOS, ocserv): the half of the tunnel that shows itself.
//!
//! Reads: record headers, hellos and a PSK identity of DTLS in clear. Emits: the version, how the keys came from the TLS
//! half, the closed loops of the handshake. Does not: see anything of the TLS half but a program's name where that is
//! in clear, or decrypt.
//!
//! The keys of this DTLS come from the TLS connection beside it, so its first ClientHello already has a session id that no
//! DTLS handshake has given: Cisco's own version "0.9" of DTLS (nobody else speaks it), a resumption of one cipher suite,
//! or a new handshake with the PSK identity `psk`.
//!
//! Reference: draft-mavrogiannopoulos-openconnect-04; RFC 6347 (DTLS); `DTLS1_BAD_VER` of OpenSSL.

use crate::base::{Direction, Layer, Link, Reader, Said, Shows, Sign, Timestamp};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static ANYCONNECT: Protocol = Protocol {
    name: "anyconnect",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram],
    ports: &[],
    attributes: &[VERSION, KEYS],
    signs: &[
        Sign::new("http.user_agent", Said::Begins("AnyConnect "), Shows::Likely),
        Sign::new("http.user_agent", Said::Begins("Cisco AnyConnect "), Shows::Likely),
        Sign::new("http.user_agent", Said::Begins("Open AnyConnect "), Shows::Likely),
        // An ASA shows it to browsers too.
        Sign::new("tls.cert_subject", Said::Contains("ASA Temporary Self Signed Certificate"), Shows::Mention),
    ],
    lasting: false,
    probe,
    analyzer: || Box::new(AnyConnect::default()),
};

const VERSION: Key = "anyconnect.dtls_version";
const KEYS: Key = "anyconnect.dtls_keys";

/// Versions on the wire.
const CISCO: u16 = 0x0100;
const DTLS_1_0: u16 = 0xfeff;
const DTLS_1_2: u16 = 0xfefd;

/// Record types.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// Handshake messages.
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY: u8 = 3;
const SERVER_HELLO_DONE: u8 = 14;
const CLIENT_KEY_EXCHANGE: u8 = 16;
/// Bytes of a session id; of openconnect's draft and of every server known.
const SESSION_ID: usize = 32;
/// Suites that are none: renegotiation and fallback (RFC 5746, RFC 7507).
const SIGNALS: [u16; 2] = [0x00ff, 0x5600];
/// The suites one of which is agreed on in the TLS half for a resumption, as openconnect and ocserv name them: AES and 3DES
/// with RSA, DHE and ECDHE, in CBC and GCM modes.
const RESUMED_SUITES: [u16; 14] =
    [0x000a, 0x002f, 0x0033, 0x0035, 0x0039, 0x009c, 0x009d, 0x009e, 0x009f, 0xc013, 0xc014, 0xc02b, 0xc02f, 0xc030];
/// The PSK suites that both GnuTLS and OpenSSL offer before all others: AES-GCM.
const PSK_GCM: [u16; 2] = [0x00a8, 0x00a9];
/// The identity, which says nothing: the key is the TLS half's (draft, 2.1.5.1).
const PSK_IDENTITY: &[u8] = b"psk";
/// Datagrams that are read for the handshake before the flow is left alone.
const PATIENCE: u8 = 40;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.sent.of(opening.newest);
    // 20 to 23, and a version of DTLS.
    if !matches!(bytes, [20..=23, 0xfe, 0xff | 0xfd, ..] | [20..=23, 0x01, 0x00, ..]) {
        return Probe::NoMatch;
    }
    let Some(record) = Record::next(&mut Reader::new(bytes)) else { return Probe::NoMatch };
    let fits = match record.hello() {
        Some(hello) => hello.way(record.version).is_some(),
        None => record.version == CISCO && all_of_cisco(bytes),
    };
    if fits { Probe::Match } else { Probe::NoMatch }
}

/// Whether a datagram is nothing but records of Cisco's version: the middle of a session.
fn all_of_cisco(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        match Record::next(&mut reader) {
            Some(record) if record.version == CISCO => {}
            _ => return false,
        }
    }
    true
}

/// A record.
#[derive(Debug, Clone, Copy)]
struct Record<'a> {
    kind: u8,
    version: u16,
    epoch: u16,
    content: &'a [u8],
}

impl<'a> Record<'a> {
    fn next(reader: &mut Reader<'a>) -> Option<Self> {
        let (kind, version) = (reader.u8()?, reader.u16()?);
        let (epoch, number) = (reader.u16()?, reader.array::<6>()?);
        let content = reader.block_u16()?.rest();
        let known =
            (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) && matches!(version, CISCO | DTLS_1_0 | DTLS_1_2);
        // No session has 2^40 packets; one epoch is all that AnyConnect uses before a rekey.
        (known && epoch < 64 && number[0] == 0 && !content.is_empty()).then_some(Self { kind, version, epoch, content })
    }

    /// The message of a handshake record in clear, if it is whole: type and body.
    fn message(&self) -> Option<(u8, &'a [u8])> {
        if self.kind != HANDSHAKE || self.epoch != 0 {
            return None;
        }
        let mut reader = Reader::new(self.content);
        let kind = reader.u8()?;
        let length = reader.u24()?;
        let (_sequence, offset) = (reader.u16()?, reader.u24()?);
        let body = reader.block_u24()?;
        (offset == 0 && u32::try_from(body.len()) == Ok(length)).then(|| (kind, body.rest()))
    }

    fn hello(&self) -> Option<Hello<'a>> {
        self.message().filter(|(kind, _)| *kind == CLIENT_HELLO).and_then(|(_, body)| Hello::read(body))
    }
}

/// How the keys come from the TLS half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Cisco's version of DTLS.
    Cisco,
    /// A session is resumed that no DTLS handshake began.
    Resumed,
    /// Anew, with a pre-shared key.
    Psk,
}

/// A ClientHello.
#[derive(Debug, Clone, Copy)]
struct Hello<'a> {
    version: u16,
    session: &'a [u8],
    has_cookie: bool,
    suites: &'a [u8],
}

impl<'a> Hello<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let version = reader.u16()?;
        reader.take(32)?;
        let session = reader.block_u8()?.rest();
        let has_cookie = !reader.block_u8()?.is_empty();
        let suites = reader.block_u16()?.rest();
        reader.block_u8()?;
        Some(Self { version, session, has_cookie, suites })
    }

    /// How this hello means to get its keys, if it is AnyConnect's.
    fn way(&self, of_record: u16) -> Option<Way> {
        if self.session.len() != SESSION_ID {
            return None;
        }
        if of_record == CISCO && self.version == CISCO {
            return Some(Way::Cisco);
        }
        let suites = || {
            let all = self.suites.chunks_exact(2).filter_map(|pair| pair.first_chunk::<2>());
            all.map(|pair| u16::from_be_bytes(*pair)).filter(|suite| !SIGNALS.contains(suite))
        };
        let mut first_two = suites();
        match (first_two.next(), first_two.next()) {
            (Some(only), None) if RESUMED_SUITES.contains(&only) => Some(Way::Resumed),
            _ if suites().all(is_psk) && suites().any(|suite| PSK_GCM.contains(&suite)) => Some(Way::Psk),
            _ => None,
        }
    }
}

/// Cipher suites with a plain PSK (RFC 4279, 5487, 5489, 6655, 7905; ECDHE and DHE with PSK among them).
const fn is_psk(suite: u16) -> bool {
    matches!(suite, 0x008a..=0x0095 | 0x00a8..=0x00b9 | 0xc033..=0xc03b | 0xc0a4..=0xc0ab | 0xccab..=0xccae)
}

#[derive(Debug, Default)]
struct AnyConnect {
    /// The client's end, its way, and the session id that it came with.
    client: Option<(Direction, Way, [u8; SESSION_ID])>,
    /// The server's answer fits.
    answered: bool,
    confirmed: bool,
    begun: bool,
    datagrams: u8,
    done: bool,
}

impl Analyzer for AnyConnect {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            events.link(pdu.at, pdu.dir, Link::Pair("anyconnect"));
        }
        let mut reader = Reader::new(pdu.bytes);
        while let Some(record) = Record::next(&mut reader) {
            self.on_record(pdu.at, pdu.dir, &record, events);
            if self.done {
                return;
            }
        }
        self.datagrams += 1;
        if self.datagrams >= PATIENCE {
            self.settle(pdu.at, pdu.dir, events);
        }
    }
}

impl AnyConnect {
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.settled(at, dir);
    }

    fn on_record(&mut self, at: Timestamp, dir: Direction, record: &Record<'_>, events: &mut Events) {
        if let Some(hello) = record.hello() {
            self.on_hello(at, dir, record.version, &hello, events);
            return;
        }
        let Some((client, way, _)) = self.client else {
            self.on_headless(at, dir, record, events);
            return;
        };
        match record.message() {
            Some((HELLO_VERIFY, _)) if dir != client => {
                events.answer(at, dir, Layer::Dtls, "client-hello");
                events.ask(at, dir, Layer::Dtls, "hello-verify");
            }
            Some((SERVER_HELLO, body)) if dir != client => self.on_server_hello(at, dir, record.version, body, events),
            Some((SERVER_HELLO_DONE, _)) if dir != client => events.ask(at, dir, Layer::Dtls, "server-hello-done"),
            Some((CLIENT_KEY_EXCHANGE, body)) if dir == client => {
                events.answer(at, dir, Layer::Dtls, "server-hello-done");
                if way == Way::Psk
                    && self.answered
                    && Reader::new(body).block_u16().map(|id| id.rest()) == Some(PSK_IDENTITY)
                {
                    self.confirm(at, dir, events);
                }
            }
            Some(_) => {}
            // The end of the server's half of a resumption; the client's answer to it begins with its change of cipher.
            None if record.kind == HANDSHAKE && record.epoch == 1 && dir != client && way != Way::Psk => {
                events.ask(at, dir, Layer::Dtls, "server-finished");
            }
            None if record.kind == CHANGE_CIPHER_SPEC && dir == client => {
                events.answer(at, dir, Layer::Dtls, "server-finished");
            }
            None if record.kind == APPLICATION_DATA && self.answered => self.settle(at, dir, events),
            None => {}
        }
    }

    fn on_hello(&mut self, at: Timestamp, dir: Direction, version: u16, hello: &Hello<'_>, events: &mut Events) {
        match (hello.way(version), hello.session.first_chunk::<SESSION_ID>()) {
            (Some(way), Some(session)) => {
                self.client = Some((dir, way, *session));
                if hello.has_cookie {
                    events.answer(at, dir, Layer::Dtls, "hello-verify");
                }
                events.ask(at, dir, Layer::Dtls, "client-hello");
            }
            // Another handshake on the same ports.
            _ if self.confirmed || self.answered => self.settle(at, dir, events),
            _ => {
                events.violation(at, dir, "anyconnect.other-hello");
                self.settle(at, dir, events);
            }
        }
    }

    /// A resumption must be granted, and a handshake with a pre-shared key must be a new one.
    fn on_server_hello(&mut self, at: Timestamp, dir: Direction, version: u16, body: &[u8], events: &mut Events) {
        let Some((_, way, session)) = self.client else { return };
        let mut reader = Reader::new(body);
        let said = reader.u16();
        let given = reader.take(32).and_then(|_| reader.block_u8()).map(|id| id.rest()).unwrap_or_default();
        if (given == session) != (way != Way::Psk) || (way == Way::Cisco && version != CISCO) {
            events.violation(at, dir, "anyconnect.session-not-taken-over");
            self.settle(at, dir, events);
            return;
        }
        events.answer(at, dir, Layer::Dtls, "client-hello");
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        let version = match said {
            Some(CISCO) => "cisco-0.9",
            Some(DTLS_1_0) => "1.0",
            _ => "1.2",
        };
        events.attribute(at, dir, VERSION, version);
        events.attribute(at, dir, KEYS, if way == Way::Psk { "psk" } else { "resumed" });
        if way == Way::Cisco {
            self.confirm(at, dir, events);
        }
    }

    fn confirm(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(at, dir);
        }
    }

    /// The middle of a session in Cisco's version.
    fn on_headless(&mut self, at: Timestamp, dir: Direction, record: &Record<'_>, events: &mut Events) {
        if record.version == CISCO {
            events.attribute(at, dir, VERSION, "cisco-0.9");
        } else {
            events.violation(at, dir, "anyconnect.other-version");
        }
        self.settle(at, dir, events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, at, loops, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const SESSION: [u8; SESSION_ID] = [0x77; SESSION_ID];

    fn record(kind: u8, version: u16, epoch: u16, content: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend(version.to_be_bytes());
        out.extend(epoch.to_be_bytes());
        out.extend([0, 0, 0, 0, 0, 1]);
        out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        out.extend(content);
        out
    }

    fn message(version: u16, kind: u8, body: &[u8]) -> Vec<u8> {
        let length = &u32::try_from(body.len()).unwrap().to_be_bytes()[1..];
        record(HANDSHAKE, version, 0, &[&[kind], length, &[0, 0, 0, 0, 0], length, body].concat())
    }

    fn hello(version: u16, session: &[u8], cookie: &[u8], suites: &[u16]) -> Vec<u8> {
        let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let mut body = version.to_be_bytes().to_vec();
        body.extend([5; 32]);
        body.push(u8::try_from(session.len()).unwrap());
        body.extend(session);
        body.push(u8::try_from(cookie.len()).unwrap());
        body.extend(cookie);
        body.extend(u16::try_from(suites.len()).unwrap().to_be_bytes());
        body.extend(suites);
        body.extend([1, 0]);
        message(version, CLIENT_HELLO, &body)
    }

    fn server_hello(version: u16, session: &[u8]) -> Vec<u8> {
        let id = [&[u8::try_from(session.len()).unwrap()], session].concat();
        message(version, SERVER_HELLO, &[&version.to_be_bytes()[..], &[6; 32], &id, &[0, 0x39, 0]].concat())
    }

    fn resumption(version: u16, suite: u16) -> Vec<(Direction, Vec<u8>)> {
        let finished = |dir| (dir, record(HANDSHAKE, version, 1, &[9; 64]));
        vec![
            (Orig, hello(version, &SESSION, b"", &[suite])),
            (Resp, message(version, HELLO_VERIFY, &[1, 0, 2, 7, 7])),
            (Orig, hello(version, &SESSION, &[7, 7], &[suite])),
            (Resp, server_hello(version, &SESSION)),
            (Resp, record(CHANGE_CIPHER_SPEC, version, 0, &[1])),
            finished(Resp),
            (Orig, record(CHANGE_CIPHER_SPEC, version, 0, &[1])),
            finished(Orig),
            (Orig, record(APPLICATION_DATA, version, 1, &[9; 64])),
        ]
    }

    fn with_psk(identity: &[u8]) -> Vec<(Direction, Vec<u8>)> {
        let key_exchange = [&[0, u8::try_from(identity.len()).unwrap()], identity].concat();
        vec![
            (Orig, hello(DTLS_1_2, &SESSION, b"", &[0x00a9, 0xccab, 0x00a8, 0x00ff])),
            (Resp, server_hello(DTLS_1_2, &[8; 32])),
            (Resp, message(DTLS_1_2, SERVER_HELLO_DONE, b"")),
            (Orig, message(DTLS_1_2, CLIENT_KEY_EXCHANGE, &key_exchange)),
        ]
    }

    fn run(all: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = all.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&ANYCONNECT, &turns)
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    fn taken_back(events: &[Event]) -> bool {
        events.iter().any(|e| matches!(e.kind, EventKind::Violation(_)))
    }

    fn probe(bytes: &[u8]) -> Probe {
        testkit::probe(&ANYCONNECT, Carrier::Datagram, bytes, b"")
    }

    #[test]
    fn cisco_s_own_version_is_certain() {
        let events = run(&resumption(CISCO, 0x0039));
        let expected =
            [(0, 1, "client-hello"), (1, 2, "hello-verify"), (2, 3, "client-hello"), (5, 6, "server-finished")];
        assert_eq!(loops(&events), expected.map(|(a, b, method)| (at(a), at(b), method)));
        assert!(confirmed(&events));
        assert_eq!((said(&events, VERSION), said(&events, KEYS)), (Some("cisco-0.9"), Some("resumed")));
        assert_eq!(events.last().map(|e| &e.kind), Some(&EventKind::Settled));
    }

    #[test]
    fn a_resumption_of_one_suite_is_likely_and_only_if_granted() {
        let good = resumption(DTLS_1_2, 0x009d);
        assert_eq!(probe(&good[0].1), Probe::Match);
        assert!(!confirmed(&run(&good)) && !taken_back(&run(&good)));
        let mut refused = good;
        refused[3].1 = server_hello(DTLS_1_2, &[1; 32]);
        assert!(taken_back(&run(&refused)) && said(&run(&refused), VERSION).is_none());
    }

    #[test]
    fn the_psk_of_the_tls_half_is_certain_by_its_identity() {
        let events = run(&with_psk(b"psk"));
        assert!(confirmed(&events));
        assert_eq!((said(&events, VERSION), said(&events, KEYS)), (Some("1.2"), Some("psk")));
        assert!(!confirmed(&run(&with_psk(b"Client_identity"))));
        // A thing that resumes its session with a pre-shared key.
        let mut thing = with_psk(b"psk");
        thing[1].1 = server_hello(DTLS_1_2, &SESSION);
        assert!(taken_back(&run(&thing)));
    }

    #[test]
    fn the_middle_of_a_session_shows_only_in_cisco_s_version() {
        let data = record(APPLICATION_DATA, CISCO, 1, &[9; 64]);
        assert_eq!(probe(&data), Probe::Match);
        let events = run(&[(Orig, data.clone())]);
        assert!(!confirmed(&events) && said(&events, VERSION).is_some());
        assert_eq!(probe(&[&data[..], &[0]].concat()), Probe::NoMatch);
        assert_eq!(probe(&record(APPLICATION_DATA, DTLS_1_2, 1, &[9; 64])), Probe::NoMatch);
    }

    #[test]
    fn other_hellos_do_not_match() {
        let calls = hello(DTLS_1_2, b"", b"", &[0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc009, 0xc013]);
        let resumes = hello(DTLS_1_2, &SESSION, b"", &[0xc02b, 0xc02f, 0xcca9]);
        let thing = hello(DTLS_1_2, &SESSION, b"", &[0xc0a8, 0x00ff]);
        let alone = hello(DTLS_1_2, b"", b"", &[0x0039]);
        for other in [calls, resumes, thing, alone, b"\x16\x03\x01\x02\0\x01\0\x01\xfc".to_vec(), vec![0x16]] {
            assert_eq!(probe(&other), Probe::NoMatch, "{other:x?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(all in proptest::collection::vec(
            (any::<bool>(), 19u8..25, proptest::collection::vec(any::<u8>(), 0..60)), 0..50,
        )) {
            let random = |(orig, kind, bytes): (bool, u8, Vec<u8>)| {
                (if orig { Orig } else { Resp }, record(kind, CISCO, 0, &bytes))
            };
            let all: Vec<_> = with_psk(b"x").into_iter().chain(all.into_iter().map(random)).collect();
            run(&all);
            run(&all[4..]);
            for (_, bytes) in &all {
                probe(bytes);
                probe(bytes.get(5..).unwrap_or_default());
            }
        }
    }
}
