//! QUIC: versions 1 and 2, the drafts since 21, and Google's before them.
//!
//! Reads: long headers, and the Initial packets of both ends, which everybody can open (RFC 9000, RFC 9001, RFC 9369).
//! Emits: versions, what both hellos say, and the handshake's round trips. Does not: read anything under keys of the
//! handshake, verify Retry tags, or stay beyond the handshake.
//!
//! Round trips: `initial` (server), `retry` and `handshake` (client); docs/protocols/quic.md tells their bias.

use crate::base::{Direction, Ends, Layer, Timestamp};
use crate::protocol::codec::client_hello::{ClientHello, Transport};
use crate::protocol::codec::hello_attributes::{chosen, offered};
use crate::protocol::codec::quic_crypto::{CryptoStream, Frame, Frames};
use crate::protocol::codec::quic_google::{Chlo, public_header, q046_header};
use crate::protocol::codec::quic_initial::{InitialKeys, protections};
use crate::protocol::codec::quic_packet::{ConnectionId, LongPacket, PacketType, is_google, version_name};
use crate::protocol::codec::server_hello::ServerHello;
use crate::protocol::codec::text::printable;
use crate::protocol::{Analyzer, Carrier, Category, Events, Opening, Pdu, Probe, Protocol};
use std::ops::Range;

/// QUIC.
pub(super) static PROTOCOL: Protocol = Protocol {
    name: "quic",
    category: Category::Web,
    carriers: &[Carrier::Datagram],
    ports: &[443, 80, 8443, 853, 784, 4433],
    attributes: &[
        "quic.version",
        "quic.user_agent",
        "tls.version",
        "tls.sni",
        "tls.alpn",
        "tls.alpn_offered",
        "tls.cipher",
        "tls.ja3",
        "tls.ja3s",
        "tls.ja4",
        "tls.resumed",
        "tls.hrr",
        "tls.ech",
    ],
    probe,
    analyzer: || Box::new(Quic::default()),
};

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier != Carrier::Datagram {
        return Probe::NoMatch;
    }
    let datagram = opening.sent.of(opening.newest);
    if opens(datagram) { Probe::Match } else { Probe::NoMatch }
}

/// Whether this datagram can only be one of a QUIC handshake.
fn opens(datagram: &[u8]) -> bool {
    if let Some((_, _, rest)) = public_header(datagram) {
        return rest.len() >= 12;
    }
    if let Some((_, rest)) = q046_header(datagram) {
        return rest.len() >= 24;
    }
    let Some((packet, _)) = LongPacket::parse(datagram) else {
        return false;
    };
    let fixed_bit = datagram.first().is_some_and(|first| first & 0x40 != 0);
    match packet.kind {
        PacketType::VersionNegotiation => packet.offers_known_version(),
        // The client pads its first flight (RFC 9000 section 14.1), and names the server with at least eight bytes
        // (section 7.2); the server's Initial may be short, but names itself.
        PacketType::Initial => {
            let padded = datagram.len() >= PADDED || !packet.whole;
            let named = packet.dcid.as_slice().len() >= 8 || !packet.scid.as_slice().is_empty();
            fixed_bit && known(packet.version) && named && (padded || packet.dcid != packet.scid)
        }
        PacketType::ZeroRtt | PacketType::Handshake => fixed_bit && packet.whole && known(packet.version),
        PacketType::Retry => known(packet.version) && !packet.scid.as_slice().is_empty(),
    }
}

fn known(version: u32) -> bool {
    !protections(version).is_empty()
}

/// Reads one connection's handshake.
#[derive(Default)]
struct Quic {
    version: Option<u32>,
    /// Who sent the Initial that opened with the client's keys.
    client: Option<Direction>,
    keys: Option<Keys>,
    ends: Ends<End>,
    /// The id a Retry gave the server.
    retry: Option<ConnectionId>,
    asked: Asked,
    client_hello: bool,
    server_hello: bool,
    /// Google's handshake: the connection id, if the header has one.
    google: Option<[u8; 8]>,
    confirmed: bool,
    done: bool,
    datagrams: u16,
    /// Where packets are opened.
    room: Vec<u8>,
}

/// What opens Initial packets at present.
struct Keys {
    version: u32,
    dcid: ConnectionId,
    keys: InitialKeys,
}

