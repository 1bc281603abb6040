//! STUN and TURN: who asks a server for its own address, checks a way to a peer, or has a relay carry its calls.
//!
//! Reads: STUN over UDP and TCP in all its dialects, TURN's ChannelData, the framings of ICE over TCP (RFC 4571) and of
//! [MS-TURN] over TCP; DTLS and media that share the flow or travel in TURN are read too (`codec::multiplex`). Emits:
//! attributes, links, the round trip of each transaction. Does not: read TURN under TLS, which shows only its ALPN.
//!
//! Reference: RFC 8489, RFC 3489, RFC 8656, RFC 6062, RFC 8445, RFC 6544, RFC 7443, [MS-TURN].

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::codec::Inbox;
use crate::protocol::codec::dtls_record::{self, shape};
use crate::protocol::codec::multiplex::{ATTRIBUTES, Multiplex, Name};
use crate::protocol::codec::stun::{Dialect, HEADER, Message, channel_data};
use crate::protocol::{Analyzer, Carrier, Category, Events, Opening, Pdu, Probe, Protocol, Said, Shows, Sign};

/// STUN.
pub(super) static STUN: Protocol = Protocol {
    name: "stun",
    category: Category::Conferencing,
    carriers: &[Carrier::Datagram, Carrier::Stream],
    ports: &[3478, 19302, 3479, 3480, 3481],
    attributes: ATTRIBUTES,
    signs: &[Sign::new("tls.alpn", Said::Exactly("stun.nat-discovery"), Shows::Certain)],
    lasting: true,
    probe: |opening| probe(opening, Name::Stun),
    analyzer: || Box::new(Reader::new(Name::Stun)),
};

/// TURN. A stream is STUN's until a message of TURN names it.
pub(super) static TURN: Protocol = Protocol {
    name: "turn",
    category: Category::Conferencing,
    carriers: &[Carrier::Datagram],
    ports: &[],
    attributes: ATTRIBUTES,
    signs: &[Sign::new("tls.alpn", Said::Exactly("stun.turn"), Shows::Certain)],
    lasting: true,
    probe: |opening| probe(opening, Name::Turn),
    analyzer: || Box::new(Reader::new(Name::Turn)),
};

/// The longest frame of a stream: 16 bits of length and the longest header before it.
const FRAME_LIMIT: usize = 0x1_0000 + HEADER;

fn probe(opening: &Opening<'_>, name: Name) -> Probe {
    match opening.carrier {
        Carrier::Datagram => datagram(opening, name),
        Carrier::Stream => stream(opening),
        Carrier::Ip(_) => Probe::NoMatch,
    }
}

fn datagram(opening: &Opening<'_>, name: Name) -> Probe {
    let newest = opening.sent.of(opening.newest);
    match newest.first() {
        Some(0..=3) => {}
        Some(0x40..=0x4f) if name == Name::Turn => return carried(newest),
        _ => return Probe::NoMatch,
    }
    let Some(message) = Message::parse(newest, 0) else { return Probe::NoMatch };
    if (name == Name::Turn) != message.is_turn() {
        return Probe::NoMatch;
    }
    if message.is_distinctive() {
        return Probe::Match;
    }
    // Twenty bytes of RFC 3489 are anybody's, until the other end repeats the sixteen random ones.
    let other = Message::parse(opening.sent.of(opening.newest.flip()), 0);
    match other {
        Some(other) if other.transaction == message.transaction && other.class != message.class => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// Whether a ChannelData message carries what only peers of a call send.
fn carried(datagram: &[u8]) -> Probe {
    let Some(data) = channel_data(datagram, 0) else { return Probe::NoMatch };
    let stun = Message::parse(data, 0).is_some_and(|message| message.is_distinctive());
    if stun || shape(data, 0) != dtls_record::Shape::Other { Probe::Match } else { Probe::NoMatch }
}

/// How a stream is cut into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// STUN messages and ChannelData padded to four bytes (RFC 8656 section 12.5).
    Bare,
    /// Two bytes of length before each (RFC 4571).
    Counted,
    /// A byte of kind, a byte of nought, two bytes of length ([MS-TURN] 2.1.1).
    Draft,
}

/// What the first bytes of one end show: how it cuts its stream into messages, or that it can't be STUN.
enum Opens {
    With(Framing),
    Unknown,
    Otherwise,
}

fn opens(bytes: &[u8]) -> Opens {
    let Some(first) = bytes.first() else { return Opens::Unknown };
    if *first > 3 {
        // No method that is in use has a higher first byte, nor the length of a counted frame below 1 KiB.
        return Opens::Otherwise;
    }
    for (framing, skip) in [(Framing::Bare, 0), (Framing::Counted, 2), (Framing::Draft, 4)] {
        let Some(head) = bytes.get(skip..) else { continue };
        let fits = match framing {
            Framing::Bare => true,
            Framing::Counted => length(bytes, 0).is_some_and(|n| (HEADER..0x400).contains(&n)),
            Framing::Draft => matches!(bytes, [2, 0, ..]) && length(bytes, 2).is_some_and(|n| n >= HEADER),
        };
        if fits && distinctive(head) {
            return Opens::With(framing);
        }
    }
    if bytes.len() >= 4 + HEADER + 8 { Opens::Otherwise } else { Opens::Unknown }
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|n| usize::from(u16::from_be_bytes(*n)))
}

