//! QUIC packets from outside: versions, long headers, connection ids.
//!
//! Reads: RFC 8999 (invariants), RFC 9000 section 17, RFC 9369 (version 2), the drafts since 22 and Google's QUIC as far
//! as it has the same header. Does not: undo header protection (see `quic_initial`).

use crate::base::Reader;

/// A connection id, at most 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId {
    bytes: [u8; CONNECTION_ID],
    len: usize,
}

impl ConnectionId {
    /// `None` beyond 20 bytes.
    #[must_use]
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; CONNECTION_ID];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, len: id.len() })
    }

    /// Its bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The longest connection id of a known version.
const CONNECTION_ID: usize = 20;

/// What a long header packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketType {
    /// The first flight, under keys that everybody can derive.
    Initial,
    /// Early data.
    ZeroRtt,
    /// The rest of the handshake, under keys of the handshake.
    Handshake,
    /// Come again with this token.
    Retry,
    /// The server does not speak that version.
    VersionNegotiation,
}

/// A packet with a long header.
#[derive(Debug, Clone, Copy)]
pub struct LongPacket<'a> {
    /// Its type.
    pub kind: PacketType,
    /// Its version; 0 for version negotiation.
    pub version: u32,
    /// Destination connection id.
    pub dcid: ConnectionId,
    /// Source connection id.
    pub scid: ConnectionId,
    /// All bytes of the packet, as far as captured.
    pub bytes: &'a [u8],
    /// Where the protected packet number starts in `bytes`.
    pub number_at: usize,
    /// Whether all bytes that the header announces are there.
    pub whole: bool,
    /// For version negotiation: the versions offered, four bytes each.
    pub versions: &'a [u8],
}

impl<'a> LongPacket<'a> {
    /// Reads the packet at the start of `datagram` and gives what follows it; `None` if it has no long header.
    #[must_use]
    pub fn parse(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut r = Reader::new(datagram);
        let first = r.u8().filter(|first| first & 0x80 != 0)?;
        let version = r.u32()?;
        let dcid = ConnectionId::new(r.block_u8()?.rest())?;
        let scid = ConnectionId::new(r.block_u8()?.rest())?;
        let kind = packet_type(first, version);
        let mut packet = Self { kind, version, dcid, scid, bytes: datagram, number_at: 0, whole: true, versions: &[] };
        match kind {
            PacketType::VersionNegotiation => {
                packet.versions = r.rest();
                return (r.len() >= 4 && r.len().is_multiple_of(4)).then_some((packet, &[]));
            }
            PacketType::Retry => return (r.len() > RETRY_TAG).then_some((packet, &[])),
            PacketType::Initial => {
                let token = varint(&mut r)?;
                r.take(usize::try_from(token).ok()?)?;
            }
            PacketType::ZeroRtt | PacketType::Handshake => {}
        }
        let len = usize::try_from(varint(&mut r)?).ok().filter(|len| (SHORTEST..=LONGEST).contains(len))?;
        packet.number_at = datagram.len() - r.len();
        packet.whole = len <= r.len();
        let (bytes, rest) = datagram.split_at_checked(packet.number_at + len).unwrap_or((datagram, &[]));
        packet.bytes = bytes;
        Some((packet, rest))
    }

    /// Whether a version negotiation packet offers a version that is known here.
    #[must_use]
    pub fn offers_known_version(&self) -> bool {
        let mut r = Reader::new(self.versions);
        std::iter::from_fn(|| r.u32()).any(|version| version_name(version).is_some() && !is_reserved(version))
    }
}

/// Packet number and authentication tag at least; the header-protection sample begins four bytes in.
const SHORTEST: usize = 20;
/// The largest UDP payload.
const LONGEST: usize = 65_527;
/// Length of the integrity tag that ends a Retry (RFC 9001 section 5.8).
const RETRY_TAG: usize = 16;

fn packet_type(first: u8, version: u32) -> PacketType {
    if version == 0 {
        return PacketType::VersionNegotiation;
    }
    // Version 2 turned the types round so that nobody may rely on them (RFC 9369 section 3.2).
    let bits = if matches!(version, V2 | V2_DRAFT) { (first >> 4).wrapping_sub(1) } else { first >> 4 };
    match bits & 3 {
        0 => PacketType::Initial,
        1 => PacketType::ZeroRtt,
        2 => PacketType::Handshake,
        _ => PacketType::Retry,
    }
}

