//! Which flow a packet belongs to: the directed 5-tuple and its canonical, undirected key.
//!
//! ICMP types take the place of ports, paired request with reply, as in Zeek and the Community ID specification.

use crate::wire::{Packet, Transport};
use std::net::IpAddr;

/// IP protocol number of SCTP, the one other protocol whose ports are read.
pub const SCTP: u8 = 132;

/// An IP protocol by its IANA number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// Generic routing encapsulation.
    pub const GRE: Self = Self(47);
    /// IPsec encapsulating security payload.
    pub const ESP: Self = Self(50);
    /// IPsec authentication header.
    pub const AH: Self = Self(51);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);
}

/// One end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Address.
    pub ip: IpAddr,
    /// Port; the ICMP type or code for ICMP; 0 where there is none.
    pub port: u16,
}

/// A flow with its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// Who opened it.
    pub orig: Peer,
    /// Who was addressed.
    pub resp: Peer,
    /// What runs over IP.
    pub proto: Protocol,
}

impl FiveTuple {
    /// The tuple of a packet, its sender as originator.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Self {
        let (proto, (from, to)) = match packet.transport {
            Transport::Tcp(tcp) => (Protocol::TCP, (tcp.src_port, tcp.dst_port)),
            Transport::Udp { src_port, dst_port } => (Protocol::UDP, (src_port, dst_port)),
            Transport::Icmp { kind, code } => icmp_ports(packet.src, kind, code),
            Transport::Other(number) => (Protocol(number), other_ports(number, packet.payload)),
        };
        Self { orig: Peer { ip: packet.src, port: from }, resp: Peer { ip: packet.dst, port: to }, proto }
    }

    /// The same with the ends exchanged.
    #[must_use]
    pub const fn flipped(self) -> Self {
        Self { orig: self.resp, resp: self.orig, proto: self.proto }
    }
}

/// A flow without its direction: equal for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    low: u128,
    high: u128,
    low_port: u16,
    high_port: u16,
    proto: u8,
    v6: bool,
}

impl FlowKey {
    /// The key of a tuple, and whether the tuple's originator is its lower end.
    #[must_use]
    pub fn of(tuple: &FiveTuple) -> (Self, bool) {
        let (a, b) = (bits(tuple.orig.ip), bits(tuple.resp.ip));
        let orig_is_low = (a, tuple.orig.port) <= (b, tuple.resp.port);
        let ((low, low_port), (high, high_port)) = if orig_is_low {
            ((a, tuple.orig.port), (b, tuple.resp.port))
        } else {
            ((b, tuple.resp.port), (a, tuple.orig.port))
        };
        let v6 = tuple.orig.ip.is_ipv6();
        (Self { low, high, low_port, high_port, proto: tuple.proto.0, v6 }, orig_is_low)
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// SCTP keeps its ports where TCP and UDP do; other protocols have none.
fn other_ports(number: u8, payload: &[u8]) -> (u16, u16) {
    match payload.first_chunk::<4>() {
        Some([a, b, c, d]) if number == SCTP => (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
        _ => (0, 0),
    }
}

/// ICMP as (protocol, ports): type and the type that answers it, or type and code where nothing answers.
fn icmp_ports(src: IpAddr, kind: u8, code: u8) -> (Protocol, (u16, u16)) {
    let (proto, counterpart) = if src.is_ipv6() {
        (Protocol::ICMPV6, icmp6_counterpart(kind))
    } else {
        (Protocol::ICMP, icmp_counterpart(kind))
    };
    (proto, (u16::from(kind), u16::from(counterpart.unwrap_or(code))))
}

/// The ICMP type that answers (or asks for) `kind`, for the types that come in pairs (IANA ICMP parameters).
pub(super) const fn icmp_counterpart(kind: u8) -> Option<u8> {
    Some(match kind {
        0 => 8,
        8 => 0,
        9 => 10,
        10 => 9,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

/// The same for ICMPv6 (IANA ICMPv6 parameters).
pub(super) const fn icmp6_counterpart(kind: u8) -> Option<u8> {
    Some(match kind {
        128 => 129,
        129 => 128,
        130 => 131,
        131 => 130,
        133 => 134,
        134 => 133,
        135 => 136,
        136 => 135,
        139 => 140,
        140 => 139,
        144 => 145,
        145 => 144,
        _ => return None,
    })
}
