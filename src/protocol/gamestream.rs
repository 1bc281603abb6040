//! GameStream: Sunshine and its kin as host, Moonlight as client. Made for games, and in use as a remote desktop.
//!
//! Reads: the RTSP dialogue that sets a session up (each request has a connection of its own), the requests in clear by
//! which a client finds and pairs with a host, the pings that open video and audio and the RTP that answers them, and
//! the certificates by their signs. Emits: which step it is, the screen asked for, the link of all flows of one
//! session. Does not: read encrypted RTSP (`rtspenc`), ENet (control), or media.
//!
//! Reference: moonlight-stream/moonlight-common-c (`RtspConnection.c`, `SdpGenerator.c`, `VideoStream.c`,
//! `AudioStream.c`); LizardByte/Sunshine (`nvhttp.cpp`, `rtsp.cpp`, `crypto.cpp`, "Port Test").

use crate::base::{Direction, Ends, Link, Timestamp};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol, Said, Shows, Sign};

/// The registry's entry.
pub(crate) static GAMESTREAM: Protocol = Protocol {
    name: "gamestream",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[47_989, 48_010, 47_998, 47_999, 48_000, 47_984],
    attributes: &[STEP, SCREEN],
    signs: &[
        // Hosts and clients make themselves a certificate by these names (Sunshine's and GeForce Experience's; Moonlight's).
        Sign::new("tls.cert_subject", Said::Contains("CN=Sunshine Gamestream Host"), Shows::Certain),
        Sign::new("tls.cert_subject", Said::Contains("CN=NVIDIA GameStream Server"), Shows::Certain),
        Sign::new("tls.client_cert_subject", Said::Contains("CN=NVIDIA GameStream Client"), Shows::Certain),
    ],
    lasting: false,
    probe,
    analyzer: || Box::new(GameStream::default()),
};

/// `serverinfo`, `pair`, `launch`…; of RTSP `options`, `describe`, `setup`, `announce`, `play`; of UDP `media`.
const STEP: Key = "gamestream.step";
/// Width and height that the client asks for.
const SCREEN: Key = "gamestream.screen";
const LINK: &str = "gamestream";

/// Bytes of a request that are looked at before it is given up.
const HEAD_LIMIT: usize = 2_000;
const INBOX_LIMIT: usize = 64 * 1024;
/// An ANNOUNCE is about 4 kB.
const BODY_LIMIT: usize = 16 * 1024;

/// What a client asks over HTTP; the number that it has given itself always comes first.
const PAGES: [&[u8]; 7] = [
    b"GET /serverinfo?uniqueid=",
    b"GET /pair?uniqueid=",
    b"GET /applist?uniqueid=",
    b"GET /launch?uniqueid=",
    b"GET /resume?uniqueid=",
    b"GET /cancel?uniqueid=",
    b"GET /unpair?uniqueid=",
];
/// What it asks over RTSP.
const METHODS: [&[u8]; 5] = [b"OPTIONS ", b"DESCRIBE ", b"SETUP ", b"ANNOUNCE ", b"PLAY "];
/// The field that no other RTSP client has.
const VERSION_FIELD: &[u8] = b"\r\nX-GS-ClientVersion:";

fn probe(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    if opening.carrier == Carrier::Datagram {
        return media(orig, resp);
    }
    let begins = |with: &&[u8]| orig.iter().zip(*with).all(|(a, b)| a == b);
    let answered = |with: &[u8]| resp.iter().zip(with).all(|(a, b)| a == b);
    if let Some(page) = PAGES.iter().find(|page| begins(page))
        && answered(b"HTTP/1.")
    {
        return if orig.len() >= page.len() { Probe::Match } else { Probe::NeedMore };
    }
    if !METHODS.iter().any(begins) || !answered(b"RTSP/1.0 ") {
        return Probe::NoMatch;
    }
    let window = orig.get(..HEAD_LIMIT).unwrap_or(orig);
    let ended = window.windows(4).any(|w| w == b"\r\n\r\n") || window.len() == HEAD_LIMIT;
    match head(window).windows(VERSION_FIELD.len()).any(|w| w == VERSION_FIELD) {
        true => Probe::Match,
        false if ended => Probe::NoMatch,
        false => Probe::NeedMore,
    }
}

/// A request or a response up to its empty line.
fn head(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    bytes.get(..end).unwrap_or(bytes)
}

