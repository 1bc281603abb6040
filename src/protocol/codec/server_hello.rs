//! The ServerHello and HelloRetryRequest of TLS, DTLS and QUIC: what a server chose.
//!
//! Reads: the body of a handshake message of type 2 (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3) and of type 6
//! of the TLS 1.3 drafts before 22. Does not: reassemble, or check the choice against the offer.

use super::client_hello::{Extensions, RANDOM, extension};
use crate::base::Reader;

/// What a server chose, borrowed from the message.
#[derive(Debug, Clone, Copy)]
pub struct ServerHello<'a> {
    /// The version field of the hello itself; TLS 1.3 leaves it at 0x0303.
    pub legacy_version: u16,
    /// The version that holds: `supported_versions` where sent.
    pub version: u16,
    /// The suite that holds.
    pub cipher_suite: u16,
    /// `legacy_session_id_echo`.
    pub session_id: &'a [u8],
    /// All extensions in the order sent.
    pub extensions: Extensions<'a>,
    /// The protocol chosen by ALPN; TLS 1.3 hides it.
    pub alpn: Option<&'a [u8]>,
    /// Whether a pre-shared key of the client was taken: a resumed session, or a key from outside.
    pub pre_shared_key: bool,
    /// Whether this asks for another ClientHello.
    pub retry: bool,
}

impl<'a> ServerHello<'a> {
    /// Reads a message body; `None` if a length in it does not fit.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(body);
        let legacy_version = r.u16()?;
        let random = r.take(RANDOM)?;
        // The drafts of TLS 1.3 before 22 had neither session id nor compression method here.
        let early_draft = matches!(legacy_version, 0x7f00..0x7f16);
        let session_id = if early_draft { &[] } else { r.block_u8()?.rest() };
        let cipher_suite = r.u16()?;
        if !early_draft {
            r.u8()?;
        }
        if session_id.len() > 32 {
            return None;
        }
        Some(Self::with_extensions(Self {
            legacy_version,
            version: legacy_version,
            cipher_suite,
            session_id,
            extensions: Extensions::parse(&mut r)?,
            alpn: None,
            pre_shared_key: false,
            retry: random == RETRY_RANDOM,
        }))
    }

    /// Reads the HelloRetryRequest that was a message of its own in drafts 16 to 21.
    #[must_use]
    pub fn parse_draft_retry(body: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(body);
        let version = r.u16().filter(|v| matches!(v, 0x7f00..0x7f16))?;
        // Draft 19 put the cipher suite in; before it the extensions follow at once.
        let cipher_suite = if version >= 0x7f13 { r.u16()? } else { 0 };
        let extensions = Extensions::parse(&mut r)?;
        Some(Self {
            legacy_version: version,
            version,
            cipher_suite,
            session_id: &[],
            extensions,
            alpn: None,
            pre_shared_key: false,
            retry: true,
        })
    }

    fn with_extensions(mut self) -> Self {
        for (kind, content) in self.extensions {
            let mut r = Reader::new(content);
            match kind {
                extension::SUPPORTED_VERSIONS => self.version = r.u16().unwrap_or(self.version),
                extension::ALPN => self.alpn = r.block_u16().and_then(|mut l| l.block_u8()).map(|name| name.rest()),
                extension::PRE_SHARED_KEY => self.pre_shared_key = true,
                _ => {}
            }
        }
        self
    }
}

/// SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; RANDOM] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The ServerHello of RFC 8448 section 3, without its message header.
    const RFC8448: [u8; 86] = [
        0x03, 0x03, 0xa6, 0xaf, 0x06, 0xa4, 0x12, 0x18, 0x60, 0xdc, 0x5e, 0x6e, 0x60, 0x24, 0x9c, 0xd3, 0x4c, 0x95,
        0x93, 0x0c, 0x8a, 0xc5, 0xcb, 0x14, 0x34, 0xda, 0xc1, 0x55, 0x77, 0x2e, 0xd3, 0xe2, 0x69, 0x28, 0x00, 0x13,
        0x01, 0x00, 0x00, 0x2e, 0x00, 0x33, 0x00, 0x24, 0x00, 0x1d, 0x00, 0x20, 0xc9, 0x82, 0x88, 0x76, 0x11, 0x20,
        0x95, 0xfe, 0x66, 0x76, 0x2b, 0xdb, 0xf7, 0xc6, 0x72, 0xe1, 0x56, 0xd6, 0xcc, 0x25, 0x3b, 0x83, 0x3d, 0xf1,
        0xdd, 0x69, 0xb1, 0xb0, 0x4e, 0x75, 0x1f, 0x0f, 0x00, 0x2b, 0x00, 0x02, 0x03, 0x04,
    ];

    #[test]
    fn the_hello_of_rfc_8448_is_read() {
        let hello = ServerHello::parse(&RFC8448).unwrap();
        assert_eq!((hello.legacy_version, hello.version, hello.cipher_suite), (0x0303, 0x0304, 0x1301));
        assert!(!hello.retry && !hello.pre_shared_key && hello.alpn.is_none());
        assert!(ServerHello::parse(&RFC8448[..80]).is_none());
    }

    #[test]
    fn the_retry_random_is_the_digest_it_claims_to_be() {
        let digest = ring::digest::digest(&ring::digest::SHA256, b"HelloRetryRequest");
        assert_eq!(digest.as_ref(), RETRY_RANDOM);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ServerHello::parse(&bytes).map(|hello| hello.extensions.count());
            let _ = ServerHello::parse_draft_retry(&bytes);
        }
    }
}