/// RFC 9000.
pub const V1: u32 = 1;
/// RFC 9369.
pub const V2: u32 = 0x6b33_43cf;
/// The drafts of version 2 since 01.
pub const V2_DRAFT: u32 = 0x709a_50c4;
/// The first draft of version 2, which still had the types of version 1.
pub const V2_DRAFT_00: u32 = 0xff02_0000;

/// A known version's name; `None` for an unknown one.
#[must_use]
pub fn version_name(version: u32) -> Option<String> {
    Some(match version {
        V1 => "1".into(),
        V2 => "2".into(),
        V2_DRAFT_00 => "2-draft-00".into(),
        V2_DRAFT => "2-draft-01".into(),
        0xff00_0016..=0xff00_0022 => format!("draft-{}", version & 0xff),
        0xface_b000..=0xface_bfff => format!("mvfst-{:03x}", version & 0xfff),
        _ if is_reserved(version) => format!("reserved-{version:08x}"),
        _ => return google_name(version),
    })
}

/// Whether this version exists to force version negotiation (RFC 9000 section 15).
#[must_use]
pub const fn is_reserved(version: u32) -> bool {
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

/// `Q043` and its like: a letter and a number in ASCII.
fn google_name(version: u32) -> Option<String> {
    let [letter, zero, tens, ones] = version.to_be_bytes();
    let known = matches!(letter, b'Q' | b'T') && zero == b'0' && (b'2'..=b'5').contains(&tens) && ones.is_ascii_digit();
    known.then(|| [letter, zero, tens, ones].map(char::from).iter().collect())
}

/// Whether this is a version of Google's QUIC with its own handshake (`Q…`).
#[must_use]
pub fn is_google(version: u32) -> bool {
    version.to_be_bytes().first() == Some(&b'Q') && google_name(version).is_some()
}

/// A variable-length integer (RFC 9000 section 16).
pub fn varint(r: &mut Reader<'_>) -> Option<u64> {
    let mut ahead = *r;
    let first = ahead.u8()?;
    let mut value = u64::from(first & 0x3f);
    for _ in 1..1_usize << (first >> 6) {
        value = value << 8 | u64::from(ahead.u8()?);
    }
    *r = ahead;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_of_rfc_9000_appendix_a() {
        let read = |bytes: &[u8]| varint(&mut Reader::new(bytes));
        assert_eq!(read(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]), Some(151_288_809_941_952_652));
        assert_eq!(read(&[0x9d, 0x7f, 0x3e, 0x7d]), Some(494_878_333));
        assert_eq!(read(&[0x7b, 0xbd]), Some(15_293));
        assert_eq!(read(&[0x25]), Some(37));
        assert_eq!(read(&[0x7b]), None);
    }

    #[test]
    fn types_of_version_2_are_turned_round() {
        assert_eq!(packet_type(0xc0, V1), PacketType::Initial);
        assert_eq!(packet_type(0xd0, V2), PacketType::Initial);
        assert_eq!(packet_type(0xf0, V2), PacketType::Handshake);
        assert_eq!(packet_type(0xc0, V2), PacketType::Retry);
        assert_eq!(packet_type(0xf0, V1), PacketType::Retry);
    }

    #[test]
    fn versions_have_names() {
        assert_eq!(version_name(0xff00_001d).as_deref(), Some("draft-29"));
        assert_eq!(version_name(0x5130_3433).as_deref(), Some("Q043"));
        assert_eq!(version_name(0x1234_5678), None);
        assert!(is_google(0x5130_3436) && !is_google(0x5430_3530));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0_u32..3) {
            if let Some(field) = bytes.get_mut(1..5) {
                field.copy_from_slice(&version.to_be_bytes());
            }
            let mut rest = &bytes[..];
            while let Some((_, next)) = LongPacket::parse(rest) {
                prop_assert!(next.len() < rest.len());
                rest = next;
            }
        }
    }
}
