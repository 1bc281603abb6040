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
use crate::protocol::codec::multiplex::{Multiplex, Name};
use crate::protocol::codec::stun::{HEADER, Message, channel_data};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol, Said, Shows, Sign};

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

/// TURN.
pub(super) static TURN: Protocol = Protocol {
    name: "turn",
    category: Category::Conferencing,
    carriers: &[Carrier::Datagram, Carrier::Stream],
    ports: &[],
    attributes: &[
        "turn.username",
        "turn.realm",
        "turn.relayed_address",
        "turn.peer_address",
        "turn.requested_transport",
    ],
    signs: &[Sign::new("tls.alpn", Said::Exactly("stun.turn"), Shows::Certain)],
    lasting: true,
    probe: |opening| probe(opening, Name::Turn),
    analyzer: || Box::new(Reader::new(Name::Turn)),
};

const ATTRIBUTES: &[Key] = &[
    "stun.software",
    "stun.client_software",
    "stun.username",
    "stun.mapped_address",
    "stun.controlling",
    "stun.nominated",
    "stun.error",
    "stun.origin",
    "stun.dialect",
];

/// The longest frame of a stream: 16 bits of length and the longest header before it.
const FRAME_LIMIT: usize = 0x1_0000 + HEADER;

fn probe(opening: &Opening<'_>, name: Name) -> Probe {
    match opening.carrier {
        Carrier::Datagram => datagram(opening, name),
        Carrier::Stream => stream(opening, name),
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

/// What the first bytes of one end show: its framing and whether they are of TURN, or that they can't be STUN.
enum Opens {
    With(Framing, bool),
    Unknown,
    Otherwise,
}

fn opens(bytes: &[u8]) -> Opens {
    let Some(first) = bytes.first() else { return Opens::Unknown };
    if *first > 3 && bytes.len() < 4 {
        // The length of a counted frame below 1 KiB begins with 0 to 3.
        return Opens::Otherwise;
    }
    for (framing, skip) in [(Framing::Bare, 0), (Framing::Counted, 2), (Framing::Draft, 4)] {
        let Some(head) = bytes.get(skip..) else { continue };
        let fits = match framing {
            Framing::Bare => true,
            Framing::Counted => length(bytes, 0).is_some_and(|n| (HEADER..0x400).contains(&n)),
            Framing::Draft => matches!(bytes, [2, 0, ..]) && length(bytes, 2).is_some_and(|n| n >= HEADER),
        };
        if let Some(known) = fits.then(|| distinctive(head)).flatten() {
            return Opens::With(framing, known);
        }
    }
    if *first > 3 || bytes.len() >= 4 + HEADER + 8 { Opens::Otherwise } else { Opens::Unknown }
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|n| usize::from(u16::from_be_bytes(*n)))
}

/// Whether a message begins here that its cookie tells, and if so, whether it is of TURN.
fn distinctive(bytes: &[u8]) -> Option<bool> {
    let need = HEADER + length(bytes, 2)?;
    let have = bytes.get(..need).unwrap_or(bytes);
    let missing = u32::try_from(need - have.len()).ok()?;
    let message = Message::parse(have, missing).filter(|_| have.len() >= HEADER)?;
    (message.dialect != crate::protocol::codec::stun::Dialect::Classic).then(|| message.is_turn())
}

fn stream(opening: &Opening<'_>, name: Name) -> Probe {
    match (opens(opening.sent.orig), opens(opening.sent.resp)) {
        (Opens::Otherwise, _) | (_, Opens::Otherwise) => Probe::NoMatch,
        (Opens::With(_, turn), _) | (_, Opens::With(_, turn)) => {
            if turn == (name == Name::Turn) {
                Probe::Match
            } else {
                Probe::NoMatch
            }
        }
        _ => Probe::NeedMore,
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
                Opens::With(framing, _) => self.framing = Some(framing),
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
