//! RustDesk: devices that register at a rendezvous server (hbbs), sessions through a relay (hbbr) or direct, wherever
//! the servers stand and whatever their names.
//!
//! Reads: the protobuf messages in clear: all of the rendezvous over UDP, the first frames of each TCP connection up to
//! the key exchange, and in unencrypted sessions the login. Emits: ids, the other end's address, relay, version, and
//! the links between rendezvous, both legs of a relay, and direct connection. In a WebSocket (21118, 21119) each message
//! is one of these without its frame; over UDP direct sessions are KCP, whose segments hold the frames of the greeting.
//! Does not: decrypt, or put KCP's segments in order.
//!
//! Round trips: `register` (RegisterPeer to its response, the server's), `signed-id` (SignedId to PublicKey) and
//! `public-key` (PublicKey to the first encrypted frame). The last two are closed by the two peers, so through a relay
//! they go to the other peer and back.
//!
//! Reference: rustdesk/hbb_common, `protos/rendezvous.proto`, `protos/message.proto`, `src/bytes_codec.rs` (frames),
//! `AddrMangle` in `src/lib.rs` (addresses); rustdesk `src/kcp_stream.rs` and the crate kcp-sys 0.1, `packet_def.rs` (its
//! own header), skywind3000/kcp `protocol.txt` (segments).

use crate::base::{Direction, Ends, Layer, Link, Reader, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol, Said, Shows, Sign};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The registry's entry.
pub(crate) static RUSTDESK: Protocol = Protocol {
    name: "rustdesk",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[21_116, 21_117, 21_115, 21_118, 21_119],
    attributes: &[ROLE, ID, TARGET, PEER, RELAY, VERSION, KIND, CLIENT, PLATFORM, HOSTNAME],
    signs: &[
        // The public rendezvous servers, rs-ny.rustdesk.com and its sisters (config.rs, RENDEZVOUS_SERVERS).
        Sign::new("tls.sni", Said::Glob("rs-*.rustdesk.com"), Shows::Likely),
        Sign::new("http.host", Said::Glob("rs-*.rustdesk.com"), Shows::Likely),
        Sign::new("tls.sni", Said::Domain("rustdesk.com"), Shows::Mention),
        Sign::new("http.host", Said::Domain("rustdesk.com"), Shows::Mention),
        Sign::new("proxy.target", Said::Domain("rustdesk.com"), Shows::Mention),
        Sign::new("dns.query", Said::Domain("rustdesk.com"), Shows::Mention),
    ],
    lasting: true,
    probe,
    analyzer: || Box::new(RustDesk::default()),
};

/// What the flow is for: `rendezvous`, `nat-test`, `relay`, `peer`, `discovery`.
const ROLE: Key = "rustdesk.role";
/// The device that can be controlled.
const ID: Key = "rustdesk.id";
/// The device somebody asks for.
const TARGET: Key = "rustdesk.target";
/// Address and port of the other peer, as the rendezvous server saw it.
const PEER: Key = "rustdesk.peer_address";
const RELAY: Key = "rustdesk.relay_server";
const VERSION: Key = "rustdesk.version";
/// What the session is for.
const KIND: Key = "rustdesk.kind";
/// Who logs in, in unencrypted sessions.
const CLIENT: Key = "rustdesk.client_id";
const PLATFORM: Key = "rustdesk.platform";
const HOSTNAME: Key = "rustdesk.hostname";

const LINK: &str = "rustdesk";
const REGISTER: &str = "register";
const SIGNED_ID: &str = "signed-id";
const PUBLIC_KEY: &str = "public-key";

/// Characters of a text that are kept.
const TEXT_KEPT: usize = 128;
/// A first frame is a small message; one with a WebRTC offer has a few kilobytes.
const FRAME_LIMIT: usize = 16 * 1024;
const INBOX_LIMIT: usize = 256 * 1024;
/// Frames of a stream that are read; a session is encrypted or logged in by then.
const FRAMES: u8 = 12;
/// Loops that are measured of a registration: one every 12 s or so.
const LOOPS: u8 = 32;
/// Sessions that are read of one registration.
const SESSIONS: u8 = 16;
/// The relay's port where a name comes without one (hbb_common, `RELAY_PORT`).
const RELAY_PORT: u16 = 21_117;
/// A signature and a public key of Ed25519 or X25519, in bytes.
const SIGNATURE: usize = 64;
const KEY: usize = 32;

/// The messages, by the number of their field: of `RendezvousMessage`, and of `Message` what stands in clear.
mod message {
    pub(super) const SIGNED_ID: u32 = 3;
    pub(super) const PUBLIC_KEY: u32 = 4;
    pub(super) const REGISTER_PEER: u32 = 6;
    pub(super) const REGISTER_PEER_RESPONSE: u32 = 7;
    pub(super) const PUNCH_HOLE_REQUEST: u32 = 8;
    pub(super) const PUNCH_HOLE: u32 = 9;
    pub(super) const PUNCH_HOLE_SENT: u32 = 10;
    pub(super) const PUNCH_HOLE_RESPONSE: u32 = 11;
    pub(super) const FETCH_LOCAL_ADDR: u32 = 12;
    pub(super) const LOCAL_ADDR: u32 = 13;
    pub(super) const CONFIGURE_UPDATE: u32 = 14;
    pub(super) const REGISTER_PK: u32 = 15;
    pub(super) const REGISTER_PK_RESPONSE: u32 = 16;
    pub(super) const SOFTWARE_UPDATE: u32 = 17;
    pub(super) const REQUEST_RELAY: u32 = 18;
    pub(super) const RELAY_RESPONSE: u32 = 19;
    pub(super) const TEST_NAT_REQUEST: u32 = 20;
    pub(super) const TEST_NAT_RESPONSE: u32 = 21;
    pub(super) const PEER_DISCOVERY: u32 = 22;
    pub(super) const ONLINE_REQUEST: u32 = 23;
    pub(super) const ONLINE_RESPONSE: u32 = 24;
    pub(super) const KEY_EXCHANGE: u32 = 25;
    pub(super) const HEALTH_CHECK: u32 = 26;
}
use message as m;

