//! OpenVPN: how its control channel is protected, and the round trips of its control packets.
//!
//! Reads: opcodes, session ids and acknowledgments of control packets, over UDP and over TCP. Emits: the protection of
//! the control channel, the closed loops of the resets and of the acknowledgments that follow, and what the ClientHello
//! inside offers where it is not encrypted. Does not: decrypt, read the TLS behind that hello, or know data packets
//! without the resets before them.
//!
//! Stays attached for the whole flow, since keys are made anew every hour and each time gives more round trips; a data
//! packet then costs one look at its first byte.
//!
//! Reference: OpenVPN wire protocol, draft-ietf-openvpn-protocol; `doc_protocol_overview.h` and `tls-crypt-v2.txt`
//! of OpenVPN's sources.

use crate::base::{Direction, Ends, Layer, Reader, Timestamp};
use crate::protocol::codec::Inbox;
use crate::protocol::codec::client_hello::{ClientHello, Transport};
use crate::protocol::codec::hello_attributes::{OFFERED, offered};
use crate::protocol::codec::tls_record::{HEADER, RecordHeader, content, handshake};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static OPENVPN: Protocol = Protocol {
    name: "openvpn",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram, Carrier::Stream],
    ports: &[1194, 1195, 443],
    attributes: &{
        let [sni, alpn, ech, ja3, ja4] = OFFERED;
        [AUTH, HMAC, sni, alpn, ech, ja3, ja4]
    },
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(OpenVpn::default()),
};

const AUTH: Key = "openvpn.auth";
const HMAC: Key = "openvpn.hmac_bits";

const SOFT_RESET_V1: u8 = 3;
const CONTROL_V1: u8 = 4;
const ACK_V1: u8 = 5;
const HARD_RESET_CLIENT_V2: u8 = 7;
const HARD_RESET_SERVER_V2: u8 = 8;
const HARD_RESET_CLIENT_V3: u8 = 10;
const DATA_V1: u8 = 6;
const DATA_V2: u8 = 9;
const CONTROL_WKC_V1: u8 = 11;
/// What a server may send first: its reset, or the acknowledgment of the client's.
const SERVER_OPENINGS: &[u8] = &[ACK_V1, HARD_RESET_SERVER_V2];

/// Lengths of the HMACs that OpenVPN's `--auth` may choose, in bytes: MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
const HMAC_LENGTHS: [usize; 6] = [16, 20, 28, 32, 48, 64];
/// tls-crypt: session id, packet id and time, HMAC-SHA256, then ciphertext.
const CRYPT_HEADER: usize = 1 + 8 + 8 + 32;
/// A reset inside tls-crypt: acknowledgment count and message packet id.
const CRYPT_RESET: usize = CRYPT_HEADER + 5;
/// A wrapped client key: tag, client key of 256 bytes, length.
const WRAPPED_KEY: usize = 32 + 256 + 2;
/// Acknowledgments one packet may hold (`RELIABLE_ACK_SIZE`).
const ACKS: u8 = 8;
/// A reset is sent anew up to 60 s long with growing pauses: its packet id stays small.
const RESET_PACKET_ID: u32 = 64;
/// Upper half of the packet id of a client that can negotiate early: OpenVPN's `EARLY_NEG_START`, and what stands there
/// in `vpn/ndpi__openvpn-tlscrypt.pcap`.
const EARLY_NEGOTIATION: [u32; 2] = [0x0f00, 0x0a01];
/// Packets that are read for an answer to the resets before the flow is left alone.
const PATIENCE: u8 = 64;
/// Control packets over which a ClientHello may be spread, and its bytes.
const HELLO_PACKETS: u32 = 32;
const HELLO_LIMIT: usize = 8 * 1024;
/// Over TCP a packet has its length before it.
const INBOX_LIMIT: usize = 65_535 + 2;
/// Length and opcode: enough to tell whether a packet of a stream is read or skipped.
const FRAME_HEAD: usize = 3;
/// Control packets of one end that may be under way: a little more than OpenVPN's own window
/// (`TLS_RELIABLE_N_SEND_BUFFERS`, 6).
const WINDOW: usize = 8;

fn probe(opening: &Opening<'_>) -> Probe {
    match opening.carrier {
        Carrier::Datagram => probe_datagrams(opening.sent),
        Carrier::Stream | Carrier::Ip(_) => probe_stream(opening.sent),
    }
}

fn probe_datagrams(sent: Ends<&[u8]>) -> Probe {
    let reset = |bytes: &[u8]| ClientReset::read(bytes).is_some();
    if reset(sent.orig) || reset(sent.resp) || lone_server_reset(sent) {
        return Probe::Match;
    }
    // One end's reset may already have been followed by more; without any of either end it is something else.
    Probe::NoMatch
}

/// A server's reset of which only the answer was captured: in clear, so that its acknowledgment can be read.
fn lone_server_reset(sent: Ends<&[u8]>) -> bool {
    let alone = match (sent.orig, sent.resp) {
        (bytes, []) | ([], bytes) => bytes,
        _ => return false,
    };
    let protections = std::iter::once(Protection::None).chain(HMAC_LENGTHS.map(Protection::TlsAuth));
    protections.into_iter().any(|p| {
        server_reset_len(p) == Some(alone.len()) && ServerReset::read(alone, p).is_some_and(|r| r.echo.is_some())
    })
}

/// The client speaks first: its reset tells. What the server sends can only rule OpenVPN out.
fn probe_stream(sent: Ends<&[u8]>) -> Probe {
    let (Some(client), Some(_)) =
        (framed(sent.orig, &[HARD_RESET_CLIENT_V2, HARD_RESET_CLIENT_V3]), framed(sent.resp, SERVER_OPENINGS))
    else {
        return Probe::NoMatch;
    };
    match client {
        [] => Probe::NeedMore,
        packet if ClientReset::read(packet).is_some() => Probe::Match,
        _ => Probe::NoMatch,
    }
}

/// The first packet of a stream, empty while it is not whole; `None` if it is none of these kinds.
fn framed<'a>(bytes: &'a [u8], kinds: &[u8]) -> Option<&'a [u8]> {
    let mut reader = Reader::new(bytes);
    let Some(length) = reader.u16().map(usize::from) else {
        return matches!(bytes, [] | [0..=5]).then_some(&[]);
    };
    let plausible = reader.rest().first().is_none_or(|b| kinds.contains(&(b >> 3)));
    ((14..=1500).contains(&length) && plausible).then(|| reader.take(length).unwrap_or_default())
}