/// Whether a message begins here that its cookie tells.
fn distinctive(bytes: &[u8]) -> bool {
    let Some(need) = length(bytes, 2).map(|n| HEADER + n).filter(|_| bytes.len() >= HEADER) else { return false };
    let have = bytes.get(..need).unwrap_or(bytes);
    let missing = u32::try_from(need - have.len()).unwrap_or(0);
    Message::parse(have, missing).is_some_and(|message| message.dialect != Dialect::Classic)
}

fn stream(opening: &Opening<'_>) -> Probe {
    match (opens(opening.sent.orig), opens(opening.sent.resp)) {
        (Opens::Otherwise, _) | (_, Opens::Otherwise) => Probe::NoMatch,
        (Opens::With(_), _) | (_, Opens::With(_)) => Probe::Match,
        (Opens::Unknown, Opens::Unknown) => Probe::NeedMore,
    }
}

struct Reader {
    calls: Multiplex,
    inboxes: Ends<Inbox>,
    framing: Option<Framing>,
    done: bool,
}

impl Reader {
    fn new(name: Name) -> Self {
        let inbox = || Inbox::new(FRAME_LIMIT * 2);
        Self { calls: Multiplex::new(name), inboxes: Ends { orig: inbox(), resp: inbox() }, framing: None, done: false }
    }

    /// Length of the frame that begins here, header included, and how much of it stands before the message.
    fn frame(&self, bytes: &[u8]) -> Option<(usize, usize, usize)> {
        let first = *bytes.first()?;
        match self.framing? {
            Framing::Bare if first >= 0x40 => {
                let whole = 4 + length(bytes, 2)?;
                Some((whole.next_multiple_of(4), 0, whole))
            }
            Framing::Bare => {
                let whole = HEADER + length(bytes, 2)?;
                Some((whole, 0, whole))
            }
            Framing::Counted => {
                let whole = 2 + length(bytes, 0)?;
                Some((whole, 2, whole))
            }
            Framing::Draft => {
                let whole = 4 + length(bytes, 2)?;
                Some((whole, 4, whole))
            }
        }
    }

    fn on_bytes(&mut self, at: Timestamp, dir: Direction, bytes: &[u8], events: &mut Events) {
        if !self.inboxes.of_mut(dir).push(at, bytes) {
            return self.fail(at, dir, events);
        }
        if self.framing.is_none() {
            match opens(self.inboxes.of(dir).bytes()) {
                Opens::With(framing) => self.framing = Some(framing),
                Opens::Unknown => return,
                Opens::Otherwise => return self.fail(at, dir, events),
            }
        }
        for end in [dir.flip(), dir] {
            let mut inbox = std::mem::replace(self.inboxes.of_mut(end), Inbox::new(FRAME_LIMIT * 2));
            let mut used = 0;
            while let Some(held) = inbox.bytes().get(used..)
                && let Some((whole, skip, until)) = self.frame(held)
                && let Some(frame) = held.get(..whole)
            {
                let message = frame.get(skip..until).unwrap_or_default();
                self.calls.on_datagram(inbox.time_of(used + whole - 1), end, message, 0, events);
                used += whole;
            }
            inbox.consume(used);
            *self.inboxes.of_mut(end) = inbox;
        }
    }

    fn fail(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.violation(at, dir, "stun.malformed-frame");
        events.settled(at, dir);
    }
}

