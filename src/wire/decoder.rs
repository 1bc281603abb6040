//! From the outside in: one step a header, until there is an IP packet that carries no other.
//!
//! Reads: frames. Emits: [`Decoded`]. Does not: know any header itself; the other files of this room do.
//!
//! A tunnel whose inside isn't an IP packet is given as the packet that carries it, so that nothing is lost.
//! Inside means: no IP, cut off, contradicting itself, or wrapped too often.

use super::fragment::{FragmentCounters, FragmentLimits, Fragments, Piece};
use super::ip::{self, IpHeader};
use super::span::Span;
use super::{Decoded, Encapsulation, Packet, Transport, Unread, Wrapper};
use super::{link, tag, transport, tunnel};
use crate::base::{Frame, LinkType, Timestamp};

/// Undoes link types, tags, tunnels and fragmentation. Its only memory are fragments.
#[derive(Debug)]
pub struct Decoder {
    fragments: Fragments,
    /// The last reassembled payloads, the outermost first, one for each fragmented packet in a fragmented packet.
    whole: [Vec<u8>; MAX_FRAGMENTED],
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(FragmentLimits::default())
    }
}

impl Decoder {
    /// A decoder that holds as much of unfinished packets as `limits` allow.
    #[must_use]
    pub fn new(limits: FragmentLimits) -> Self {
        Self { fragments: Fragments::new(limits), whole: std::array::from_fn(|_| Vec::new()) }
    }

    /// The innermost IP packet of a frame. Its payload is in the frame or, if it was reassembled, in the decoder.
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Decoded<'a> {
        let mut walk = Walk {
            at: frame.at,
            nesting: Nesting { encapsulation: Encapsulation::default(), left: MAX_WRAPPERS },
            extensions_left: MAX_EXTENSIONS,
            outer: None,
            fragments: &mut self.fragments,
            whole: &mut self.whole,
        };
        match walk.run(frame.link, Span::new(frame.bytes, frame.orig_len)) {
            Ok(decoded) => decoded,
            Err(unread) => walk.outer.map_or(Decoded::NotUnderstood(unread), Decoded::Packet),
        }
    }

    /// What became of the fragments so far.
    #[must_use]
    pub const fn fragments(&self) -> &FragmentCounters {
        self.fragments.counters()
    }
}

