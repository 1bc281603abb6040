//! The record layer of SSLv3 to TLS 1.3 and the SSLv2 framing of hellos, and the shape a stream must have to be one.
//!
//! Reads: record headers (RFC 8446 section 5.1, RFC 5246 section 6.2.1, RFC 6101 appendix E for SSLv2 hellos).
//! Does not: keep state, or decrypt.

use crate::base::Reader;

/// Record content types.
pub mod content {
    /// ChangeCipherSpec.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake.
    pub const HANDSHAKE: u8 = 22;
    /// Application data; in TLS 1.3 anything encrypted.
    pub const APPLICATION: u8 = 23;
    /// Heartbeat (RFC 6520).
    pub const HEARTBEAT: u8 = 24;
}

/// Handshake message types.
pub mod handshake {
    /// ClientHello.
    pub const CLIENT_HELLO: u8 = 1;
    /// ServerHello, HelloRetryRequest included.
    pub const SERVER_HELLO: u8 = 2;
    /// HelloRetryRequest of the drafts before 22.
    pub const DRAFT_HELLO_RETRY: u8 = 6;
    /// Certificate.
    pub const CERTIFICATE: u8 = 11;
    /// ServerHelloDone.
    pub const SERVER_HELLO_DONE: u8 = 14;
}

/// How many bytes a record header has, and how many of an SSLv2 hello are needed to tell it.
pub const HEADER: usize = 5;

/// What a record header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// One of [`content`].
    pub kind: u8,
    /// Bytes that follow the header.
    pub len: u16,
}

impl RecordHeader {
    /// Reads a header; the name of the fault if it cannot be one.
    ///
    /// # Errors
    /// The name of the rule broken.
    pub const fn parse(bytes: [u8; HEADER]) -> Result<Self, &'static str> {
        let [kind, major, minor, high, low] = bytes;
        if !matches!(kind, content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT) {
            return Err("tls.record-type-unknown");
        }
        // The minor version 0x7f stands in records of early TLS 1.3 drafts.
        if !(major == 3 && minor <= 4 || major == 0x7f) {
            return Err("tls.record-version-unknown");
        }
        let len = u16::from_be_bytes([high, low]);
        if len > MAX_RECORD {
            return Err("tls.record-length-beyond-limit");
        }
        Ok(Self { kind, len })
    }
}

/// 2^14 bytes of content and the 2048 bytes of expansion that TLS 1.2 allows (RFC 5246 section 6.2.3).
pub const MAX_RECORD: u16 = 16_384 + 2_048;

/// Length of an SSLv2 message that opens a stream as a hello, two length bytes included, if these bytes say so.
#[must_use]
pub const fn ssl2_hello(bytes: [u8; HEADER]) -> Option<usize> {
    let [high, low, kind, major, minor] = bytes;
    let len = u16::from_be_bytes([high & 0x7f, low]) as usize;
    let client = kind == 1 && (major == 3 && minor <= 4 || major == 0 && minor == 2) && len >= 9 + 3 + 16;
    // For a server `major` is session-id-hit and `minor` the certificate type, 1 for X.509.
    let server = kind == 4 && major <= 1 && minor <= 1 && len >= 11;
    if high & 0x80 != 0 && len <= SSL2_LIMIT && (client || server) { Some(len + 2) } else { None }
}

/// An SSLv2 hello longer than this carries no certificate that anybody used.
const SSL2_LIMIT: usize = 16_384;

/// Whether this, without its two length bytes, is an SSLv2 ClientHello whose lengths add up.
#[must_use]
pub fn is_ssl2_client_hello(message: &[u8]) -> bool {
    let mut r = Reader::new(message);
    let (Some(1), Some(_version)) = (r.u8(), r.u16()) else {
        return false;
    };
    let (Some(ciphers), Some(session), Some(challenge)) = (r.u16(), r.u16(), r.u16()) else {
        return false;
    };
    let sound = ciphers > 0 && ciphers % 3 == 0 && matches!(session, 0 | 16) && (16..=32).contains(&challenge);
    sound && usize::from(ciphers) + usize::from(session) + usize::from(challenge) == r.len()
}