/// The client pings until media come.
fn media(orig: &[u8], resp: &[u8]) -> Probe {
    match (is_ping(orig), is_media(resp)) {
        (true, true) => Probe::Match,
        (true, false) if resp.is_empty() => Probe::NeedMore,
        _ => Probe::NoMatch,
    }
}

/// `PING`, or the host's token of 16 hexadecimal digits and a counter from 1 (`SS_PING`).
fn is_ping(bytes: &[u8]) -> bool {
    match bytes.split_first_chunk::<16>() {
        Some((token, counter)) => {
            let counter = counter.first_chunk().filter(|_| counter.len() == 4).map(|c| u32::from_be_bytes(*c));
            let small = counter.is_some_and(|counter| (1..0x1_0000).contains(&counter));
            token.iter().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')) && small
        }
        None => bytes == b"PING",
    }
}

/// RTP as the host sends it: video with an extension and payload type 0, audio 97, its error correction 127.
fn is_media(bytes: &[u8]) -> bool {
    bytes.len() > 12 && matches!(bytes, [0x90, 0, ..] | [0x80, 97 | 127, ..])
}

#[derive(Debug)]
struct GameStream {
    inboxes: Ends<Inbox>,
    told: bool,
    done: bool,
}

impl Default for GameStream {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) },
            told: false,
            done: false,
        }
    }
}

impl Analyzer for GameStream {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || pdu.bytes.is_empty() {
            return;
        }
        if pdu.carrier == Carrier::Datagram {
            return self.on_datagram(pdu, events);
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            return self.settle(pdu.at, pdu.dir, events);
        }
        let request = self.inboxes.orig.bytes();
        if let Some(page) = PAGES.iter().find(|page| request.starts_with(page)) {
            self.done = true;
            let step = page.split(|b| matches!(b, b'/' | b'?')).nth(1).unwrap_or_default();
            let at = self.inboxes.orig.time_of(page.len() - 1);
            self.tell(at, &printable(step, page.len()), events);
            return events.handover(pdu.at, pdu.dir, "http", true, unused(&self.inboxes));
        }
        self.on_rtsp(pdu, events);
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        self.settle(at, Direction::Orig, events);
    }
}

impl GameStream {
    fn tell(&mut self, at: Timestamp, step: &str, events: &mut Events) {
        if !std::mem::replace(&mut self.told, true) {
            events.attribute(at, Direction::Orig, STEP, step);
            events.application(at, Direction::Orig, GAMESTREAM.name);
            events.link(at, Direction::Orig, Link::Pair(LINK));
        }
    }

    fn on_datagram(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if pdu.dir == Direction::Resp && is_media(pdu.bytes) {
            self.tell(pdu.at, "media", events);
            events.confirmed(pdu.at, pdu.dir);
            self.settle(pdu.at, pdu.dir, events);
        }
    }

    /// One request and its response: the next request comes by another connection.
    fn on_rtsp(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let request = self.inboxes.orig.bytes();
        let top = head(request);
        if !top.ends_with(b"\r\n\r\n") {
            return;
        }
        let at = self.inboxes.orig.time_of(top.len() - 1);
        let method = top.split(|b| *b == b' ').next().unwrap_or_default();
        let step = printable(method, 10).to_ascii_lowercase();
        let body = request.get(top.len()..).unwrap_or_default();
        let answered = self.inboxes.resp.bytes().starts_with(b"RTSP/1.0 ");
        if answered || body.len() > BODY_LIMIT {
            let screen =
                value(body, b"x-nv-video[0].clientViewportWd:").zip(value(body, b"x-nv-video[0].clientViewportHt:"));
            let answer_at = self.inboxes.resp.time_of(0);
            self.tell(at, &step, events);
            if let Some((width, height)) = screen {
                events.attribute(at, Direction::Orig, SCREEN, format!("{width}x{height}"));
            }
            if answered {
                events.confirmed(answer_at, Direction::Resp);
            }
            self.settle(pdu.at, pdu.dir, events);
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.done, true) {
            events.settled(at, dir);
        }
    }
}

