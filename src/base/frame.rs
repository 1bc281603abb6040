//! What a source gives: the bytes of one captured frame with its time and link type.

use super::Timestamp;

/// A link-layer type by its LINKTYPE_ number (tcpdump.org/linktypes.html), which files carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback, address family in the capturing host's byte order.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP without or with HDLC-like framing.
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing (RFC 1662).
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session frames (RFC 2516).
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP, version from the first nibble.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback, address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked" capture v1.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux "cooked" capture v2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// One captured frame, borrowed from its source.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// When the frame passed the capture point.
    pub at: Timestamp,
    /// What the first byte of `bytes` belongs to.
    pub link: LinkType,
    /// Bytes the frame had on the wire; more than `bytes.len()` when the snap length cut it.
    pub orig_len: u32,
    /// The bytes captured.
    pub bytes: &'a [u8],
}