/// What an SSLv2 server answers.
#[derive(Debug, Clone, Copy)]
pub struct Ssl2ServerHello<'a> {
    /// The version chosen: 0x0002.
    pub version: u16,
    /// Whether the session is an old one.
    pub resumed: bool,
    /// Its certificate (DER), empty when the session is an old one.
    pub certificate: &'a [u8],
}

impl<'a> Ssl2ServerHello<'a> {
    /// Reads the message after its two length bytes; `None` if its lengths do not add up.
    #[must_use]
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(message);
        if r.u8()? != 4 {
            return None;
        }
        let resumed = r.u8()? == 1;
        r.u8()?;
        let version = r.u16()?;
        let (certificate, ciphers, connection) = (r.u16()?, r.u16()?, r.u16()?);
        let certificate = r.take(usize::from(certificate))?;
        let sound = version == 2 && ciphers % 3 == 0 && r.len() == usize::from(ciphers) + usize::from(connection);
        sound.then_some(Self { version, resumed, certificate })
    }
}

/// Whether the first bytes of one end open a TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// They do.
    Hello,
    /// They may, with more of them. An alert, which may open an answer, stays here.
    Open,
    /// They do not.
    Other,
}

/// Looks at the first bytes one end sent.
#[must_use]
pub fn shape(bytes: &[u8]) -> Shape {
    match bytes.first() {
        None => Shape::Open,
        Some(first) if first & 0x80 != 0 => ssl2_shape(bytes),
        Some(&content::ALERT) => alert_shape(bytes),
        Some(&content::HANDSHAKE) => hello_shape(bytes),
        Some(_) => Shape::Other,
    }
}

fn ssl2_shape(bytes: &[u8]) -> Shape {
    let Some(head) = bytes.first_chunk::<HEADER>() else {
        return if bytes.get(2).is_none_or(|kind| matches!(kind, 1 | 4)) { Shape::Open } else { Shape::Other };
    };
    let Some(len) = ssl2_hello(*head) else {
        return Shape::Other;
    };
    // All of it must be seen: only the sum of its lengths sets it apart.
    match bytes.get(2..len) {
        Some(message) if is_ssl2_client_hello(message) || Ssl2ServerHello::parse(message).is_some() => Shape::Hello,
        Some(_) => Shape::Other,
        None => Shape::Open,
    }
}

fn alert_shape(bytes: &[u8]) -> Shape {
    let fits = |i: usize, wanted: &[u8]| bytes.get(i).is_none_or(|b| wanted.contains(b));
    let alert = fits(1, &[3]) && fits(2, &[0, 1, 2, 3, 4]) && fits(3, &[0]) && fits(4, &[2]) && fits(5, &[1, 2]);
    if alert { Shape::Open } else { Shape::Other }
}