/// How the control channel is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// Not at all (below TLS).
    None,
    /// An HMAC of so many bytes with a shared key.
    TlsAuth(usize),
    /// Encrypted with a shared key.
    TlsCrypt,
    /// Encrypted with a key of the client's own.
    TlsCryptV2,
}

impl Protection {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TlsAuth(_) => "tls-auth",
            Self::TlsCrypt => "tls-crypt",
            Self::TlsCryptV2 => "tls-crypt-v2",
        }
    }

    /// Where the acknowledgments begin; `None` if they are encrypted.
    const fn acknowledgments(self) -> Option<usize> {
        match self {
            Self::None => Some(9),
            Self::TlsAuth(hmac) => Some(9 + hmac + 8),
            Self::TlsCrypt | Self::TlsCryptV2 => None,
        }
    }
}

/// A client's hard reset.
#[derive(Debug, Clone, Copy)]
struct ClientReset {
    session: [u8; 8],
    protection: Protection,
}

impl ClientReset {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (opcode, session) = opening(bytes)?;
        let protection = match opcode {
            HARD_RESET_CLIENT_V2 => Self::protection(bytes)?,
            HARD_RESET_CLIENT_V3 if replay_id_at(bytes, 9, true) && wrapped_key_fits(bytes) => Protection::TlsCryptV2,
            _ => return None,
        };
        Some(Self { session, protection })
    }

    fn protection(bytes: &[u8]) -> Option<Protection> {
        if bytes.len() == 14 {
            return zeros(bytes, 9, 5).then_some(Protection::None);
        }
        let hmac = bytes.len().checked_sub(22).filter(|n| HMAC_LENGTHS.contains(n));
        match hmac {
            Some(n) if replay_id_at(bytes, 9 + n, false) && zeros(bytes, 17 + n, 5) => Some(Protection::TlsAuth(n)),
            _ if bytes.len() == CRYPT_RESET && replay_id_at(bytes, 9, false) => Some(Protection::TlsCrypt),
            _ => None,
        }
    }
}

/// Opcode and session id of a packet that begins a session: key id 0, session id not 0.
fn opening(bytes: &[u8]) -> Option<(u8, [u8; 8])> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    let session: [u8; 8] = reader.array()?;
    (first & 7 == 0 && session != [0; 8]).then_some((first >> 3, session))
}

fn zeros(bytes: &[u8], at: usize, n: usize) -> bool {
    bytes.get(at..at + n).is_some_and(|b| b.iter().all(|b| *b == 0))
}

/// Whether a replay packet id and its time stand here: a small id, and seconds since 1970 from 2001 on.
/// A client of 2.6 that can negotiate early marks it in the id's upper half.
fn replay_id_at(bytes: &[u8], at: usize, may_negotiate: bool) -> bool {
    let mut reader = Reader::new(bytes.get(at..).unwrap_or_default());
    let (Some(id), Some(seconds)) = (reader.u32(), reader.u32()) else { return false };
    let id = if may_negotiate && EARLY_NEGOTIATION.contains(&(id >> 16)) { id & 0xffff } else { id };
    (1..=RESET_PACKET_ID).contains(&id) && (1_000_000_000..=4_000_000_000).contains(&seconds)
}

/// Whether a renewal goes on under tls-crypt with a key that the session before gave, as it does between two OpenVPNs from
/// 2.6 on, whatever protects the first handshake (`dyn_tls_crypt`). With an HMAC of 32 bytes only the small number
/// tells, where the HMAC would stand.
fn is_encrypted_reset(bytes: &[u8], protection: Protection) -> bool {
    let number = bytes.get(9..13).and_then(|b| b.first_chunk()).map_or(u32::MAX, |b| u32::from_be_bytes(*b));
    let small = (1..1 << 16).contains(&number);
    bytes.len() >= CRYPT_RESET && (protection == Protection::None || small)
}

/// Whether the last two bytes are the length of a wrapped key that fills the packet behind an encrypted reset.
fn wrapped_key_fits(bytes: &[u8]) -> bool {
    let Some(length) = bytes.last_chunk::<2>().map(|b| usize::from(u16::from_be_bytes(*b))) else { return false };
    length >= WRAPPED_KEY && bytes.len().checked_sub(length).is_some_and(|before| before >= CRYPT_RESET)
}

/// A server's hard reset.
#[derive(Debug, Clone, Copy)]
struct ServerReset {
    session: [u8; 8],
    /// The client's session id it acknowledges, where it can be read.
    echo: Option<[u8; 8]>,
}

/// The length of a server's reset that acknowledges one packet.
const fn server_reset_len(protection: Protection) -> Option<usize> {
    match protection.acknowledgments() {
        Some(at) => Some(at + 1 + 4 + 8 + 4),
        None => None,
    }
}

impl ServerReset {
    fn read(bytes: &[u8], protection: Protection) -> Option<Self> {
        let (opcode, session) = opening(bytes)?;
        if opcode != HARD_RESET_SERVER_V2 {
            return None;
        }
        let Some(at) = protection.acknowledgments() else {
            return (bytes.len() >= CRYPT_RESET && replay_id_at(bytes, 9, false))
                .then_some(Self { session, echo: None });
        };
        let (echo, mut rest) = acknowledged(bytes.get(at..)?)?;
        (rest.u32()? == 0 && rest.is_empty()).then_some(Self { session, echo })
    }
}

/// The session id whose packets are acknowledged here, if any are, and what follows.
fn acknowledged(bytes: &[u8]) -> Option<(Option<[u8; 8]>, Reader<'_>)> {
    let mut reader = Reader::new(bytes);
    let count = reader.u8().filter(|count| *count <= ACKS)?;
    reader.take(usize::from(count) * 4)?;
    let echo = if count > 0 { Some(reader.array()?) } else { None };
    Some((echo, reader))
}

/// The client's first control payloads, until the ClientHello in them is whole.
#[derive(Debug, Default)]
struct Payloads {
    /// By message packet id, ascending.
    pieces: Vec<(u32, Vec<u8>)>,
    held: usize,
}

