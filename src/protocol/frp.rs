//! frp and bore: how a machine behind a firewall logs in to a relay that lends it a port.
//!
//! Reads: frp's login where it is in clear, alone or as the first stream of yamux; the one byte that frp sends ahead of
//! a TLS of its own; bore's first messages. Emits: frp's version, operating system, user and the relay's answer, the
//! handover to TLS. Does not: follow what is encrypted after the login, or see frp with TLS and without that byte.
//!
//! Reference: github.com/fatedier/frp `pkg/msg` (type byte, length, JSON), `pkg/util/net/tls.go` (`FRPTLSHeadByte`);
//! github.com/hashicorp/yamux spec.md; github.com/ekzhang/bore `src/shared.rs` (JSON ended by NUL).

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry for frp.
pub(crate) static FRP: Protocol = Protocol {
    name: "frp",
    category: Category::Proxy,
    carriers: &[Carrier::Stream],
    ports: &[7000],
    attributes: &[VERSION, OS, USER, ERROR],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, frp_opening),
    analyzer: || Box::new(Relay::new(&FRP_WORDS)),
};

/// The registry's entry for bore.
pub(crate) static BORE: Protocol = Protocol {
    name: "bore",
    category: Category::Proxy,
    carriers: &[Carrier::Stream],
    ports: &[7835],
    attributes: &[MESSAGE],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, bore_opening),
    analyzer: || Box::new(Relay::new(&BORE_WORDS)),
};

const VERSION: Key = "frp.version";
const OS: Key = "frp.os";
const USER: Key = "frp.user";
const ERROR: Key = "frp.error";
const MESSAGE: Key = "bore.message";

/// What frp sends ahead of its own TLS.
const TLS_HEAD: u8 = 0x17;
/// frp's login and the relay's answer.
const LOGIN: u8 = b'o';
const LOGIN_ANSWER: u8 = b'1';
/// Type and length.
const HEADER: usize = 9;
/// A frame header of yamux.
const YAMUX: usize = 12;
/// A login with all its fields and metadata is a few hundred bytes; frp itself refuses more than 10,240.
const MESSAGE_LIMIT: usize = 10_240;
const TEXT_KEPT: usize = 128;

