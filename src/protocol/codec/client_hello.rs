//! The ClientHello of TLS, DTLS and QUIC: what a client offers, read without copying.
//!
//! Reads: the body of a handshake message of type 1 (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2, RFC 6347
//! section 4.2.1 for the DTLS cookie). Does not: reassemble, decrypt Encrypted Client Hello, or judge an offer.

use crate::base::Reader;

/// What carries the handshake; JA4 says it in its first letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TLS over a byte stream.
    Tls,
    /// TLS messages in QUIC CRYPTO frames.
    Quic,
    /// DTLS; the hello has a cookie.
    Dtls,
}

/// What a client offers, borrowed from the message.
#[derive(Debug, Clone, Copy)]
pub struct ClientHello<'a> {
    /// What carries it.
    pub transport: Transport,
    /// The version field of the hello itself; TLS 1.3 leaves it at 0x0303.
    pub legacy_version: u16,
    /// `legacy_session_id`, at most 32 bytes.
    pub session_id: &'a [u8],
    /// The cipher suites, most wanted first.
    pub cipher_suites: U16List<'a>,
    /// All extensions in the order sent.
    pub extensions: Extensions<'a>,
    /// `quic_transport_parameters`, unread; empty where there are none.
    pub transport_parameters: &'a [u8],
    /// `server_name`: the first host name.
    pub server_name: Option<&'a [u8]>,
    /// `application_layer_protocol_negotiation`, most wanted first.
    pub alpn: Names<'a>,
    /// `supported_groups` (earlier: elliptic_curves).
    pub supported_groups: U16List<'a>,
    /// `ec_point_formats`.
    pub ec_point_formats: &'a [u8],
    /// `signature_algorithms`, in the order sent.
    pub signature_algorithms: U16List<'a>,
    /// `supported_versions`; empty before TLS 1.3.
    pub supported_versions: U16List<'a>,
    /// Whether `early_data` is offered: the client may send before the server has answered.
    pub early_data: bool,
    /// Whether the true hello is hidden, and how.
    pub encrypted: Option<Encrypted>,
}

/// How a client hides whom it wants to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encrypted {
    /// `encrypted_client_hello` (RFC 9849). GREASE for it looks the same on purpose.
    ClientHello,
    /// Its forerunner `encrypted_server_name` (draft-ietf-tls-esni-02).
    ServerName,
}

impl<'a> ClientHello<'a> {
    /// Reads a message body; `None` if a length in it does not fit.
    #[must_use]
    pub fn parse(body: &'a [u8], transport: Transport) -> Option<Self> {
        let mut r = Reader::new(body);
        let legacy_version = r.u16()?;
        r.take(RANDOM)?;
        let session_id = r.block_u8()?.rest();
        if session_id.len() > 32 {
            return None;
        }
        if transport == Transport::Dtls {
            r.block_u8()?;
        }
        let cipher_suites = U16List::new(r.block_u16()?.rest())?;
        r.block_u8()?;
        let extensions = Extensions::parse(&mut r)?;
        let mut hello = Self {
            transport,
            legacy_version,
            session_id,
            cipher_suites,
            extensions,
            transport_parameters: &[],
            server_name: None,
            alpn: Names::default(),
            supported_groups: U16List::default(),
            ec_point_formats: &[],
            signature_algorithms: U16List::default(),
            supported_versions: U16List::default(),
            early_data: false,
            encrypted: None,
        };
        for (kind, content) in extensions {
            hello.extension(kind, Reader::new(content));
        }
        Some(hello)
    }