/// What the payloads held so far are.
enum Hello {
    More,
    /// The body of the ClientHello.
    Whole(Vec<u8>),
    /// They are none, or too many.
    Not,
}

impl Payloads {
    fn add(&mut self, id: u32, payload: &[u8]) -> Hello {
        let Err(place) = self.pieces.binary_search_by_key(&id, |(known, _)| *known) else { return Hello::More };
        self.held = self.held.saturating_add(payload.len());
        if self.held > HELLO_LIMIT {
            return Hello::Not;
        }
        self.pieces.insert(place, (id, payload.to_vec()));
        self.hello()
    }

    /// The payloads in order of their ids, which begin at 1 behind the reset's, up to the first that is missing.
    fn hello(&self) -> Hello {
        let in_order = self.pieces.iter().zip(1..).take_while(|((id, _), wanted)| id == wanted);
        let bytes: Vec<u8> = in_order.flat_map(|((_, payload), _)| payload).copied().collect();
        let mut reader = Reader::new(&bytes);
        let mut message = Vec::new();
        while let Some(header) = reader.array::<HEADER>() {
            match RecordHeader::parse(header) {
                Ok(RecordHeader { kind: content::HANDSHAKE, len }) if len > 0 => {
                    let here = usize::from(len).min(reader.len());
                    message.extend_from_slice(reader.take(here).unwrap_or_default());
                }
                _ => return Hello::Not,
            }
            if let Some(answer) = whole_message(&message) {
                return answer;
            }
        }
        Hello::More
    }
}

/// The ClientHello at the beginning of handshake content; `None` while more of it must come.
fn whole_message(content: &[u8]) -> Option<Hello> {
    let mut reader = Reader::new(content);
    if reader.u8()? != handshake::CLIENT_HELLO {
        return Some(Hello::Not);
    }
    reader.block_u24().map(|body| Hello::Whole(body.rest().to_vec()))
}

/// A control packet that waits for its acknowledgment.
#[derive(Debug, Clone, Copy)]
struct Sent {
    /// Which of the session's keys it is about.
    key: u8,
    id: u32,
    at: Timestamp,
    repeated: bool,
}

/// The control packets of one end without an acknowledgment, oldest first.
#[derive(Debug, Default)]
struct Unacknowledged([Option<Sent>; WINDOW]);

impl Unacknowledged {
    fn sent(&mut self, key: u8, id: u32, at: Timestamp) {
        if let Some(same) = self.0.iter_mut().flatten().find(|sent| (sent.key, sent.id) == (key, id)) {
            same.repeated = true;
            return;
        }
        self.0.rotate_left(1);
        if let Some(newest) = self.0.last_mut() {
            *newest = Some(Sent { key, id, at, repeated: false });
        }
    }

    fn take(&mut self, key: u8, id: u32) -> Option<Sent> {
        let waits = |slot: &&mut Option<Sent>| slot.is_some_and(|sent| (sent.key, sent.id) == (key, id));
        self.0.iter_mut().find(waits).and_then(Option::take)
    }
}

/// Where control packets are encrypted: a packet of one end before which all others had been acknowledged.
#[derive(Debug, Clone, Copy)]
struct Alone {
    /// Which of the session's keys it is about.
    key: u8,
    /// When it passed, and whether it did so again.
    open: Option<(Timestamp, bool)>,
    /// Nothing is under way: the next packet will be alone.
    clear: bool,
    /// It is the reset that asks for the key.
    is_reset: bool,
}

impl Default for Alone {
    /// The hard resets have loops of their own.
    fn default() -> Self {
        Self { key: 0, open: None, clear: true, is_reset: false }
    }
}

/// What one end of a stream has sent.
#[derive(Debug)]
struct Feed {
    inbox: Inbox,
    /// Bytes of a data packet that are still to come.
    skip: usize,
}

impl Default for Feed {
    fn default() -> Self {
        Self { inbox: Inbox::new(INBOX_LIMIT), skip: 0 }
    }
}

impl Feed {
    /// The length of the packet at hand with the two bytes of length before it, once known.
    fn size(&self) -> Option<usize> {
        Reader::new(self.inbox.bytes()).u16().map(|length| 2 + usize::from(length))
    }

    fn opcode(&self) -> Option<u8> {
        self.inbox.bytes().get(FRAME_HEAD - 1).map(|byte| byte >> 3)
    }

    /// Bytes still wanted for the head of a packet, or once that is there for the packet.
    fn wants(&self) -> usize {
        let held = self.inbox.bytes().len();
        let whole = self.size().filter(|_| held >= FRAME_HEAD).unwrap_or(FRAME_HEAD);
        whole.saturating_sub(held)
    }
}

#[derive(Debug, Default)]
struct OpenVpn {
    feeds: Ends<Feed>,
    client: Option<(Direction, ClientReset)>,
    server: Option<ServerReset>,
    /// The server's reset came without any of the client's.
    headless: bool,
    confirmed: bool,
    /// The client acknowledged the server's reset: no loop is open.
    acknowledged: bool,
    /// Where a ClientHello in clear is still to come.
    payloads: Option<Payloads>,
    /// Control packets read while no loop was closed.
    packets: u8,
    unacknowledged: Ends<Unacknowledged>,
    alone: Ends<Alone>,
    /// The key whose control packets are encrypted though the first ones were not.
    dynamic: Option<u8>,
    done: bool,
}

/// When a packet's first and last byte passed.
type Span = (Timestamp, Timestamp);

impl Analyzer for OpenVpn {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier == Carrier::Datagram {
            if pdu.missing == 0 {
                self.on_packet(pdu.dir, (pdu.at, pdu.at), pdu.bytes, events);
            }
            return;
        }
        self.on_stream(pdu, events);
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, len: u64, events: &mut Events) {
        let feed = self.feeds.of_mut(dir);
        match usize::try_from(len) {
            // What is lost lies inside a packet that is only counted.
            Ok(len) if len <= feed.skip => feed.skip -= len,
            _ => self.settle(at, dir, events),
        }
    }
}

