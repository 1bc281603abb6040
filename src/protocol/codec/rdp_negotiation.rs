//! How an RDP connection begins: the preconnection PDU, TPKT and X.224, and the negotiation in them.
//!
//! Reads: those that both ends send before TLS or MCS. Does not: emit events, or read settings (see `rdp_settings`).
//!
//! Reference: [MS-RDPBCGR] 2.2.1.1 and 2.2.1.2, [MS-RDPEPS] 2.2.1, RFC 1006 (TPKT), ITU-T X.224.

use super::text::text_utf16le;
use crate::base::Reader;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The code of a Connection Request.
pub const CONNECTION_REQUEST: u8 = 0xe0;
/// The code of a Connection Confirm.
pub const CONNECTION_CONFIRM: u8 = 0xd0;
/// The code of a Data TPDU.
pub const DATA: u8 = 0xf0;

/// Characters of a preconnection PDU's text that are kept.
const TEXT_KEPT: usize = 250;

/// The preconnection PDU ([MS-RDPEPS] 2.2.1), which tells a host of several desktops which one is meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Lead {
    /// It may become one.
    More,
    /// It is none.
    Not,
    /// It is one.
    Whole {
        /// The desktop: a virtual machine's name or GUID, or a number.
        wanted: String,
        /// Bytes it takes.
        size: usize,
    },
}

impl Lead {
    /// Bytes of version 1, and of version 2 before its text.
    const FIXED: usize = 16;
    const FIXED_2: usize = 18;
    /// The longest taken: a GUID with its options has 70 characters.
    const LIMIT: usize = 1_023;

    /// Reads it from the front.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        // Size (little-endian), flags 0, version 1 or 2.
        let fits = |(i, byte): (usize, &u8)| match i {
            0 => true,
            1 => *byte < 4,
            8 => matches!(byte, 1 | 2),
            _ => *byte == 0,
        };
        if !bytes.iter().take(12).enumerate().all(fits) {
            return Self::Not;
        }
        let Some([low, high]) = bytes.first_chunk::<2>() else { return Self::More };
        let size = usize::from(u16::from_le_bytes([*low, *high]));
        if size < Self::FIXED || size % 2 != 0 || size > Self::LIMIT {
            return Self::Not;
        }
        let Some((fixed, text)) = bytes.split_first_chunk::<{ Self::FIXED }>() else { return Self::More };
        let [.., 1 | 2, _, _, _, a, b, c, d] = *fixed else { return Self::Not };
        let id = u32::from_le_bytes([a, b, c, d]);
        if fixed.get(8) == Some(&1) {
            return if size == Self::FIXED { Self::Whole { wanted: id.to_string(), size } } else { Self::Not };
        }
        let Some(([low, high], text)) = text.split_first_chunk::<2>() else { return Self::More };
        let units = usize::from(u16::from_le_bytes([*low, *high]));
        if size != Self::FIXED_2 + 2 * units {
            return Self::Not;
        }
        match text.get(..2 * units) {
            None => Self::More,
            Some([]) => Self::Whole { wanted: id.to_string(), size },
            Some(text) => Self::Whole { wanted: text_utf16le(text, TEXT_KEPT), size },
        }
    }
}

/// One TPDU in its TPKT.
#[derive(Debug, Clone, Copy)]
pub struct Tpdu<'a> {
    /// One of this module's codes.
    pub code: u8,
    /// What follows the fixed part of the header.
    pub body: &'a [u8],
    /// Bytes it takes, TPKT header included.
    pub size: usize,
}

/// What stands at the front of some bytes.
#[derive(Debug, Clone, Copy)]
pub enum Unit<'a> {
    /// It may become one.
    More,
    /// It is none.
    Not,
    /// It is one.
    Whole(Tpdu<'a>),
}

impl<'a> Tpdu<'a> {
    /// Reads a Connection Request, Confirm or Data TPDU from the front.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Unit<'a> {
        if !bytes.iter().zip([3u8, 0]).all(|(byte, wanted)| *byte == wanted) {
            return Unit::Not;
        }
        let Some(([_, _, high, low], rest)) = bytes.split_first_chunk::<4>() else { return Unit::More };
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        if size < 7 {
            return Unit::Not;
        }
        let Some(([indicator, code], _)) = rest.split_first_chunk::<2>() else { return Unit::More };
        let fixed = match *code {
            CONNECTION_REQUEST | CONNECTION_CONFIRM if usize::from(*indicator) + 5 == size && size >= 11 => 7,
            DATA if *indicator == 2 => 3,
            _ => return Unit::Not,
        };
        let Some(body) = bytes.get(..size).and_then(|whole| whole.get(4 + fixed..)) else { return Unit::More };
        Unit::Whole(Self { code: *code, body, size })
    }

    /// Whether it carries an MCS PDU that begins so.
    #[must_use]
    pub fn is(&self, mcs: [u8; 2]) -> bool {
        self.code == DATA && self.body.starts_with(&mcs)
    }
}

