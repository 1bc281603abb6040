//! SPICE: the desktop of a virtual machine, one TCP connection for each of its channels.
//!
//! Reads: the link messages of both ends, how the client proves itself, the result, then the headers of messages and the
//! few that tell something: the session's identifier, the machine's name, pings and acknowledgement windows. Emits:
//! those, the link that joins the channels of one session, and closed loops. Does not: decrypt, follow SASL, or look
//! into what is shown and typed.
//!
//! Stays for the whole flow, since the server pings now and then; between pings a message costs a look at its header.
//!
//! Reference: spice-space.org, "SPICE protocol" (link stage, 1.3 and 3), and the names in `spice/enums.h`.

use crate::base::{Direction, Ends, Layer, Link, Reader, Said, Shows, Sign, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry. QEMU has no port of its own for it; 5900 and up are usual, and 5930 stands in its manual.
pub(crate) static SPICE: Protocol = Protocol {
    name: "spice",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[5930, 5900],
    attributes: &[VERSION, CHANNEL, AUTH, SASL, ERROR, VM_NAME, VM_UUID],
    // The host name that Proxmox gives its ticket in, for CONNECT to its SPICE proxy.
    signs: &[Sign::new("proxy.target", Said::Begins("pvespiceproxy:"), Shows::Likely)],
    lasting: true,
    probe,
    analyzer: || Box::new(Spice::default()),
};

const VERSION: Key = "spice.version";
const CHANNEL: Key = "spice.channel";
const AUTH: Key = "spice.auth";
const SASL: Key = "spice.sasl_mechanisms";
const ERROR: Key = "spice.error";
const VM_NAME: Key = "spice.vm_name";
const VM_UUID: Key = "spice.vm_uuid";

const MAGIC: &[u8] = b"REDQ";
/// Magic, major and minor version, size of the message that follows.
const LINK_HEADER: usize = 16;
/// The longest link message taken; real ones have some 200 bytes.
const LINK_LIMIT: usize = 4_096;
/// Bytes of each end that are held until the link is made.
const INBOX_LIMIT: usize = 2 * LINK_LIMIT;
/// A DER-encoded RSA key of 1,024 bits, and what it encrypts.
const PUBLIC_KEY: usize = 162;
const TICKET: usize = 128;
/// Characters of a name that are kept.
const TEXT_KEPT: usize = 255;
/// Closed loops of one kind after which a channel is left alone.
const LOOPS: u16 = 256;

/// Bits of the common capabilities.
const CAN_SELECT: u32 = 1;
const MINI_HEADER: u32 = 1 << 3;

/// Messages of every channel, and of the main one (above 100).
const SET_ACK: u16 = 3;
const PING: u16 = 4;
const MAIN_INIT: u16 = 103;
const MAIN_NAME: u16 = 113;
const MAIN_UUID: u16 = 114;
/// The client's.
const ACK_SYNC: u16 = 1;
const PONG: u16 = 3;

fn probe(opening: &Opening<'_>) -> Probe {
    match [link_header(opening.sent.orig), link_header(opening.sent.resp)] {
        [Probe::NoMatch, _] | [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// Magic, a version from 1 to 2, and a size that can be.
fn link_header(bytes: &[u8]) -> Probe {
    if !bytes.iter().zip(MAGIC).all(|(a, b)| a == b) {
        return Probe::NoMatch;
    }
    match LinkHeader::read(bytes) {
        Some(header) if header.fits() => Probe::Match,
        Some(_) => Probe::NoMatch,
        None => Probe::NeedMore,
    }
}

struct LinkHeader {
    major: u32,
    minor: u32,
    size: usize,
}

impl LinkHeader {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.take(MAGIC.len())?;
        let (major, minor) = (u32_le(&mut reader)?, u32_le(&mut reader)?);
        Some(Self { major, minor, size: usize::try_from(u32_le(&mut reader)?).unwrap_or(usize::MAX) })
    }

    fn fits(&self) -> bool {
        matches!(self.major, 1 | 2) && self.minor < 256 && (12..=LINK_LIMIT).contains(&self.size)
    }
}

/// What a client asks for.
struct Wanted {
    session: u32,
    channel: u8,
    capabilities: u32,
}

impl Wanted {
    fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let (session, channel, _) = (u32_le(&mut reader)?, reader.u8()?, reader.u8()?);
        Some(Self { session, channel, capabilities: common_capabilities(reader, body)? })
    }
}

/// What a server grants.
struct Granted {
    error: u32,
    capabilities: u32,
}

impl Granted {
    fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let error = u32_le(&mut reader)?;
        reader.take(PUBLIC_KEY)?;
        Some(Self { error, capabilities: common_capabilities(reader, body)? })
    }
}

/// The first word of the common capabilities, of which counts and offset are read next.
fn common_capabilities(mut reader: Reader<'_>, body: &[u8]) -> Option<u32> {
    let (common, _channel, offset) = (u32_le(&mut reader)?, u32_le(&mut reader)?, u32_le(&mut reader)?);
    let offset = usize::try_from(offset).ok()?;
    if common == 0 {
        return Some(0);
    }
    u32_le(&mut Reader::new(body.get(offset..)?))
}

fn u32_le(reader: &mut Reader<'_>) -> Option<u32> {
    reader.array().map(u32::from_le_bytes)
}

const fn channel_name(channel: u8) -> &'static str {
    match channel {
        1 => "main",
        2 => "display",
        3 => "inputs",
        4 => "cursor",
        5 => "playback",
        6 => "record",
        7 => "tunnel",
        8 => "smartcard",
        9 => "usbredir",
        10 => "port",
        11 => "webdav",
        _ => "unknown",
    }
}