    /// Takes over what one extension says; one with broken content counts as sent but empty.
    fn extension(&mut self, kind: u16, mut r: Reader<'a>) {
        match kind {
            extension::QUIC_TRANSPORT_PARAMETERS | extension::QUIC_TRANSPORT_PARAMETERS_DRAFT => {
                self.transport_parameters = r.rest();
            }
            extension::SERVER_NAME => self.server_name = self.server_name.or_else(|| host_name(r)),
            extension::SUPPORTED_GROUPS => self.supported_groups = u16_list(r.block_u16()),
            extension::EC_POINT_FORMATS => {
                self.ec_point_formats = r.block_u8().map_or(&[], |formats| formats.rest());
            }
            extension::SIGNATURE_ALGORITHMS => self.signature_algorithms = u16_list(r.block_u16()),
            extension::ALPN => self.alpn = Names(r.block_u16().unwrap_or(Reader::new(&[]))),
            extension::SUPPORTED_VERSIONS => self.supported_versions = u16_list(r.block_u8()),
            extension::EARLY_DATA => self.early_data = true,
            extension::ENCRYPTED_CLIENT_HELLO => self.encrypted = Some(Encrypted::ClientHello),
            extension::ENCRYPTED_SERVER_NAME => self.encrypted = self.encrypted.or(Some(Encrypted::ServerName)),
            _ => {}
        }
    }

    /// Whether TLS 1.3 or one of its drafts is offered.
    #[must_use]
    pub fn offers_tls13(&self) -> bool {
        self.supported_versions.iter().any(is_tls13)
    }
}

/// `ServerNameList` (RFC 6066 section 3): the first entry of type host_name.
fn host_name(mut r: Reader<'_>) -> Option<&[u8]> {
    let mut list = r.block_u16()?;
    while let Some(kind) = list.u8() {
        let name = list.block_u16()?.rest();
        if kind == 0 {
            return Some(name);
        }
    }
    None
}

fn u16_list(block: Option<Reader<'_>>) -> U16List<'_> {
    block.and_then(|b| U16List::new(b.rest())).unwrap_or_default()
}

/// Whether this version is TLS 1.3 or one of its drafts (0x7fNN; 0x7eNN and 0xfbNN were experiments of
/// Google and Facebook).
#[must_use]
pub const fn is_tls13(version: u16) -> bool {
    matches!(version, 0x0304 | 0x7e00..=0x7fff | 0xfb00..=0xfbff)
}

/// Whether this value is one of the sixteen that clients send to keep servers tolerant (RFC 8701).
#[must_use]
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// A version's name as used in records.
#[must_use]
pub fn version_name(version: u16) -> String {
    match version {
        0x0002 => "SSLv2".into(),
        0x0300 => "SSLv3".into(),
        0x0301 => "TLSv1.0".into(),
        0x0302 => "TLSv1.1".into(),
        0x0303 => "TLSv1.2".into(),
        0x0304 => "TLSv1.3".into(),
        0xfeff => "DTLSv1.0".into(),
        0xfefd => "DTLSv1.2".into(),
        0xfefc => "DTLSv1.3".into(),
        0x7f00..=0x7fff => format!("TLSv1.3-draft{}", version & 0xff),
        other => format!("{other:#06x}"),
    }
}

/// Two-byte values in the order sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct U16List<'a>(&'a [u8]);

impl<'a> U16List<'a> {
    /// `None` for an odd number of bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.len().is_multiple_of(2).then_some(Self(bytes))
    }

    /// The values.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<'a> {
        let mut r = Reader::new(self.0);
        std::iter::from_fn(move || r.u16())
    }

    /// The values that mean something: without GREASE.
    pub fn meant(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.iter().filter(|value| !is_grease(*value))
    }
}

/// Names with their length in one byte before each.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a>(Reader<'a>);

impl Default for Names<'_> {
    fn default() -> Self {
        Self(Reader::new(&[]))
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.block_u8().map(|name| name.rest())
    }
}

/// Extensions in the order sent: number and content.
#[derive(Debug, Clone, Copy)]
pub struct Extensions<'a>(Reader<'a>);

