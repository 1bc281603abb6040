//! GameStream, as Moonlight asks it of Sunshine or NVIDIA's own host: a desktop streamed with its mouse and keys.
//!
//! Reads: the first request of each RTSP connection, which is how a stream is agreed on, and its answer. Emits: the
//! request and the client's version. Does not: read the media and control that follow over UDP, which are encrypted or
//! shaped like any RTP, nor the RTSP that newer hosts encrypt.
//!
//! Reference: moonlight-common-c and Sunshine (RTSP with `X-GS-ClientVersion`, names in their certificates); RFC 2326.

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{
    Analyzer, Carrier, Category, Events, Key, Link, Opening, Pdu, Probe, Protocol, Said, Shows, Sign,
};

/// The registry's entry.
pub(crate) static GAMESTREAM: Protocol = Protocol {
    name: "gamestream",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[48_010],
    attributes: &[METHOD, CLIENT_VERSION],
    // The same hosts show them on the page where they are set up: that a session takes place is likely, no more.
    signs: &[
        Sign::new("tls.cert_subject", Said::Contains("CN=Sunshine Gamestream Host"), Shows::Likely),
        Sign::new("tls.cert_subject", Said::Contains("CN=NVIDIA GameStream Server"), Shows::Likely),
        Sign::new("tls.client_cert_subject", Said::Contains("CN=NVIDIA GameStream Client"), Shows::Likely),
    ],
    lasting: false,
    probe,
    analyzer: || Box::new(GameStream::default()),
};

const METHOD: Key = "gamestream.request";
const CLIENT_VERSION: Key = "gamestream.client_version";

/// A SETUP with all its headers has about 300 bytes.
const HEAD_LIMIT: usize = 2_000;
/// What a client asks, each on a connection of its own.
const METHODS: [&[u8]; 5] = [b"OPTIONS ", b"DESCRIBE ", b"SETUP ", b"ANNOUNCE ", b"PLAY "];
const VERSION_HEADER: &[u8] = b"x-gs-clientversion:";
const ANSWER: &[u8] = b"RTSP/1.0 ";

fn probe(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    if !resp.iter().zip(ANSWER).all(|(byte, wanted)| byte == wanted) {
        return Probe::NoMatch;
    }
    match Request::read(orig) {
        Head::More => Probe::NeedMore,
        Head::Not => Probe::NoMatch,
        Head::Whole(_) => Probe::Match,
    }
}

/// What the head of a request says.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    method: &'a [u8],
    version: &'a [u8],
}

enum Head<'a> {
    More,
    Not,
    Whole(Request<'a>),
}

impl<'a> Request<'a> {
    /// The head need not be whole: what it is shows with the header that only these clients send.
    fn read(bytes: &'a [u8]) -> Head<'a> {
        let fits = |method: &&&[u8]| bytes.iter().zip(method.iter()).all(|(byte, wanted)| byte == wanted);
        let Some(method) = METHODS.iter().find(fits) else { return Head::Not };
        let window = bytes.get(..HEAD_LIMIT).unwrap_or(bytes);
        let mut lines = window.split_inclusive(|byte| *byte == b'\n');
        let over = if window.len() == HEAD_LIMIT { Head::Not } else { Head::More };
        let Some(first) = lines.next() else { return Head::More };
        if first.last() != Some(&b'\n') {
            return over;
        }
        if !first.trim_ascii_end().ends_with(b" RTSP/1.0") {
            return Head::Not;
        }
        for line in lines {
            if line.last() != Some(&b'\n') {
                return over;
            }
            let line = line.trim_ascii();
            if line.is_empty() {
                return Head::Not;
            }
            if let Some((name, value)) = line.split_at_checked(VERSION_HEADER.len()) {
                let version = value.trim_ascii();
                if name.eq_ignore_ascii_case(VERSION_HEADER) && version.iter().all(u8::is_ascii_digit) {
                    return Head::Whole(Self { method: method.trim_ascii_end(), version });
                }
            }
        }
        over
    }
}

#[derive(Debug)]
struct GameStream {
    inboxes: Ends<Inbox>,
    asked: bool,
    done: bool,
}

impl Default for GameStream {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(HEAD_LIMIT), resp: Inbox::new(ANSWER.len()) };
        Self { inboxes, asked: false, done: false }
    }
}