/// What one end sends in Initial packets.
#[derive(Debug, Default)]
struct End {
    stream: CryptoStream,
    /// Bytes of the stream that have been read.
    used: usize,
    /// The packet number after the greatest one seen.
    expected: u64,
}

/// Which loops are open.
#[derive(Debug)]
struct Asked {
    /// The next Initial of the client opens `initial`: it is the first, or follows a Retry or version negotiation.
    again: bool,
    initial: bool,
    retry: bool,
    handshake: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self { again: true, initial: false, retry: false, handshake: false }
    }
}

impl Analyzer for Quic {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        self.datagrams += 1;
        if !self.google(pdu, events) {
            let mut rest = pdu.bytes;
            while let Some((packet, after)) = LongPacket::parse(rest)
                && !self.done
            {
                self.packet(&packet, pdu, events);
                rest = after;
            }
            // A short header of the client after both hellos: the handshake is over.
            let short = pdu.bytes.first().is_some_and(|first| first & 0x80 == 0);
            if short && self.server_hello && self.client == Some(pdu.dir) {
                self.settle(pdu.at, pdu.dir, events);
            }
        }
        if self.datagrams >= DATAGRAM_LIMIT {
            self.settle(pdu.at, pdu.dir, events);
        }
    }
}

impl Quic {
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !self.done {
            self.done = true;
            events.settled(at, dir);
        }
    }

    fn confirm(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(at, dir);
        }
    }

    /// The version in use, as the newest packet has it.
    fn speaks(&mut self, version: u32, pdu: &Pdu<'_>, events: &mut Events) {
        if self.version != Some(version)
            && let Some(name) = version_name(version)
        {
            self.version = Some(version);
            events.attribute(pdu.at, pdu.dir, "quic.version", name);
        }
    }

    fn packet(&mut self, packet: &LongPacket<'_>, pdu: &Pdu<'_>, events: &mut Events) {
        match packet.kind {
            PacketType::VersionNegotiation => self.version_negotiation(packet, pdu, events),
            PacketType::Retry => self.retry(packet, pdu, events),
            PacketType::Initial => self.initial(packet, pdu, events),
            PacketType::Handshake => self.handshake(pdu, events),
            PacketType::ZeroRtt => {}
        }
    }

    /// The server names its versions: an answer to the client's first Initial, whose id it must give back.
    fn version_negotiation(&mut self, packet: &LongPacket<'_>, pdu: &Pdu<'_>, events: &mut Events) {
        let echoed = self.keys.as_ref().is_some_and(|keys| keys.dcid == packet.scid);
        if echoed && self.client == Some(pdu.dir.flip()) && !self.server_hello {
            self.answer_initial(pdu, events);
            // The client starts anew, with another version.
            self.keys = None;
            self.asked.again = true;
            self.client_starts_anew();
        }
    }

    fn retry(&mut self, packet: &LongPacket<'_>, pdu: &Pdu<'_>, events: &mut Events) {
        // A client takes one Retry, and none once it has got an Initial (RFC 9000 section 17.2.5.2).
        let expected = self.client == Some(pdu.dir.flip()) && self.ends.of(pdu.dir).expected == 0;
        if !expected || self.retry.is_some() {
            return;
        }
        self.answer_initial(pdu, events);
        self.retry = Some(packet.scid);
        self.asked.retry = true;
        events.ask(pdu.at, pdu.dir, Layer::Quic, RETRY);
    }

    fn answer_initial(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if std::mem::take(&mut self.asked.initial) {
            events.answer(pdu.at, pdu.dir, Layer::Quic, INITIAL);
        }
    }

    fn client_starts_anew(&mut self) {
        if let Some(client) = self.client
            && !self.client_hello
        {
            self.ends.of_mut(client).stream.clear();
            self.ends.of_mut(client).used = 0;
        }
    }

    fn initial(&mut self, packet: &LongPacket<'_>, pdu: &Pdu<'_>, events: &mut Events) {
        let mut room = std::mem::take(&mut self.room);
        if self.client != Some(pdu.dir.flip()) {
            if let Some(frames) = self.open_of_client(packet, pdu.dir, &mut room) {
                self.client = Some(pdu.dir);
                self.speaks(packet.version, pdu, events);
                self.initial_of_client(packet, pdu, events);
                self.frames(room.get(frames).unwrap_or_default(), packet.version, pdu, events);
            } else if self.client.is_none() {
                self.speaks(packet.version, pdu, events);
            }
        } else if let Some(frames) = self.open_of_server(packet, pdu.dir, &mut room) {
            self.speaks(packet.version, pdu, events);
            self.answer_initial(pdu, events);
            self.frames(room.get(frames).unwrap_or_default(), packet.version, pdu, events);
        }
        self.room = room;
    }

    /// Opens an Initial of the client: with the keys at hand, else with those its own destination id gives.
    fn open_of_client(&mut self, packet: &LongPacket<'_>, dir: Direction, room: &mut Vec<u8>) -> Option<Range<usize>> {
        let expected = self.ends.of(dir).expected;
        let at_hand = self.keys.as_ref().filter(|keys| keys.version == packet.version);
        let opened = at_hand.and_then(|keys| keys.keys.client.open(packet, expected, room));
        let (number, frames) = match opened {
            Some(opened) => opened,
            None if self.server_hello => return None,
            None => {
                let (keys, opened) = protections(packet.version).iter().find_map(|protection| {
                    let keys = InitialKeys::derive(protection, packet.dcid.as_slice())?;
                    let opened = keys.client.open(packet, expected, room)?;
                    Some((keys, opened))
                })?;
                self.keys = Some(Keys { version: packet.version, dcid: packet.dcid, keys });
                self.client_starts_anew();
                opened
            }
        };
        self.seen(dir, number);
        Some(frames)
    }

    /// Opens an Initial of the server; a compatible version may have taken over (RFC 9369 section 4.1).
    fn open_of_server(&mut self, packet: &LongPacket<'_>, dir: Direction, room: &mut Vec<u8>) -> Option<Range<usize>> {
        let expected = self.ends.of(dir).expected;
        let at_hand = self.keys.as_ref()?;
        let (number, frames) = if at_hand.version == packet.version {
            at_hand.keys.server.open(packet, expected, room)?
        } else {
            let dcid = at_hand.dcid;
            let (keys, opened) = protections(packet.version).iter().find_map(|protection| {
                let keys = InitialKeys::derive(protection, dcid.as_slice())?;
                let opened = keys.server.open(packet, expected, room)?;
                Some((keys, opened))
            })?;
            self.keys = Some(Keys { version: packet.version, dcid, keys });
            opened
        };
        self.seen(dir, number);
        Some(frames)
    }

    fn seen(&mut self, dir: Direction, number: u64) {
        let end = self.ends.of_mut(dir);
        end.expected = end.expected.max(number.saturating_add(1));
    }

    fn initial_of_client(&mut self, packet: &LongPacket<'_>, pdu: &Pdu<'_>, events: &mut Events) {
        if self.retry == Some(packet.dcid) && std::mem::take(&mut self.asked.retry) {
            events.answer(pdu.at, pdu.dir, Layer::Quic, RETRY);
            self.asked.again = true;
        }
        if std::mem::take(&mut self.asked.again) {
            self.asked.initial = true;
            events.ask(pdu.at, pdu.dir, Layer::Quic, INITIAL);
        }
    }

    fn frames(&mut self, frames: &[u8], version: u32, pdu: &Pdu<'_>, events: &mut Events) {
        let google = matches!(version.to_be_bytes(), [b'Q' | b'T', b'0', ..]);
        let mut close = false;
        for frame in Frames::new(frames, google) {
            match frame {
                Frame::Crypto { offset, bytes } => self.ends.of_mut(pdu.dir).stream.insert(offset, bytes),
                Frame::Close => close = true,
            }
        }
        if is_google(version) {
            self.google_hello(frames, pdu, events);
        } else {
            self.messages(pdu, events);
        }
        if close {
            self.settle(pdu.at, pdu.dir, events);
        }
    }

    /// Reads the handshake messages that have come whole.
    fn messages(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let stream = std::mem::take(&mut self.ends.of_mut(pdu.dir).stream);
        while let Some(rest) = stream.contiguous().get(self.ends.of(pdu.dir).used..)
            && let Some(([kind, high, mid, low], body)) = rest.split_first_chunk::<4>()
            && let Ok(len) = usize::try_from(u32::from_be_bytes([0, *high, *mid, *low]))
            && let Some((body, _)) = body.split_at_checked(len)
            && !self.done
        {
            self.ends.of_mut(pdu.dir).used += 4 + len;
            match (*kind, self.client == Some(pdu.dir)) {
                (1, true) => self.client_hello(body, pdu, events),
                (2, false) => self.server_hello(body, pdu, events),
                _ => {}
            }
        }
        self.ends.of_mut(pdu.dir).stream = stream;
    }

    fn client_hello(&mut self, body: &[u8], pdu: &Pdu<'_>, events: &mut Events) {
        if std::mem::replace(&mut self.client_hello, true) {
            return;
        }
        match ClientHello::parse(body, Transport::Quic) {
            Some(hello) => offered(&hello, |key, value| events.attribute(pdu.at, pdu.dir, key, value)),
            None => {
                events.violation(pdu.at, pdu.dir, "quic.client-hello-malformed");
                self.settle(pdu.at, pdu.dir, events);
            }
        }
    }

    fn server_hello(&mut self, body: &[u8], pdu: &Pdu<'_>, events: &mut Events) {
        let (at, dir) = (pdu.at, pdu.dir);
        let Some(hello) = ServerHello::parse(body) else {
            events.violation(at, dir, "quic.server-hello-malformed");
            return self.settle(at, dir, events);
        };
        // Client and server used keys of the same connection id: both speak QUIC.
        self.confirm(at, dir, events);
        if hello.retry {
            return events.attribute(at, dir, "tls.hrr", "true");
        }
        if !std::mem::replace(&mut self.server_hello, true) {
            chosen(&hello, |key, value| events.attribute(at, dir, key, value));
            self.asked.handshake = true;
            events.ask(at, dir, Layer::Quic, HANDSHAKE);
        }
    }

    /// A Handshake packet needs the keys that the ServerHello gives.
    fn handshake(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.client != Some(pdu.dir) {
            return;
        }
        if std::mem::take(&mut self.asked.handshake) {
            events.answer(pdu.at, pdu.dir, Layer::Quic, HANDSHAKE);
        }
        self.settle(pdu.at, pdu.dir, events);
    }

    /// Reads a packet of Google's own handshake; `false` if it is none.
    fn google(&mut self, pdu: &Pdu<'_>, events: &mut Events) -> bool {
        let (version, id, content) = if let Some((version, id, content)) = public_header(pdu.bytes) {
            (version, id, content)
        } else if let Some((version, content)) = q046_header(pdu.bytes) {
            let mut id = [0; 8];
            id.copy_from_slice(content.first_chunk::<8>().map_or(&[0; 8], |id| id));
            (version, id, content)
        } else {
            return self.google_answer(pdu, events);
        };
        self.speaks(version, pdu, events);
        if self.google == Some(id) && self.client == Some(pdu.dir.flip()) {
            self.confirm(pdu.at, pdu.dir, events);
            self.settle(pdu.at, pdu.dir, events);
        } else if self.client.is_none() {
            self.client = Some(pdu.dir);
            self.google = Some(id);
        }
        if self.client == Some(pdu.dir) {
            self.google_hello(content, pdu, events);
        }
        true
    }

    /// A server's packet of Q043 and before has no version, but the client's connection id.
    fn google_answer(&mut self, pdu: &Pdu<'_>, events: &mut Events) -> bool {
        let Some(id) = self.google else {
            return false;
        };
        if self.client == Some(pdu.dir.flip()) {
            let same = pdu.bytes.get(1..9) == Some(&id[..]) || pdu.bytes.windows(4).take(64).any(|w| w == b"REJ\0");
            if same {
                self.confirm(pdu.at, pdu.dir, events);
            }
            self.settle(pdu.at, pdu.dir, events);
        }
        true
    }

    fn google_hello(&mut self, content: &[u8], pdu: &Pdu<'_>, events: &mut Events) {
        if self.client_hello {
            return;
        }
        let Some(chlo) = Chlo::find(content) else {
            return;
        };
        self.client_hello = true;
        if let Some(name) = chlo.server_name {
            events.attribute(pdu.at, pdu.dir, "tls.sni", printable(name, NAME));
        }
        if let Some(agent) = chlo.user_agent {
            events.attribute(pdu.at, pdu.dir, "quic.user_agent", printable(agent, NAME));
        }
    }
}

/// The least a client pads its Initial to (RFC 9000 section 14.1).
const PADDED: usize = 1_200;
/// Datagrams after which a handshake that has not ended is left.
const DATAGRAM_LIMIT: u16 = 256;
/// Longest name kept, in characters.
const NAME: usize = 255;

const INITIAL: &str = "initial";
const RETRY: &str = "retry";
const HANDSHAKE: &str = "handshake";
