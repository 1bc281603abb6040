//! Messages of IKE, both versions: the header, the chain of payloads, and what those in clear say.
//!
//! Reads: the 28 byte header, generic payload headers, security associations, notifications, identities. Emits: their
//! parts as values and words. Does not: decrypt, or put fragments together.
//!
//! Reference: RFC 2408 (ISAKMP) and RFC 2409 (IKEv1), RFC 7296 (IKEv2), RFC 7383 (its fragments).

use super::isakmp_names::{self as names, List};
use super::text::printable;
use crate::base::Reader;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of the header.
pub const HEADER: usize = 28;

/// Exchange types (RFC 2408 3.1, RFC 2409 5, RFC 7296 3.1, RFC 9242).
pub mod exchange {
    /// IKEv1: main mode.
    pub const MAIN: u8 = 2;
    /// IKEv1: aggressive mode.
    pub const AGGRESSIVE: u8 = 4;
    /// IKEv1: informational.
    pub const INFORMATIONAL_V1: u8 = 5;
    /// IKEv1: quick mode.
    pub const QUICK: u8 = 32;
    /// IKEv2: the first exchange.
    pub const SA_INIT: u8 = 34;
    /// IKEv2: authentication.
    pub const AUTH: u8 = 35;
    /// IKEv2: a new child or a rekey.
    pub const CREATE_CHILD_SA: u8 = 36;
    /// IKEv2: informational; empty ones ask whether the peer lives.
    pub const INFORMATIONAL: u8 = 37;
    /// IKEv2: between the first exchange and authentication.
    pub const INTERMEDIATE: u8 = 43;
}

/// Payload types, IKEv1's and IKEv2's.
pub mod payload {
    /// IKEv1: security association.
    pub const SA_V1: u8 = 1;
    /// IKEv1: identification.
    pub const ID_V1: u8 = 5;
    /// IKEv1: notification.
    pub const NOTIFY_V1: u8 = 11;
    /// IKEv1: vendor id.
    pub const VENDOR_V1: u8 = 13;
    /// IKEv1: a fragment, as Microsoft and Cisco send it.
    pub const FRAGMENT_V1: u8 = 132;
    /// IKEv2: security association.
    pub const SA: u8 = 33;
    /// IKEv2: notification.
    pub const NOTIFY: u8 = 41;
    /// IKEv2: vendor id.
    pub const VENDOR: u8 = 43;
    /// IKEv2: encrypted and authenticated.
    pub const ENCRYPTED: u8 = 46;
    /// IKEv2: a fragment of it.
    pub const ENCRYPTED_FRAGMENT: u8 = 53;
}

/// Flags of IKEv1: encryption, commit, authentication only.
const ENCRYPTED_V1: u8 = 0x01;
const FLAGS_V1: u8 = 0x07;
/// Flags of IKEv2: original initiator, higher version, response.
const INITIATOR: u8 = 0x08;
const RESPONSE: u8 = 0x20;
const FLAGS_V2: u8 = 0x38;
/// A message with certificates is a few thousand bytes; TCP's frames end at 64 KiB.
const LENGTH_LIMIT: u32 = 65_535;
/// Payloads of a message that are looked at.
const PAYLOADS: usize = 40;

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The initiator's cookie or SPI; never 0.
    pub initiator: u64,
    /// The responder's; 0 in the first message.
    pub responder: u64,
    /// Type of the first payload.
    pub first: u8,
    /// Major version, 1 or 2.
    pub version: u8,
    /// See [`exchange`].
    pub exchange: u8,
    flags: u8,
    /// Number of the exchange (IKEv2), random (IKEv1), 0 in the first exchange.
    pub message_id: u32,
    /// Of the whole message, in bytes.
    pub length: u32,
}