/// Which fields of a message are numbers and which are texts, bytes or messages, as sets of field numbers.
const fn fields_of(number: u32) -> Option<(u32, u32)> {
    Some(match number {
        m::SIGNED_ID | m::SOFTWARE_UPDATE | m::ONLINE_RESPONSE | m::KEY_EXCHANGE | m::HEALTH_CHECK => (0, set(&[1])),
        m::PUBLIC_KEY | m::ONLINE_REQUEST => (0, set(&[1, 2])),
        m::REGISTER_PEER => (set(&[2]), set(&[1])),
        m::REGISTER_PEER_RESPONSE => (set(&[2]), 0),
        m::PUNCH_HOLE_REQUEST => (set(&[2, 4, 7, 8, 9]), set(&[1, 3, 5, 6, 10, 11, 12])),
        m::PUNCH_HOLE => (set(&[3, 4, 5, 6]), set(&[1, 2, 7, 8, 9, 10, 11])),
        m::PUNCH_HOLE_SENT => (set(&[4, 6]), set(&[1, 2, 3, 5, 7, 8])),
        m::PUNCH_HOLE_RESPONSE => (set(&[3, 5, 6, 8, 9, 10]), set(&[1, 2, 4, 7, 11, 12])),
        m::FETCH_LOCAL_ADDR => (0, set(&[1, 2, 3, 4, 5])),
        m::LOCAL_ADDR => (0, set(&[1, 2, 3, 4, 5, 6])),
        m::CONFIGURE_UPDATE => (set(&[1]), set(&[2])),
        m::REGISTER_PK => (set(&[5]), set(&[1, 2, 3, 4])),
        m::REGISTER_PK_RESPONSE => (set(&[1, 2]), 0),
        m::REQUEST_RELAY => (set(&[5, 7]), set(&[1, 2, 3, 4, 6, 8, 9, 10, 11])),
        m::RELAY_RESPONSE => (set(&[9, 11]), set(&[1, 2, 3, 4, 5, 6, 7, 10, 12])),
        m::TEST_NAT_REQUEST => (set(&[1]), 0),
        m::TEST_NAT_RESPONSE => (set(&[1]), set(&[2])),
        m::PEER_DISCOVERY => (0, set(&[1, 2, 3, 4, 5, 6, 7])),
        _ => return None,
    })
}

const fn set(mut numbers: &[u8]) -> u32 {
    let mut out = 0;
    while let [first, rest @ ..] = numbers {
        out |= 1 << *first;
        numbers = rest;
    }
    out
}

/// One field of a protobuf message.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let mut out = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = reader.u8()?;
        out |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(out);
        }
    }
    None
}

/// The next field's number and value; varints and length-delimited fields only, the messages have no others.
fn field<'a>(reader: &mut Reader<'a>) -> Option<(u32, Value<'a>)> {
    let tag = varint(reader)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| (1..32).contains(number))?;
    let value = match tag & 7 {
        0 => Value::Number(varint(reader)?),
        2 => {
            let len = usize::try_from(varint(reader)?).ok()?;
            Value::Bytes(reader.take(len)?)
        }
        _ => return None,
    };
    Some((number, value))
}