/// What a Connection Request says.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// What stands behind `mstshash=`.
    pub cookie: Option<&'a [u8]>,
    /// What a load balancer asked to repeat.
    pub token: Option<&'a [u8]>,
    /// What is asked for.
    pub negotiation: Option<Negotiation>,
    /// Names the connection in the logs of both ends.
    pub correlation: Option<&'a [u8]>,
}

/// `RDP_NEG_REQ`, `RDP_NEG_RSP` or `RDP_NEG_FAILURE`: type, flags, length 8, value.
#[derive(Debug, Clone, Copy)]
pub struct Negotiation {
    kind: u8,
    /// Their meaning depends on who says them.
    pub flags: u8,
    /// Security protocols, or a failure's code.
    pub value: u32,
}

impl Negotiation {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [kind, flags, 8, 0, a, b, c, d] = reader.array::<8>()? else { return None };
        Some(Self { kind, flags, value: u32::from_le_bytes([a, b, c, d]) })
    }
}

impl<'a> Request<'a> {
    /// `None` if it is not what RDP says.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let mut request = Self::default();
        let mut rest = body;
        if body.starts_with(b"Cookie: ") || body.starts_with(b"tsv://") {
            let end = body.windows(2).position(|w| w == b"\r\n")?;
            let (line, after) = body.split_at_checked(end)?;
            match line.strip_prefix(b"Cookie: mstshash=") {
                Some(name) => request.cookie = Some(name),
                None => request.token = Some(line.strip_prefix(b"Cookie: ").unwrap_or(line)),
            }
            rest = after.get(2..)?;
        }
        let mut reader = Reader::new(rest);
        if !reader.is_empty() {
            let negotiation = Negotiation::read(&mut reader)?;
            if negotiation.kind != 1 || negotiation.value >= 0x100 {
                return None;
            }
            request.negotiation = Some(negotiation);
            if !reader.is_empty() {
                request.correlation = Some(correlation(reader)?);
            }
        }
        Some(request)
    }

    /// Whether it says nothing that only RDP says.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        self.cookie.is_none() && self.token.is_none() && self.negotiation.is_none()
    }
}

/// `RDP_NEG_CORRELATION_INFO` ([MS-RDPBCGR] 2.2.1.1.2): type 6, flags 0, length 36, an identifier, 16 bytes of nothing.
fn correlation(mut reader: Reader<'_>) -> Option<&[u8]> {
    let [6, 0, 36, 0] = reader.array::<4>()? else { return None };
    let id = reader.take(16)?;
    (reader.len() == 16).then_some(id)
}

/// The server that a load balancer's token names, `address.port.0000` in decimals of the wrong byte order ([MS-RDPBCGR]
/// 3.2.5.3.1).
#[must_use]
pub fn routing_target(token: &[u8]) -> Option<SocketAddrV4> {
    let mut numbers = std::str::from_utf8(token).ok()?.split('.');
    let address: u32 = numbers.next()?.parse().ok()?;
    let port: u16 = numbers.next()?.parse().ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(address.swap_bytes()), port.swap_bytes()))
}

/// What a Connection Confirm says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// Nothing: a server older than the negotiation.
    Bare,
    /// The security protocol chosen, and what else the server can do.
    Chosen(u32, u8),
    /// Why there will be none.
    Failed(u32),
}

impl Confirm {
    /// `None` if it is not what RDP says.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        if body.is_empty() {
            return Some(Self::Bare);
        }
        let mut reader = Reader::new(body);
        let negotiation = Negotiation::read(&mut reader)?;
        match negotiation.kind {
            2 if reader.is_empty() => Some(Self::Chosen(negotiation.value, negotiation.flags)),
            3 if reader.is_empty() => Some(Self::Failed(negotiation.value)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preconnection_pdu_may_hold_a_number_or_a_text() {
        let numbered = [16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 42, 0, 0, 0];
        assert_eq!(Lead::read(&numbered), Lead::Whole { wanted: "42".to_owned(), size: 16 });
        assert_eq!(Lead::read(&numbered[..15]), Lead::More);
        let named = [22, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, b'a', 0, 0, 0];
        assert_eq!(Lead::read(&named), Lead::Whole { wanted: "a".to_owned(), size: 22 });
        for (at, byte) in [(0, 23), (1, 4), (4, 1), (8, 3), (16, 3)] {
            let mut wrong = named;
            wrong[at] = byte;
            assert_eq!(Lead::read(&wrong), Lead::Not, "{at}");
        }
    }

    #[test]
    fn a_token_is_an_address_in_the_wrong_byte_order() {
        // The example of [MS-RDPBCGR] 3.2.5.3.1.
        assert_eq!(routing_target(b"2888185610.15629.0000").unwrap().to_string(), "10.55.38.172:3389");
        assert_eq!(routing_target(b"2888185610.99999.0000"), None);
        assert_eq!(routing_target(b"host.15629.0000"), None);
    }
}
