//! What the targets for protocols share: a dialogue made of the fuzzer's bytes, and what must hold for any dialogue.
//!
//! Reads: `protocol, piece, (flags, length, bytes)*`. Checks, beyond not panicking:
//! a probe that said "no" stays with it; an analyzer gives the same events however its stream is cut; it only emits
//! keys that it declared, and hands over to protocols that exist; what it emits is bounded by what it read.

use farmlight::base::{CARGO, Direction, Ends, LinkType, Reader, Timestamp};
use farmlight::protocol::{
    Analyzer, Carrier, Event, EventKind, Events, Opening, Pdu, Piece, Probe, Protocol, REGISTRY, named,
};

/// The link types that are read, and one that is not.
pub const LINKS: [LinkType; 12] = [
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::NULL,
    LinkType::LOOP,
    LinkType::PPP,
    LinkType::PPP_HDLC,
    LinkType::PPP_ETHER,
    LinkType::LINUX_SLL,
    LinkType::LINUX_SLL2,
    LinkType::IPV4,
    LinkType::IPV6,
    LinkType(147),
];

/// How often a handover is followed.
const MAX_DEPTH: usize = 4;

/// How much of a flow a probe gets to see at most, in bytes of each end.
const OPENING: usize = 4_096;

/// One thing that happens in a flow.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    dir: Direction,
    bytes: &'a [u8],
    /// Bytes that were never captured: of a stream before `bytes`, of a datagram after them.
    missing: u32,
}

/// A flow as the fuzzer wrote it.
#[derive(Debug)]
pub struct Dialogue<'a> {
    /// Who reads it: one protocol, whatever its probe says.
    protocol: &'static Protocol,
    /// The stream is fed in pieces of this many bytes.
    piece: usize,
    turns: Vec<Turn<'a>>,
}

impl<'a> Dialogue<'a> {
    /// Reads a dialogue for one of the protocols on `carrier`; `None` if there is no such protocol or no header.
    #[must_use]
    pub fn read(bytes: &'a [u8], carrier: Carrier) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let chosen = usize::from(reader.u8()?);
        let piece = usize::from(reader.u8()?).max(1);
        let readers = readers(carrier);
        let protocol = readers.get(chosen.checked_rem(readers.len())?).copied()?;
        let turns = std::iter::from_fn(|| turn(&mut reader)).collect();
        Some(Self { protocol, piece, turns })
    }
}

/// The protocols on a carrier, as a dialogue's first byte counts them. Packets of other IP protocols are datagrams, too.
#[must_use]
pub fn readers(carrier: Carrier) -> Vec<&'static Protocol> {
    REGISTRY.iter().copied().filter(|p| p.carriers.iter().any(|own| is_like(*own, carrier))).collect()
}

fn is_like(own: Carrier, wanted: Carrier) -> bool {
    own == wanted || (wanted == Carrier::Datagram && matches!(own, Carrier::Ip(_)))
}

/// The carrier on which a protocol reads what is like `wanted`.
fn carrier_of(protocol: &Protocol, wanted: Carrier) -> Carrier {
    protocol.carriers.iter().copied().find(|own| is_like(*own, wanted)).unwrap_or(wanted)
}

/// Whether a protocol's probe refuses what both ends have sent.
#[must_use]
pub fn rules_out(protocol: &Protocol, carrier: Carrier, sent: Ends<&[u8]>, ports: Ends<u16>) -> bool {
    let newest = if sent.resp.is_empty() { Direction::Orig } else { Direction::Resp };
    let carrier = carrier_of(protocol, carrier);
    (protocol.probe)(&Opening { carrier, sent, before: &[], newest, ports }) == Probe::NoMatch
}

/// Adds a turn without anything missing to a dialogue, in the form that [`Dialogue::read`] reads.
pub fn write_turn(out: &mut Vec<u8>, dir: Direction, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.push(u8::from(dir == Direction::Resp));
    out.extend(len.to_be_bytes());
    out.extend(&bytes[..usize::from(len)]);
}

/// A turn: direction and what goes missing in the first byte, the length in the next two; the last may be shorter.
fn turn<'a>(reader: &mut Reader<'a>) -> Option<Turn<'a>> {
    let flags = reader.u8()?;
    let len = usize::from(reader.u16()?).min(reader.len());
    let dir = if flags & 1 == 0 { Direction::Orig } else { Direction::Resp };
    let missing = if flags & 0b110 == 0b110 { u32::from(flags >> 3) + 1 } else { 0 };
    Some(Turn { dir, bytes: reader.take(len)?, missing })
}

/// A stream: probes see it grow, the analyzer reads it whole and in pieces.
pub fn stream(dialogue: &Dialogue<'_>) {
    probe_stream(&dialogue.turns);
    let whole = Run::new(dialogue.protocol, Carrier::Stream).turns(&dialogue.turns, usize::MAX);
    let pieces = Run::new(dialogue.protocol, Carrier::Stream).turns(&dialogue.turns, dialogue.piece);
    assert_eq!(whole, pieces, "{}: cut into pieces of {}", dialogue.protocol.name, dialogue.piece);
}

/// Datagrams: probes see each, the analyzer reads all.
pub fn datagrams(dialogue: &Dialogue<'_>) {
    let mut sent = Ends::default();
    for turn in &dialogue.turns {
        *sent.of_mut(turn.dir) = turn.bytes;
        for protocol in readers(Carrier::Datagram) {
            let _ = (protocol.probe)(&opening(carrier_of(protocol, Carrier::Datagram), sent, turn.dir));
        }
    }
    let carrier = carrier_of(dialogue.protocol, Carrier::Datagram);
    let _ = Run::new(dialogue.protocol, carrier).turns(&dialogue.turns, usize::MAX);
}