/// A message that consists of the fields it may have, and no other bytes.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    number: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Both kinds of messages hold exactly one field, which is one of the messages proper.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (number, Value::Bytes(body)) = field(&mut reader)? else { return None };
        let (numbers, blobs) = fields_of(number)?;
        let mut inner = Reader::new(body);
        while !inner.is_empty() {
            let known = match field(&mut inner)? {
                (number, Value::Number(_)) => numbers >> number & 1,
                (number, Value::Bytes(_)) => blobs >> number & 1,
            };
            (known == 1).then_some(())?;
        }
        reader.is_empty().then_some(Self { number, body })
    }

    fn fields(&self) -> impl Iterator<Item = (u32, Value<'a>)> + use<'a> {
        let mut reader = Reader::new(self.body);
        std::iter::from_fn(move || field(&mut reader))
    }

    /// The bytes of a field; none where it is empty, as protobuf leaves those out.
    fn bytes(&self, wanted: u32) -> &'a [u8] {
        let found = self.fields().find_map(|(number, value)| match value {
            Value::Bytes(bytes) if number == wanted => Some(bytes),
            _ => None,
        });
        found.unwrap_or_default()
    }

    fn number(&self, wanted: u32) -> u64 {
        let found = self.fields().find_map(|(number, value)| match value {
            Value::Number(found) if number == wanted => Some(found),
            _ => None,
        });
        found.unwrap_or(0)
    }

    /// Whether its content alone is proof enough: an id, a key, a session's name where they belong.
    fn is_distinctive(&self) -> bool {
        match self.number {
            m::SIGNED_ID => signed_id(self.bytes(1)).is_some(),
            m::REGISTER_PEER => is_id(self.bytes(1)),
            m::PUNCH_HOLE_REQUEST | m::ONLINE_REQUEST => is_id(self.bytes(1)) && self.body.len() > 20,
            m::REGISTER_PK => is_id(self.bytes(1)) && self.bytes(3).len() == KEY && !self.bytes(2).is_empty(),
            m::REQUEST_RELAY => is_session(self.bytes(2)),
            m::RELAY_RESPONSE => is_session(self.bytes(2)) && !self.bytes(3).is_empty(),
            m::PUNCH_HOLE_SENT | m::LOCAL_ADDR => unmangle(self.bytes(1)).is_some() && self.texts(&[3, 4]),
            m::KEY_EXCHANGE => self.bytes(1).len() == SIGNATURE + KEY && self.body.len() == SIGNATURE + KEY + 2,
            m::PUNCH_HOLE if self.is_hash() => true,
            m::PUNCH_HOLE | m::FETCH_LOCAL_ADDR => unmangle(self.bytes(1)).is_some() && is_text(self.bytes(2)),
            m::PEER_DISCOVERY => matches!(self.bytes(1), b"ping" | b"pong"),
            _ => false,
        }
    }

    /// One of these fields is an id, where both versions of the message have it.
    fn texts(&self, fields: &[u32]) -> bool {
        fields.iter().any(|number| is_text(self.bytes(*number)))
    }

    /// `Message.hash` has the number of `RendezvousMessage.punch_hole`: salt and challenge, six letters or digits each.
    fn is_hash(&self) -> bool {
        let word = |bytes: &[u8]| bytes.len() == 6 && bytes.iter().all(u8::is_ascii_alphanumeric);
        self.number == m::PUNCH_HOLE && self.body.len() == 16 && word(self.bytes(1)) && word(self.bytes(2))
    }
}

/// An id: nine or ten digits, or chosen by the user: a letter, then letters, digits, `_`, `-` (hbb_common, `is_valid_id`
/// of the servers: 6 to 16 characters). A part behind `@` names another server.
fn is_id(bytes: &[u8]) -> bool {
    (6..=64).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@' | b':' | b'/'))
}

/// The name of a session at the relay: a UUID as text.
fn is_session(bytes: &[u8]) -> bool {
    let fits = |(i, b): (usize, &u8)| if matches!(i, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() };
    bytes.len() == 36 && bytes.iter().enumerate().all(fits)
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// The id in a SignedId: a signature, then `IdPk` of the id and the key of this session.
fn signed_id(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes.get(SIGNATURE..)?);
    match (field(&mut reader)?, field(&mut reader)?) {
        ((1, Value::Bytes(id)), (2, Value::Bytes(key))) if key.len() == KEY && reader.is_empty() => {
            is_id(id).then_some(id)
        }
        _ => None,
    }
}

/// The address that `AddrMangle` hides from meddling firewalls: shifted and added to the microseconds of its making.
fn unmangle(bytes: &[u8]) -> Option<SocketAddr> {
    if let Ok(v6) = <[u8; 18]>::try_from(bytes) {
        let (address, port) = v6.split_first_chunk::<16>()?;
        let port = u16::from_le_bytes(*port.first_chunk()?);
        return Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(*address)), port));
    }
    let mut padded = [0; 16];
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let number = u128::from_le_bytes(padded);
    let low32 = |value: u128| u32::try_from(value & u128::from(u32::MAX)).unwrap_or(0);
    let micros = low32(number >> 17);
    let address = low32(number >> 49).wrapping_sub(micros).to_le_bytes();
    let low = low32(number & 0xff_ffff).wrapping_sub(micros & 0xffff);
    let port = u16::try_from(low & 0xffff).ok()?;
    let address = Ipv4Addr::from(address);
    // The number has 33 + 49 bits at most.
    let sound = number >> 82 == 0 && port != 0 && !address.is_unspecified() && !address.is_broadcast();
    sound.then_some(SocketAddr::new(IpAddr::V4(address), port))
}

/// The header that kcp-sys puts before KCP's segments (a number, both sessions', flags), and its flag for data.
const KCP_HEADER: usize = 14;
const KCP_DATA: u8 = 8;
/// Segments of one datagram that are looked at, and KCP's command for data, of four in a row.
const KCP_SEGMENTS: usize = 16;
const KCP_PUSH: u8 = 81;

/// What the first segment with data in a datagram of KCP holds.
fn kcp_data(datagram: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(datagram);
    let conversation = reader.array::<4>()?;
    let [.., flags, 0] = reader.array::<{ KCP_HEADER - 4 }>()? else { return None };
    if flags != KCP_DATA {
        return None;
    }
    for _ in 0..KCP_SEGMENTS {
        let same = reader.array::<4>()? == conversation;
        let [command, fragment] = reader.array::<2>()?;
        // Window, time, number, and what has not come yet.
        reader.take(2 + 4 + 4 + 4)?;
        let len = usize::try_from(u32::from_le_bytes(reader.array()?)).ok()?;
        let data = reader.take(len)?;
        if !same || fragment != 0 || !(KCP_PUSH..KCP_PUSH + 4).contains(&command) {
            return None;
        }
        if command == KCP_PUSH {
            return Some(data);
        }
    }
    None
}