const fn error_name(error: u32) -> &'static str {
    match error {
        1 => "error",
        2 => "invalid-magic",
        3 => "invalid-data",
        4 => "version-mismatch",
        5 => "need-secured",
        6 => "need-unsecured",
        7 => "permission-denied",
        8 => "bad-connection-id",
        9 => "channel-not-available",
        _ => "unknown",
    }
}

/// What comes next, and from whom.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client's link message.
    #[default]
    Link,
    /// The server's.
    Reply,
    /// The client's choice how to prove itself.
    Mechanism,
    /// The client's encrypted password.
    Ticket,
    /// The server's list of SASL mechanisms.
    Sasl,
    /// Whether the server lets the client in.
    Result,
    /// Messages of both ends.
    Messages,
    Done,
}

impl Stage {
    const fn sender(self) -> Direction {
        match self {
            Self::Reply | Self::Sasl | Self::Result => Direction::Resp,
            _ => Direction::Orig,
        }
    }
}

#[derive(Debug)]
struct Spice {
    inboxes: Ends<Inbox>,
    stage: Stage,
    main: bool,
    capabilities: u32,
    frames: Ends<Frames>,
    /// The ping and the acknowledgement window whose answers have not come.
    ping: Option<u32>,
    window: Option<u32>,
    loops: u16,
}

impl Default for Spice {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) },
            stage: Stage::Link,
            main: false,
            capabilities: 0,
            frames: Ends::default(),
            ping: None,
            window: None,
            loops: 0,
        }
    }
}

impl Analyzer for Spice {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        match self.stage {
            Stage::Done => {}
            Stage::Messages => self.on_messages(pdu.at, pdu.dir, pdu.bytes, events),
            _ if self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) => while self.advance(events) {},
            _ => self.give_up(pdu.at, pdu.dir, "spice.beyond-buffer", events),
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, len: u64, events: &mut Events) {
        if self.stage != Stage::Messages || !self.frames.of_mut(dir).skip(len) {
            self.settle(at, dir, events);
        }
    }
}

impl Spice {
    /// Takes the next step if its bytes are there.
    fn advance(&mut self, events: &mut Events) -> bool {
        match self.stage {
            Stage::Link => self.on_link(events),
            Stage::Reply => self.on_reply(events),
            Stage::Mechanism => self.on_mechanism(events),
            Stage::Ticket => self.on_ticket(events),
            Stage::Sasl => self.on_sasl(events),
            Stage::Result => self.on_result(events),
            Stage::Messages => {
                self.release(events);
                false
            }
            Stage::Done => false,
        }
    }

    /// The next link message, with when its first and last byte passed.
    fn link(&mut self, events: &mut Events) -> Option<(LinkHeader, Vec<u8>, Timestamp, Timestamp)> {
        let dir = self.stage.sender();
        let inbox = self.inboxes.of_mut(dir);
        let first = inbox.time_of(0);
        match link_header(inbox.bytes()) {
            Probe::NeedMore => return None,
            Probe::Match => {}
            Probe::NoMatch => {
                self.give_up(first, dir, "spice.no-link-message", events);
                return None;
            }
        }
        let header = LinkHeader::read(inbox.bytes())?;
        let size = LINK_HEADER + header.size;
        let body = inbox.bytes().get(LINK_HEADER..size)?.to_vec();
        let last = inbox.time_of(size - 1);
        inbox.consume(size);
        Some((header, body, first, last))
    }