fn opening(carrier: Carrier, sent: Ends<&[u8]>, newest: Direction) -> Opening<'_> {
    Opening { carrier, sent, before: &[], newest, ports: Ends { orig: 50_000, resp: 443 } }
}

fn probe_stream(turns: &[Turn<'_>]) {
    let mut sent: Ends<Vec<u8>> = Ends { orig: Vec::new(), resp: Vec::new() };
    let readers = readers(Carrier::Stream);
    let mut refused = vec![false; readers.len()];
    for turn in turns.iter().take_while(|turn| turn.missing == 0) {
        let room = OPENING - sent.of(turn.dir).len();
        sent.of_mut(turn.dir).extend(turn.bytes.iter().take(room));
        let seen = Ends { orig: sent.orig.as_slice(), resp: sent.resp.as_slice() };
        for (protocol, refused) in readers.iter().zip(&mut refused) {
            let answer = (protocol.probe)(&opening(Carrier::Stream, seen, turn.dir));
            assert!(!*refused || answer == Probe::NoMatch, "{}: said NoMatch before, now {answer:?}", protocol.name);
            *refused = answer == Probe::NoMatch;
        }
    }
}

/// An analyzer at work, and what it has said so far.
struct Run {
    protocol: &'static Protocol,
    carrier: Carrier,
    analyzer: Box<dyn Analyzer>,
    /// The analyzer settled: the rest of the flow is not shown to it.
    settled: bool,
    depth: usize,
    read: usize,
    said: Vec<Event>,
}

impl Run {
    fn new(protocol: &'static Protocol, carrier: Carrier) -> Self {
        let analyzer = (protocol.analyzer)();
        Self { protocol, carrier, analyzer, settled: false, depth: 0, read: 0, said: Vec::new() }
    }

    /// Feeds the dialogue, turn `i` at `i` milliseconds, each turn in pieces; gives all events.
    fn turns(mut self, turns: &[Turn<'_>], piece: usize) -> Vec<Event> {
        let time = |i: usize| Timestamp::from_nanos(i64::try_from(i).unwrap_or(i64::MAX).saturating_mul(1_000_000));
        for (i, turn) in turns.iter().enumerate() {
            if self.carrier == Carrier::Stream && turn.missing > 0 {
                self.gap(time(i), turn.dir, turn.missing.into());
            }
            if self.carrier != Carrier::Stream {
                self.feed(time(i), turn.dir, turn.bytes, turn.missing);
                continue;
            }
            for part in turn.bytes.chunks(piece) {
                self.feed(time(i), turn.dir, part, 0);
            }
        }
        let mut events = Events::default();
        if !self.settled {
            self.analyzer.on_close(time(turns.len()), &mut events);
        }
        self.take(&mut events);
        self.said
    }

    fn gap(&mut self, at: Timestamp, dir: Direction, len: u64) {
        if !self.settled {
            let mut events = Events::default();
            self.analyzer.on_gap(at, dir, len, &mut events);
            self.take(&mut events);
        }
    }

    fn feed(&mut self, at: Timestamp, dir: Direction, bytes: &[u8], missing: u32) {
        if self.settled {
            return;
        }
        self.read += bytes.len();
        let mut events = Events::default();
        self.analyzer.on_pdu(&Pdu { at, dir, bytes, carrier: self.carrier, missing }, &mut events);
        if let Some((to, rest)) = self.take(&mut events) {
            self.follow(to, &rest);
        }
    }

    /// Keeps the events, up to the one that ends the analyzer's work; gives the handover, if it is one.
    fn take(&mut self, events: &mut Events) -> Option<(&'static str, Vec<Piece>)> {
        for mut event in events.drain() {
            let mut handover = None;
            match &mut event.kind {
                EventKind::Attribute { key, .. } => {
                    let declared = |protocol: &&'static Protocol| protocol.attributes.contains(key);
                    // What is in a WebSocket is read by its own protocol's reader.
                    let cargo = self.protocol.name == "websocket" && REGISTRY.iter().any(declared);
                    assert!(declared(&self.protocol) || cargo, "{}: undeclared key {key}", self.protocol.name);
                }
                // How much of the child's bytes came in the same PDU depends on the cut, and is no part of the story.
                EventKind::Handover { to, rest, .. } => handover = Some((*to, std::mem::take(rest))),
                EventKind::Settled => self.settled = true,
                _ => {}
            }
            self.said.push(event);
            assert!(self.said.len() <= 64 + self.read, "{}: more events than bytes", self.protocol.name);
            if handover.is_some() || self.settled {
                return handover;
            }
        }
        None
    }

    /// Goes on as the child protocol does.
    fn follow(&mut self, to: &'static str, rest: &[Piece]) {
        if to == CARGO {
            // Probes would look at what follows as at a new flow: `probe_stream` does, and this story ends.
            self.settled = true;
            return;
        }
        let child =
            named(to).unwrap_or_else(|| panic!("{}: hands over to {to}, which is not there", self.protocol.name));
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.settled = true;
            return;
        }
        self.protocol = child;
        self.analyzer = (child.analyzer)();
        for piece in rest {
            self.feed(piece.at, piece.dir, &piece.bytes, 0);
        }
    }
}
