//! Xpra: windows and desktops of X11 shown elsewhere, over its own packets.
//!
//! Reads: the header of the first packet of each end, and how its payload begins. Emits: how packets are encoded,
//! compressed and encrypted. Does not: undo compression, or see Xpra inside SSH, TLS or a WebSocket, where it is what
//! carries it.
//!
//! Reference: Xpra's documentation, Network/Protocol: `P`, flags of the encoding, compression and its level, index of
//! the chunk, length of the payload (32 bits, big-endian).

use crate::base::{Direction, Ends, Reader, Timestamp};
use crate::protocol::codec::Inbox;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static XPRA: Protocol = Protocol {
    name: "xpra",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[14_500, 10_000],
    attributes: &[ENCODING, COMPRESSION, ENCRYPTION],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Xpra::default()),
};

const ENCODING: Key = "xpra.encoding";
const COMPRESSION: Key = "xpra.compression";
const ENCRYPTION: Key = "xpra.encryption";

const HEADER: usize = 8;
/// Bytes of the payload that are looked at.
const HEAD: usize = 8;
/// Xpra itself refuses larger packets before the hellos.
const PAYLOAD_LIMIT: u32 = 16 * 1024 * 1024;

const CIPHER: u8 = 0x02;
const FLUSH: u8 = 0x08;

/// The header of a packet, and whether what follows fits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packet {
    flags: u8,
    compression: u8,
    index: u8,
}

enum Unit {
    More,
    Not,
    Whole(Packet),
}

impl Packet {
    fn read(bytes: &[u8]) -> Unit {
        let mut reader = Reader::new(bytes);
        let Some(magic) = reader.u8() else { return Unit::More };
        if magic != b'P' {
            return Unit::Not;
        }
        let Some(flags) = reader.u8() else { return Unit::More };
        if encoding(flags).is_none() {
            return Unit::Not;
        }
        let Some(level) = reader.u8() else { return Unit::More };
        if compression(level).is_none() {
            return Unit::Not;
        }
        let Some(index) = reader.u8() else { return Unit::More };
        // A hello has a handful of chunks.
        if index > 15 {
            return Unit::Not;
        }
        let Some(size) = reader.u32() else { return Unit::More };
        let packet = Self { flags, compression: level, index };
        let Some(least) = u32::try_from(HEAD).ok().filter(|least| (*least..PAYLOAD_LIMIT).contains(&size)) else {
            return Unit::Not;
        };
        match reader.array::<HEAD>() {
            None => Unit::More,
            Some(head) if packet.fits(&head, size.max(least)) => Unit::Whole(packet),
            Some(_) => Unit::Not,
        }
    }

    /// Whether a payload of `size` bytes may begin so.
    fn fits(self, head: &[u8; HEAD], size: u32) -> bool {
        // What is encrypted has no shape, and a chunk is any part of a packet.
        if self.flags & CIPHER != 0 || (self.index > 0 && self.compression & 0x0f == 0) {
            return true;
        }
        match (compression(self.compression), head) {
            (Some("zlib"), [0x78, flags, ..]) => (0x7800 + u16::from(*flags)) % 31 == 0,
            // The length of what was compressed, little-endian: LZ4 makes at most 255 bytes of one.
            (Some("lz4" | "lzo"), [a, b, c, d, ..]) => {
                let whole = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
                whole >= 4 && whole < u64::from(PAYLOAD_LIMIT) && whole <= u64::from(size) * 255
            }
            (Some("brotli"), _) => true,
            (Some("none"), head) => match encoding(self.flags) {
                Some("bencode") => head.starts_with(b"l5:hello"),
                // A list that begins with the word, whose length is in the byte before it.
                Some("rencode" | "rencodeplus") => matches!(head, [_, 0x85, b'h', b'e', b'l', b'l', b'o', _]),
                Some("yaml") => head.contains(&b'h'),
                _ => false,
            },
            _ => false,
        }
    }

    fn is_distinctive(self) -> bool {
        self.flags & CIPHER == 0 && self.index == 0 && compression(self.compression) != Some("brotli")
    }
}

/// How the packet is encoded.
const fn encoding(flags: u8) -> Option<&'static str> {
    match flags & !(CIPHER | FLUSH) {
        0 => Some("bencode"),
        1 => Some("rencode"),
        4 => Some("yaml"),
        0x10 => Some("rencodeplus"),
        _ => None,
    }
}

/// How it is compressed: the level below, the method above.
const fn compression(level: u8) -> Option<&'static str> {
    match (level & 0xf0, level & 0x0f) {
        (0, 0) => Some("none"),
        (0, 1..=9) => Some("zlib"),
        (0x10, 1..=9) => Some("lz4"),
        (0x20, 1..=9) => Some("lzo"),
        (0x40, 1..=9) => Some("brotli"),
        _ => None,
    }
}

/// The client speaks first; what has a shape tells alone, what has none needs the other end's header.
fn probe(opening: &Opening<'_>) -> Probe {
    match [opening.sent.orig, opening.sent.resp].map(Packet::read) {
        [Unit::Not, _] | [_, Unit::Not] => Probe::NoMatch,
        [Unit::Whole(_), Unit::Whole(_)] => Probe::Match,
        [Unit::Whole(packet), _] if packet.is_distinctive() => Probe::Match,
        _ => Probe::NeedMore,
    }
}

#[derive(Debug)]
struct Xpra {
    inboxes: Ends<Inbox>,
    seen: Ends<bool>,
    done: bool,
}