/// The message in a datagram: as it is, or in the first frame that KCP carries in it.
fn in_datagram(datagram: &[u8]) -> Option<Message<'_>> {
    Message::read(datagram).or_else(|| {
        let data = kcp_data(datagram)?;
        let (head, len) = frame_head(data)?;
        Message::read(data.get(head..head.checked_add(len)?)?)
    })
}

/// What a stream begins with.
#[derive(Debug, Clone, Copy)]
enum First<'a> {
    /// A frame that may yet hold a message.
    Open,
    Message(Message<'a>),
    Other,
}

/// The frame's head length and its content's length; `None` while they are not known.
fn frame_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = usize::from(bytes.first()? & 3) + 1;
    let number = bytes.get(..head)?.iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte));
    Some((head, number >> 2))
}

/// Reads the first frame, as far as it has come. Its head has the least bytes that hold the length.
fn first(bytes: &[u8]) -> First<'_> {
    let Some((head, len)) = frame_head(bytes) else {
        return if bytes.first().is_some_and(|b| b & 3 > 1) { First::Other } else { First::Open };
    };
    let shortest = match head {
        1 => 2,
        2 => 0x40,
        _ => return First::Other,
    };
    if !(shortest..=FRAME_LIMIT).contains(&len) {
        return First::Other;
    }
    let content = bytes.get(head..).unwrap_or_default();
    let whole = content.get(..len);
    // Tag and length tell nearly all other protocols apart long before the frame is whole.
    let mut reader = Reader::new(content.get(..len).unwrap_or(content));
    let begun =
        varint(&mut reader).map(|tag| tag & 7 == 2 && u32::try_from(tag >> 3).is_ok_and(|n| fields_of(n).is_some()));
    match (begun, varint(&mut reader)) {
        (Some(false), _) => return First::Other,
        (Some(true), Some(inner)) => {
            let before = whole.map_or(content.len(), <[u8]>::len) - reader.len();
            if u64::try_from(len - before.min(len)) != Ok(inner) {
                return First::Other;
            }
        }
        _ if content.len() > 8 => return First::Other,
        _ => {}
    }
    match whole.map(Message::read) {
        None => First::Open,
        Some(Some(message)) => First::Message(message),
        Some(None) => First::Other,
    }
}

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier == Carrier::Datagram {
        let message = in_datagram(opening.sent.of(opening.newest));
        return if message.is_some_and(|m| m.is_distinctive()) { Probe::Match } else { Probe::NoMatch };
    }
    match [opening.sent.orig, opening.sent.resp].map(first) {
        [First::Other, _] | [_, First::Other] => Probe::NoMatch,
        [First::Message(one), _] | [_, First::Message(one)] if one.is_distinctive() => Probe::Match,
        [_, First::Message(one)] if one.is_distinctive() => Probe::Match,
        [First::Message(ask), First::Message(answer)] => match (ask.number, answer.number) {
            (m::TEST_NAT_REQUEST, m::TEST_NAT_RESPONSE) if answer.number(1) > 0 => Probe::Match,
            (m::ONLINE_REQUEST, m::ONLINE_RESPONSE) | (m::KEY_EXCHANGE, m::KEY_EXCHANGE) => Probe::Match,
            _ => Probe::NoMatch,
        },
        _ => Probe::NeedMore,
    }
}

#[derive(Debug)]
struct RustDesk {
    inboxes: Ends<Inbox>,
    /// The end whose PublicKey was last; what the other end says next is encrypted and answers it.
    sealed_by: Option<Direction>,
    role_told: bool,
    /// Who asked to be registered, and was not answered.
    registering: Option<Direction>,
    loops: u8,
    sessions: u8,
    frames: u8,
    /// The datagrams are KCP's.
    kcp: bool,
    confirmed: bool,
    done: bool,
}

impl Default for RustDesk {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) },
            sealed_by: None,
            role_told: false,
            registering: None,
            loops: 0,
            sessions: 0,
            frames: 0,
            kcp: false,
            confirmed: false,
            done: false,
        }
    }
}

impl Analyzer for RustDesk {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || pdu.bytes.is_empty() {
            return;
        }
        if pdu.carrier != Carrier::Datagram {
            self.on_stream(pdu, events);
        } else if let Some(asker) = self.sealed_by {
            // KCP's acknowledgement is no answer.
            if pdu.dir != asker && (!self.kcp || kcp_data(pdu.bytes).is_some()) {
                events.answer(pdu.at, pdu.dir, Layer::RustDesk, PUBLIC_KEY);
                self.settle(pdu.at, pdu.dir, events);
            }
        } else if let Some(message) = in_datagram(pdu.bytes) {
            self.kcp |= kcp_data(pdu.bytes).is_some();
            self.on_datagram(pdu.at, pdu.dir, &message, events);
        }
    }
}