impl Header {
    /// Reads a header; `None` where a field has a value that no message has.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (initiator, responder) = (reader.u64()?, reader.u64()?);
        let (first, version, exchange, flags) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        let (message_id, length) = (reader.u32()?, reader.u32()?);
        let version = match version {
            0x10 => 1,
            0x20 => 2,
            _ => return None,
        };
        let header = Self { initiator, responder, first, version, exchange, flags, message_id, length };
        let plausible = initiator != 0 && (28..=LENGTH_LIMIT).contains(&length) && header.fields_agree();
        plausible.then_some(header)
    }

    fn fields_agree(&self) -> bool {
        let Self { version, exchange, flags, message_id, responder, .. } = *self;
        if version == 1 {
            let number = match exchange {
                1..=4 => message_id == 0,
                // Transactions, quick mode and new group mode run beside each other (RFC 2409 5.5).
                6 | 32 | 33 => message_id != 0 && responder != 0,
                exchange::INFORMATIONAL_V1 => true,
                _ => return false,
            };
            // RFC 2408 3.1: the responder's cookie is missing in the first message, which nothing can encrypt yet.
            return number && flags & !FLAGS_V1 == 0 && (responder != 0 || flags & ENCRYPTED_V1 == 0);
        }
        let number = match exchange {
            exchange::SA_INIT => message_id == 0 && self.is_response() != self.from_initiator(),
            exchange::AUTH => message_id != 0 && responder != 0,
            36..=44 => responder != 0 || message_id == 0,
            _ => return false,
        };
        number && flags & !FLAGS_V2 == 0
    }

    /// The R flag (IKEv2).
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.flags & RESPONSE != 0
    }

    /// The I flag (IKEv2): sent by who began the first exchange.
    #[must_use]
    pub const fn from_initiator(&self) -> bool {
        self.flags & INITIATOR != 0
    }

    /// Whether the payloads can be read.
    #[must_use]
    pub const fn is_clear(&self) -> bool {
        if self.version == 1 {
            self.flags & ENCRYPTED_V1 == 0
        } else {
            !matches!(self.first, payload::ENCRYPTED | payload::ENCRYPTED_FRAGMENT)
        }
    }
}

/// A whole message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its header.
    pub header: Header,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the message that `bytes` are. Bytes behind its end, or payloads that do not fill it, make it none; what the
    /// snap length cut off is forgiven.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::read(bytes)?;
        let body = bytes.get(HEADER..)?;
        let length = usize::try_from(header.length).ok()?;
        let cut = length > bytes.len();
        if length < bytes.len() || !(cut || filled(&header, body)) {
            return None;
        }
        Some(Self { header, body })
    }

    /// Its payloads, as far as they are in clear.
    pub fn payloads(&self) -> impl Iterator<Item = Payload<'a>> + use<'a> {
        let next = if self.header.is_clear() { self.header.first } else { 0 };
        Chain { next, reader: Reader::new(self.body) }.take(PAYLOADS)
    }

    /// The bytes behind the header.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// Whether a body holds just what the header promises.
fn filled(header: &Header, body: &[u8]) -> bool {
    // RFC 2409 5: an encrypted body is padded to the cipher's block, of 8 bytes at least.
    if header.version == 1 && !header.is_clear() {
        return header.first != 0 && !body.is_empty() && body.len().is_multiple_of(8);
    }
    if header.version == 2 && !header.is_clear() {
        // One payload to the end: its header, an IV and a tag.
        let length = body.get(2..4).and_then(|b| b.first_chunk::<2>()).map(|b| usize::from(u16::from_be_bytes(*b)));
        return length == Some(body.len()) && body.len() > 16;
    }
    let mut chain = Chain { next: header.first, reader: Reader::new(body) };
    let mut count = 0;
    for payload in chain.by_ref() {
        let known = if header.version == 1 { 1..=33 } else { 33..=54 };
        if !(known.contains(&payload.kind) || payload.kind >= 128) {
            return false;
        }
        count += 1;
        if payload.kind == payload::ENCRYPTED || payload.kind == payload::ENCRYPTED_FRAGMENT {
            chain.next = 0;
            break;
        }
    }
    chain.next == 0 && chain.reader.is_empty() && (count > 0 || header.version == 2)
}

/// One payload.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// See [`payload`].
    pub kind: u8,
    /// Behind its generic header.
    pub body: &'a [u8],
}

/// Walks the payloads; `next` is 0 once the last one has been read.
struct Chain<'a> {
    next: u8,
    reader: Reader<'a>,
}

impl<'a> Iterator for Chain<'a> {
    type Item = Payload<'a>;

    fn next(&mut self) -> Option<Payload<'a>> {
        let kind = self.next;
        if kind == 0 {
            return None;
        }
        let mut ahead = self.reader;
        let (next, _) = (ahead.u8()?, ahead.u8()?);
        let body = ahead.u16().and_then(|length| ahead.take(usize::from(length).checked_sub(4)?))?;
        (self.next, self.reader) = (next, ahead);
        Some(Payload { kind, body })
    }
}

/// The algorithms in a security association, each once, in the order of preference.
#[derive(Debug, Default)]
pub struct Algorithms {
    encryption: List,
    prf: List,
    integrity: List,
    group: List,
    authentication: List,
}