fn probe(opening: &Opening<'_>, opens: fn(&[u8]) -> Fit) -> Probe {
    match opens(opening.sent.orig) {
        Fit::No => Probe::NoMatch,
        Fit::More => Probe::NeedMore,
        Fit::Yes => Probe::Match,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    More,
    No,
}

/// Whether `bytes` begin with `pattern`, where `None` stands for any byte.
fn begins(bytes: &[u8], pattern: &[Option<u8>]) -> Fit {
    if bytes.iter().zip(pattern).any(|(byte, wanted)| wanted.is_some_and(|w| w != *byte)) {
        Fit::No
    } else if bytes.len() < pattern.len() {
        Fit::More
    } else {
        Fit::Yes
    }
}

/// The first byte, a length of at most two bytes, and JSON.
const fn message(kind: u8) -> [Option<u8>; HEADER + 2] {
    const ZERO: Option<u8> = Some(0);
    [Some(kind), ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, None, None, Some(b'{'), Some(b'"')]
}

fn frp_opening(bytes: &[u8]) -> Fit {
    // ClientHello behind the head byte: a handshake record of version 3, in it message 1.
    const TLS: [Option<u8>; 7] = [Some(TLS_HEAD), Some(0x16), Some(3), None, None, None, Some(1)];
    match bytes.first() {
        None => Fit::More,
        Some(&TLS_HEAD) => begins(bytes, &TLS),
        Some(&LOGIN) => begins(bytes, &message(LOGIN)),
        Some(0) => match first_payload(bytes) {
            Some([]) => Fit::More,
            Some(payload) => begins(payload, &message(LOGIN)),
            None => Fit::No,
        },
        Some(_) => Fit::No,
    }
}

/// The first data of a yamux session: behind the frame that opens stream 1, if that carries none itself. Empty while
/// it has not come.
fn first_payload(bytes: &[u8]) -> Option<&[u8]> {
    // Version 0, window update, flag SYN, stream 1, no change of the window.
    const OPENS: [u8; YAMUX] = [0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
    let opened = bytes.get(..YAMUX).unwrap_or(bytes);
    if !OPENS.starts_with(opened) {
        return None;
    }
    let frame = bytes.get(YAMUX..).unwrap_or_default();
    // Version 0, data, no flags, stream 1.
    const DATA: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
    let header = frame.get(..DATA.len()).unwrap_or(frame);
    DATA.starts_with(header).then(|| frame.get(YAMUX..).unwrap_or_default())
}

fn bore_opening(bytes: &[u8]) -> Fit {
    let Some(rest) = bytes.get(..HELLO.len()) else {
        let starts = HELLO.starts_with(bytes) || ACCEPT.starts_with(bytes) || AUTHENTICATE.starts_with(bytes);
        return if starts { Fit::More } else { Fit::No };
    };
    // Port, brace, NUL.
    let tail = bytes.get(HELLO.len()..).unwrap_or_default();
    let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
    match (rest == HELLO, tail.get(digits..).unwrap_or_default()) {
        (true, []) if digits <= 5 => Fit::More,
        (true, [b'}']) if (1..=5).contains(&digits) => Fit::More,
        (true, [b'}', 0, ..]) if (1..=5).contains(&digits) => Fit::Yes,
        (true, _) => Fit::No,
        (false, _) => text_then_uuid(bytes),
    }
}

const HELLO: &[u8] = b"{\"Hello\":";
const ACCEPT: &[u8] = b"{\"Accept\":\"";
const AUTHENTICATE: &[u8] = b"{\"Authenticate\":\"";

/// `{"Accept":"`, an identifier of 36 characters, `"}` and NUL; of an authentication, 64 digits of a MAC.
fn text_then_uuid(bytes: &[u8]) -> Fit {
    let known = [(ACCEPT, 36), (AUTHENTICATE, 64)].into_iter().find(|(word, _)| {
        let shown = bytes.get(..word.len()).unwrap_or(bytes);
        word.starts_with(shown)
    });
    let Some((word, len)) = known else { return Fit::No };
    let text = bytes.get(word.len()..).unwrap_or_default();
    let shown = text.get(..len).unwrap_or(text);
    if !shown.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-') {
        return Fit::No;
    }
    match text.get(len..) {
        None => Fit::More,
        Some(end) => begins(end, &[Some(b'"'), Some(b'}'), Some(0)]),
    }
}

/// How the two programs differ.
struct Words {
    ask: fn(&Relay, &[u8]) -> Option<Said>,
    answer: fn(&Relay, &[u8]) -> Option<Said>,
    /// The rule broken by a message that is none of the program's.
    fault: &'static str,
}

/// What a message said, once it was whole.
struct Said {
    attributes: Vec<(Key, String)>,
    /// It is what this end must say.
    fits: bool,
}

static FRP_WORDS: Words = Words {
    ask: |relay, bytes| relay.login(bytes),
    answer: |relay, bytes| relay.login_answer(bytes),
    fault: "frp.malformed-message",
};
static BORE_WORDS: Words = Words {
    ask: |_, bytes| bore_message(bytes),
    answer: |_, bytes| bore_answer(bytes),
    fault: "bore.malformed-message",
};

struct Relay {
    words: &'static Words,
    inboxes: Ends<Inbox>,
    asked: bool,
    /// Behind yamux.
    framed: bool,
    done: bool,
}

impl Relay {
    const fn new(words: &'static Words) -> Self {
        let inboxes = Ends { orig: Inbox::new(2 * MESSAGE_LIMIT), resp: Inbox::new(2 * MESSAGE_LIMIT) };
        Self { words, inboxes, asked: false, framed: false, done: false }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.done, true) {
            events.settled(at, dir);
        }
    }

    /// The login, out of yamux where it is in it.
    fn login(&self, bytes: &[u8]) -> Option<Said> {
        let payload = if self.framed { first_payload(bytes).unwrap_or_default() } else { bytes };
        let json = frp_message(payload, LOGIN)?;
        let keys = [(VERSION, "version"), (OS, "os"), (USER, "user")];
        let attributes = json
            .map(|json| keys.into_iter().filter_map(|(key, name)| Some((key, text(json, name)?))).collect::<Vec<_>>());
        let fits = attributes.as_ref().is_some_and(|said| said.iter().any(|(key, _)| *key == VERSION));
        Some(Said { attributes: attributes.unwrap_or_default(), fits })
    }

    fn login_answer(&self, bytes: &[u8]) -> Option<Said> {
        let payload = if self.framed {
            // Window updates may come first.
            let data = bytes.chunks(YAMUX).position(|frame| !matches!(frame, [0, 1, ..]))?;
            bytes.get(data * YAMUX + YAMUX..)?
        } else {
            bytes
        };
        let json = frp_message(payload, LOGIN_ANSWER)?;
        let error = json.and_then(|json| text(json, "error"));
        Some(Said { attributes: error.map(|error| (ERROR, error)).into_iter().collect(), fits: json.is_some() })
    }
}