impl RustDesk {
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.settled(at, dir);
    }

    fn confirm(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(at, dir);
            events.application(at, dir, RUSTDESK.name);
        }
    }

    fn role(&mut self, at: Timestamp, dir: Direction, role: &'static str, events: &mut Events) {
        if !std::mem::replace(&mut self.role_told, true) {
            events.attribute(at, dir, ROLE, role);
            events.link(at, dir, if role == "peer" { Link::Here(LINK) } else { Link::Pair(LINK) });
            if role == "relay" {
                events.link(at, dir, Link::Here(LINK));
            }
        }
    }

    fn on_stream(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if let Some(asker) = self.sealed_by {
            if pdu.dir != asker {
                events.answer(pdu.at, pdu.dir, Layer::RustDesk, PUBLIC_KEY);
                self.settle(pdu.at, pdu.dir, events);
            }
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            return self.settle(pdu.at, pdu.dir, events);
        }
        while !self.done && self.sealed_by.is_none() {
            let inbox = self.inboxes.of(pdu.dir);
            let Some((head, len)) = frame_head(inbox.bytes()) else { return };
            if len > FRAME_LIMIT {
                return self.give_up(pdu, events);
            }
            let Some(content) = inbox.bytes().get(head..head + len) else { return };
            let times = (inbox.time_of(0), inbox.time_of(head + len - 1));
            let content = content.to_vec();
            self.inboxes.of_mut(pdu.dir).consume(head + len);
            self.frames += 1;
            match Message::read(&content) {
                Some(message) => self.on_message(times, pdu.dir, &message, events),
                None if self.is_login(&content) => self.on_login(times.1, pdu.dir, &content, events),
                None => return self.give_up(pdu, events),
            }
            if self.frames >= FRAMES && !self.done {
                self.settle(pdu.at, pdu.dir, events);
            }
        }
    }

    /// What is no message is encrypted, or was none from the start.
    fn give_up(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if !self.confirmed {
            events.violation(pdu.at, pdu.dir, "rustdesk.no-message");
        }
        self.settle(pdu.at, pdu.dir, events);
    }

    fn on_message(
        &mut self,
        times: (Timestamp, Timestamp),
        dir: Direction,
        message: &Message<'_>,
        events: &mut Events,
    ) {
        let (begun, at) = times;
        match message.number {
            m::SIGNED_ID => {
                self.role(at, dir, "peer", events);
                if let Some(id) = signed_id(message.bytes(1)) {
                    events.attribute(at, dir, ID, printable(id, TEXT_KEPT));
                }
                events.ask(at, dir, Layer::RustDesk, SIGNED_ID);
            }
            m::PUBLIC_KEY => {
                events.answer(begun, dir, Layer::RustDesk, SIGNED_ID);
                self.confirm(at, dir, events);
                events.ask(at, dir, Layer::RustDesk, PUBLIC_KEY);
                self.sealed_by = Some(dir);
            }
            m::PUNCH_HOLE if message.is_hash() => {
                self.role(at, dir, "peer", events);
            }
            // Who tells a relay's name asks the rendezvous server; at the relay itself nobody need say it.
            m::REQUEST_RELAY if message.bytes(4).is_empty() && dir == Direction::Orig => {
                self.role(at, dir, "relay", events);
                self.on_session(at, dir, message, events);
            }
            m::TEST_NAT_REQUEST => self.role(at, dir, "nat-test", events),
            m::KEY_EXCHANGE => {
                self.role(at, dir, "rendezvous", events);
                // The server offers its key, the client answers with its own: the rest is encrypted.
                if dir == Direction::Orig {
                    self.confirm(at, dir, events);
                    self.settle(at, dir, events);
                }
            }
            _ => {
                self.role(at, dir, "rendezvous", events);
                self.on_session(at, dir, message, events);
            }
        }
        if dir == Direction::Resp && self.frames > 1 && !matches!(message.number, m::SIGNED_ID | m::PUNCH_HOLE) {
            self.confirm(at, dir, events);
        }
    }

    /// The rendezvous over UDP: registrations for hours, and now and then a session.
    fn on_datagram(&mut self, at: Timestamp, dir: Direction, message: &Message<'_>, events: &mut Events) {
        let asks_relay = message.number == m::REQUEST_RELAY && message.bytes(4).is_empty() && dir == Direction::Orig;
        match message.number {
            // What over UDP nobody says: the peers' greeting, and a relay asked for at the relay.
            m::SIGNED_ID | m::PUBLIC_KEY | m::KEY_EXCHANGE | m::PUNCH_HOLE_REQUEST | m::PUNCH_HOLE_RESPONSE
                if self.frames < FRAMES =>
            {
                self.frames += 1;
                self.on_message((at, at), dir, message, events);
            }
            _ if asks_relay && self.frames < FRAMES => {
                self.frames += 1;
                self.on_message((at, at), dir, message, events);
            }
            m::REGISTER_PEER | m::REGISTER_PK => {
                self.role(at, dir, "rendezvous", events);
                if self.loops < LOOPS {
                    if self.loops == 0 {
                        events.attribute(at, dir, ID, printable(message.bytes(1), TEXT_KEPT));
                    }
                    events.ask(at, dir, Layer::RustDesk, REGISTER);
                    self.registering = Some(dir);
                }
            }
            m::REGISTER_PEER_RESPONSE | m::REGISTER_PK_RESPONSE if self.registering == Some(dir.flip()) => {
                self.registering = None;
                self.loops += 1;
                self.confirm(at, dir, events);
                events.answer(at, dir, Layer::RustDesk, REGISTER);
            }
            m::PEER_DISCOVERY => {
                self.role(at, dir, "discovery", events);
                self.on_session(at, dir, message, events);
            }
            m::PUNCH_HOLE | m::PUNCH_HOLE_SENT | m::FETCH_LOCAL_ADDR | m::REQUEST_RELAY | m::RELAY_RESPONSE
                if self.sessions < SESSIONS =>
            {
                self.sessions += 1;
                self.role(at, dir, "rendezvous", events);
                self.on_session(at, dir, message, events);
                if self.frames > 0 && dir == Direction::Resp {
                    self.confirm(at, dir, events);
                }
            }
            _ => {}
        }
    }

    /// Tells of the session that a message sets up.
    fn on_session(&mut self, at: Timestamp, dir: Direction, message: &Message<'_>, events: &mut Events) {
        let mut text = |key: Key, bytes: &[u8]| {
            if !bytes.is_empty() {
                events.attribute(at, dir, key, printable(bytes, TEXT_KEPT));
            }
        };
        let (mut relay, mut peer, mut session) = (&[][..], &[][..], &[][..]);
        match message.number {
            m::PUNCH_HOLE_REQUEST => {
                text(TARGET, message.bytes(1));
                text(VERSION, message.bytes(6));
                text(KIND, kind_name(message.number(4)).as_bytes());
            }
            m::PUNCH_HOLE | m::FETCH_LOCAL_ADDR => (peer, relay) = (message.bytes(1), message.bytes(2)),
            m::PUNCH_HOLE_SENT => {
                text(ID, message.bytes(2));
                text(VERSION, message.bytes(5));
                (peer, relay) = (message.bytes(1), message.bytes(3));
            }
            m::PUNCH_HOLE_RESPONSE => (peer, relay) = (message.bytes(1), message.bytes(4)),
            m::LOCAL_ADDR => {
                text(ID, message.bytes(4));
                (peer, relay) = (message.bytes(1), message.bytes(3));
            }
            m::REGISTER_PK => text(ID, message.bytes(1)),
            m::REQUEST_RELAY => {
                text(TARGET, message.bytes(1));
                text(KIND, kind_name(message.number(7)).as_bytes());
                (session, peer, relay) = (message.bytes(2), message.bytes(3), message.bytes(4));
            }
            m::RELAY_RESPONSE => (peer, session, relay) = (message.bytes(1), message.bytes(2), message.bytes(3)),
            m::PEER_DISCOVERY => {
                text(ID, message.bytes(3));
                text(HOSTNAME, message.bytes(5));
                text(PLATFORM, message.bytes(6));
            }
            _ => {}
        }
        text(RELAY, relay);
        if let Some(address) = unmangle(peer) {
            events.attribute(at, dir, PEER, address.to_string());
            events.link(at, dir, Link::Endpoint(LINK, address));
        }
        if let Some(address) = std::str::from_utf8(relay).ok().and_then(relay_address) {
            events.link(at, dir, Link::Endpoint(LINK, address));
        }
        if is_session(session) {
            events.link(at, dir, Link::token(LINK, session));
        }
    }

    /// LoginRequest, which in clear follows a Hash in clear, has a number that is another message's at the rendezvous.
    fn is_login(&self, content: &[u8]) -> bool {
        self.role_told && self.sealed_by.is_none() && content.first() == Some(&(7 << 3 | 2))
    }

    fn on_login(&mut self, at: Timestamp, dir: Direction, content: &[u8], events: &mut Events) {
        let mut reader = Reader::new(content);
        if let Some((7, Value::Bytes(body))) = field(&mut reader) {
            let login = Message { number: 7, body };
            for (key, number) in [(CLIENT, 4), (HOSTNAME, 5), (VERSION, 11), (PLATFORM, 13)] {
                let value = login.bytes(number);
                if !value.is_empty() {
                    events.attribute(at, dir, key, printable(value, TEXT_KEPT));
                }
            }
            self.confirm(at, dir, events);
        }
        self.settle(at, dir, events);
    }
}