/// The number behind a name of the session's description.
fn value(description: &[u8], name: &[u8]) -> Option<u32> {
    let at = description.windows(name.len()).position(|w| w == name)? + name.len();
    let digits = description.get(at..)?.split(|b| !b.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn, said};
    use proptest::prelude::*;

    const OPTIONS: &[u8] =
        b"OPTIONS rtsp://192.0.2.9:48010 RTSP/1.0\r\nCSeq: 1\r\nX-GS-ClientVersion: 14\r\nHost: 192.0.2.9\r\n\r\n";
    const ANNOUNCE: &[u8] = b"ANNOUNCE streamid=control/13/0 RTSP/1.0\r\nCSeq: 6\r\nX-GS-ClientVersion: 14\r\n\
        Content-length: 84\r\n\r\nv=0\r\na=x-nv-video[0].clientViewportWd:1920 \r\n\
        a=x-nv-video[0].clientViewportHt:1080 \r\n";
    const OK: &[u8] = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n";

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&GAMESTREAM, Carrier::Stream, orig, resp)
    }

    fn udp(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&GAMESTREAM, Carrier::Datagram, orig, resp)
    }

    #[test]
    fn a_session_is_set_up() {
        assert_eq!(probe(OPTIONS, b""), Probe::Match);
        let events = testkit::stream(&GAMESTREAM, &[(Orig, OPTIONS), (Resp, OK)], 9_000);
        assert_eq!(said(&events, STEP), Some("options"));
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        let events = testkit::stream(&GAMESTREAM, &[(Orig, ANNOUNCE), (Resp, OK)], 9_000);
        assert_eq!((said(&events, STEP), said(&events, SCREEN)), (Some("announce"), Some("1920x1080")));
    }

    #[test]
    fn a_camera_is_no_desktop() {
        assert_eq!(
            probe(b"OPTIONS rtsp://192.0.2.9 RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: x\r\n\r\n", b""),
            Probe::NoMatch
        );
        assert_eq!(probe(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(OPTIONS, b"HTTP/1.1 400 Bad Request\r\n"), Probe::NoMatch);
        // In the body it is somebody's text.
        let quoted = b"ANNOUNCE x RTSP/1.0\r\nCSeq: 1\r\n\r\n\r\nX-GS-ClientVersion: 14\r\n";
        assert_eq!(probe(quoted, b""), Probe::NoMatch);
    }

    #[test]
    fn a_client_looks_for_its_host() {
        let ask = b"GET /serverinfo?uniqueid=0123456789ABCDEF&uuid=x HTTP/1.1\r\nHost: 192.0.2.9:47989\r\n\r\n";
        assert_eq!(probe(ask, b""), Probe::Match);
        assert_eq!(probe(&ask[..9], b""), Probe::NeedMore);
        assert_eq!(probe(b"GET /serverinfo?id=1 HTTP/1.1\r\n", b""), Probe::NoMatch);
        let events = testkit::stream(&GAMESTREAM, &[(Orig, ask)], 9_000);
        assert_eq!(said(&events, STEP), Some("serverinfo"));
        assert!(events.iter().any(|e| matches!(e.kind, EventKind::Handover { to: "http", as_carrier: true, .. })));
    }

    #[test]
    fn media_answer_a_ping() {
        let video = [&[0x90, 0, 0, 1][..], &[0; 60]].concat();
        let token = b"0123456789ABCDEF\0\0\0\x01";
        assert_eq!((udp(b"PING", b""), udp(b"PING", &video)), (Probe::NeedMore, Probe::Match));
        assert_eq!((udp(token, b""), udp(token, &video)), (Probe::NeedMore, Probe::Match));
        assert_eq!(udp(b"PING", b"PONG"), Probe::NoMatch);
        assert_eq!(udp(b"0123456789abcdef\0\0\0\x01", b""), Probe::NoMatch);
        assert_eq!(udp(b"0123456789ABCDEF\0\0\0\0", b""), Probe::NoMatch);
        assert_eq!(udp(&video, b""), Probe::NoMatch);
        let events = testkit::datagrams(&GAMESTREAM, &[(Orig, token), (Resp, &video)]);
        assert_eq!(said(&events, STEP), Some("media"));
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_events(piece in 1usize..300) {
            let turns: [Turn<'_>; 2] = [(Orig, ANNOUNCE), (Resp, OK)];
            let told = |piece| {
                let events = testkit::stream(&GAMESTREAM, &turns, piece);
                events.into_iter().map(|e| e.kind).collect::<Vec<_>>()
            };
            prop_assert_eq!(told(piece), told(9_000));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&b"SETUP x RTSP/1.0\r\nX-GS-ClientVersion: 1\r\n"[..], &bytes].concat();
            probe(&bytes, &bytes);
            testkit::stream(&GAMESTREAM, &[(Orig, &bytes), (Resp, &bytes)], 7);
            testkit::datagrams(&GAMESTREAM, &[(Orig, &bytes), (Resp, &bytes)]);
        }
    }
}