impl Analyzer for Relay {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || pdu.bytes.is_empty() {
            return;
        }
        let (at, dir) = (pdu.at, pdu.dir);
        if !self.inboxes.of_mut(dir).push(at, pdu.bytes) {
            self.settle(at, dir, events);
            return;
        }
        let orig = self.inboxes.orig.bytes();
        if orig.first() == Some(&TLS_HEAD) {
            self.inboxes.orig.consume(1);
            events.application(at, dir, "frp");
            self.done = true;
            events.handover(at, dir, "tls", true, unused(&self.inboxes));
            return;
        }
        self.framed = orig.first() == Some(&0);
        for from in [Direction::Orig, Direction::Resp] {
            if self.asked == (from == Direction::Orig) {
                continue;
            }
            let read = if from == Direction::Orig { self.words.ask } else { self.words.answer };
            let Some(said) = read(self, self.inboxes.of(from).bytes()) else { return };
            if !said.fits {
                events.violation(at, dir, self.words.fault);
                self.settle(at, dir, events);
                return;
            }
            if self.asked {
                events.confirmed(at, from);
            }
            for (key, value) in said.attributes {
                events.attribute(at, from, key, value);
            }
            if std::mem::replace(&mut self.asked, true) {
                self.settle(at, dir, events);
            }
        }
    }
}

/// The JSON of a whole message of that kind; `Some(None)` if it is another.
fn frp_message(bytes: &[u8], kind: u8) -> Option<Option<&[u8]>> {
    let header = bytes.get(..HEADER)?;
    let length = header.last_chunk::<8>().map_or(u64::MAX, |b| u64::from_be_bytes(*b));
    match usize::try_from(length) {
        Ok(length) if length <= MESSAGE_LIMIT && header.first() == Some(&kind) => {
            let json = bytes.get(HEADER..)?.get(..length)?;
            Some((json.first() == Some(&b'{')).then_some(json))
        }
        _ => Some(None),
    }
}

/// The value of a text field. No reader of all JSON: a name in quotes, a colon, a text in quotes.
fn text(json: &[u8], name: &str) -> Option<String> {
    let name = format!("\"{name}\":\"");
    let at = json.windows(name.len()).position(|window| window == name.as_bytes())?;
    let value = json.get(at + name.len()..)?.split(|b| *b == b'"').next()?;
    (!value.is_empty()).then(|| printable(value, TEXT_KEPT))
}

fn bore_message(bytes: &[u8]) -> Option<Said> {
    let message = bytes.get(..bytes.iter().position(|b| *b == 0)?)?;
    let word = message.split(|b| *b == b'"').nth(1).unwrap_or_default();
    Some(Said { attributes: vec![(MESSAGE, printable(word, TEXT_KEPT).to_ascii_lowercase())], fits: true })
}