impl Default for Xpra {
    fn default() -> Self {
        let limit = HEADER + HEAD;
        Self { inboxes: Ends { orig: Inbox::new(limit), resp: Inbox::new(limit) }, seen: Ends::default(), done: false }
    }
}

impl Analyzer for Xpra {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || *self.seen.of(pdu.dir) {
            return;
        }
        let inbox = self.inboxes.of_mut(pdu.dir);
        let room = (HEADER + HEAD).saturating_sub(inbox.bytes().len());
        let full = !inbox.push(pdu.at, pdu.bytes.get(..room).unwrap_or(pdu.bytes));
        match Packet::read(inbox.bytes()) {
            Unit::More if !full => {}
            Unit::More | Unit::Not => {
                events.violation(pdu.at, pdu.dir, "xpra.not-a-packet");
                self.settle(pdu.at, pdu.dir, events);
            }
            Unit::Whole(packet) => {
                *self.seen.of_mut(pdu.dir) = true;
                if pdu.dir == Direction::Orig {
                    tell(pdu.at, packet, events);
                }
                if self.seen.orig && self.seen.resp {
                    events.confirmed(pdu.at, pdu.dir);
                    self.settle(pdu.at, pdu.dir, events);
                }
            }
        }
    }

    /// A hello is long: what is lost of it after its beginning is not missed.
    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        if !self.done && !*self.seen.of(dir) {
            self.settle(at, dir, events);
        }
    }
}

/// What the client's first packet says of the session.
fn tell(at: Timestamp, packet: Packet, events: &mut Events) {
    let dir = Direction::Orig;
    if let Some(name) = encoding(packet.flags) {
        events.attribute(at, dir, ENCODING, name);
    }
    if let Some(name) = compression(packet.compression) {
        events.attribute(at, dir, COMPRESSION, name);
    }
    if packet.flags & CIPHER != 0 {
        events.attribute(at, dir, ENCRYPTION, "aes");
    }
}

impl Xpra {
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.settled(at, dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn, said};
    use proptest::prelude::*;

    const ZLIB: &[u8] = b"P\x01\x01\0\0\0\x59\x23\x78\x01\xbd\xbd\x09\x94\x5c\xc7more";
    const LZ4: &[u8] = b"P\x01\x11\x01\0\0\x18\xa5\x3a\x1f\0\0\xf7\x3b\xc2\x01\x3c\x86digest";
    const BENCODE: &[u8] = b"P\0\0\0\0\0\0\x4al5:hellod";
    const RENCODE: &[u8] = b"P\x01\0\0\0\0\0\x4a\xc2\x85hello\xa7";

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&XPRA, Carrier::Stream, orig, resp)
    }

    #[test]
    fn the_first_packets_tell_how_they_are_made() {
        for (hello, encoding, compression) in
            [(ZLIB, "rencode", "zlib"), (BENCODE, "bencode", "none"), (RENCODE, "rencode", "none")]
        {
            assert_eq!(probe(hello, b""), Probe::Match);
            let events = testkit::stream(&XPRA, &[(Orig, hello), (Resp, LZ4)], 4096);
            assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
            assert_eq!((said(&events, ENCODING), said(&events, COMPRESSION)), (Some(encoding), Some(compression)));
        }
        assert!(!testkit::stream(&XPRA, &[(Orig, ZLIB)], 4096).iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn what_is_encrypted_needs_both_ends() {
        let hello = b"P\x03\0\0\0\0\x01\0\x9a\x01\x7b\x33\x81\x42\x55\x01";
        assert_eq!(probe(hello, b""), Probe::NeedMore);
        assert_eq!(probe(hello, hello), Probe::Match);
        let events = testkit::stream(&XPRA, &[(Orig, hello), (Resp, hello)], 4096);
        assert_eq!(said(&events, ENCRYPTION), Some("aes"));
    }

    #[test]
    fn look_alikes_do_not_match() {
        for bytes in [
            &b"POST / HTTP/1.1\r\n"[..],
            b"PUT /x HTTP/1.1\r\n",
            b"PASS secret\r\nUSER\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            // ZIP, and a packet that is larger than Xpra lets pass.
            b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0",
            b"P\x01\x01\0\x7f\0\0\x23\x78\x01\xbd\xbd\x09\x94\x5c\xc7",
            b"P\x01\x01\0\0\0\x59\x23\x79\x01\xbd\xbd\x09\x94\x5c\xc7",
            b"P\x01\x11\0\0\0\0\x10\xff\xff\xff\0\xf7\x3b\xc2\x01",
            b"P\0\0\0\0\0\0\x4al5:worldd",
        ] {
            assert_eq!(probe(bytes, b""), Probe::NoMatch, "{bytes:?}");
        }
        assert_eq!(probe(ZLIB, b"HTTP/1.1 400 Bad"), Probe::NoMatch);
        let events = testkit::stream(&XPRA, &[(Orig, b"P\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0")], 4096);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..30) {
            let turns: [Turn<'_>; 2] = [(Orig, ZLIB), (Resp, LZ4)];
            prop_assert_eq!(testkit::stream(&XPRA, &turns, piece), testkit::stream(&XPRA, &turns, 4096));
        }

        #[test]
        fn random_bytes_never_panic(a in proptest::collection::vec(any::<u8>(), 0..40), flags in any::<u8>()) {
            let bytes = [&[b'P', flags, 0, 0, 0, 0][..], &a].concat();
            testkit::stream(&XPRA, &[(Orig, &bytes), (Resp, &a)], 3);
            probe(&bytes, &bytes);
        }
    }
}