impl Analyzer for Reader {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if pdu.carrier == Carrier::Stream {
            if !self.done {
                self.on_bytes(pdu.at, pdu.dir, pdu.bytes, events);
            }
        } else {
            self.calls.on_datagram(pdu.at, pdu.dir, pdu.bytes, pdu.missing, events);
        }
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        self.calls.on_close(at, events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use Direction::{Orig, Resp};
    use proptest::prelude::*;

    fn message(kind: u16, transaction: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), &[0x21, 0x12, 0xa4, 0x42], &[transaction; 12], body].concat()
    }

    fn framed(framing: Framing, message: &[u8]) -> Vec<u8> {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        match framing {
            Framing::Bare => message.to_vec(),
            Framing::Counted => [&length[..], message].concat(),
            Framing::Draft => [&[2, 0][..], &length, message].concat(),
        }
    }

    fn is(protocol: &Protocol, carrier: Carrier, orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(protocol, carrier, orig, resp)
    }

    #[test]
    fn a_cookie_is_enough_and_its_method_names_the_protocol() {
        let (binding, allocate) = (message(1, 7, b""), message(3, 7, b""));
        assert_eq!(is(&STUN, Carrier::Datagram, &binding, b""), Probe::Match);
        assert_eq!(is(&TURN, Carrier::Datagram, &binding, b""), Probe::NoMatch);
        assert_eq!(is(&TURN, Carrier::Datagram, &allocate, b""), Probe::Match);
        assert_eq!(is(&STUN, Carrier::Datagram, &allocate, b""), Probe::NoMatch);
        let inside = [&[0x40, 0, 0, 20][..], &binding].concat();
        assert_eq!(is(&TURN, Carrier::Datagram, &inside, b""), Probe::Match);
        assert_eq!(is(&TURN, Carrier::Datagram, &[0x40, 0, 0, 4, 1, 2, 3, 4], b""), Probe::NoMatch);
    }

    #[test]
    fn twenty_classic_bytes_need_their_answer() {
        let ask = [&[0, 1, 0, 0][..], &[9; 16]].concat();
        let answer = [&[1, 1, 0, 12][..], &[9; 16], &[0, 1, 0, 8, 0, 1, 0, 80, 192, 0, 2, 1]].concat();
        assert_eq!(is(&STUN, Carrier::Datagram, &ask, b""), Probe::NeedMore);
        assert_eq!(is(&STUN, Carrier::Datagram, &ask, &answer), Probe::Match);
        // A DNS answer, an RPC call, a counter: a type of STUN's in front and no more.
        for other in
            [&b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x03www\x07example\0\0\x01\0\x01"[..], &[0, 1, 0, 4, 9, 9, 9, 9]]
        {
            assert_eq!(is(&STUN, Carrier::Datagram, other, b""), Probe::NoMatch);
        }
    }

    #[test]
    fn streams_are_told_by_their_framing() {
        let binding = message(1, 7, &[0; 8]);
        for framing in [Framing::Bare, Framing::Counted, Framing::Draft] {
            let bytes = framed(framing, &binding);
            for n in 0..HEADER {
                assert_eq!(is(&STUN, Carrier::Stream, &bytes[..n], b""), Probe::NeedMore, "{framing:?} {n}");
            }
            assert_eq!(is(&STUN, Carrier::Stream, &bytes, b""), Probe::Match, "{framing:?}");
        }
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01abcd",
            &[0; 64],
        ] {
            assert_eq!(is(&STUN, Carrier::Stream, other, b""), Probe::NoMatch);
        }
    }

    /// TURN over TCP: an allocation, then a check of ICE in ChannelData with padding.
    fn turn_stream() -> Vec<(Direction, Vec<u8>)> {
        let channel = |data: &[u8]| {
            let mut out = [&[0x40, 1][..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat();
            out.resize(out.len().next_multiple_of(4), 0);
            out
        };
        let check = message(1, 5, &[0, 6, 0, 9, b'a', b'b', b'c', b'd', b':', b'w', b'x', b'y', b'z', 0, 0, 0]);
        vec![
            (Orig, message(3, 1, &[0, 0x19, 0, 4, 17, 0, 0, 0])),
            (Resp, message(0x103, 1, &[0x80, 0x22, 0, 2, b'o', b'k', 0, 0])),
            (Orig, channel(&check)),
            (Resp, [channel(&message(0x101, 5, b"")), channel(&[0x80, 96, 1])].concat()),
            (Orig, message(4, 6, b"")),
            (Resp, message(0x104, 6, b"")),
        ]
    }

    fn told(piece: usize) -> Vec<Event> {
        let turns = turn_stream();
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&STUN, &turns, piece)
    }

    #[test]
    fn turn_over_tcp_is_read_with_what_it_carries() {
        let events = told(usize::MAX);
        let methods: Vec<_> = testkit::loops(&events).into_iter().map(|(_, _, method)| method).collect();
        assert_eq!(methods, ["allocate", "binding-through-relay", "refresh"]);
        assert_eq!(testkit::said(&events, "stun.software"), Some("ok"));
        assert_eq!(testkit::said(&events, "stun.username"), Some("abcd:wxyz"));
        assert!(events.iter().any(|event| event.kind == EventKind::Confirmed));
    }

    /// Found by fuzzing: a first byte that begins no frame stays refused when the cookie comes.
    #[test]
    fn a_method_nobody_uses_opens_nothing_however_it_is_cut() {
        let odd = message(0x0401, 7, &[0; 40]);
        for len in 1..odd.len() {
            assert_eq!(is(&STUN, Carrier::Stream, &odd[..len], b""), Probe::NoMatch, "{len}");
        }
        assert_eq!(testkit::stream(&STUN, &[(Orig, &odd)], 1), testkit::stream(&STUN, &[(Orig, &odd)], usize::MAX));
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_events(piece in 1usize..90) {
            prop_assert_eq!(told(piece), told(usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(turns in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..90)), 0..9)) {
            for start in [&[][..], &message(3, 1, b"")] {
                let turns: Vec<(Direction, Vec<u8>)> = turns
                    .iter()
                    .map(|(resp, noise)| (if *resp { Resp } else { Orig }, [start, noise].concat()))
                    .collect();
                let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
                testkit::stream(&STUN, &turns, 33);
                testkit::datagrams(&TURN, &turns);
                for (_, bytes) in &turns {
                    let _ = (is(&STUN, Carrier::Stream, bytes, b""), is(&TURN, Carrier::Datagram, bytes, b""));
                }
            }
        }
    }
}