impl OpenVpn {
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.done, true) {
            events.settled(at, dir);
        }
    }

    /// Cuts a stream into packets; data packets are skipped as soon as they are known.
    fn on_stream(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let mut feed = std::mem::take(self.feeds.of_mut(pdu.dir));
        let mut rest = pdu.bytes;
        while !rest.is_empty() && !self.done {
            let wanted = if feed.skip > 0 { feed.skip } else { feed.wants() };
            let (piece, after) = rest.split_at_checked(wanted).unwrap_or((rest, &[]));
            rest = after;
            if feed.skip > 0 {
                feed.skip -= piece.len();
                continue;
            }
            if !feed.inbox.push(pdu.at, piece) {
                self.give_up(pdu.at, pdu.dir, "openvpn.beyond-buffer", events);
            }
            let (Some(size), Some(opcode)) = (feed.size(), feed.opcode()) else { continue };
            let held = feed.inbox.bytes().len();
            if size < FRAME_HEAD {
                self.give_up(pdu.at, pdu.dir, "openvpn.empty-packet", events);
            } else if self.confirmed && matches!(opcode, DATA_V1 | DATA_V2) {
                feed.skip = size - held;
                feed.inbox.consume(held);
            } else if held == size {
                let span = (feed.inbox.time_of(0), feed.inbox.time_of(size - 1));
                self.on_packet(pdu.dir, span, feed.inbox.bytes().get(2..).unwrap_or_default(), events);
                feed.inbox.consume(size);
            }
        }
        *self.feeds.of_mut(pdu.dir) = feed;
    }

    fn on_packet(&mut self, dir: Direction, span: Span, bytes: &[u8], events: &mut Events) {
        let opcode = bytes.first().map(|b| b >> 3);
        match opcode {
            Some(DATA_V1 | DATA_V2) if self.confirmed => return,
            Some(HARD_RESET_CLIENT_V2 | HARD_RESET_CLIENT_V3) => self.on_client_reset(dir, span, bytes, events),
            Some(HARD_RESET_SERVER_V2) if !self.acknowledged => self.on_server_reset(dir, span, bytes, events),
            Some(CONTROL_V1 | ACK_V1 | CONTROL_WKC_V1) if !self.acknowledged => {
                self.on_control(dir, span, bytes, events);
            }
            Some(SOFT_RESET_V1 | CONTROL_V1 | ACK_V1 | CONTROL_WKC_V1 | HARD_RESET_SERVER_V2) if self.acknowledged => {}
            _ if self.client.is_none() && !self.headless => {
                self.give_up(span.1, dir, "openvpn.not-a-control-packet", events);
            }
            _ => {}
        }
        if opcode == Some(CONTROL_V1) && !self.done {
            self.on_payload(dir, span.1, bytes, events);
        }
        if self.confirmed && !self.done {
            self.on_acknowledgments(dir, span, bytes, events);
        }
        self.packets = if self.confirmed { 0 } else { self.packets.saturating_add(1) };
        if self.packets >= PATIENCE {
            self.settle(span.1, dir, events);
        }
    }

    /// Every control packet is acknowledged by its number, at once or with a control packet that leaves just then.
    fn on_acknowledgments(&mut self, dir: Direction, span: Span, bytes: &[u8], events: &mut Events) {
        let (Some((client_dir, client)), Some(server)) = (self.client, self.server) else { return };
        let (own, other) =
            if dir == client_dir { (client.session, server.session) } else { (server.session, client.session) };
        let mut reader = Reader::new(bytes);
        let (Some(first), Some(session)) = (reader.u8(), reader.array::<8>()) else { return };
        let (opcode, key) = (first >> 3, first & 7);
        if session != own {
            return;
        }
        if opcode == SOFT_RESET_V1 {
            self.dynamic = is_encrypted_reset(bytes, client.protection).then_some(key);
        }
        let readable = client.protection.acknowledgments().filter(|_| self.dynamic != Some(key));
        let Some(at) = readable else {
            return self.on_encrypted(dir, span, (opcode, key), bytes.len(), events);
        };
        let mut reader = Reader::new(bytes.get(at..).unwrap_or_default());
        let Some(count) = reader.u8().filter(|count| *count <= ACKS) else { return };
        let Some(numbers) = reader.take(usize::from(count) * 4) else { return };
        let names = count > 0 && reader.array() == Some(other);
        for number in numbers.chunks_exact(4).filter(|_| names) {
            let id = number.first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
            if let Some(sent) = self.unacknowledged.of_mut(dir.flip()).take(key, id) {
                tell_loop(dir.flip(), (sent.at, span.0), sent.repeated, events);
            }
        }
        // The hard resets have loops of their own.
        if matches!(opcode, CONTROL_V1 | CONTROL_WKC_V1 | SOFT_RESET_V1)
            && let Some(id) = reader.u32()
        {
            self.unacknowledged.of_mut(dir).sent(key, id, span.1);
        }
    }

    /// Under encryption only opcodes and lengths show that a packet acknowledges something, and not what. The first
    /// packet of an end about a new key, and the first one after its reset was acknowledged, stand alone: what then
    /// comes from the other end and only acknowledges can be about nothing older.
    fn on_encrypted(&mut self, dir: Direction, span: Span, (opcode, key): (u8, u8), len: usize, events: &mut Events) {
        let only = opcode == ACK_V1;
        let reset = opcode == SOFT_RESET_V1 && len > CRYPT_RESET;
        let other = self.alone.of_mut(dir.flip());
        if other.key == key && (only || reset) {
            if let Some((at, repeated)) = other.open.take() {
                tell_loop(dir.flip(), (at, span.0), repeated, events);
                // More of the same flight may be under way, unless it was the reset, which goes before all else.
                other.clear = std::mem::take(&mut other.is_reset);
            }
        } else if other.key == key && opcode == CONTROL_V1 {
            // It may acknowledge as well or not: whatever comes after may be about something newer.
            other.open = None;
        }
        let own = self.alone.of_mut(dir);
        match (opcode, &mut own.open) {
            (CONTROL_V1 | CONTROL_WKC_V1 | SOFT_RESET_V1, _) if own.key != key => {
                let is_reset = opcode == SOFT_RESET_V1;
                *own = Alone { key, open: Some((span.1, false)), clear: false, is_reset };
            }
            (SOFT_RESET_V1, Some((_, repeated))) => *repeated = true,
            (CONTROL_V1 | CONTROL_WKC_V1, None) if own.clear => {
                (own.open, own.clear) = (Some((span.1, false)), false);
            }
            _ => {}
        }
    }

    fn on_client_reset(&mut self, dir: Direction, span: Span, bytes: &[u8], events: &mut Events) {
        let Some(reset) = ClientReset::read(bytes) else {
            if self.client.is_none() {
                self.give_up(span.1, dir, "openvpn.reset-malformed", events);
            }
            return;
        };
        // The first session, or a client that begins again on the same ports.
        let begins = self.client.is_none_or(|(_, before)| before.session != reset.session);
        // Sent anew, it makes the exchange ambiguous: asking a second time tells that.
        if begins || self.server.is_none() {
            events.ask(span.1, dir, Layer::OpenVpn, "client-reset");
        }
        if begins {
            self.client = Some((dir, reset));
            self.server = None;
            self.acknowledged = false;
            self.payloads = reset.protection.acknowledgments().filter(|_| !self.confirmed).map(|_| Payloads::default());
            self.unacknowledged = Ends::default();
            self.alone = Ends::default();
        }
    }

    fn on_server_reset(&mut self, dir: Direction, span: Span, bytes: &[u8], events: &mut Events) {
        let Some((client_dir, client)) = self.client else {
            // Only the server's direction was captured.
            self.headless = true;
            return;
        };
        let reset = ServerReset::read(bytes, client.protection).filter(|_| dir == client_dir.flip());
        let Some(reset) = reset.filter(|r| r.echo.is_none_or(|echo| echo == client.session)) else {
            if !self.confirmed {
                self.give_up(span.1, dir, "openvpn.reset-answers-nothing", events);
            }
            return;
        };
        if self.server.is_none() {
            events.answer(span.0, dir, Layer::OpenVpn, "client-reset");
        }
        let readable = client.protection.acknowledgments().is_some();
        if !self.confirmed && (!readable || reset.echo.is_some()) {
            self.confirmed = true;
            events.confirmed(span.1, dir);
            events.attribute(span.1, dir, AUTH, client.protection.name());
            if let Protection::TlsAuth(hmac) = client.protection {
                events.attribute(span.1, dir, HMAC, (hmac * 8).to_string());
            }
        }
        self.server = Some(reset);
        events.ask(span.1, dir, Layer::OpenVpn, "server-reset");
    }

    /// The client's first packet behind the server's reset cannot be made without it: it acknowledges it.
    fn on_control(&mut self, dir: Direction, span: Span, bytes: &[u8], events: &mut Events) {
        let (Some((client_dir, client)), Some(server)) = (self.client, self.server) else {
            if self.client.is_none() && !self.headless {
                self.give_up(span.1, dir, "openvpn.no-reset", events);
            }
            return;
        };
        let session = bytes.get(1..9).and_then(|b| b.first_chunk::<8>());
        if dir != client_dir || session != Some(&client.session) {
            return;
        }
        let acknowledges = match client.protection.acknowledgments() {
            None => true,
            Some(at) => bytes.get(at..).and_then(acknowledged).is_some_and(|(echo, _)| echo == Some(server.session)),
        };
        if acknowledges {
            events.answer(span.0, dir, Layer::OpenVpn, "server-reset");
            self.acknowledged = true;
        }
    }

    /// A control packet of the client may hold a piece of its ClientHello.
    fn on_payload(&mut self, dir: Direction, at: Timestamp, bytes: &[u8], events: &mut Events) {
        let (Some(payloads), Some((client_dir, client))) = (&mut self.payloads, self.client) else { return };
        let ours = opening(bytes).is_some_and(|(_, session)| session == client.session);
        if dir != client_dir || !ours {
            return;
        }
        let inner = client.protection.acknowledgments().and_then(|at| bytes.get(at..));
        let Some((_, mut reader)) = inner.and_then(acknowledged) else { return };
        let Some(id) = reader.u32().filter(|id| (1..=HELLO_PACKETS).contains(id)) else { return };
        match payloads.add(id, reader.rest()) {
            Hello::More => return,
            Hello::Whole(body) => {
                if let Some(hello) = ClientHello::parse(&body, Transport::Tls) {
                    offered(&hello, |key, value| events.attribute(at, dir, key, value));
                }
            }
            Hello::Not => {}
        }
        self.payloads = None;
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        events.violation(at, dir, fault);
        self.settle(at, dir, events);
    }
}