impl<'a> Extensions<'a> {
    /// Reads the block that ends a hello; nothing left means no extensions. `None` if a length does not fit.
    #[must_use]
    pub fn parse(r: &mut Reader<'a>) -> Option<Self> {
        if r.is_empty() {
            return Some(Self(Reader::new(&[])));
        }
        let block = r.block_u16()?;
        let mut check = block;
        while !check.is_empty() {
            check.u16()?;
            check.block_u16()?;
        }
        Some(Self(block))
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.0.u16()?;
        Some((kind, self.0.block_u16()?.rest()))
    }
}

/// Extension numbers (IANA TLS ExtensionType Values).
pub mod extension {
    /// RFC 6066.
    pub const SERVER_NAME: u16 = 0;
    /// RFC 8422.
    pub const SUPPORTED_GROUPS: u16 = 10;
    /// RFC 8422.
    pub const EC_POINT_FORMATS: u16 = 11;
    /// RFC 8446.
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    /// RFC 7301.
    pub const ALPN: u16 = 16;
    /// RFC 8446.
    pub const PRE_SHARED_KEY: u16 = 41;
    /// RFC 8446.
    pub const EARLY_DATA: u16 = 42;
    /// RFC 8446.
    pub const SUPPORTED_VERSIONS: u16 = 43;
    /// RFC 9001.
    pub const QUIC_TRANSPORT_PARAMETERS: u16 = 57;
    /// draft-ietf-quic-tls before its last versions.
    pub const QUIC_TRANSPORT_PARAMETERS_DRAFT: u16 = 0xffa5;
    /// RFC 9849.
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
    /// draft-ietf-tls-esni-02.
    pub const ENCRYPTED_SERVER_NAME: u16 = 0xffce;
}

/// Length of the random of either hello.
pub(crate) const RANDOM: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The ClientHello of RFC 8448 section 3, message header included.
    pub(crate) const RFC8448: &str = "010000c00303cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7\
        000006130113031302010000910000000b0009000006736572766572ff01000100000a00140012001d0017001800190100010101020103\
        010400230000003300260024001d002099381de560e4bd43d23d8e435a7dbafeb3c06e51c13cae4d5413691e529aaf2c002b0003020304\
        000d0020001e040305030603020308040805080604010501060102010402050206020202002d00020101001c00024001";

    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn the_hello_of_rfc_8448_is_read() {
        let bytes = hex(RFC8448);
        let hello = ClientHello::parse(&bytes[4..], Transport::Tls).unwrap();
        assert_eq!(hello.legacy_version, 0x0303);
        assert_eq!(hello.server_name, Some(&b"server"[..]));
        assert_eq!(hello.cipher_suites.iter().collect::<Vec<_>>(), [0x1301, 0x1303, 0x1302]);
        assert_eq!(hello.supported_versions.iter().collect::<Vec<_>>(), [0x0304]);
        assert_eq!(hello.supported_groups.iter().count(), 9);
        assert_eq!(hello.signature_algorithms.iter().count(), 15);
        assert_eq!(hello.extensions.map(|(kind, _)| kind).collect::<Vec<_>>(), [0, 0xff01, 10, 35, 51, 43, 13, 45, 28]);
        assert!(hello.offers_tls13() && !hello.early_data && hello.encrypted.is_none());
    }

    #[test]
    fn a_hello_cut_anywhere_is_refused_or_without_extensions() {
        let bytes = hex(RFC8448);
        for end in 4..bytes.len() {
            if let Some(hello) = ClientHello::parse(&bytes[4..end], Transport::Tls) {
                assert_eq!(hello.extensions.count(), 0, "cut at {end}");
            }
        }
    }

    #[test]
    fn grease_is_told_from_meaning() {
        assert!(is_grease(0x0a0a) && is_grease(0xfafa) && !is_grease(0x0a1a) && !is_grease(0x1301));
        assert_eq!(version_name(0x7f1c), "TLSv1.3-draft28");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for transport in [Transport::Tls, Transport::Quic, Transport::Dtls] {
                if let Some(hello) = ClientHello::parse(&bytes, transport) {
                    let _ = hello.alpn.count() + hello.extensions.count();
                }
            }
        }
    }
}
