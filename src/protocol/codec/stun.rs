//! STUN messages and TURN's ChannelData, read without copying.
//!
//! Reads: the header and attributes of RFC 8489 (STUN), RFC 8656 and RFC 6062 (TURN), RFC 8445 (ICE), of their
//! forerunner RFC 3489 without a magic cookie, and of the drafts that [MS-TURN] froze, whose cookie is an attribute.
//! Does not: verify integrity, or keep state.

use crate::base::Reader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Length of the header.
pub const HEADER: usize = 20;
/// The magic cookie (RFC 8489 section 5).
const COOKIE: u32 = 0x2112_a442;
/// The cookie of the drafts before RFC 5766, in the attribute of that name ([MS-TURN] 2.2.2.1).
const DRAFT_COOKIE: u32 = 0x72c6_4bc6;

/// Message methods (IANA "STUN Methods").
pub mod method {
    /// Binding.
    pub const BINDING: u16 = 1;
    /// SharedSecret, of RFC 3489 only.
    pub const SHARED_SECRET: u16 = 2;
    /// Allocate.
    pub const ALLOCATE: u16 = 3;
    /// Refresh; in the drafts Send, which is then a request.
    pub const REFRESH: u16 = 4;
    /// Send.
    pub const SEND: u16 = 6;
    /// Data.
    pub const DATA: u16 = 7;
    /// CreatePermission.
    pub const CREATE_PERMISSION: u16 = 8;
    /// ChannelBind.
    pub const CHANNEL_BIND: u16 = 9;
    /// Connect (RFC 6062).
    pub const CONNECT: u16 = 10;
    /// ConnectionAttempt (RFC 6062).
    pub const CONNECTION_ATTEMPT: u16 = 12;
}

/// Attribute types (IANA "STUN Attributes").
pub mod attribute {
    /// MAPPED-ADDRESS.
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    /// USERNAME.
    pub const USERNAME: u16 = 0x0006;
    /// ERROR-CODE.
    pub const ERROR_CODE: u16 = 0x0009;
    /// The magic cookie of the drafts.
    pub const DRAFT_COOKIE: u16 = 0x000f;
    /// REMOTE-ADDRESS of the drafts, not masked.
    pub const REMOTE_ADDRESS: u16 = 0x0012;
    /// XOR-PEER-ADDRESS.
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// What Zoom's clients ask its servers with, in the format of RFC 3489.
    pub const ZOOM_ASKS: u16 = 0x0101;
    /// What Zoom's servers answer.
    pub const ZOOM_ANSWERS: u16 = 0x0103;
    /// DATA.
    pub const DATA: u16 = 0x0013;
    /// REALM.
    pub const REALM: u16 = 0x0014;
    /// XOR-RELAYED-ADDRESS.
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    /// XOR-MAPPED-ADDRESS.
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// PRIORITY.
    pub const PRIORITY: u16 = 0x0024;
    /// USE-CANDIDATE.
    pub const USE_CANDIDATE: u16 = 0x0025;
    /// XOR-MAPPED-ADDRESS of the drafts.
    pub const DRAFT_XOR_MAPPED_ADDRESS: u16 = 0x8020;
    /// SOFTWARE.
    pub const SOFTWARE: u16 = 0x8022;
    /// ICE-CONTROLLED.
    pub const ICE_CONTROLLED: u16 = 0x8029;
    /// ICE-CONTROLLING.
    pub const ICE_CONTROLLING: u16 = 0x802a;
    /// ORIGIN (draft-ietf-tram-stun-origin): the page that asks.
    pub const ORIGIN: u16 = 0x802f;
}

/// A message's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// A good answer.
    Success,
    /// A refusal.
    Error,
}

/// Which of its dialects a message is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 5389 and RFC 8489: the cookie stands in the header.
    Current,
    /// RFC 3489: sixteen random bytes stand there.
    Classic,
    /// The TURN drafts that Microsoft's products and early Google Talk speak: the cookie is the first attribute.
    Draft,
}

/// A message, borrowed from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its class.
    pub class: Class,
    /// One of [`method`], or one that only its sender knows.
    pub method: u16,
    /// Its dialect.
    pub dialect: Dialect,
    /// The transaction identifier; of the older dialects its last 12 bytes.
    pub transaction: [u8; 12],
    /// What follows the header.
    attributes: Reader<'a>,
}