impl Algorithms {
    /// Reads the security association of this version.
    #[must_use]
    pub fn read(version: u8, body: &[u8]) -> Self {
        let mut found = Self::default();
        // IKEv1 says before its proposals for what they are: domain of interpretation and situation (RFC 2407 4.2).
        let body = if version == 1 { body.get(8..).unwrap_or_default() } else { body };
        let mut proposals = Reader::new(body);
        while let Some(mut proposal) = substructure(&mut proposals) {
            let _number_and_protocol = proposal.u16();
            let spi = proposal.u8().unwrap_or(0);
            let _transforms = proposal.u8();
            if proposal.take(usize::from(spi)).is_none() {
                break;
            }
            while let Some(mut transform) = substructure(&mut proposal) {
                if version == 1 {
                    found.transform_v1(&mut transform);
                } else {
                    found.transform(&mut transform);
                }
            }
        }
        found
    }

    fn transform(&mut self, transform: &mut Reader<'_>) {
        let Some([kind, _, hi, lo]) = transform.array::<4>() else { return };
        let id = u16::from_be_bytes([hi, lo]);
        let bits = attributes(transform).find(|(kind, _)| *kind == names::KEY_LENGTH_V2).map(|(_, bits)| bits);
        match kind {
            1 => self.encryption.add(names::encryption(id), id, bits),
            2 => self.prf.add(names::prf(id), id, None),
            3 => self.integrity.add(names::integrity(id), id, None),
            4 => self.group.add(names::group(id), id, None),
            _ => {}
        }
    }

    /// Everything that IKEv1 chooses is an attribute of its one kind of transform (RFC 2409, appendix A).
    fn transform_v1(&mut self, transform: &mut Reader<'_>) {
        let _number_and_id = transform.u32();
        let all: Vec<(u16, u16)> = attributes(transform).collect();
        let value = |wanted: u16| all.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
        if let Some(id) = value(1) {
            self.encryption.add(names::encryption_v1(id), id, value(14));
        }
        if let Some(id) = value(2) {
            self.integrity.add(names::hash_v1(id), id, None);
        }
        if let Some(id) = value(3) {
            self.authentication.add(names::authentication_v1(id), id, None);
        }
        if let Some(id) = value(4) {
            self.group.add(names::group(id), id, None);
        }
    }

    /// The lists as text: `encryption=aes-cbc-256 prf=hmac-sha2-256 group=ecp-256`.
    #[must_use]
    pub fn text(&self) -> String {
        let lists = [
            ("encryption", &self.encryption),
            ("prf", &self.prf),
            ("integrity", &self.integrity),
            ("group", &self.group),
            ("authentication", &self.authentication),
        ];
        let said = lists.iter().filter(|(_, list)| !list.is_empty());
        said.map(|(name, list)| format!("{name}={}", list.text())).collect::<Vec<_>>().join(" ")
    }
}

/// The next proposal or transform: more follows, reserved, length, then the rest.
fn substructure<'a>(reader: &mut Reader<'a>) -> Option<Reader<'a>> {
    let _more = reader.u16()?;
    let length = reader.u16()?;
    Some(Reader::new(reader.take(usize::from(length).checked_sub(4)?)?))
}

/// Attributes of two bytes: type and value (RFC 2408 3.3). Longer ones are passed over.
fn attributes<'a>(reader: &mut Reader<'a>) -> impl Iterator<Item = (u16, u16)> + use<'a> {
    let mut reader = *reader;
    std::iter::from_fn(move || {
        loop {
            let (kind, value) = (reader.u16()?, reader.u16()?);
            if kind & 0x8000 != 0 {
                return Some((kind & 0x7fff, value));
            }
            reader.take(usize::from(value))?;
        }
    })
}

/// The type of a notification.
#[must_use]
pub fn notification(version: u8, body: &[u8]) -> Option<u16> {
    let mut reader = Reader::new(body);
    if version == 1 {
        let _domain = reader.u32()?;
    }
    let _protocol_and_spi_size = reader.u16()?;
    reader.u16()
}

