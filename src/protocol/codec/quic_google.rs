//! Google's QUIC before it became TLS: its public header and its ClientHello of tags.
//!
//! Reads: versions Q024 to Q050 (Google "QUIC Wire Layout Specification" and "QUIC Crypto", 2016), as far as the client's
//! first message stands in one packet. Does not: read acknowledgements, later packets, or the server's config.

use super::quic_packet::is_google;
use crate::base::Reader;

/// The header of Q043 and before: flags, eight bytes of connection id, version. Gives version, id and what follows.
#[must_use]
pub fn public_header(datagram: &[u8]) -> Option<(u32, [u8; 8], &[u8])> {
    let mut r = Reader::new(datagram);
    // Version and eight-byte connection id are there; no reset, no multipath, no unused bit.
    r.u8().filter(|flags| flags & 0b1100_1011 == 0b0000_1001)?;
    let id = r.array()?;
    let version = r.u32().filter(|version| is_google(*version))?;
    Some((version, id, r.rest()))
}

/// The header of Q046: that of early drafts, both id lengths in one byte. Gives version and what follows.
#[must_use]
pub fn q046_header(datagram: &[u8]) -> Option<(u32, &[u8])> {
    let mut r = Reader::new(datagram);
    r.u8().filter(|first| first & 0xc0 == 0xc0)?;
    let version = r.u32().filter(|version| is_google(*version) && *version < Q050)?;
    // A client names the server's id (5 + 3 bytes) and has none itself; a server the other way round.
    r.u8().filter(|lengths| matches!(lengths, 0x50 | 0x05 | 0x55))?;
    Some((version, r.rest()))
}

const Q050: u32 = u32::from_be_bytes(*b"Q050");

/// What a ClientHello of tags says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chlo<'a> {
    /// Tag `SNI`.
    pub server_name: Option<&'a [u8]>,
    /// Tag `UAID`.
    pub user_agent: Option<&'a [u8]>,
}

impl<'a> Chlo<'a> {
    /// Finds the message near the start of a packet's content; `None` if it is not there or cut.
    #[must_use]
    pub fn find(content: &'a [u8]) -> Option<Self> {
        let start = content.windows(4).take(SEARCH).position(|window| window == b"CHLO")?;
        let mut r = Reader::new(content.get(start + 4..)?);
        let tags = usize::from(u16::from_le_bytes(r.array()?));
        r.take(2)?;
        let mut index = Reader::new(r.take(tags.checked_mul(8)?)?);
        let values = r.rest();
        let mut chlo = Self::default();
        let mut from = 0;
        while let (Some(tag), Some(end)) = (index.array::<4>(), index.array::<4>()) {
            let to = usize::try_from(u32::from_le_bytes(end)).ok()?;
            let value = values.get(from..to)?;
            match &tag {
                b"SNI\0" => chlo.server_name = Some(value),
                b"UAID" => chlo.user_agent = Some(value),
                _ => {}
            }
            from = to;
        }
        Some(chlo)
    }
}

/// Packet number, hash, padding and stream header before the message take at most this much.
const SEARCH: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_read() {
        let mut bytes = b"\x01\x02hash........\xa0\x01\x04\x00CHLO\x03\0\0\0".to_vec();
        for (tag, end) in [(b"PAD\0", 3_u32), (b"SNI\0", 14), (b"UAID", 16)] {
            bytes.extend_from_slice(tag);
            bytes.extend(end.to_le_bytes());
        }
        bytes.extend_from_slice(b"---example.comUA");
        let chlo = Chlo::find(&bytes).unwrap();
        assert_eq!(chlo, Chlo { server_name: Some(b"example.com"), user_agent: Some(b"UA") });
        assert_eq!(Chlo::find(&bytes[..bytes.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = public_header(&bytes);
            let _ = q046_header(&bytes);
            if let Some(start) = bytes.get_mut(..4) {
                start.copy_from_slice(b"CHLO");
            }
            let _ = Chlo::find(&bytes);
        }
    }
}