    fn on_link(&mut self, events: &mut Events) -> bool {
        let Some((header, body, _, at)) = self.link(events) else { return false };
        let Some(wanted) = Wanted::read(&body) else {
            self.give_up(at, Direction::Orig, "spice.link-malformed", events);
            return false;
        };
        events.attribute(at, Direction::Orig, VERSION, format!("{}.{}", header.major, header.minor));
        events.attribute(at, Direction::Orig, CHANNEL, channel_name(wanted.channel));
        if wanted.session != 0 {
            events.link(at, Direction::Orig, Link::at_server("spice", &wanted.session.to_le_bytes()));
        }
        events.ask(at, Direction::Orig, Layer::Spice, "link");
        self.main = wanted.channel == 1;
        self.capabilities = wanted.capabilities;
        self.stage = Stage::Reply;
        true
    }

    fn on_reply(&mut self, events: &mut Events) -> bool {
        let Some((_, body, first, at)) = self.link(events) else { return false };
        let Some(granted) = Granted::read(&body) else {
            self.give_up(at, Direction::Resp, "spice.reply-malformed", events);
            return false;
        };
        events.answer(first, Direction::Resp, Layer::Spice, "link");
        events.confirmed(at, Direction::Resp);
        self.capabilities &= granted.capabilities;
        if granted.error != 0 {
            events.attribute(at, Direction::Resp, ERROR, error_name(granted.error));
            self.settle(at, Direction::Resp, events);
            return false;
        }
        self.stage = if self.capabilities & CAN_SELECT != 0 { Stage::Mechanism } else { Stage::Ticket };
        true
    }

    fn on_mechanism(&mut self, events: &mut Events) -> bool {
        let Some(at) = self.word_at() else { return false };
        match self.take_word() {
            Some(1) => self.stage = Stage::Ticket,
            Some(2) => {
                events.attribute(at, Direction::Orig, AUTH, "sasl");
                self.stage = Stage::Sasl;
            }
            _ => {
                self.give_up(at, Direction::Orig, "spice.auth-unknown", events);
                return false;
            }
        }
        true
    }

    fn on_ticket(&mut self, events: &mut Events) -> bool {
        let inbox = &mut self.inboxes.orig;
        if inbox.bytes().len() < TICKET {
            return false;
        }
        let at = inbox.time_of(TICKET - 1);
        inbox.consume(TICKET);
        events.attribute(at, Direction::Orig, AUTH, "ticket");
        events.ask(at, Direction::Orig, Layer::Spice, "ticket");
        self.stage = Stage::Result;
        true
    }

    /// The list of mechanisms; how they go on is theirs, and may end in encryption.
    fn on_sasl(&mut self, events: &mut Events) -> bool {
        let inbox = &self.inboxes.resp;
        let mut reader = Reader::new(inbox.bytes());
        let Some(len) = u32_le(&mut reader).and_then(|len| usize::try_from(len).ok()) else { return false };
        let at = inbox.time_of(3);
        if len > TEXT_KEPT {
            self.give_up(at, Direction::Resp, "spice.sasl-list-too-long", events);
        } else if let Some(list) = reader.take(len) {
            events.attribute(at, Direction::Resp, SASL, printable(list, TEXT_KEPT));
            self.settle(at, Direction::Resp, events);
        }
        false
    }

    fn on_result(&mut self, events: &mut Events) -> bool {
        let Some(at) = self.word_at() else { return false };
        let first = self.inboxes.resp.time_of(0);
        events.answer(first, Direction::Resp, Layer::Spice, "ticket");
        match self.take_word() {
            Some(0) => {
                self.stage = Stage::Messages;
                true
            }
            other => {
                events.attribute(at, Direction::Resp, ERROR, error_name(other.unwrap_or_default()));
                self.settle(at, Direction::Resp, events);
                false
            }
        }
    }

    /// When the last byte of the next word of the end whose turn it is passed.
    fn word_at(&self) -> Option<Timestamp> {
        let inbox = self.inboxes.of(self.stage.sender());
        (inbox.bytes().len() >= 4).then(|| inbox.time_of(3))
    }

