//! Initial packets of QUIC opened with the keys that everybody can derive.
//!
//! Reads: RFC 9001 section 5 (version 1), RFC 9369 section 3.3 (version 2), and the salts of the drafts since 21 and of
//! Google's versions with the same protection. Does not: hold any secret; an Initial is protected against accidents,
//! not against readers.

use super::quic_packet::{LongPacket, V1, V2, V2_DRAFT, V2_DRAFT_00};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use std::ops::Range;

/// How a version protects its Initial packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    salt: [u8; 20],
    labels: [&'static [u8]; 3],
}

/// What may protect Initial packets of this version, most likely first; none for an unknown version.
#[must_use]
pub fn protections(version: u32) -> &'static [Protection] {
    match version {
        V1 | 0xff00_0021 | 0xff00_0022 => &[VERSION_1],
        V2 => &[VERSION_2],
        V2_DRAFT_00 | V2_DRAFT => &[VERSION_2_DRAFT, VERSION_2, VERSION_2_DRAFT_LABELS_1],
        0xff00_001d..=0xff00_0020 => &[DRAFT_29],
        0xff00_0017..=0xff00_001c => &[DRAFT_23],
        0xff00_0016 | 0xface_b001 => &[DRAFT_22],
        0xface_b002 | 0xface_b00e => &[DRAFT_23, DRAFT_29],
        0xface_b000..=0xface_bfff => &[VERSION_1, DRAFT_29, DRAFT_23],
        Q050 => &[GOOGLE_Q050],
        T050 => &[GOOGLE_T050],
        T051 => &[GOOGLE_T051],
        reserved if super::quic_packet::is_reserved(reserved) => &[VERSION_1, DRAFT_29, DRAFT_23],
        _ => &[],
    }
}

const fn version_1(salt: [u8; 20]) -> Protection {
    Protection { salt, labels: [b"tls13 quic key", b"tls13 quic iv", b"tls13 quic hp"] }
}

const fn version_2(salt: [u8; 20]) -> Protection {
    Protection { salt, labels: [b"tls13 quicv2 key", b"tls13 quicv2 iv", b"tls13 quicv2 hp"] }
}

/// RFC 9001 section 5.2.
const VERSION_1: Protection = version_1([
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f,
    0x0a,
]);
/// RFC 9369 section 3.3.1.
const VERSION_2: Protection = version_2([
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e,
    0xd9,
]);
const SALT_2_DRAFT: [u8; 20] = [
    0xa7, 0x07, 0xc2, 0x03, 0xa5, 0x9b, 0x47, 0x18, 0x4a, 0x1d, 0x62, 0xca, 0x57, 0x04, 0x06, 0xea, 0x7a, 0xe3, 0xe5,
    0xd3,
];
/// draft-ietf-quic-v2-01.
const VERSION_2_DRAFT: Protection = version_2(SALT_2_DRAFT);
/// The same salt with the labels of version 1, as draft-ietf-quic-v2-00 left them.
const VERSION_2_DRAFT_LABELS_1: Protection = version_1(SALT_2_DRAFT);
/// draft-ietf-quic-tls-29 to -32.
const DRAFT_29: Protection = version_1([
    0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8,
    0x99,
]);
/// draft-ietf-quic-tls-23 to -28.
const DRAFT_23: Protection = version_1([
    0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5,
    0x02,
]);
/// draft-ietf-quic-tls-21 and -22.
const DRAFT_22: Protection = version_1([
    0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a, 0x96, 0xcd, 0x21, 0x51, 0x9e, 0xbd, 0x7a, 0x02, 0x64,
    0x4a,
]);
/// Google's Q050.
const GOOGLE_Q050: Protection = version_1([
    0x50, 0x45, 0x74, 0xef, 0xd0, 0x66, 0xfe, 0x2f, 0x9d, 0x94, 0x5c, 0xfc, 0xdb, 0xd3, 0xa7, 0xf0, 0xd3, 0xb5, 0x6b,
    0x45,
]);
/// Google's T050.
const GOOGLE_T050: Protection = version_1([
    0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72, 0x91, 0x55, 0x80, 0x30, 0x4c, 0x43, 0xa2, 0x36, 0x7c, 0x60, 0x48, 0x83,
    0x10,
]);
/// Google's T051.
const GOOGLE_T051: Protection = version_1([
    0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee, 0x5f, 0xa4, 0x50, 0x6c, 0x19, 0x12, 0x4f, 0xc8, 0xcc, 0xda, 0x6e, 0x03,
    0x3d,
]);
const Q050: u32 = u32::from_be_bytes(*b"Q050");
const T050: u32 = u32::from_be_bytes(*b"T050");
const T051: u32 = u32::from_be_bytes(*b"T051");

