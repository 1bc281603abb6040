//! The innermost IP packet of a frame, what was wrapped around it, or why there is none.
//!
//! Reads: nothing. Emits: the types that the rooms above see. Does not: decode.

use crate::base::Timestamp;
use std::net::IpAddr;

/// The innermost IP packet of a frame, in slices and integers.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// When it passed the capture point (for a reassembled packet: its last fragment).
    pub at: Timestamp,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
    /// IPv4's don't fragment; IPv6 routers never do.
    pub dont_fragment: bool,
    /// Length of the largest piece it came in, IP header included, in bytes; 0 if it came whole.
    pub largest_fragment: u16,
    /// Length of the IP packet on the wire, header included, in bytes; may exceed 65,535 for offloaded frames.
    pub ip_len: u32,
    /// The transport header.
    pub transport: Transport,
    /// Length of the transport payload on the wire, in bytes; more than `payload.len()` when the snap length cut it.
    pub payload_len: u32,
    /// The transport payload as far as captured, without link-layer padding.
    pub payload: &'a [u8],
    /// What was wrapped around the packet, outermost first.
    pub encapsulation: Encapsulation,
}

/// The transport header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP (RFC 9293).
    Tcp(TcpHeader),
    /// UDP (RFC 768).
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// ICMP or ICMPv6. The payload begins behind the checksum, so an echo's identifier and sequence number are in it.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Any other IP protocol, by its number.
    Other(u8),
}

/// What flow tracking needs of a TCP header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number; meaningful with [`TcpFlags::ACK`].
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window, unscaled.
    pub window: u16,
    /// Urgent pointer, whether or not it counts.
    pub urgent: u16,
    /// Options that were read.
    pub options: TcpOptions,
}

/// TCP control bits, low byte of the flags field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);
    /// Urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// Echo of congestion experienced, and the wish for it (RFC 3168).
    pub const ECE: Self = Self(0x40);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// SYN without ACK.
    #[must_use]
    pub const fn is_syn(self) -> bool {
        self.has(Self::SYN) && !self.has(Self::ACK)
    }

    /// SYN with ACK.
    #[must_use]
    pub const fn is_syn_ack(self) -> bool {
        self.has(Self::SYN) && self.has(Self::ACK)
    }
}

/// TCP options as far as they were captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size, in bytes.
    pub mss: Option<u16>,
    /// Window scale shift.
    pub window_scale: Option<u8>,
    /// Timestamps option: value and echo reply.
    pub timestamps: Option<(u32, u32)>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Selective acknowledgments: something before them is missing, or came twice (RFC 2018, RFC 2883).
    pub sacks: bool,
    /// The kinds of all options, in order.
    pub kinds: OptionKinds,
}

/// The kinds of a header's options in their order, up to the end of the list; the first 16 of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct OptionKinds(u64);

impl OptionKinds {
    /// Two NOPs and timestamps: what nearly every segment of an established connection carries.
    pub(super) const TIMESTAMPS: Self = Self(0x0811);

    /// Adds the next kind.
    pub(super) const fn push(&mut self, kind: u8) {
        let code = match kind {
            0 => 0xe,
            // NOP, MSS, window scale, SACK permitted, SACK, timestamps (RFC 9293, 2018, 7323).
            1..=5 | 8 => kind as u64,
            // Fast Open (RFC 7413), Multipath (RFC 8684), MD5 and AO (RFC 2385, 5925), experiments (RFC 4727).
            34 => 6,
            30 => 7,
            19 | 29 => 9,
            253 | 254 => 0xa,
            _ => 0xb,
        };
        let used = (67 - self.0.leading_zeros()) / 4;
        if used < 16 {
            self.0 |= code << (4 * used);
        }
    }

    /// A letter for each: M MSS, W window scale, S SACK permitted, B SACK blocks, T timestamps, F Fast Open, P Multipath,
    /// A authentication, X experiment, n NOP, e end of the list, o any other.
    pub fn letters(self) -> impl Iterator<Item = char> {
        (0..16).map(move |i| (self.0 >> (4 * i)) & 0xf).take_while(|code| *code != 0).map(|code| match code {
            1 => 'n',
            2 => 'M',
            3 => 'W',
            4 => 'S',
            5 => 'B',
            6 => 'F',
            7 => 'P',
            8 => 'T',
            9 => 'A',
            0xa => 'X',
            0xe => 'e',
            _ => 'o',
        })
    }
}

/// One thing wrapped around a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapper {
    /// IEEE 802.1Q or 802.1ad tag, with its VLAN id.
    Vlan(u16),
    /// MPLS label.
    Mpls(u32),
    /// PPPoE session (RFC 2516).
    Pppoe(u16),
    /// GRE (RFC 2784, 2890; PPTP's version 1).
    Gre,
    /// ERSPAN type I.
    Erspan1,
    /// ERSPAN type II, with its session id.
    Erspan2(u16),
    /// ERSPAN type III, with its session id.
    Erspan3(u16),
    /// VXLAN (RFC 7348), with its network identifier.
    Vxlan(u32),
    /// GENEVE (RFC 8926), with its network identifier.
    Geneve(u32),
    /// GTP-U of a mobile network (3GPP TS 29.281), with its tunnel endpoint identifier.
    Gtp(u32),
    /// IPv4 in an IP packet (RFC 2003, RFC 2473).
    Ipv4InIp,
    /// IPv6 in an IP packet (6in4: RFC 4213; RFC 2473).
    Ipv6InIp,
}

/// The wrappers of a packet, outermost first; at most [`Encapsulation::MAX`] are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encapsulation {
    wrappers: [Option<Wrapper>; Self::MAX],
}

impl Encapsulation {
    /// How many wrappers are told of; more are undone but not named.
    pub const MAX: usize = 4;

    /// Adds the next inner wrapper.
    pub fn push(&mut self, wrapper: Wrapper) {
        if let Some(free) = self.wrappers.iter_mut().find(|w| w.is_none()) {
            *free = Some(wrapper);
        }
    }

    /// The wrappers, outermost first.
    pub fn iter(&self) -> impl Iterator<Item = Wrapper> + '_ {
        self.wrappers.iter().flatten().copied()
    }

    /// Whether the packet came without any.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.wrappers, [None, ..])
    }
}

/// What became of a frame.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// An IP packet.
    Packet(Packet<'a>),
    /// A fragment of an IP packet that is not complete yet. Counts as decoded.
    Fragment,
    /// No IP packet in it.
    NotUnderstood(Unread),
}

/// Why a frame gave no packet. The names are the keys of `not_understood` in the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unread {
    /// ARP or RARP.
    Arp,
    /// Cut before the headers were complete.
    Truncated,
    /// A header contradicts itself.
    Malformed,
    /// A link type that isn't read.
    UnknownLinkType,
    /// Not IP: another EtherType, LLC, or PPP protocol.
    NotIp,
    /// Wrapped more often than the bound.
    TooDeep,
}

impl Unread {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Arp, Self::Truncated, Self::Malformed, Self::UnknownLinkType, Self::NotIp, Self::TooDeep];

    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::UnknownLinkType => "unknown-link-type",
            Self::NotIp => "not-ip",
            Self::TooDeep => "too-deep",
        }
    }
}