    fn take_word(&mut self) -> Option<u32> {
        let inbox = self.inboxes.of_mut(self.stage.sender());
        let word = u32::from_le_bytes(*inbox.bytes().first_chunk()?);
        inbox.consume(4);
        Some(word)
    }

    /// What came while the link was made is read as messages.
    fn release(&mut self, events: &mut Events) {
        for piece in crate::protocol::codec::unused(&self.inboxes) {
            self.on_messages(piece.at, piece.dir, &piece.bytes, events);
        }
        self.inboxes = Ends { orig: Inbox::new(0), resp: Inbox::new(0) };
    }

    fn on_messages(&mut self, at: Timestamp, dir: Direction, bytes: &[u8], events: &mut Events) {
        let header = if self.capabilities & MINI_HEADER != 0 { Frames::MINI } else { Frames::FULL };
        let mut rest = bytes;
        while !rest.is_empty() && self.stage == Stage::Messages {
            let frames = self.frames.of_mut(dir);
            rest = frames.take(at, rest, header);
            if frames.is_whole(header) {
                let message = std::mem::take(frames);
                self.on_message(at, dir, &message, header, events);
            }
        }
    }

    fn on_message(&mut self, at: Timestamp, dir: Direction, message: &Frames, header: usize, events: &mut Events) {
        let body = message.body(header);
        let number = body.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        match (dir, message.kind(header)) {
            (Direction::Resp, PING) if self.ping.is_none() => {
                self.ping = number;
                events.ask(at, dir, Layer::Spice, "ping");
            }
            (Direction::Orig, PONG) if number.is_some() && number == self.ping => {
                self.ping = None;
                self.close(message.first, "ping", events);
            }
            (Direction::Resp, SET_ACK) if self.window.is_none() => {
                self.window = number;
                events.ask(at, dir, Layer::Spice, "set-ack");
            }
            (Direction::Orig, ACK_SYNC) if number.is_some() && number == self.window => {
                self.window = None;
                self.close(message.first, "set-ack", events);
            }
            (Direction::Resp, kind) if self.main => self.on_main(at, kind, body, events),
            _ => {}
        }
    }

    fn close(&mut self, first: Timestamp, method: &'static str, events: &mut Events) {
        events.answer(first, Direction::Orig, Layer::Spice, method);
        self.loops += 1;
        if self.loops >= LOOPS {
            self.settle(first, Direction::Orig, events);
        }
    }

    fn on_main(&mut self, at: Timestamp, kind: u16, body: &[u8], events: &mut Events) {
        let dir = Direction::Resp;
        match kind {
            MAIN_INIT => {
                if let Some(session) = body.first_chunk::<4>() {
                    events.link(at, dir, Link::at_server("spice", session));
                }
            }
            MAIN_NAME => {
                let name = body.get(4..).unwrap_or_default();
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                events.attribute(at, dir, VM_NAME, printable(name.get(..end).unwrap_or_default(), TEXT_KEPT));
            }
            MAIN_UUID => {
                if let Some(uuid) = body.first_chunk::<16>() {
                    events.attribute(at, dir, VM_UUID, uuid_text(uuid));
                }
            }
            _ => {}
        }
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        events.violation(at, dir, fault);
        self.settle(at, dir, events);
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.stage = Stage::Done;
        events.settled(at, dir);
    }
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// The message at hand of one end: its header, the first bytes of its body, and how much is still to come.
#[derive(Debug, Clone, Copy)]
struct Frames {
    kept: [u8; Frames::KEPT],
    have: usize,
    /// Bytes of the body that are beyond what is kept and still to come.
    left: u64,
    /// When its first byte passed.
    first: Timestamp,
}

impl Default for Frames {
    fn default() -> Self {
        Self { kept: [0; Self::KEPT], have: 0, left: 0, first: Timestamp::default() }
    }
}

impl Frames {
    /// Type and size.
    const MINI: usize = 6;
    /// Serial number, type, size, offset of a list of messages inside.
    const FULL: usize = 18;
    /// Enough for the longest header and a machine's name.
    const KEPT: usize = 96;