impl<'a> Message<'a> {
    /// Reads a datagram or a frame of a stream of which the snap length cut `missing` bytes; `None` if it is none.
    /// Bytes beyond the length in the header, which some senders leave, are passed over where the cookie is right.
    #[must_use]
    pub fn parse(bytes: &'a [u8], missing: u32) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let (kind, length, cookie) = (r.u16()?, usize::from(r.u16()?), r.u32()?);
        let transaction = r.array()?;
        let whole = bytes.len().saturating_add(usize::try_from(missing).unwrap_or(usize::MAX));
        if kind & 0xc000 != 0 || whole < HEADER + length {
            return None;
        }
        let attributes = Reader::new(r.rest().get(..length).unwrap_or(r.rest()));
        let first = Attributes(attributes).next();
        let draft = first.is_some_and(|(kind, value)| {
            kind == attribute::DRAFT_COOKIE && value == DRAFT_COOKIE.to_be_bytes().as_slice()
        });
        let dialect = match cookie {
            COOKIE => Dialect::Current,
            // WhatsApp does not pad, which the cookie makes good.
            _ if length % 4 != 0 || whole != HEADER + length => return None,
            _ if draft => Dialect::Draft,
            _ => Dialect::Classic,
        };
        let (class, method) = match (dialect, kind) {
            (Dialect::Draft, DRAFT_DATA) => (Class::Indication, method::DATA),
            _ => (class(kind), number(kind)),
        };
        let message = Self { class, method, dialect, transaction, attributes };
        if dialect == Dialect::Classic && !message.is_classic(missing) {
            return None;
        }
        Some(message)
    }

    /// Only Binding and SharedSecret existed, with few attributes, whose lengths add up.
    fn is_classic(&self, missing: u32) -> bool {
        if self.class == Class::Indication || !matches!(self.method, method::BINDING | method::SHARED_SECRET) {
            return false;
        }
        let mut r = self.attributes;
        while !r.is_empty() {
            let (Some(kind), Some(length)) = (r.u16(), r.u16()) else { return false };
            let known = matches!(kind, 0x0001..=0x000b | 0x8000..=0x80ff)
                || kind == attribute::ZOOM_ASKS
                || kind == attribute::ZOOM_ANSWERS;
            if !known || r.take(padded(length)).is_none() && missing == 0 {
                return false;
            }
        }
        true
    }

    /// Whether it holds anything beyond the header that sets it apart from any twenty bytes.
    #[must_use]
    pub fn is_distinctive(&self) -> bool {
        self.dialect != Dialect::Classic || !self.attributes.is_empty()
    }

    /// Whether only clients and servers of TURN say this.
    #[must_use]
    pub const fn is_turn(&self) -> bool {
        matches!(self.method, method::ALLOCATE..=method::CONNECTION_ATTEMPT)
    }

    /// Its attributes, in the order sent.
    #[must_use]
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes(self.attributes)
    }

    /// The address in the value of a masked attribute (RFC 8489 section 14.2).
    #[must_use]
    pub fn masked_address(&self, value: &[u8]) -> Option<SocketAddr> {
        let address = plain_address(value)?;
        let port = address.port() ^ 0x2112;
        let ip = match address.ip() {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() ^ COOKIE)),
            IpAddr::V6(ip) => {
                let mut mask = [0; 16];
                for (place, byte) in mask.iter_mut().zip(COOKIE.to_be_bytes().iter().chain(&self.transaction)) {
                    *place = *byte;
                }
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() ^ u128::from_be_bytes(mask)))
            }
        };
        Some(SocketAddr::new(ip, port))
    }
}

/// Data indication of the drafts ([MS-TURN] 2.2.1).
const DRAFT_DATA: u16 = 0x0115;

/// The method's twelve bits, around the class's two (RFC 8489 section 5).
const fn number(kind: u16) -> u16 {
    kind & 0xf | (kind >> 1) & 0x70 | (kind >> 2) & 0xf80
}

const fn class(kind: u16) -> Class {
    match (kind & 0x100 != 0, kind & 0x10 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    }
}

const fn padded(length: u16) -> usize {
    (length as usize).next_multiple_of(4)
}