/// The relay says the port it lends, asks for a proof, or says what is wrong.
fn bore_answer(bytes: &[u8]) -> Option<Said> {
    let message = bytes.get(..bytes.iter().position(|b| *b == 0)?)?;
    let known = [&b"{\"Hello\":"[..], b"{\"Challenge\":\"", b"{\"Error\":\"", b"\"Heartbeat\""];
    Some(Said { attributes: Vec::new(), fits: known.iter().any(|word| message.starts_with(word)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn frp(kind: u8, json: &str) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend(u64::try_from(json.len()).unwrap().to_be_bytes());
        out.extend(json.as_bytes());
        out
    }

    fn login() -> Vec<u8> {
        frp(
            LOGIN,
            r#"{"version":"0.44.0","hostname":"","os":"linux","arch":"amd64","user":"anna","privilege_key":"x","pool_count":1}"#,
        )
    }

    fn yamux(payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        out.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        out.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        out.extend(payload);
        out
    }

    fn probe(protocol: &Protocol, bytes: &[u8]) -> Probe {
        testkit::probe(protocol, Carrier::Stream, bytes, b"")
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    #[test]
    fn a_login_in_clear_is_read_with_and_without_yamux() {
        let answer = frp(LOGIN_ANSWER, r#"{"version":"0.44.0","run_id":"12","server_udp_port":0}"#);
        let framed_answer = [&[0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0][..], &yamux(&answer)[YAMUX..]].concat();
        for (ask, answer) in [(login(), answer.clone()), (yamux(&login()), framed_answer)] {
            assert_eq!(probe(&FRP, &ask), Probe::Match);
            let events = testkit::stream(&FRP, &[(Orig, &ask), (Resp, &answer)], usize::MAX);
            assert_eq!([VERSION, OS, USER].map(|key| said(&events, key).unwrap()), ["0.44.0", "linux", "anna"]);
            assert!(confirmed(&events));
            assert!(!format!("{events:?}").contains("privilege"));
        }
    }

    #[test]
    fn its_own_tls_is_handed_over() {
        let hello = b"\x17\x16\x03\x01\0\x40\x01\0\0\x3c";
        assert_eq!(probe(&FRP, hello), Probe::Match);
        let events = testkit::stream(&FRP, &[(Orig, hello)], usize::MAX);
        assert!(events.iter().any(|e| matches!(&e.kind, EventKind::Handover { to: "tls", as_carrier: true, rest }
            if rest.first().is_some_and(|piece| piece.bytes.starts_with(&hello[1..])))));
    }

    #[test]
    fn bore_says_hello_both_ways() {
        for (ask, word) in
            [(&b"{\"Hello\":0}\0"[..], "hello"), (b"{\"Accept\":\"3f2c0c1a-8a66-4a6e-9a0f-0a1b2c3d4e5f\"}\0", "accept")]
        {
            assert_eq!(probe(&BORE, ask), Probe::Match);
            let events = testkit::stream(&BORE, &[(Orig, ask), (Resp, b"{\"Hello\":9000}\0")], usize::MAX);
            assert_eq!((said(&events, MESSAGE), confirmed(&events)), (Some(word), true));
        }
    }

    #[test]
    fn what_looks_alike_is_told_apart() {
        for bytes in [
            &b"\x17\x03\x03\0\x20"[..],
            b"{\"Hello\":\"world\"}\0",
            b"{\"Hello\":123456}\0",
            b"{\"method\":\"mining.subscribe\"}\n",
            b"{\"Accept\":\"text/html, application/json; q=0.9\"}\0",
            b"\0\x01\0\x01\0\0\0\x01\0\0\0\x01",
            b"\0\x01\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x09GET / HTT",
            b"o\0\0\0\0\0\0\0\x08notjson!",
        ] {
            assert_eq!((probe(&FRP, bytes), probe(&BORE, bytes)), (Probe::NoMatch, Probe::NoMatch), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..40, framed: bool, tail in proptest::collection::vec(any::<u8>(), 0..20)) {
            let ask = if framed { yamux(&login()) } else { login() };
            for answer in [frp(LOGIN_ANSWER, "{\"error\":\"no\"}"), tail] {
                let turns: [Turn<'_>; 2] = [(Orig, &ask), (Resp, &answer)];
                prop_assert_eq!(testkit::stream(&FRP, &turns, piece), testkit::stream(&FRP, &turns, usize::MAX));
            }
        }

        #[test]
        fn random_bytes_never_panic(start in 0usize..5, bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let begins: [&[u8]; 5] = [b"", b"o\0\0\0\0\0\0\0\x04{\"", b"\0\x01\0\x01\0\0\0\x01\0\0\0\0", b"{\"Hello\":", b"{\"Accept\":\""];
            let said = [begins[start], &bytes].concat();
            for protocol in [&FRP, &BORE] {
                probe(protocol, &said);
                testkit::stream(protocol, &[(Orig, &said), (Resp, &bytes)], 3);
            }
        }
    }
}