    fn kind(&self, header: usize) -> u16 {
        let at = if header == Self::MINI { 0 } else { 8 };
        self.kept.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    /// Bytes of the body, as its header says.
    fn size(&self, header: usize) -> usize {
        let at = if header == Self::MINI { 2 } else { 10 };
        let size = self.kept.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    fn body(&self, header: usize) -> &[u8] {
        self.kept.get(header..self.have).unwrap_or_default()
    }

    /// Takes what belongs to this message; gives back the rest.
    fn take<'b>(&mut self, at: Timestamp, bytes: &'b [u8], header: usize) -> &'b [u8] {
        if self.have == 0 {
            self.first = at;
        }
        let mut rest = bytes;
        if self.have < header {
            rest = self.keep(rest, header);
            if self.have < header {
                return rest;
            }
            let beyond = (header.saturating_add(self.size(header))).saturating_sub(Self::KEPT);
            self.left = u64::try_from(beyond).unwrap_or(u64::MAX);
        }
        let until = header.saturating_add(self.size(header)).min(Self::KEPT);
        rest = self.keep(rest, until);
        if self.have == until && self.left > 0 {
            let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
            self.left -= u64::try_from(n).unwrap_or(self.left);
            rest = rest.get(n..).unwrap_or_default();
        }
        rest
    }

