//! DTLS records and the fragments of its handshake messages.
//!
//! Reads: record headers of DTLS 1.0 and 1.2 (RFC 4347, RFC 6347 section 4.1), the unified header of 1.3 (RFC 9147
//! section 4), record types of RFC 9146, handshake headers (RFC 6347 section 4.2.2). Does not: decrypt.

use super::tls_record::content;
use crate::base::Reader;

/// Handshake message types that only DTLS has, or that only its reader asks for.
pub mod handshake {
    /// ClientHello.
    pub const CLIENT_HELLO: u8 = 1;
    /// ServerHello, HelloRetryRequest included.
    pub const SERVER_HELLO: u8 = 2;
    /// HelloVerifyRequest.
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    /// Certificate.
    pub const CERTIFICATE: u8 = 11;
    /// ServerHelloDone.
    pub const SERVER_HELLO_DONE: u8 = 14;
}

/// A record whose connection identifier stands before its length (RFC 9146 section 4).
const TLS12_CID: u8 = 25;
/// Length of a record's header.
const HEADER: usize = 13;
/// Longest content (RFC 6347 section 4.1, with the expansion that RFC 5246 allows).
const LONGEST: u16 = 16_384 + 2_048;

/// A record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// One of [`content`].
    pub kind: u8,
    /// 0 until keys are in use.
    pub epoch: u16,
    /// What follows its header.
    pub content: &'a [u8],
}

/// The records of a datagram; ends at what is none.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a>(Reader<'a>);

impl<'a> Records<'a> {
    /// Starts at the first.
    #[must_use]
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self(Reader::new(datagram))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let first = *self.0.rest().first()?;
        if is_unified(first) {
            // Its length may be left out, and what it holds can't be told: it takes the rest of the datagram. The two
            // bits are the epoch's lowest ones, and the epochs 2 and 3 are the handshake's and the data's.
            let content = self.0.take(self.0.len())?;
            let epoch = u16::from(first & 3);
            let kind = if epoch == 2 { content::HANDSHAKE } else { content::APPLICATION };
            return Some(Record { kind, epoch, content });
        }
        let mut r = self.0;
        let kind = r.u8()?;
        let version = r.u16()?;
        let epoch = r.u16()?;
        if !(content::CHANGE_CIPHER_SPEC..=26).contains(&kind) || !is_version(version) {
            return None;
        }
        if kind == TLS12_CID {
            let content = self.0.take(self.0.len())?;
            return Some(Record { kind: content::APPLICATION, epoch, content });
        }
        r.take(6)?;
        let length = r.u16().filter(|length| *length <= LONGEST)?;
        let content = r.take(usize::from(length))?;
        self.0 = r;
        Some(Record { kind, epoch, content })
    }
}

/// The first byte of a DTLS 1.3 ciphertext (RFC 9147 section 4).
#[must_use]
pub const fn is_unified(first: u8) -> bool {
    first & 0xe0 == 0x20
}

/// DTLS 1.0, 1.2, and the version that OpenSSL used before the RFC and AnyConnect uses still.
const fn is_version(version: u16) -> bool {
    matches!(version, 0xfeff | 0xfefd | 0x0100)
}

/// A fragment of a handshake message.
#[derive(Debug, Clone, Copy)]
pub struct Fragment<'a> {
    /// One of [`handshake`], or another.
    pub kind: u8,
    /// Length of the whole message.
    pub total: usize,
    /// The message's number; a message sent again keeps it.
    pub sequence: u16,
    /// Where in the message the bytes belong.
    pub offset: usize,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Takes the next one off the content of a record; `None` if it is none.
    pub fn take(r: &mut Reader<'a>) -> Option<Self> {
        let mut ahead = *r;
        let (kind, total) = (ahead.u8()?, ahead.u24()?);
        let sequence = ahead.u16()?;
        let (offset, length) = (ahead.u24()?, ahead.u24()?);
        if offset.checked_add(length)? > total || length == 0 && total > 0 {
            return None;
        }
        let bytes = ahead.take(usize::try_from(length).ok()?)?;
        *r = ahead;
        Some(Self { kind, total: usize::try_from(total).ok()?, sequence, offset: usize::try_from(offset).ok()?, bytes })
    }

    /// Whether this opens a handshake as one of its hellos does.
    fn is_hello(&self) -> bool {
        let start = self.offset == 0;
        let version = self.bytes.first_chunk().is_some_and(|v| is_version(u16::from_be_bytes(*v)));
        let (least, most) = match self.kind {
            handshake::CLIENT_HELLO => (2 + 32 + 1 + 1 + 2 + 2 + 2, LONGEST_HELLO),
            handshake::SERVER_HELLO => (2 + 32 + 1 + 2 + 1, LONGEST_HELLO),
            handshake::HELLO_VERIFY_REQUEST => (3, 2 + 1 + 255),
            _ => return false,
        };
        (least..=most).contains(&self.total) && self.sequence <= 2 && (!start || version)
    }
}