/// An identity of IKEv1, as text (RFC 2407 4.6.2).
#[must_use]
pub fn identity_v1(body: &[u8]) -> Option<String> {
    let mut reader = Reader::new(body);
    let kind = reader.u8()?;
    reader.take(3)?;
    let value = reader.rest();
    Some(match (kind, value.len()) {
        (1, 4) => reader.array::<4>().map(Ipv4Addr::from)?.to_string(),
        (5, 16) => reader.array::<16>().map(Ipv6Addr::from)?.to_string(),
        (2 | 3 | 11, 1..) if value.iter().all(|b| (0x20..0x7f).contains(b)) => printable(value, 255),
        (9, _) => "distinguished-name".to_owned(),
        (11, 1..) => names::hex(value),
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message of these payloads.
    pub(crate) fn message(spis: (u64, u64), version: u8, head: [u8; 2], id: u32, payloads: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = [spis.0.to_be_bytes(), spis.1.to_be_bytes()].concat();
        out.extend([payloads.first().map_or(0, |p| p.0), version << 4, head[0], head[1]]);
        out.extend(id.to_be_bytes());
        let length: usize = HEADER + payloads.iter().map(|p| 4 + p.1.len()).sum::<usize>();
        out.extend(u32::try_from(length).unwrap().to_be_bytes());
        for (i, (kind, body)) in payloads.iter().enumerate() {
            let encrypted = matches!(*kind, payload::ENCRYPTED | payload::ENCRYPTED_FRAGMENT);
            let next = payloads.get(i + 1).map_or(if encrypted { 35 } else { 0 }, |p| p.0);
            out.extend([next, 0]);
            out.extend(u16::try_from(4 + body.len()).unwrap().to_be_bytes());
            out.extend(*body);
        }
        out
    }

    /// AES-CBC 256, HMAC-SHA2-256, and group 19, as RFC 7296 3.3 lays them out.
    pub(crate) const PROPOSAL: &[u8] = &[
        0, 0, 0, 44, 1, 1, 0, 4, 3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0, 3, 0, 0, 8, 2, 0, 0, 5, 3, 0, 0, 8, 3, 0, 0,
        12, 0, 0, 0, 8, 4, 0, 0, 19,
    ];

    /// 3DES, MD5, pre-shared key, group 2, with a lifetime of four bytes between (RFC 2409, appendix A).
    pub(crate) const PROPOSAL_V1: &[u8] = &[
        0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 44, 0, 1, 0, 1, 0, 0, 0, 36, 0, 1, 0, 0, 0x80, 1, 0, 5, 0x80, 2, 0, 1, 0, 12,
        0, 4, 0, 1, 0x51, 0x80, 0x80, 11, 0, 1, 0x80, 3, 0, 1, 0x80, 4, 0, 2,
    ];

    #[test]
    fn proposals_are_told_in_words() {
        let text = Algorithms::read(2, PROPOSAL).text();
        assert_eq!(text, "encryption=aes-cbc-256 prf=hmac-sha2-256 integrity=hmac-sha2-256-128 group=ecp-256");
        let text = Algorithms::read(1, PROPOSAL_V1).text();
        assert_eq!(text, "encryption=3des integrity=md5 group=modp-1024 authentication=psk");
        assert_eq!(Algorithms::read(2, &PROPOSAL[..20]).text(), "");
    }

    #[test]
    fn a_message_must_be_filled_by_its_payloads() {
        let good = message((1, 0), 2, [34, 0x08], 0, &[(33, PROPOSAL), (40, &[7; 32])]);
        assert!(Message::read(&good).is_some());
        for (at, byte) in [(7, 0), (17, 0x30), (18, 45), (19, 0x28), (19, 0x09), (23, 1), (27, 0), (16, 99), (29, 0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            let same = bad == good;
            assert_eq!(Message::read(&bad).is_some(), same, "{at}");
        }
        assert!(Message::read(&[&good[..], &[0]].concat()).is_none());
        // Cut by the snap length.
        assert!(Message::read(&good[..60]).is_some());
    }

    #[test]
    fn identities_of_aggressive_mode() {
        assert_eq!(identity_v1(&[1, 17, 1, 0xf4, 192, 0, 2, 7]).as_deref(), Some("192.0.2.7"));
        assert_eq!(identity_v1(b"\x0b\x11\x00\x00staff").as_deref(), Some("staff"));
        assert_eq!(identity_v1(b"\x0b\x11\x00\x00\x01\x02").as_deref(), Some("0102"));
        assert_eq!(identity_v1(b"\x02\0\0\0a\x07b"), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 1u8..3) {
            let good = message((1, 2), version, [if version == 1 { 2 } else { 34 }, 0x08], 0, &[(33, &bytes)]);
            for bytes in [&bytes[..], &good] {
                if let Some(message) = Message::read(bytes) {
                    message.payloads().for_each(drop);
                }
            }
            let _ = (Algorithms::read(version, &bytes).text(), notification(version, &bytes), identity_v1(&bytes));
        }
    }
}
