//! QUIC: versions 1 and 2, the drafts since 21, and Google's before them.
//!
//! Reads: long headers, and the Initial packets of both ends, which everybody can open (RFC 9000, RFC 9001, RFC 9369).
//! Emits: versions, what both hellos say, and the handshake's round trips; those that the spin bit shows afterwards.
//! Does not: read anything under keys of the handshake, or verify Retry tags.
//!
//! Round trips: `initial` (server), `retry` and `handshake` (client), `spin` (both); docs/protocols/quic.md tells their
//! bias. For the spin bit it stays attached for the whole flow, at the cost of a look at each packet's first byte.

use crate::base::{Direction, Ends, Layer, Timestamp};
use crate::protocol::codec::client_hello::{ClientHello, Transport};
use crate::protocol::codec::hello_attributes::{chosen, offered};
use crate::protocol::codec::quic_crypto::{CryptoStream, Frame, Frames};
use crate::protocol::codec::quic_google::{Chlo, public_header, q046_header};
use crate::protocol::codec::quic_initial::{InitialKeys, protections};
use crate::protocol::codec::quic_packet::{ConnectionId, LongPacket, PacketType, V1, V2, is_google, version_name};
use crate::protocol::codec::quic_parameters;
use crate::protocol::codec::quic_spin::Spin;
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
        PARAMETERS,
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
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(Quic::default()),
};