/// What stands next in a frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// An Ethernet frame.
    Ethernet(Span<'a>),
    /// What this EtherType (or 802.3 length) says.
    EtherType(u16, Span<'a>),
    /// IP, of the version that its first nibble tells.
    Ip(Span<'a>),
    /// IPv4.
    Ipv4(Span<'a>),
    /// IPv6.
    Ipv6(Span<'a>),
    /// The payload of an IP packet, by its protocol number.
    Payload(IpHeader, u8, Span<'a>),
    /// A fragment of it.
    Fragment(IpHeader, Piece<'a>),
}

/// What was undone so far, and how much more may be.
#[derive(Debug)]
pub(super) struct Nesting {
    encapsulation: Encapsulation,
    left: u8,
}

impl Nesting {
    /// Goes into a wrapper.
    pub(super) fn push(&mut self, wrapper: Wrapper) -> Result<(), Unread> {
        self.unnamed()?;
        self.encapsulation.push(wrapper);
        Ok(())
    }

    /// Goes into a wrapper that records have no word for.
    pub(super) fn unnamed(&mut self) -> Result<(), Unread> {
        self.left = self.left.checked_sub(1).ok_or(Unread::TooDeep)?;
        Ok(())
    }
}

/// One frame being read.
struct Walk<'a> {
    at: Timestamp,
    nesting: Nesting,
    extensions_left: u8,
    /// The packet that carries the tunnel that is being read.
    outer: Option<Packet<'a>>,
    fragments: &'a mut Fragments,
    whole: &'a mut [Vec<u8>],
}

impl<'a> Walk<'a> {
    fn run(&mut self, link: LinkType, frame: Span<'a>) -> Result<Decoded<'a>, Unread> {
        let mut step = link::open(link, frame, &mut self.nesting)?;
        loop {
            step = match step {
                Step::Ethernet(span) => tag::ethernet(span)?,
                Step::EtherType(kind, span) => tag::ether_type(kind, span, &mut self.nesting)?,
                Step::Ip(span) => ip::any(span)?,
                Step::Ipv4(span) => ip::v4(span)?,
                Step::Ipv6(span) => ip::v6(span)?,
                Step::Payload(ip, TCP, span) => {
                    let (header, payload) = transport::tcp(span)?;
                    return Ok(Decoded::Packet(self.packet(&ip, header, span, payload)));
                }
                Step::Payload(ip, UDP, span) => {
                    let (header, payload) = transport::udp(span)?;
                    let packet = self.packet(&ip, header, span, payload);
                    match header {
                        Transport::Udp { dst_port, .. } if tunnel::is_udp_tunnel(dst_port) => {
                            self.outer = Some(packet);
                            tunnel::udp(dst_port, payload, &mut self.nesting)?
                        }
                        _ => return Ok(Decoded::Packet(packet)),
                    }
                }
                Step::Payload(ip, protocol, span) => match self.payload(ip, protocol, span)? {
                    Ok(inner) => inner,
                    Err(packet) => return Ok(Decoded::Packet(packet)),
                },
                Step::Fragment(ip, piece) => match self.reassemble(ip, &piece)? {
                    Some(whole) => whole,
                    None => return Ok(Decoded::Fragment),
                },
            };
        }
    }

    /// What is in an IP packet of neither TCP nor UDP, or (inner `Err`) the packet itself if it carries no other.
    fn payload(&mut self, ip: IpHeader, protocol: u8, span: Span<'a>) -> Result<Result<Step<'a>, Packet<'a>>, Unread> {
        if ip.src.is_ipv6() && ip::is_extension(protocol) {
            self.extensions_left = self.extensions_left.checked_sub(1).ok_or(Unread::TooDeep)?;
            return ip::extension(ip, protocol, span).map(Ok);
        }
        if matches!(protocol, ICMP | ICMPV6) {
            let (header, payload) = transport::icmp(span)?;
            return Ok(Err(self.packet(&ip, header, span, payload)));
        }
        let packet = self.packet(&ip, Transport::Other(protocol), span, span);
        let inner = match protocol {
            IPV4_IN_IP => (Wrapper::Ipv4InIp, Step::Ipv4(span)),
            IPV6_IN_IP => (Wrapper::Ipv6InIp, Step::Ipv6(span)),
            GRE => {
                self.outer = Some(packet);
                return tunnel::gre(span, &mut self.nesting).map(Ok);
            }
            _ => return Ok(Err(packet)),
        };
        self.outer = Some(packet);
        self.nesting.push(inner.0)?;
        Ok(Ok(inner.1))
    }

    /// Holds a fragment; if it was the last to come, goes on with the whole.
    fn reassemble(&mut self, ip: IpHeader, piece: &Piece<'_>) -> Result<Option<Step<'a>>, Unread> {
        let (out, rest) = std::mem::take(&mut self.whole).split_first_mut().ok_or(Unread::TooDeep)?;
        self.whole = rest;
        let whole = self.fragments.insert(self.at, piece, out)?;
        Ok(whole.map(|whole| Step::Payload(ip, whole.protocol, Span::new(out, whole.wire))))
    }

    #[inline]
    fn packet(&self, ip: &IpHeader, transport: Transport, in_ip: Span<'a>, payload: Span<'a>) -> Packet<'a> {
        Packet {
            at: self.at,
            src: ip.src,
            dst: ip.dst,
            ttl: ip.ttl,
            ip_id: ip.id,
            ip_len: ip.len.saturating_add(in_ip.wire()),
            transport,
            payload_len: payload.wire(),
            payload: payload.bytes(),
            encapsulation: self.nesting.encapsulation,
        }
    }
}

const ICMP: u8 = 1;
const IPV4_IN_IP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const ICMPV6: u8 = 58;

/// Tags, labels and tunnels in one frame. Real networks stay below eight; a loop made by hand ends here.
const MAX_WRAPPERS: u8 = 16;
/// IPv6 extension headers in one frame.
const MAX_EXTENSIONS: u8 = 16;
/// Fragmented packets that carry fragments.
const MAX_FRAGMENTED: usize = 3;