/// Gathers the first bytes of the handshake message, which may be spread over many small records.
fn hello_shape(bytes: &[u8]) -> Shape {
    let mut r = Reader::new(bytes);
    let mut start = [0_u8; START];
    let mut have = 0;
    let mut first = None;
    while have < START {
        let Some(head) = r.array::<HEADER>() else {
            return prefix_shape(r.rest());
        };
        let Ok(header) = RecordHeader::parse(head) else {
            return Shape::Other;
        };
        if header.kind != content::HANDSHAKE || header.len == 0 {
            return Shape::Other;
        }
        first = first.or(Some(u32::from(header.len)));
        let len = usize::from(header.len);
        for byte in r.rest().iter().take(len) {
            if let Some(place) = start.get_mut(have) {
                *place = *byte;
                have += 1;
            }
        }
        if r.take(len).is_none() {
            break;
        }
    }
    let [kind, high, mid, low, major, minor] = start;
    if have >= 1 && !matches!(kind, handshake::CLIENT_HELLO | handshake::SERVER_HELLO) {
        return Shape::Other;
    }
    if have < START {
        return Shape::Open;
    }
    let len = u32::from_be_bytes([0, high, mid, low]);
    let version = major == 3 && minor <= 4 || (major == 0x7f && kind == handshake::SERVER_HELLO);
    // Nothing may follow a ClientHello in its record; some testers put another one there.
    let alone = kind == handshake::SERVER_HELLO || first.is_none_or(|first| first <= len + 4);
    let follows = usize::try_from(len).ok().and_then(|len| bytes.get(HEADER + 4 + len));
    if !version || !(SHORTEST_HELLO..=LONGEST_HELLO).contains(&len) {
        return Shape::Other;
    }
    match follows {
        _ if alone => Shape::Hello,
        Some(&handshake::CLIENT_HELLO) => Shape::Hello,
        None => Shape::Open,
        Some(_) => Shape::Other,
    }
}

/// A header of which the last bytes are missing.
fn prefix_shape(bytes: &[u8]) -> Shape {
    let fits = |i: usize, wanted: &[u8]| bytes.get(i).is_none_or(|b| wanted.contains(b));
    if fits(0, &[content::HANDSHAKE]) && fits(1, &[3]) && fits(2, &[0, 1, 2, 3, 4]) {
        Shape::Open
    } else {
        Shape::Other
    }
}

/// Message type, length and version.
const START: usize = 6;
/// The ServerHello of a TLS 1.3 draft without extensions: version, random, suite.
const SHORTEST_HELLO: u32 = 36;
/// Four parts of at most 64 KiB; real ones stay below 4 KiB.
const LONGEST_HELLO: u32 = 0x2_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: [u8; 11] = [22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];

    #[test]
    fn a_hello_is_told_from_its_first_eleven_bytes() {
        for n in 0..CLIENT.len() {
            assert_eq!(shape(&CLIENT[..n]), Shape::Open, "{n} bytes");
        }
        assert_eq!(shape(&CLIENT), Shape::Hello);
        let mut other = CLIENT;
        other[5] = 3;
        assert_eq!(shape(&other), Shape::Other);
        assert_eq!(shape(b"\x16\x03\x09\x00"), Shape::Other);
        assert_eq!(shape(b"GET / HTTP"), Shape::Other);
    }

    #[test]
    fn a_hello_in_one_byte_records_is_told() {
        let mut bytes = Vec::new();
        for b in &CLIENT[5..] {
            bytes.extend([22, 3, 1, 0, 1, *b]);
        }
        assert_eq!(shape(&bytes), Shape::Hello);
        assert_eq!(shape(&bytes[..30]), Shape::Open);
    }

    #[test]
    fn an_sslv2_hello_is_told_by_its_sum() {
        let mut bytes = vec![0x80, 9 + 3 + 16, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 4];
        bytes.extend([7; 16]);
        assert_eq!(shape(&bytes), Shape::Hello);
        assert_eq!(shape(&bytes[..20]), Shape::Open);
        bytes[6] = 4;
        assert_eq!(shape(&bytes), Shape::Other);
    }

    #[test]
    fn the_limits_of_a_record_hold() {
        assert_eq!(RecordHeader::parse([23, 3, 3, 0x48, 0]), Ok(RecordHeader { kind: 23, len: 0x4800 }));
        assert_eq!(RecordHeader::parse([23, 3, 3, 0x48, 1]), Err("tls.record-length-beyond-limit"));
        assert_eq!(RecordHeader::parse([25, 3, 3, 0, 1]), Err("tls.record-type-unknown"));
        assert_eq!(RecordHeader::parse([22, 2, 3, 0, 1]), Err("tls.record-version-unknown"));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = shape(&bytes);
        }
    }
}