/// What the client grants the server, which programs choose differently.
const PARAMETERS: &str = "quic.parameters";

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
            // A peer may clear the fixed bit once it was told so (RFC 9287); it has then been here before.
            let shaped = if padded { fixed_bit || packet.whole } else { fixed_bit && packet.dcid != packet.scid };
            known(packet.version) && named && shaped
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
    /// After the handshake, in versions that have a spin bit.
    spin: Option<Spin>,
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
        let short = pdu.bytes.first().filter(|first| **first & 0x80 == 0);
        if let Some(spin) = &mut self.spin {
            if let Some(first) = short {
                spin.on_short_header(pdu.at, pdu.dir, *first, events);
            }
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
            if short.is_some() && self.server_hello && self.client == Some(pdu.dir) {
                self.establish(pdu.at, pdu.dir, events);
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

    /// The handshake has been read: what is left to see is the spin bit, if there is one.
    fn establish(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if self.confirmed && matches!(self.version, Some(V1 | V2)) {
            self.spin = Some(Spin::default());
            (self.keys, self.ends, self.room) = (None, Ends::default(), Vec::new());
        } else {
            self.settle(at, dir, events);
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
        let expected = self.client == Some(pdu.dir.flip()) && !self.answered(pdu.dir.flip());
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
            } else if self.keys.is_none() {
                self.speaks(packet.version, pdu, events);
                self.cut_initial(packet, pdu, events);
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
                // Another id before any answer: a new attempt, which only its own answer can open.
                let keys = Keys { version: packet.version, dcid: packet.dcid, keys };
                let before = self.keys.replace(keys);
                self.asked.again |= before.is_some_and(|before| before.dcid != packet.dcid) && !self.answered(dir);
                self.client_starts_anew();
                opened
            }
        };
        self.seen(dir, number);
        Some(frames)
    }

    /// The client's Initial, cut by the snap length: its id still gives the keys of the server's answer. Should it be
    /// the server's own, nothing will open, and nothing be confirmed.
    fn cut_initial(&mut self, packet: &LongPacket<'_>, pdu: &Pdu<'_>, events: &mut Events) {
        let dcid = packet.dcid.as_slice();
        if packet.whole || dcid.len() < 8 {
            return;
        }
        let [protection, ..] = protections(packet.version) else {
            return;
        };
        if let Some(keys) = InitialKeys::derive(protection, dcid) {
            self.keys = Some(Keys { version: packet.version, dcid: packet.dcid, keys });
            self.client = Some(pdu.dir);
            self.initial_of_client(packet, pdu, events);
        }
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

    /// Whether the other end has sent an Initial that opened.
    const fn answered(&self, dir: Direction) -> bool {
        self.ends.of(dir.flip()).expected > 0
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
            Some(hello) => {
                offered(&hello, |key, value| events.attribute(pdu.at, pdu.dir, key, value));
                if let Some(line) = quic_parameters::line(hello.transport_parameters) {
                    events.attribute(pdu.at, pdu.dir, PARAMETERS, line);
                }
            }
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
        self.establish(pdu.at, pdu.dir, events);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testkit::{at, datagrams, loops, probe as ask_probe, said};
    use crate::protocol::{Event, EventKind};
    use Direction::{Orig, Resp};
    use proptest::prelude::*;

    const DCID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
    const SERVER: [u8; 4] = [1, 2, 3, 4];
    const V1: u32 = 1;
    const V2: u32 = 0x6b33_43cf;

    fn keys(version: u32, dcid: &[u8]) -> InitialKeys {
        InitialKeys::derive(&protections(version)[0], dcid).unwrap()
    }

    fn header(first: u8, version: u32, dcid: &[u8], scid: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        out.extend(version.to_be_bytes());
        out.push(u8::try_from(dcid.len()).unwrap());
        out.extend_from_slice(dcid);
        out.push(u8::try_from(scid.len()).unwrap());
        out.extend_from_slice(scid);
        out
    }

    fn initial(
        key: &crate::protocol::codec::quic_initial::PacketKey,
        mut header: Vec<u8>,
        frames: &[u8],
        size: usize,
    ) -> Vec<u8> {
        let mut frames = frames.to_vec();
        frames.resize(size.max(frames.len()), 0);
        header.push(0);
        let len = u16::try_from(frames.len() + 17).unwrap() | 0x4000;
        header.extend(len.to_be_bytes());
        key.seal(&header, &frames)
    }

    fn crypto(offset: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![6, offset];
        out.extend((u16::try_from(bytes.len()).unwrap() | 0x4000).to_be_bytes());
        out.extend_from_slice(bytes);
        out
    }

    fn hello(kind: u8, extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend_from_slice(if kind == 1 { &[0, 2, 0x13, 0x01, 1, 0] } else { &[0x13, 0x01, 0] });
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend_from_slice(extensions);
        let mut out = vec![kind, 0];
        out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend(body);
        out
    }

    const SNI: [u8; 12] = [0, 0, 0, 8, 0, 6, 0, 0, 3, b'a', b'.', b'b'];

    fn client_first(version: u32, dcid: &[u8]) -> Vec<u8> {
        let first = if version == V2 { 0xd0 } else { 0xc0 };
        let frames = crypto(0, &hello(1, &SNI));
        initial(&keys(version, dcid).client, header(first, version, dcid, &[9]), &frames, 1_182)
    }

    fn server_first(version: u32, dcid: &[u8]) -> Vec<u8> {
        let first = if version == V2 { 0xd0 } else { 0xc0 };
        let frames = crypto(0, &hello(2, &[0, 43, 0, 2, 3, 4]));
        initial(&keys(version, dcid).server, header(first, version, &[9], &SERVER), &frames, 200)
    }

    fn handshake_packet(version: u32) -> Vec<u8> {
        let mut out = header(if version == V2 { 0xf0 } else { 0xe0 }, version, &SERVER, &[9]);
        out.extend([0x40, 40]);
        out.extend([0xee; 40]);
        out
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    #[test]
    fn both_versions_are_read_and_timed() {
        for (version, name) in [(V1, "1"), (V2, "2")] {
            let (first, answer, end) =
                (client_first(version, &DCID), server_first(version, &DCID), handshake_packet(version));
            assert!(first.len() >= PADDED);
            assert_eq!(ask_probe(&PROTOCOL, Carrier::Datagram, &first, &[]), Probe::Match);
            let events = datagrams(&PROTOCOL, &[(Orig, &first), (Resp, &answer), (Orig, &end)]);
            assert_eq!(loops(&events), [(at(0), at(1), INITIAL), (at(1), at(2), HANDSHAKE)]);
            assert!(confirmed(&events));
            assert_eq!(said(&events, "quic.version"), Some(name));
            assert_eq!(said(&events, "tls.sni"), Some("a.b"));
            assert_eq!(said(&events, "tls.version"), Some("TLSv1.3"));
            assert!(said(&events, "tls.ja4").unwrap().starts_with("q12d0101"));
            assert!(!events.iter().any(|e| e.kind == EventKind::Settled));
        }
    }

    #[test]
    fn a_compatible_version_may_take_over() {
        let (first, answer, end) = (client_first(V1, &DCID), server_first(V2, &DCID), handshake_packet(V2));
        let events = datagrams(&PROTOCOL, &[(Orig, &first), (Resp, &answer), (Orig, &end)]);
        assert_eq!(loops(&events).len(), 2);
        assert!(confirmed(&events));
    }

    #[test]
    fn a_hello_in_pieces_and_out_of_order_is_put_together() {
        let whole = hello(1, &SNI);
        let (a, b) = whole.split_at(20);
        let key = &keys(V1, &DCID).client;
        let late = initial(key, header(0xc0, V1, &DCID, &[9]), &crypto(20, b), 1_182);
        let early = initial(key, header(0xc0, V1, &DCID, &[9]), &crypto(0, a), 1_182);
        let events = datagrams(&PROTOCOL, &[(Orig, &late), (Orig, &early)]);
        assert_eq!(said(&events, "tls.sni"), Some("a.b"));
        assert_eq!(events.iter().filter(|e| matches!(e.kind, EventKind::Ask(_))).count(), 1);
    }

    #[test]
    fn a_retry_gives_two_more_round_trips() {
        let mut retry = header(0xf0, V1, &[9], &SERVER);
        retry.extend([0xaa; 40]);
        // The second Initial goes to the id of the Retry, and its keys come from there.
        let again = client_first(V1, &SERVER);
        let (first, answer) = (client_first(V1, &DCID), server_first(V1, &SERVER));
        let turns = [(Orig, &first[..]), (Resp, &retry), (Resp, &retry), (Orig, &again), (Resp, &answer)];
        let events = datagrams(&PROTOCOL, &turns);
        let wanted = [(at(0), at(1), INITIAL), (at(1), at(3), RETRY), (at(3), at(4), INITIAL)];
        assert_eq!(loops(&events), wanted);
        assert!(confirmed(&events));
    }

    #[test]
    fn version_negotiation_answers_the_first_initial() {
        let mut negotiation = header(0x80, 0, &[9], &DCID);
        negotiation.extend(V1.to_be_bytes());
        let other = client_first(0xff00_001d, &DCID);
        let (again, answer) = (client_first(V1, &DCID), server_first(V1, &DCID));
        let events = datagrams(&PROTOCOL, &[(Orig, &other), (Resp, &negotiation), (Orig, &again), (Resp, &answer)]);
        assert_eq!(loops(&events), [(at(0), at(1), INITIAL), (at(2), at(3), INITIAL)]);
        assert_eq!(ask_probe(&PROTOCOL, Carrier::Datagram, &negotiation, &[]), Probe::Match);
    }

    #[test]
    fn a_cut_initial_still_gives_the_keys_of_its_answer() {
        let (first, answer) = (client_first(V1, &DCID), server_first(V1, &DCID));
        let events = datagrams(&PROTOCOL, &[(Orig, &first[..200]), (Resp, &answer)]);
        assert_eq!(loops(&events), [(at(0), at(1), INITIAL)]);
        assert!(confirmed(&events) && said(&events, "tls.sni").is_none());
    }

    #[test]
    fn keys_of_another_connection_open_nothing() {
        let (first, answer) = (client_first(V1, &DCID), server_first(V1, &[8; 8]));
        let events = datagrams(&PROTOCOL, &[(Orig, &first), (Resp, &answer), (Orig, &handshake_packet(V1))]);
        assert!(loops(&events).is_empty() && !confirmed(&events));
    }

    proptest! {
        #[test]
        fn random_and_damaged_datagrams_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            place in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let (mut first, answer) = (client_first(V1, &DCID), server_first(V1, &DCID));
            let at = place.index(64);
            first[at] = value;
            let _ = datagrams(&PROTOCOL, &[(Orig, &first), (Resp, &answer), (Orig, &bytes), (Resp, &bytes)]);
            let _ = ask_probe(&PROTOCOL, Carrier::Datagram, &bytes, &[]);
        }

        #[test]
        fn random_bytes_are_no_quic(bytes in prop::collection::vec(any::<u8>(), 1200..1300)) {
            prop_assert_eq!(ask_probe(&PROTOCOL, Carrier::Datagram, &bytes, &[]), Probe::NoMatch);
        }
    }
}