/// The address in the value of an attribute that is not masked.
#[must_use]
pub fn plain_address(value: &[u8]) -> Option<SocketAddr> {
    let mut r = Reader::new(value);
    r.u8()?;
    let (family, port) = (r.u8()?, r.u16()?);
    let ip = match family {
        1 => IpAddr::from(r.array::<4>()?),
        2 => IpAddr::from(r.array::<16>()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Attributes in the order sent: type and value.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(Reader<'a>);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, length) = (self.0.u16()?, self.0.u16()?);
        let value = self.0.take(usize::from(length))?;
        // The last one may lack its padding.
        self.0.take(padded(length) - usize::from(length)).or_else(|| self.0.take(self.0.len()));
        Some((kind, value))
    }
}

/// What is carried in a ChannelData message (RFC 8656 section 12.4); `None` if this is none.
#[must_use]
pub fn channel_data(bytes: &[u8], missing: u32) -> Option<&[u8]> {
    let mut r = Reader::new(bytes);
    let (number, length) = (r.u16()?, usize::from(r.u16()?));
    let whole = r.len().saturating_add(usize::try_from(missing).unwrap_or(usize::MAX));
    let fits = whole == length || whole == length.next_multiple_of(4);
    ((0x4000..=0x7fff).contains(&number) && length > 0 && fits).then(|| r.rest().get(..length).unwrap_or(r.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The sample request of RFC 5769 section 2.1.
    const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    /// The transaction of the sample responses, and their masked addresses (sections 2.2 and 2.3).
    const V4: &[u8] = b"\x00\x01\xa1\x47\xe1\x12\xa6\x43";
    const V6: &[u8] = b"\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";

    #[test]
    fn the_request_of_rfc_5769_is_read() {
        let message = Message::parse(REQUEST, 0).unwrap();
        assert_eq!((message.class, message.method, message.dialect), (Class::Request, 1, Dialect::Current));
        let found: Vec<u16> = message.attributes().map(|(kind, _)| kind).collect();
        assert_eq!(found, [0x8022, 0x24, 0x8029, 6, 8, 0x8028]);
        let username = message.attributes().find(|(kind, _)| *kind == attribute::USERNAME);
        assert_eq!(username.map(|(_, value)| value), Some(&b"evtj:h6vY"[..]));
        assert!(Message::parse(&REQUEST[..60], 0).is_none());
        assert!(Message::parse(&REQUEST[..60], 48).is_some());
    }

    #[test]
    fn the_addresses_of_rfc_5769_are_unmasked() {
        let message = Message::parse(REQUEST, 0).unwrap();
        assert_eq!(message.masked_address(V4), "192.0.2.1:32853".parse().ok());
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
        assert_eq!(message.masked_address(V6), v6.parse().ok());
        assert_eq!(message.masked_address(&V6[..19]), None);
    }

    #[test]
    fn method_and_class_are_taken_apart() {
        for (kind, expected) in [
            (0x0101, (Class::Success, 1)),
            (0x0111, (Class::Error, 1)),
            (0x0113, (Class::Error, 3)),
            (0x0016, (Class::Indication, 6)),
            (0x0109, (Class::Success, 9)),
        ] {
            assert_eq!((class(kind), number(kind)), expected);
        }
    }

    #[test]
    fn without_a_cookie_the_attributes_must_be_those_of_rfc_3489() {
        let mut classic = [&[0, 1, 0, 8][..], &[9; 16], &[0, 3, 0, 4, 0, 0, 0, 0]].concat();
        assert_eq!(Message::parse(&classic, 0).map(|m| m.dialect), Some(Dialect::Classic));
        classic[21] = 0x55;
        assert!(Message::parse(&classic, 0).is_none());
        let draft = [&[0, 3, 0, 8][..], &[9; 16], &[0, 0xf, 0, 4, 0x72, 0xc6, 0x4b, 0xc6]].concat();
        assert_eq!(Message::parse(&draft, 0).map(|m| (m.dialect, m.method)), Some((Dialect::Draft, 3)));
        let longer = [&draft[..], &[0]].concat();
        assert!(Message::parse(&longer, 0).is_none());
    }

    #[test]
    fn channel_data_may_be_padded() {
        assert_eq!(channel_data(b"\x40\x01\x00\x03abc", 0), Some(&b"abc"[..]));
        assert_eq!(channel_data(b"\x40\x01\x00\x03abc\0", 0), Some(&b"abc"[..]));
        assert_eq!(channel_data(b"\x40\x01\x00\x03abc\0\0", 0), None);
        assert_eq!(channel_data(b"\x40\x01\x00\x09abc", 6), Some(&b"abc"[..]));
        assert_eq!(channel_data(b"\x80\x01\x00\x03abc", 0), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), missing in 0u32..9) {
            let _ = channel_data(&bytes, missing);
            let mut cookied = bytes.clone();
            cookied.splice(0..0, [0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42]);
            for bytes in [&bytes, &cookied] {
                if let Some(message) = Message::parse(bytes, missing) {
                    let _ = message.attributes().filter_map(|(_, value)| message.masked_address(value)).count();
                }
            }
        }
    }
}