    fn keep<'b>(&mut self, bytes: &'b [u8], until: usize) -> &'b [u8] {
        let (part, rest) = bytes.split_at_checked(until.saturating_sub(self.have)).unwrap_or((bytes, &[]));
        for (place, byte) in self.kept.iter_mut().skip(self.have).zip(part) {
            *place = *byte;
        }
        self.have += part.len();
        rest
    }

    fn is_whole(&self, header: usize) -> bool {
        self.have >= header && self.left == 0 && self.have == header.saturating_add(self.size(header)).min(Self::KEPT)
    }

    /// Passes over bytes that were never captured; `false` if more than a body's tail is missing.
    fn skip(&mut self, len: u64) -> bool {
        if self.have < Self::KEPT || len >= self.left {
            return false;
        }
        self.left -= len;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn link_message(body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len()).unwrap().to_le_bytes();
        [MAGIC, &[2, 0, 0, 0, 2, 0, 0, 0], &size, body].concat()
    }

    /// A client that can choose, and knows short headers unless `full`.
    fn ask(session: u32, channel: u8, full: bool) -> Vec<u8> {
        let capabilities: u32 = if full { 3 } else { 11 };
        let mut body = session.to_le_bytes().to_vec();
        body.extend([channel, 0, 1, 0, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0]);
        body.extend(capabilities.to_le_bytes());
        link_message(&body)
    }

    fn reply(error: u32) -> Vec<u8> {
        let mut body = error.to_le_bytes().to_vec();
        body.extend([0x30; PUBLIC_KEY]);
        body.extend([1, 0, 0, 0, 0, 0, 0, 0, 178, 0, 0, 0, 11, 0, 0, 0]);
        link_message(&body)
    }

    fn mini(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &u32::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
    }

    fn full(kind: u16, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&[1, 0, 0, 0, 0, 0, 0, 0][..], &kind.to_le_bytes(), &size, &[0; 4], body].concat()
    }

    fn numbered(number: u32, len: usize) -> Vec<u8> {
        let mut body = number.to_le_bytes().to_vec();
        body.resize(len, 0);
        body
    }

    fn dialogue(session: u32, channel: u8, long: bool) -> Vec<(Direction, Vec<u8>)> {
        let message = if long { full } else { mini };
        vec![
            (Orig, ask(session, channel, long)),
            (Resp, reply(0)),
            (Orig, [&[1, 0, 0, 0][..], &[9; TICKET]].concat()),
            (Resp, vec![0; 4]),
            (Resp, [message(MAIN_INIT, &numbered(77, 32)), message(MAIN_NAME, b"\x05\0\0\0desk\0")].concat()),
            (Resp, message(PING, &numbered(1, 12))),
            (Resp, message(PING, &numbered(2, 5_000))),
            (Orig, message(PONG, &numbered(1, 12))),
            (Orig, message(PONG, &numbered(2, 12))),
            (Resp, message(SET_ACK, &numbered(8, 8))),
            (Orig, message(ACK_SYNC, &numbered(8, 4))),
            (Resp, message(MAIN_UUID, &[0xab; 16])),
        ]
    }

    fn run(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&SPICE, &turns, piece)
    }

    fn links(events: &[Event]) -> Vec<Link> {
        events.iter().filter_map(|e| if let EventKind::Link(link) = e.kind { Some(link) } else { None }).collect()
    }

    #[test]
    fn the_main_channel_names_session_and_machine() {
        for long in [false, true] {
            let events = run(&dialogue(0, 1, long), 4096);
            for (key, value) in [
                (VERSION, "2.2"),
                (CHANNEL, "main"),
                (AUTH, "ticket"),
                (VM_NAME, "desk"),
                (VM_UUID, "abababab-abab-abab-abab-abababababab"),
            ] {
                assert_eq!(testkit::said(&events, key), Some(value), "{key}");
            }
            assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
            let at = testkit::at;
            let expected =
                [(at(0), at(1), "link"), (at(2), at(3), "ticket"), (at(5), at(7), "ping"), (at(9), at(10), "set-ack")];
            assert_eq!(testkit::loops(&events), expected);
        }
    }

    #[test]
    fn the_other_channels_quote_the_session() {
        let main = run(&dialogue(0, 1, false), 4096);
        let display = run(&dialogue(77, 2, false), 4096);
        assert_eq!(testkit::said(&display, CHANNEL), Some("display"));
        assert_eq!(links(&main), links(&display));
        // Type 103 of a display is no session.
        assert_eq!(testkit::said(&display, VM_NAME), None);
    }

    #[test]
    fn a_refusal_says_why_and_sasl_lists_its_mechanisms() {
        let refused = run(&[(Orig, ask(0, 1, false)), (Resp, reply(5))], 4096);
        assert_eq!(testkit::said(&refused, ERROR), Some("need-secured"));
        let mut wrong = dialogue(0, 1, false);
        wrong.truncate(3);
        wrong.push((Resp, vec![7, 0, 0, 0]));
        assert_eq!(testkit::said(&run(&wrong, 4096), ERROR), Some("permission-denied"));
        wrong[2].1 = vec![2, 0, 0, 0];
        wrong[3].1 = b"\x11\0\0\0DIGEST-MD5,GSSAPI".to_vec();
        let sasl = run(&wrong, 4096);
        assert_eq!(testkit::said(&sasl, AUTH), Some("sasl"));
        assert_eq!(testkit::said(&sasl, SASL), Some("DIGEST-MD5,GSSAPI"));
    }

    #[test]
    fn a_gap_inside_a_large_message_is_passed_over() {
        let mut spice = Spice { stage: Stage::Messages, capabilities: MINI_HEADER, main: true, ..Spice::default() };
        let mut events = Events::default();
        let ping = mini(PING, &numbered(1, 5_000));
        let (at, carrier) = (testkit::at(0), Carrier::Stream);
        let pdu = |dir, bytes| Pdu { at, dir, bytes, carrier, missing: 0 };
        spice.on_pdu(&pdu(Resp, &ping[..1_000]), &mut events);
        spice.on_gap(at, Resp, 4_000, &mut events);
        spice.on_pdu(&pdu(Resp, &ping[5_000..]), &mut events);
        spice.on_pdu(&pdu(Orig, &mini(PONG, &numbered(1, 12))), &mut events);
        assert_eq!(testkit::loops(&events.drain().collect::<Vec<_>>()).len(), 1);
        spice.on_gap(at, Resp, 4_000, &mut events);
        assert!(events.drain().any(|e| e.kind == EventKind::Settled));
    }

    #[test]
    fn others_that_begin_alike_are_not_spice() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&SPICE, Carrier::Stream, orig, resp);
        assert_eq!((probe(&ask(0, 1, false), b""), probe(b"REDQ\x02", b"")), (Probe::Match, Probe::NeedMore));
        assert_eq!(probe(b"REDQ\x02\0\0\0\x02\0\0\0\xff\xff\xff\xff", b""), Probe::NoMatch);
        assert_eq!(probe(b"REDQUEST / HTTP/1.1\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(b"REDIS", b""), Probe::NoMatch);
        assert_eq!(probe(&ask(0, 1, false), b"HTTP/1.1 400"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..300, long: bool) {
            let turns = dialogue(0, 1, long);
            prop_assert_eq!(run(&turns, piece), run(&turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            kept in 0usize..12,
            turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..8),
        ) {
            let mut all = dialogue(0, 1, false);
            all.truncate(kept);
            all.extend(turns.iter().map(|(orig, bytes)| (if *orig { Orig } else { Resp }, bytes.clone())));
            run(&all, 3);
            for (_, bytes) in &turns {
                run(&[(Orig, link_message(bytes)), (Resp, link_message(bytes))], 50);
                testkit::probe(&SPICE, Carrier::Stream, bytes, bytes);
            }
        }
    }
}