/// A control packet and its acknowledgment; what was sent twice is told twice, so that its sample counts as ambiguous.
fn tell_loop(asking: Direction, (asked, answered): (Timestamp, Timestamp), repeated: bool, events: &mut Events) {
    events.ask(asked, asking, Layer::OpenVpn, "control-ack");
    if repeated {
        events.ask(asked, asking, Layer::OpenVpn, "control-ack");
    }
    events.answer(answered, asking.flip(), Layer::OpenVpn, "control-ack");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const CLIENT: [u8; 8] = *b"client-1";
    const SERVER: [u8; 8] = *b"server-2";
    const DATA_V2: u8 = 9;
    const REPLAY: [u8; 8] = [0, 0, 0, 1, 0x50, 0, 0, 0];

    fn packet(opcode: u8, session: [u8; 8], protection: Protection, inner: &[u8]) -> Vec<u8> {
        let mut out = vec![opcode << 3];
        out.extend(session);
        match protection {
            Protection::None => {}
            Protection::TlsAuth(hmac) => {
                out.extend(vec![0xee; hmac]);
                out.extend(REPLAY);
            }
            Protection::TlsCrypt | Protection::TlsCryptV2 => {
                out.extend(REPLAY);
                out.extend([0xee; 32]);
                out.extend(inner.iter().map(|b| b ^ 0x77));
                return out;
            }
        }
        out.extend(inner);
        out
    }

    fn acked(id: u32, peer: [u8; 8], rest: &[u8]) -> Vec<u8> {
        [&[1][..], &id.to_be_bytes(), &peer, rest].concat()
    }

    /// Reset, reset, acknowledgment.
    fn dialogue(protection: Protection) -> Vec<(Direction, Vec<u8>)> {
        let opcode = if protection == Protection::TlsCryptV2 { HARD_RESET_CLIENT_V3 } else { HARD_RESET_CLIENT_V2 };
        let mut ask = packet(opcode, CLIENT, protection, &[0; 5]);
        if protection == Protection::TlsCryptV2 {
            ask.extend([0xdd; 288]);
            ask.extend(290u16.to_be_bytes());
        }
        vec![
            (Orig, ask),
            (Resp, packet(HARD_RESET_SERVER_V2, SERVER, protection, &acked(0, CLIENT, &[0; 4]))),
            (Orig, packet(ACK_V1, CLIENT, protection, &acked(0, SERVER, &[]))),
        ]
    }

    /// A record with a ClientHello of 300 bytes and more.
    fn hello() -> Vec<u8> {
        let names = [&[0, 0, 0, 16, 0, 14, 0, 0, 11][..], b"example.org", &[0, 21, 0x01, 0x00], &[0; 256]].concat();
        let mut body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 0x01, 1, 0]].concat();
        body.extend(u16::try_from(names.len()).unwrap().to_be_bytes());
        body.extend(names);
        let len = u16::try_from(body.len()).unwrap();
        let message = [&[1, 0][..], &len.to_be_bytes(), &body].concat();
        [&[22, 3, 1][..], &(len + 4).to_be_bytes(), &message].concat()
    }

    /// The client's control packets that carry these bytes, each so many of them.
    fn control(protection: Protection, bytes: &[u8], each: usize) -> Vec<(Direction, Vec<u8>)> {
        let inner = |id: u32, part: &[u8]| [&[0][..], &id.to_be_bytes(), part].concat();
        let parts = bytes.chunks(each).zip(1..);
        parts.map(|(part, id)| (Orig, packet(CONTROL_V1, CLIENT, protection, &inner(id, part)))).collect()
    }

    fn borrowed(turns: &[(Direction, Vec<u8>)]) -> Vec<Turn<'_>> {
        turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect()
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        testkit::datagrams(&OPENVPN, &borrowed(turns))
    }

    fn told(events: &[Event]) -> Vec<String> {
        events
            .iter()
            .map(|e| match &e.kind {
                EventKind::Ask(l) => format!("ask {}", l.method),
                EventKind::Answer(l) => format!("answer {}", l.method),
                EventKind::Attribute { key, value } => format!("{key}={value}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&OPENVPN, Carrier::Datagram, orig, resp)
    }

    #[test]
    fn each_protection_is_told_apart() {
        let all = [Protection::None, Protection::TlsCrypt, Protection::TlsCryptV2].into_iter();
        for protection in all.chain(HMAC_LENGTHS.map(Protection::TlsAuth)) {
            let turns = dialogue(protection);
            assert_eq!(probe(&turns[0].1, b""), Probe::Match, "{protection:?}");
            let mut turns = turns;
            if protection.acknowledgments().is_some() {
                turns.extend(control(protection, &hello(), 400));
            }
            let mut told = told(&run(&turns));
            told.retain(|t| !t.starts_with("openvpn.hmac") && !t.starts_with("tls."));
            let auth = format!("openvpn.auth={}", protection.name());
            let expected = [
                "ask client-reset",
                "answer client-reset",
                "Confirmed",
                &auth,
                "ask server-reset",
                "answer server-reset",
            ];
            assert_eq!(told, expected, "{protection:?}");
        }
    }

    #[test]
    fn a_client_that_negotiates_early_is_known() {
        let mut reset = dialogue(Protection::TlsCryptV2).remove(0).1;
        reset[9..11].copy_from_slice(&[0x0f, 0]);
        assert_eq!(probe(&reset, b""), Probe::Match);
        let mut crypt = dialogue(Protection::TlsCrypt).remove(0).1;
        crypt[9..11].copy_from_slice(&[0x0f, 0]);
        assert_eq!(probe(&crypt, b""), Probe::NoMatch);
    }

    #[test]
    fn data_behind_resets_of_one_direction_does_no_harm() {
        let mut turns = dialogue(Protection::None);
        turns.remove(1);
        turns.insert(1, (Orig, vec![DATA_V2 << 3, 0, 0, 0, 1]));
        assert!(!told(&run(&turns)).iter().any(|t| t.contains("Violation")));
        assert!(told(&run(&turns[1..])).iter().any(|t| t.contains("openvpn.not-a-control-packet")));
    }

    #[test]
    fn a_reset_sent_anew_asks_again() {
        let mut turns = dialogue(Protection::None);
        turns.insert(1, turns[0].clone());
        turns.insert(3, turns[2].clone());
        let asks = told(&run(&turns)).into_iter().filter(|t| t.starts_with("ask")).collect::<Vec<_>>();
        assert_eq!(asks, ["ask client-reset", "ask client-reset", "ask server-reset", "ask server-reset"]);
    }

    #[test]
    fn an_answer_must_name_what_it_answers() {
        let mut turns = dialogue(Protection::None);
        turns[1].1 = packet(HARD_RESET_SERVER_V2, SERVER, Protection::None, &acked(0, *b"stranger", &[0; 4]));
        assert!(told(&run(&turns)).iter().any(|t| t.contains("openvpn.reset-answers-nothing")));
        // A control packet that acknowledges nothing, as it would be if it had left before the reset came.
        let mut early = dialogue(Protection::None);
        early[2].1 = packet(CONTROL_V1, CLIENT, Protection::None, &[0; 5]);
        assert!(!told(&run(&early)).contains(&"answer server-reset".to_owned()));
    }

    #[test]
    fn only_resets_begin_a_session() {
        let turns = dialogue(Protection::TlsAuth(20));
        assert_eq!(probe(b"", &turns[1].1), Probe::Match);
        assert_eq!(probe(&turns[2].1, b""), Probe::NoMatch);
        assert_eq!(probe(&[9 << 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2], b""), Probe::NoMatch);
        let mut null = turns[0].1.clone();
        null[1..9].fill(0);
        assert_eq!(probe(&null, b""), Probe::NoMatch);
        let stream = |bytes: &[u8]| testkit::probe(&OPENVPN, Carrier::Stream, bytes, b"");
        assert_eq!(stream(&[&[0, 42][..], &turns[0].1].concat()), Probe::Match);
        assert_eq!(stream(&[0, 42, 0x38]), Probe::NeedMore);
        assert_eq!(stream(b"\x16\x03\x01"), Probe::NoMatch);
        assert_eq!(stream(b"\x00\x2aGET"), Probe::NoMatch);
    }

    #[test]
    fn random_datagrams_of_the_right_length_and_opcode_do_not_match() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        };
        for round in 0..200_000_usize {
            let len: usize = [14, 38, 42, 50, 54, 70, 86, 344][round % 8];
            let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random()).take(len).collect();
            bytes[0] = [0x38, 0x50][round / 8 % 2];
            assert_ne!(probe(&bytes, b""), Probe::Match);
        }
    }

    fn offers(events: &[Event]) -> Vec<String> {
        told(events).into_iter().filter(|t| t.starts_with("tls.")).collect()
    }

    #[test]
    fn the_hello_inside_is_read() {
        for protection in [Protection::None, Protection::TlsAuth(20), Protection::TlsCrypt] {
            let mut turns = dialogue(protection);
            turns.extend(control(protection, &[&hello()[..], b"more"].concat(), 100));
            let told = run(&turns);
            let offers = offers(&told);
            let readable = protection.acknowledgments().is_some();
            assert_eq!(offers.first().map(String::as_str), readable.then_some("tls.sni=example.org"), "{told:?}");
            assert_eq!(offers.iter().filter(|t| t.starts_with("tls.ja3=")).count(), usize::from(readable));
            assert!(!told.iter().any(|e| e.kind == EventKind::Settled));
        }
    }

    #[test]
    fn what_is_no_hello_or_too_much_is_not_offered() {
        let mut endless = hello();
        endless[3..5].copy_from_slice(&[0x40, 0]);
        endless[6..9].copy_from_slice(&[0, 0x7f, 0xff]);
        endless.resize(HELLO_LIMIT + 1, 0);
        for bytes in [b"no TLS".to_vec(), endless] {
            let mut turns = dialogue(Protection::None);
            turns.extend(control(Protection::None, &bytes, 1000));
            let told = run(&turns);
            assert!(offers(&told).is_empty());
        }
    }

    /// Method, whether it is the question, and the number of the turn.
    fn loops(events: &[Event]) -> Vec<(&'static str, bool, i64)> {
        let told = |e: &Event| match e.kind {
            EventKind::Ask(l) => Some((l.method, true, e.at.nanos() / 1_000_000)),
            EventKind::Answer(l) => Some((l.method, false, e.at.nanos() / 1_000_000)),
            _ => None,
        };
        events.iter().filter_map(told).filter(|l| l.0 == "control-ack").collect()
    }

    /// A control packet about a key, with acknowledgments of the other end's packets before its own number.
    fn numbered(opcode: u8, own: [u8; 8], key: u8, acks: &[u32], peer: [u8; 8], id: Option<u32>) -> Vec<u8> {
        let mut out = vec![opcode << 3 | key];
        out.extend(own);
        out.push(u8::try_from(acks.len()).unwrap());
        acks.iter().for_each(|ack| out.extend(ack.to_be_bytes()));
        if !acks.is_empty() {
            out.extend(peer);
        }
        out.extend(id.map(u32::to_be_bytes).into_iter().flatten());
        out
    }

    #[test]
    fn an_acknowledgment_answers_the_packet_it_numbers() {
        let control = |own, key, acks: &[u32], peer, id| numbered(CONTROL_V1, own, key, acks, peer, Some(id));
        let mut turns = dialogue(Protection::None);
        turns.extend([
            (Orig, control(CLIENT, 0, &[], SERVER, 1)),              // 3
            (Resp, control(SERVER, 0, &[1], CLIENT, 1)),             // 4
            (Resp, control(SERVER, 0, &[], CLIENT, 2)),              // 5
            (Resp, control(SERVER, 0, &[], CLIENT, 2)),              // 6: sent anew
            (Orig, numbered(ACK_V1, CLIENT, 0, &[1], SERVER, None)), // 7
            (Orig, numbered(ACK_V1, CLIENT, 0, &[2, 1], SERVER, None)),
            (Orig, vec![DATA_V2 << 3, 0, 0, 0, 1, 2, 3]),
            (Resp, numbered(SOFT_RESET_V1, SERVER, 1, &[], CLIENT, Some(0))), // 10: an hour later
            (Orig, numbered(ACK_V1, CLIENT, 0, &[0], SERVER, None)),          // of the key before
            (Orig, numbered(ACK_V1, CLIENT, 1, &[0], *b"stranger", None)),
            (Orig, numbered(SOFT_RESET_V1, CLIENT, 1, &[0], SERVER, Some(0))), // 13
            (Resp, numbered(ACK_V1, SERVER, 1, &[0], CLIENT, None)),
        ]);
        let ack = "control-ack";
        let expected = [
            (ack, true, 3),
            (ack, false, 4),
            (ack, true, 4),
            (ack, false, 7),
            (ack, true, 5),
            (ack, true, 5),
            (ack, false, 8),
            (ack, true, 10),
            (ack, false, 13),
            (ack, true, 13),
            (ack, false, 14),
        ];
        assert_eq!(loops(&run(&turns)), expected);
        // The same over TCP, where data packets are skipped, in whatever pieces.
        let framed = |(dir, bytes): &(Direction, Vec<u8>)| {
            (*dir, [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat())
        };
        let stream: Vec<_> = turns.iter().map(framed).collect();
        for piece in [1, 2, 5, usize::MAX] {
            assert_eq!(loops(&testkit::stream(&OPENVPN, &borrowed(&stream), piece)), expected, "{piece}");
        }
    }

    #[test]
    fn an_encrypted_renewal_is_answered_by_what_can_only_acknowledge() {
        let crypt = |opcode: u8, own, key: u8, inner: usize| {
            let mut out = packet(opcode, own, Protection::TlsCrypt, &vec![0; inner]);
            out[0] |= key;
            out
        };
        let mut turns = dialogue(Protection::TlsCrypt);
        turns.extend([
            (Orig, crypt(CONTROL_V1, CLIENT, 0, 200)),
            (Resp, crypt(CONTROL_V1, SERVER, 0, 1_100)), // 4: may acknowledge that or not
            (Resp, crypt(CONTROL_V1, SERVER, 0, 1_100)),
            (Orig, crypt(ACK_V1, CLIENT, 0, 13)), // 6
            (Orig, crypt(ACK_V1, CLIENT, 0, 13)),
            (Resp, crypt(ACK_V1, SERVER, 0, 13)),
            (Resp, crypt(CONTROL_V1, SERVER, 0, 300)), // what the next acknowledgment is about nobody knows
            (Orig, crypt(ACK_V1, CLIENT, 0, 13)),
            (Resp, crypt(SOFT_RESET_V1, SERVER, 1, 5)), // 11
            (Orig, crypt(SOFT_RESET_V1, CLIENT, 1, 5)), // crosses the other's and acknowledges nothing
            (Orig, crypt(ACK_V1, CLIENT, 1, 13)),       // 13
            (Orig, crypt(ACK_V1, CLIENT, 1, 13)),
            (Resp, crypt(ACK_V1, SERVER, 1, 13)),
            (Resp, crypt(SOFT_RESET_V1, SERVER, 2, 5)),
            (Orig, crypt(SOFT_RESET_V1, CLIENT, 2, 17)), // 17
            (Resp, crypt(CONTROL_V1, SERVER, 2, 1_100)),
            (Orig, crypt(ACK_V1, CLIENT, 2, 13)), // 19
        ]);
        let ack = "control-ack";
        let expected = [(4, 6), (11, 13), (12, 15), (16, 17), (18, 19)]
            .map(|(asked, answered)| [(ack, true, asked), (ack, false, answered)])
            .concat();
        assert_eq!(loops(&run(&turns)), expected);
    }

    #[test]
    fn a_renewal_may_be_encrypted_though_the_first_handshake_was_not() {
        for protection in [Protection::None, Protection::TlsAuth(20), Protection::TlsAuth(32)] {
            let crypt = |opcode: u8, own, inner: usize| {
                let mut out = packet(opcode, own, Protection::TlsCrypt, &vec![0; inner]);
                out[0] |= 1;
                out
            };
            let mut turns = dialogue(protection);
            turns.extend([
                (Resp, crypt(SOFT_RESET_V1, SERVER, 5)),  // 3
                (Orig, crypt(SOFT_RESET_V1, CLIENT, 17)), // 4
                (Resp, crypt(ACK_V1, SERVER, 13)),
            ]);
            let ack = "control-ack";
            let expected = [(ack, true, 3), (ack, false, 4), (ack, true, 4), (ack, false, 5)];
            assert_eq!(loops(&run(&turns)), expected, "{protection:?}");
        }
    }

    #[test]
    fn a_client_that_begins_again_is_timed_again() {
        let mut turns = dialogue(Protection::None);
        let mut anew = dialogue(Protection::None);
        anew[0].1[1..9].copy_from_slice(b"client-9");
        anew[1].1[14..22].copy_from_slice(b"client-9");
        anew[2].1[1..9].copy_from_slice(b"client-9");
        turns.extend(anew);
        let answers = told(&run(&turns)).into_iter().filter(|t| t.starts_with("answer")).collect::<Vec<_>>();
        let once = ["answer client-reset", "answer server-reset"];
        assert_eq!(answers, [once, once].concat());
    }

    #[test]
    fn bytes_that_were_not_captured_end_the_reading_unless_they_are_data() {
        let framed = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        for (lost, settles) in [(900, false), (1_200, true)] {
            let (mut analyzer, mut events) = ((OPENVPN.analyzer)(), Events::default());
            let at = Timestamp::from_nanos(1);
            let data = [&[DATA_V2 << 3][..], &[0; 1_000]].concat();
            let mut turns: Vec<_> = dialogue(Protection::None).iter().map(|(dir, b)| (*dir, framed(b))).collect();
            turns.push((Orig, framed(&data)[..100].to_vec()));
            for (dir, bytes) in &turns {
                let pdu = Pdu { at, dir: *dir, bytes, carrier: Carrier::Stream, missing: 0 };
                analyzer.on_pdu(&pdu, &mut events);
            }
            analyzer.on_gap(at, Orig, lost, &mut events);
            assert_eq!(events.drain().any(|e| e.kind == EventKind::Settled), settles);
        }
    }

    proptest! {
        #[test]
        fn no_order_of_datagrams_changes_what_is_offered(
            each in 20usize..400,
            keys in proptest::collection::vec(any::<u16>(), 40),
            again in any::<bool>(),
        ) {
            let mut turns = dialogue(Protection::TlsAuth(20));
            let wanted = [&turns[..], &control(Protection::TlsAuth(20), &hello(), 400)].concat();
            let mut parts = control(Protection::TlsAuth(20), &hello(), each);
            if again {
                parts.extend(parts.clone());
            }
            let mut parts: Vec<_> = parts.into_iter().zip(&keys).collect();
            parts.sort_by_key(|(_, key)| **key);
            turns.extend(parts.into_iter().map(|(turn, _)| turn));
            prop_assert_eq!(offers(&run(&turns)), offers(&run(&wanted)));
            prop_assert!(!offers(&run(&wanted)).is_empty());
            let framed = |(dir, bytes): &(Direction, Vec<u8>)| {
                (*dir, [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat())
            };
            let stream: Vec<_> = turns.iter().map(framed).collect();
            prop_assert_eq!(offers(&testkit::stream(&OPENVPN, &borrowed(&stream), each)), offers(&run(&wanted)));
        }

        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..120, crypt: bool) {
            let protection = if crypt { Protection::TlsCrypt } else { Protection::TlsAuth(64) };
            let framed = |(dir, bytes): (Direction, Vec<u8>)| {
                (dir, [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat())
            };
            let turns: Vec<_> = dialogue(protection).into_iter().map(framed).collect();
            let whole = testkit::stream(&OPENVPN, &borrowed(&turns), usize::MAX);
            prop_assert_eq!(testkit::stream(&OPENVPN, &borrowed(&turns), piece), whole);
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), 0u8..12, proptest::collection::vec(any::<u8>(), 0..100)), 0..12,
        )) {
            let mut all = dialogue(Protection::None);
            all.extend(turns.into_iter().map(|(orig, opcode, mut bytes)| {
                if let Some(first) = bytes.first_mut() {
                    *first = opcode << 3;
                }
                (if orig { Orig } else { Resp }, bytes)
            }));
            run(&all);
            run(all.get(3..).unwrap_or_default());
            testkit::stream(&OPENVPN, &borrowed(&all), 9);
            for (_, bytes) in &all {
                probe(bytes, b"");
                testkit::probe(&OPENVPN, Carrier::Stream, bytes, b"");
            }
        }
    }
}