/// The keys of both ends' Initial packets.
pub struct InitialKeys {
    /// For what the client sends.
    pub client: PacketKey,
    /// For what the server sends.
    pub server: PacketKey,
}

impl InitialKeys {
    /// From the destination connection id of the client's first Initial (after a Retry: of the one after it).
    #[must_use]
    pub fn derive(protection: &Protection, dcid: &[u8]) -> Option<Self> {
        let initial = Salt::new(HKDF_SHA256, &protection.salt).extract(dcid);
        Some(Self {
            client: PacketKey::derive(protection, &initial, b"tls13 client in")?,
            server: PacketKey::derive(protection, &initial, b"tls13 server in")?,
        })
    }
}

/// The keys of one end's Initial packets.
pub struct PacketKey {
    key: LessSafeKey,
    iv: [u8; IV],
    header: quic::HeaderProtectionKey,
}

impl PacketKey {
    fn derive(protection: &Protection, initial: &Prk, label: &[u8]) -> Option<Self> {
        let secret = Prk::new_less_safe(HKDF_SHA256, &expand::<32>(initial, label)?);
        let [key, iv, header] = protection.labels;
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &expand::<16>(&secret, key)?).ok()?),
            iv: expand(&secret, iv)?,
            header: quic::HeaderProtectionKey::new(&quic::AES_128, &expand::<16>(&secret, header)?).ok()?,
        })
    }

    /// Protects a packet, for tests: `header` up to the packet number, number 0 in one byte, `frames`.
    #[cfg(test)]
    pub(crate) fn seal(&self, header: &[u8], frames: &[u8]) -> Vec<u8> {
        let mut packet = header.to_vec();
        packet.push(0);
        let mut sealed = frames.to_vec();
        let nonce = Nonce::assume_unique_for_key(self.iv);
        self.key.seal_in_place_append_tag(nonce, Aad::from(&packet), &mut sealed).unwrap();
        packet.extend(sealed);
        let mask = self.header.new_mask(&packet[header.len() + 4..header.len() + 20]).unwrap();
        packet[0] ^= mask[0] & 0x0f;
        packet[header.len()] ^= mask[1];
        packet
    }

    /// Opens a packet into `room`: its number and where its frames stand there; `None` if these are not its keys or it is cut.
    /// `expected` is the number after the greatest one seen from this end.
    pub fn open(&self, packet: &LongPacket<'_>, expected: u64, room: &mut Vec<u8>) -> Option<(u64, Range<usize>)> {
        if !packet.whole {
            return None;
        }
        room.clear();
        room.extend_from_slice(packet.bytes);
        let sample = packet.bytes.get(packet.number_at + 4..packet.number_at + 20)?;
        let [first_mask, number_mask @ ..] = self.header.new_mask(sample).ok()?;
        let first = room.first_mut()?;
        *first ^= first_mask & 0x0f;
        let len = usize::from(*first & 3) + 1;
        let mut short = 0_u64;
        for (byte, mask) in room.get_mut(packet.number_at..packet.number_at + len)?.iter_mut().zip(number_mask) {
            *byte ^= mask;
            short = short << 8 | u64::from(*byte);
        }
        let number = whole_number(short, len, expected);
        let mut nonce = self.iv;
        for (byte, part) in nonce.iter_mut().skip(IV - 8).zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        let start = packet.number_at + len;
        let (header, sealed) = room.split_at_mut_checked(start)?;
        let frames = self.key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(&*header), sealed).ok()?;
        Some((number, start..start + frames.len()))
    }
}