/// A relay's address, where it is named by its address.
fn relay_address(name: &str) -> Option<SocketAddr> {
    name.parse().ok().or_else(|| name.parse().ok().map(|address| SocketAddr::new(address, RELAY_PORT)))
}

/// `ConnType`.
const fn kind_name(number: u64) -> &'static str {
    match number {
        0 => "desktop",
        1 => "file-transfer",
        2 => "port-forward",
        3 => "rdp",
        4 => "camera",
        5 => "terminal",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, loops, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const SESSION: &[u8] = b"123e4567-e89b-12d3-a456-426614174000";

    fn number(mut value: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        out.push(u8::try_from(value).unwrap());
        out
    }

    /// A field that holds bytes.
    fn blob(field: usize, bytes: &[u8]) -> Vec<u8> {
        [number(field << 3 | 2), number(bytes.len()), bytes.to_vec()].concat()
    }

    fn frame(content: &[u8]) -> Vec<u8> {
        let len = content.len();
        let two = u16::try_from(len << 2 | 1).unwrap().to_le_bytes();
        let head = if len < 0x40 { &[two[0] & !1][..] } else { &two };
        [head, content].concat()
    }

    fn signed_id() -> Vec<u8> {
        let id_pk = [blob(1, b"123456789"), blob(2, &[7; 32])].concat();
        blob(3, &blob(1, &[&[9; 64][..], &id_pk].concat()))
    }

    fn public_key() -> Vec<u8> {
        blob(4, &[blob(1, &[1; 32]), blob(2, &[2; 48])].concat())
    }

    fn mangle(address: [u8; 4], port: u16, micros: u32) -> Vec<u8> {
        let (address, micros) = (u128::from(u32::from_le_bytes(address)), u128::from(micros));
        let number = (address + micros) << 49 | micros << 17 | (u128::from(port) + (micros & 0xffff));
        let bytes = number.to_le_bytes();
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        bytes[..used].to_vec()
    }

    fn stream_probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&RUSTDESK, Carrier::Stream, orig, resp)
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    fn links(events: &[Event]) -> Vec<Link> {
        let link = |e: &Event| match e.kind {
            EventKind::Link(link) => Some(link),
            _ => None,
        };
        events.iter().filter_map(link).collect()
    }

    #[test]
    fn a_device_registers_and_is_called() {
        let register = blob(6, &[blob(1, b"123456789"), vec![0x10, 1]].concat());
        let caller = mangle([203, 0, 113, 5], 50_321, 0xdead_beef);
        let punch = blob(9, &[blob(1, &caller), blob(2, b"192.0.2.44")].concat());
        assert_eq!(testkit::probe(&RUSTDESK, Carrier::Datagram, &register, b""), Probe::Match);
        let events = testkit::datagrams(&RUSTDESK, &[(Orig, &register), (Resp, b"\x3a\x02\x10\x01"), (Resp, &punch)]);
        assert!(confirmed(&events));
        assert_eq!(said(&events, ROLE), Some("rendezvous"));
        assert_eq!(said(&events, ID), Some("123456789"));
        assert_eq!(said(&events, PEER), Some("203.0.113.5:50321"));
        assert_eq!(said(&events, RELAY), Some("192.0.2.44"));
        assert_eq!(loops(&events).iter().map(|l| l.2).collect::<Vec<_>>(), [REGISTER]);
        let relay = Link::Endpoint(LINK, SocketAddr::from(([192, 0, 2, 44], 21_117)));
        assert!(links(&events).contains(&relay));
    }

    #[test]
    fn both_legs_of_a_relay_meet_and_are_timed_end_to_end() {
        let ask = frame(&blob(18, &[blob(1, b"123456789"), blob(2, SESSION), blob(6, b"key=")].concat()));
        let answer = frame(&blob(18, &blob(2, SESSION)));
        let (offer, key, sealed) = (frame(&signed_id()), frame(&public_key()), frame(&[0xee; 90]));
        assert_eq!(stream_probe(&ask, b""), Probe::Match);
        let viewer = testkit::stream(&RUSTDESK, &[(Orig, &ask), (Resp, &offer), (Orig, &key), (Resp, &sealed)], 9_000);
        let device =
            testkit::stream(&RUSTDESK, &[(Orig, &answer), (Orig, &offer), (Resp, &key), (Orig, &sealed)], 9_000);
        for events in [&viewer, &device] {
            assert!(confirmed(events));
            assert_eq!(said(events, ROLE), Some("relay"));
            assert_eq!(loops(events).iter().map(|l| l.2).collect::<Vec<_>>(), [SIGNED_ID, PUBLIC_KEY]);
            assert!(links(events).contains(&Link::token(LINK, SESSION)));
        }
        assert_eq!(said(&viewer, TARGET), Some("123456789"));
    }

    #[test]
    fn a_direct_session_needs_no_server() {
        let (offer, key) = (frame(&signed_id()), frame(&public_key()));
        assert_eq!(stream_probe(b"", &offer), Probe::Match);
        let events = testkit::stream(&RUSTDESK, &[(Resp, &offer), (Orig, &key)], 9_000);
        assert!(confirmed(&events));
        assert_eq!((said(&events, ROLE), said(&events, ID)), (Some("peer"), Some("123456789")));
    }

    #[test]
    fn an_unencrypted_login_tells_who_comes() {
        let hash = frame(&blob(9, &[blob(1, b"ab12cd"), blob(2, b"zz99yy")].concat()));
        let login =
            [blob(1, b"192.0.2.9"), blob(2, &[3; 32]), blob(4, b"987654321"), blob(5, b"viewer"), blob(11, b"1.4.2")];
        let login = frame(&blob(7, &login.concat()));
        assert_eq!(stream_probe(b"", &hash), Probe::Match);
        let events = testkit::stream(&RUSTDESK, &[(Resp, &hash), (Orig, &login)], 9_000);
        assert!(confirmed(&events));
        assert_eq!((said(&events, CLIENT), said(&events, VERSION)), (Some("987654321"), Some("1.4.2")));
    }

    #[test]
    fn rendezvous_over_tcp() {
        let (ask, answer) = (frame(b"\xa2\x01\x00"), frame(b"\xaa\x01\x03\x08\xb4\x10"));
        assert_eq!(stream_probe(&ask, b""), Probe::NeedMore);
        assert_eq!(stream_probe(&ask, &answer), Probe::Match);
        let events = testkit::stream(&RUSTDESK, &[(Orig, &ask), (Resp, &answer)], 9_000);
        assert_eq!(said(&events, ROLE), Some("nat-test"));
        let request = [blob(1, b"123456789"), blob(3, b"k"), vec![0x20, 4], blob(6, b"1.4.2")].concat();
        let request = frame(&blob(8, &request));
        assert_eq!(stream_probe(&request, b""), Probe::Match);
        let events = testkit::stream(&RUSTDESK, &[(Orig, &request)], 9_000);
        assert_eq!((said(&events, TARGET), said(&events, KIND)), (Some("123456789"), Some("camera")));
        // The server's key, then the client's: nothing more can be read.
        let offer = frame(&blob(25, &blob(1, &[5; 96])));
        let reply = frame(&blob(25, &[blob(1, &[6; 32]), blob(1, &[7; 48])].concat()));
        assert_eq!(stream_probe(b"", &offer), Probe::Match);
        assert!(confirmed(&testkit::stream(&RUSTDESK, &[(Resp, &offer), (Orig, &reply)], 9_000)));
    }

    #[test]
    fn an_address_comes_back_whatever_the_time() {
        for micros in [0, 1, 0xffff, 0x1_0000, u32::MAX] {
            let expected = SocketAddr::from(([198, 51, 100, 250], 65_535));
            assert_eq!(unmangle(&mangle([198, 51, 100, 250], 65_535, micros)), Some(expected), "{micros}");
        }
        assert_eq!(unmangle(b""), None);
        assert_eq!(unmangle(&[0xff; 16]), None);
    }

    /// A datagram of kcp-sys with an acknowledgement in front.
    fn kcp(data: &[u8]) -> Vec<u8> {
        let segment = |command: u8, data: &[u8]| {
            let len = u32::try_from(data.len()).unwrap().to_le_bytes();
            [&[7, 0, 0, 0, command, 0, 0, 1][..], &[1; 4], &[0; 4], &[0; 4], &len, data].concat()
        };
        let header = [7, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, KCP_DATA, 0];
        let push = if data.is_empty() { Vec::new() } else { segment(KCP_PUSH, data) };
        [&header[..], &segment(82, b""), &push].concat()
    }

    #[test]
    fn a_direct_session_over_udp_is_kcp() {
        let (offer, key, sealed) = (kcp(&frame(&signed_id())), kcp(&frame(&public_key())), kcp(&frame(&[0xee; 90])));
        assert_eq!(testkit::probe(&RUSTDESK, Carrier::Datagram, &offer, b""), Probe::Match);
        let turns = [(Resp, &offer[..]), (Orig, &key), (Resp, &kcp(b"")), (Resp, &sealed)];
        let events = testkit::datagrams(&RUSTDESK, &turns);
        assert!(confirmed(&events));
        assert_eq!((said(&events, ROLE), said(&events, ID)), (Some("peer"), Some("123456789")));
        assert!(links(&events).contains(&Link::Here(LINK)));
        let rounds: Vec<_> = loops(&events).into_iter().map(|(_, answered, method)| (method, answered)).collect();
        assert_eq!(rounds, [(SIGNED_ID, testkit::at(1)), (PUBLIC_KEY, testkit::at(3))]);
    }

    #[test]
    fn other_kcp_is_none() {
        let is = |datagram: &[u8]| testkit::probe(&RUSTDESK, Carrier::Datagram, datagram, b"");
        let offer = kcp(&frame(&signed_id()));
        for other in [kcp(b""), kcp(b"GET / HTTP/1.1"), kcp(&frame(b"no message at all")), offer[KCP_HEADER..].to_vec()]
        {
            assert_eq!(is(&other), Probe::NoMatch);
        }
        for (place, value) in [(0, 8), (12, 1), (13, 1), (18, 80), (19, 1)] {
            let mut bytes = offer.clone();
            bytes[place] = value;
            assert_eq!(is(&bytes), Probe::NoMatch, "{place}");
        }
    }

    #[test]
    fn other_protobufs_and_frames_are_none() {
        for other in [
            &b"\x16\x03\x01\x02\0\x01"[..],
            b"SSH-2.0-x\r\n",
            b"GET / HTTP/1.1\r\n",
            b"\x0c\xa2\x01\x01",
            b"\x10\x32\x02\x0a\x01",
            b"\x05\x00\x32\x02",
            b"\0\0\0\0",
        ] {
            assert_eq!(stream_probe(other, b""), Probe::NoMatch, "{other:02x?}");
        }
        // Right frame, wrong content: a field that the message has not, an id that is none, bytes behind.
        let datagram = |bytes: &[u8]| testkit::probe(&RUSTDESK, Carrier::Datagram, bytes, b"");
        assert_eq!(datagram(&blob(6, &blob(3, b"123456789"))), Probe::NoMatch);
        assert_eq!(datagram(&blob(6, &blob(1, b"not an id"))), Probe::NoMatch);
        assert_eq!(datagram(&[blob(6, &blob(1, b"123456789")), vec![0]].concat()), Probe::NoMatch);
        assert_eq!(datagram(b"\x3a\0"), Probe::NoMatch);
        assert_eq!(stream_probe(&frame(&blob(18, &blob(2, b"no-uuid"))), b"RFB 003.008\n"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_events(piece in 1usize..200) {
            let ask = frame(&blob(18, &blob(2, SESSION)));
            let (offer, key, sealed) = (frame(&signed_id()), frame(&public_key()), frame(&[0xee; 90]));
            let turns: [Turn<'_>; 4] = [(Orig, &ask), (Resp, &offer), (Orig, &key), (Resp, &sealed)];
            let told = testkit::stream(&RUSTDESK, &turns, piece);
            prop_assert_eq!(told, testkit::stream(&RUSTDESK, &turns, 9_000));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 3usize..27) {
            let framed = frame(&blob(kind, &bytes));
            let carried = kcp(&framed);
            for bytes in [&bytes, &framed, &carried] {
                stream_probe(bytes, bytes);
                testkit::probe(&RUSTDESK, Carrier::Datagram, bytes, b"");
                testkit::stream(&RUSTDESK, &[(Orig, bytes), (Resp, bytes)], 7);
                testkit::datagrams(&RUSTDESK, &[(Orig, bytes), (Resp, bytes)]);
            }
        }
    }
}