/// Hellos with post-quantum keys are below 4 KiB.
const LONGEST_HELLO: usize = 0x1_0000;

/// What a datagram is by its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A hello, or a request for a cookie, in clear.
    Hello,
    /// Something encrypted under a key of an earlier handshake, filling the datagram with whole records.
    Protected,
    /// None, or nothing that would tell.
    Other,
}

/// Looks at a datagram of which the snap length cut `missing` bytes.
#[must_use]
pub fn shape(datagram: &[u8], missing: u32) -> Shape {
    let Some(head) = datagram.first_chunk::<HEADER>() else { return Shape::Other };
    let [kind, high, low, e1, e2, sequence @ .., l1, l2] = *head;
    let (epoch, length) = (u16::from_be_bytes([e1, e2]), u16::from_be_bytes([l1, l2]));
    if !is_version(u16::from_be_bytes([high, low])) || length > LONGEST || length == 0 {
        return Shape::Other;
    }
    let rest = datagram.get(HEADER..).unwrap_or_default();
    let whole = rest.len().saturating_add(usize::try_from(missing).unwrap_or(usize::MAX));
    if usize::from(length) > whole {
        return Shape::Other;
    }
    match (kind, epoch) {
        (content::HANDSHAKE, 0) => {
            let content = rest.get(..usize::from(length)).unwrap_or(rest);
            let hello = Fragment::take(&mut Reader::new(content)).is_some_and(|fragment| fragment.is_hello());
            if hello { Shape::Hello } else { Shape::Other }
        }
        // Nobody renews keys often, or sends so much that the first two bytes of the number are in use.
        (content::APPLICATION, 1..=16) if sequence.starts_with(&[0, 0]) && fills(datagram, missing) => Shape::Protected,
        _ => Shape::Other,
    }
}

/// Whether the records end where the datagram ends.
fn fills(datagram: &[u8], missing: u32) -> bool {
    missing > 0 || Records::new(datagram).map(|record| record.content.len() + HEADER).sum::<usize>() == datagram.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u8, epoch: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        [&[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 7][..], &length.to_be_bytes(), content].concat()
    }

    #[test]
    fn a_datagram_may_hold_several_records() {
        let two = [record(22, 0, &[1; 20]), record(20, 0, &[1])].concat();
        let kinds: Vec<_> = Records::new(&two).map(|r| (r.kind, r.content.len())).collect();
        assert_eq!(kinds, [(22, 20), (20, 1)]);
        assert_eq!(Records::new(&two[..40]).count(), 1);
    }

    #[test]
    fn a_hello_and_ciphertext_are_told_from_noise() {
        let hello = [&[1, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 60, 0xfe, 0xfd][..], &[5; 58]].concat();
        let datagram = record(22, 0, &hello);
        assert_eq!(shape(&datagram, 0), Shape::Hello);
        assert_eq!(shape(&datagram[..50], 0), Shape::Other);
        let mut finished = hello;
        finished[0] = 20;
        assert_eq!(shape(&record(22, 0, &finished), 0), Shape::Other);
        assert_eq!(shape(&record(23, 1, &[9; 40]), 0), Shape::Protected);
        assert_eq!(shape(&record(23, 0, &[9; 40]), 0), Shape::Other);
        assert_eq!(shape(&[record(23, 1, &[9; 40]), vec![1, 2, 3]].concat(), 0), Shape::Other);
    }

    #[test]
    fn a_fragment_stays_within_its_message() {
        let bytes = [11, 0, 1, 0, 0, 3, 0, 0, 0xfe, 0, 0, 3, 1, 2, 3];
        assert!(Fragment::take(&mut Reader::new(&bytes)).is_none());
        let bytes = [11, 0, 1, 0, 0, 3, 0, 0, 0xfd, 0, 0, 3, 1, 2, 3];
        let fragment = Fragment::take(&mut Reader::new(&bytes)).unwrap();
        assert_eq!((fragment.total, fragment.sequence, fragment.offset, fragment.bytes.len()), (256, 3, 253, 3));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), missing in 0u32..9) {
            let _ = shape(&bytes, missing);
            for record in Records::new(&bytes) {
                let _ = Fragment::take(&mut Reader::new(record.content));
            }
        }
    }
}