/// The packet number nearest to the one expected (RFC 9000 appendix A.3).
const fn whole_number(short: u64, len: usize, expected: u64) -> u64 {
    let window = 1_u64 << (8 * len);
    let candidate = (expected & !(window - 1)) | short;
    if candidate + window / 2 <= expected && candidate + window < 1 << 62 {
        candidate + window
    } else if candidate > expected + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// HKDF-Expand-Label (RFC 8446 section 7.1) with an empty context; `label` with its prefix.
fn expand<const N: usize>(secret: &Prk, label: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let len = u16::try_from(N).ok()?.to_be_bytes();
    secret.expand(&[&len, &[u8::try_from(label.len()).ok()?], label, &[0]], Bytes(N)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

/// A number of bytes to derive.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// Length of the nonce of AES-GCM.
const IV: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
    }

    /// The destination connection id of RFC 9001 appendix A and RFC 9369 appendix A.
    const DCID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

    /// The server's Initial of RFC 9001 appendix A.3.
    const SERVER_1: &str = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780\
        bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd9\
        3795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee";

    /// The server's Initial of RFC 9369 appendix A.3.
    const SERVER_2: &str = "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf8726\
        3017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707f0a0\
        812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140";

    #[test]
    fn secrets_of_rfc_9001_appendix_a() {
        let initial = Salt::new(HKDF_SHA256, &VERSION_1.salt).extract(&DCID);
        let client: [u8; 32] = expand(&initial, b"tls13 client in").unwrap();
        assert_eq!(client[..], hex("c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea"));
        let secret = Prk::new_less_safe(HKDF_SHA256, &client);
        let [key, iv, header] = VERSION_1.labels;
        assert_eq!(expand::<16>(&secret, key).unwrap()[..], hex("1f369613dd76d5467730efcbe3b1a22d"));
        assert_eq!(expand::<12>(&secret, iv).unwrap()[..], hex("fa044b2f42a3fd3b46fb255c"));
        assert_eq!(expand::<16>(&secret, header).unwrap()[..], hex("9f50449e04a0e810283a1e9933adedd2"));
    }

    #[test]
    fn secrets_of_rfc_9369_appendix_a() {
        let initial = Salt::new(HKDF_SHA256, &VERSION_2.salt).extract(&DCID);
        let client: [u8; 32] = expand(&initial, b"tls13 client in").unwrap();
        assert_eq!(client[..], hex("14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b"));
        let secret = Prk::new_less_safe(HKDF_SHA256, &client);
        let [key, iv, header] = VERSION_2.labels;
        assert_eq!(expand::<16>(&secret, key).unwrap()[..], hex("8b1a0bc121284290a29e0971b5cd045d"));
        assert_eq!(expand::<12>(&secret, iv).unwrap()[..], hex("91f73e2351d8fa91660e909f"));
        assert_eq!(expand::<16>(&secret, header).unwrap()[..], hex("45b95e15235d6f45a6b19cbcb0294ba9"));
    }

    #[test]
    fn server_initials_of_both_appendices_open() {
        for (protection, text) in [(VERSION_1, SERVER_1), (VERSION_2, SERVER_2)] {
            let bytes = hex(text);
            let (packet, rest) = LongPacket::parse(&bytes).unwrap();
            assert!(rest.is_empty() && packet.whole);
            let keys = InitialKeys::derive(&protection, &DCID).unwrap();
            let mut room = Vec::new();
            let (number, frames) = keys.server.open(&packet, 0, &mut room).unwrap();
            assert_eq!(number, 1);
            // An ACK frame, then a CRYPTO frame with a ServerHello of 86 bytes.
            assert_eq!(room[frames][..12], hex("02000000000600405a020000"));
            assert!(keys.client.open(&packet, 0, &mut room).is_none());
        }
    }

    #[test]
    fn packet_numbers_of_rfc_9000_appendix_a() {
        assert_eq!(whole_number(0x9b32, 2, 0xa82f_30eb), 0xa82f_9b32);
        assert_eq!(whole_number(0, 1, 0), 0);
        assert_eq!(whole_number(0xff, 1, 0), 0xff);
    }
}