impl Analyzer for GameStream {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        let limit = if pdu.dir == Direction::Orig { HEAD_LIMIT } else { ANSWER.len() };
        let inbox = self.inboxes.of_mut(pdu.dir);
        let room = limit.saturating_sub(inbox.bytes().len());
        // What is beyond is not read.
        let _ = inbox.push(pdu.at, pdu.bytes.get(..room).unwrap_or(pdu.bytes));
        if pdu.dir == Direction::Orig && !self.asked {
            match Request::read(self.inboxes.orig.bytes()) {
                Head::More => {}
                Head::Not => self.refuse(pdu.at, pdu.dir, "gamestream.not-a-request", events),
                Head::Whole(request) => {
                    events.attribute(pdu.at, pdu.dir, METHOD, printable(request.method, 16));
                    events.attribute(pdu.at, pdu.dir, CLIENT_VERSION, printable(request.version, 8));
                    self.asked = true;
                }
            }
        }
        let answer = self.inboxes.resp.bytes();
        if self.done {
            return;
        }
        if !ANSWER.starts_with(answer) {
            self.refuse(pdu.at, pdu.dir, "gamestream.not-an-answer", events);
        } else if self.asked && answer == ANSWER {
            events.confirmed(pdu.at, pdu.dir);
            events.link(pdu.at, pdu.dir, Link::Pair("gamestream"));
            self.done = true;
            events.settled(pdu.at, pdu.dir);
        }
    }
}

impl GameStream {
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

    const OPTIONS: &[u8] =
        b"OPTIONS rtsp://192.0.2.9:48010 RTSP/1.0\r\nCSeq: 1\r\nX-GS-ClientVersion: 14\r\nHost: 192.0.2.9\r\n\r\n";
    const DIALOGUE: [Turn<'static>; 2] = [(Orig, OPTIONS), (Resp, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")];

    #[test]
    fn a_request_with_its_answer_confirms() {
        let events = testkit::stream(&GAMESTREAM, &DIALOGUE, 4096);
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        assert_eq!((said(&events, METHOD), said(&events, CLIENT_VERSION)), (Some("OPTIONS"), Some("14")));
    }

    #[test]
    fn a_camera_is_none() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&GAMESTREAM, Carrier::Stream, orig, resp);
        assert_eq!(probe(OPTIONS, b""), Probe::Match);
        assert_eq!(probe(&OPTIONS[..40], b""), Probe::NeedMore);
        for orig in [
            &b"OPTIONS rtsp://192.0.2.9/ RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: VLC\r\n\r\n"[..],
            b"OPTIONS * HTTP/1.1\r\nX-GS-ClientVersion: 14\r\n\r\n",
            b"OPTIONS sip:a@b SIP/2.0\r\n",
            b"OPTIONS rtsp://a RTSP/1.0\r\nX-GS-ClientVersion: x\r\n\r\n",
        ] {
            assert_eq!(probe(orig, b""), Probe::NoMatch);
        }
        assert_eq!(probe(OPTIONS, b"HTTP/1.1"), Probe::NoMatch);
        let events = testkit::stream(&GAMESTREAM, &[(Resp, b"HTTP")], 4096);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..60) {
            let kinds = |events: Vec<Event>| events.into_iter().map(|e| (e.dir, e.kind)).collect::<Vec<_>>();
            let whole = kinds(testkit::stream(&GAMESTREAM, &DIALOGUE, 4096));
            prop_assert_eq!(kinds(testkit::stream(&GAMESTREAM, &DIALOGUE, piece)), whole);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let asked = [&b"SETUP x RTSP/1.0\r\n"[..], &bytes].concat();
            testkit::stream(&GAMESTREAM, &[(Orig, &asked), (Resp, &bytes)], 7);
        }
    }
}
