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
        Ok(whole.map(|whole| {
            // IPv6 says in a header of its own, 8 bytes long, that it is a piece.
            let header = ip.len + if ip.src.is_ipv6() { 8 } else { 0 };
            let largest_fragment = u16::try_from(header + whole.largest).unwrap_or(u16::MAX);
            Step::Payload(IpHeader { largest_fragment, ..ip }, whole.protocol, Span::new(out, whole.wire))
        }))
    }

    #[inline]
    fn packet(&self, ip: &IpHeader, transport: Transport, in_ip: Span<'a>, payload: Span<'a>) -> Packet<'a> {
        Packet {
            at: self.at,
            src: ip.src,
            dst: ip.dst,
            ttl: ip.ttl,
            ip_id: ip.id,
            dont_fragment: ip.dont_fragment,
            largest_fragment: ip.largest_fragment,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::{MACS, ethernet, frame, ip4, ip6, packet, tcp4, udp4, udp6, unread};
    use proptest::prelude::*;

    const E: LinkType = LinkType::ETHERNET;

    /// The payload cut into fragments of an IPv4 packet.
    fn fragments_of(protocol: u8, id: u16, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
        let count = payload.chunks(size).count();
        let bits = |i: usize| u16::try_from(i * size / 8).unwrap() | if i + 1 < count { 0x2000 } else { 0 };
        payload.chunks(size).enumerate().map(|(i, part)| ip4(protocol, id, bits(i), part)).collect()
    }

    #[test]
    fn a_fragmented_segment_is_given_with_its_last_fragment() {
        let whole = tcp4(&[7; 100]);
        let mut decoder = Decoder::default();
        let pieces = fragments_of(6, 5, &whole[20..], 48);
        for (i, piece) in pieces.iter().enumerate() {
            let at = Timestamp::from_nanos(i64::try_from(i).unwrap());
            let bytes = ethernet(0x0800, piece);
            match decoder.decode(&Frame { at, ..frame(E, &bytes) }) {
                Decoded::Fragment => assert!(i < 2),
                Decoded::Packet(p) => {
                    assert_eq!((i, p.at, p.ip_len, p.payload_len, p.ip_id), (2, at, 152, 100, 5));
                    assert_eq!(p.largest_fragment, 20 + 48);
                    assert_eq!(p.payload, [7; 100]);
                    assert!(matches!(p.transport, Transport::Tcp(tcp) if tcp.options.timestamps == Some((11, 12))));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((decoder.fragments().seen, decoder.fragments().reassembled), (3, 1));
    }

    #[test]
    fn fragments_of_ipv6_are_joined_behind_extension_headers() {
        let udp = udp6(53, &[3; 40]);
        let piece = |offset_more: u8, part: &[u8]| {
            ip6(0, &[&[44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, offset_more, 0, 0, 0, 9], part].concat())
        };
        let mut decoder = Decoder::default();
        let (first, second) = (piece(1, &udp[40..64]), piece(24, &udp[64..]));
        assert!(matches!(decoder.decode(&frame(LinkType::IPV6, &second)), Decoded::Fragment));
        let Decoded::Packet(p) = decoder.decode(&frame(LinkType::IPV6, &first)) else { panic!() };
        assert_eq!((p.payload, p.ip_len), (&[3; 40][..], 40 + 8 + 48));
        assert_eq!(p.largest_fragment, 40 + 8 + 8 + 24);
    }

    #[test]
    fn fragmented_tunnels_with_a_fragmented_packet_in_them() {
        let inner = tcp4(&[7; 100]);
        let mut decoder = Decoder::default();
        let mut given = 0;
        // Three inner fragments; the tunnel's packets with the first two are cut themselves, the third is short enough.
        for (i, piece) in fragments_of(6, 5, &inner[20..], 64).iter().enumerate() {
            let gre = [&[0, 0, 8, 0][..], piece].concat();
            for outer in fragments_of(47, 100 + u16::try_from(i).unwrap(), &gre, 32) {
                if let Decoded::Packet(p) = decoder.decode(&frame(LinkType::IPV4, &outer)) {
                    assert_eq!((p.payload, p.encapsulation.iter().next()), (&[7; 100][..], Some(Wrapper::Gre)));
                    given += 1;
                }
            }
        }
        assert_eq!((given, decoder.fragments().reassembled), (1, 3));
    }

    #[test]
    fn wrapping_ends_at_a_bound_and_then_the_outer_packet_is_given() {
        let tags = ethernet(0x8100, &[0, 1, 0x81, 0].repeat(40));
        assert_eq!(unread(E, &tags), Unread::TooDeep);
        let mut bytes = tcp4(b"x");
        for _ in 0..40 {
            bytes = ip4(4, 1, 0, &bytes);
        }
        packet(LinkType::RAW, &bytes, |p| {
            assert_eq!((p.transport, p.ip_len), (Transport::Other(4), 53 + 24 * 20));
            assert_eq!(p.encapsulation.iter().count(), Encapsulation::MAX);
        });
    }

    #[test]
    fn nothing_of_one_frame_is_left_for_the_next() {
        let mut decoder = Decoder::default();
        let tunnel = ip4(47, 1, 0, &[&[0, 0, 8, 0][..], &tcp4(b"x")].concat());
        assert!(matches!(decoder.decode(&frame(LinkType::RAW, &tunnel)), Decoded::Packet(_)));
        let bytes = tcp4(b"y");
        let Decoded::Packet(p) = decoder.decode(&frame(LinkType::RAW, &bytes)) else { panic!() };
        assert!(p.encapsulation.is_empty());
        assert!(matches!(decoder.decode(&frame(LinkType::RAW, b"\x50")), Decoded::NotUnderstood(Unread::NotIp)));
    }

    /// One frame of each kind, to be spoilt.
    fn seeds() -> Vec<(LinkType, Vec<u8>)> {
        let (v4, v6) = (tcp4(&[7; 60]), udp6(53, &[8; 60]));
        let inner = ethernet(0x0800, &v4);
        let join = |head: &[u8], body: &[u8]| [head, body].concat();
        let gre = |head: &[u8], body: &[u8]| ethernet(0x0800, &ip4(47, 1, 0, &[head, body].concat()));
        vec![
            (E, inner.clone()),
            (E, ethernet(0x86dd, &v6)),
            (E, ethernet(0x8100, &join(&[0, 9, 0x88, 0x47, 0, 1, 1, 64, 0, 0, 0, 0], &inner))),
            (E, ethernet(0x8864, &join(&[0x11, 0, 0, 7, 0, 200, 0, 0x21], &v4))),
            (E, join(&MACS, &join(&[0, 120, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4))),
            (E, gre(&[0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2], &inner)),
            (E, gre(&[0x30, 0x81, 0x88, 0x0b, 0, 99, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21], &v4)),
            (E, gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 4, 1, 0, 0, 0, 0], &inner)),
            (E, gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0], &inner)),
            (E, ethernet(0x0800, &udp4(4789, &join(&[8, 0, 0, 0, 0, 0, 5, 0], &inner)))),
            (E, ethernet(0x86dd, &udp6(6081, &join(&[1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 0], &inner)))),
            (E, ethernet(0x0800, &ip4(41, 1, 0, &ip6(44, &join(&[17, 0, 0, 1, 0, 0, 0, 9], &v6[40..104]))))),
            (E, ethernet(0x0800, &ip4(17, 7, 0x2000, &v6[40..104]))),
            (LinkType::LINUX_SLL, join(&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0], &v4)),
            (LinkType::NULL, join(&[30, 0, 0, 0], &v6)),
            (LinkType(107), join(&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0], &v4)),
            (LinkType(239), join(&[2, 0, 0, 0, 6, 0, 10, 0, b'i', 0, 0, 0, 116, 0, 9, 0], &v4)),
            (LinkType(192), join(&[0, 0, 8, 0, 50, 0, 0, 0, 0xff, 3, 0, 0x21], &v4)),
        ]
    }

    /// What holds for whatever is decoded.
    fn check(decoder: &mut Decoder, frame: &Frame<'_>) -> Result<(), TestCaseError> {
        if let Decoded::Packet(p) = decoder.decode(frame) {
            prop_assert!(p.payload.len() <= p.payload_len as usize, "{p:?}");
            prop_assert!(p.payload_len < p.ip_len, "{p:?}");
        }
        Ok(())
    }

    #[test]
    fn the_seeds_are_frames_that_decode() {
        for (link, bytes) in seeds() {
            let decoded = matches!(
                Decoder::default().decode(&frame(link, &bytes)),
                Decoded::Packet(Packet { transport: Transport::Tcp(_) | Transport::Udp { .. }, .. })
                    | Decoded::Fragment
            );
            assert!(decoded, "{link:?} {bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            link in prop_oneof![0u16..300, Just(1u16)],
            orig_len in any::<u32>(),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let frame = Frame { at: Timestamp::MIN, link: LinkType(link), orig_len, bytes: &bytes };
            check(&mut Decoder::default(), &frame)?;
        }

        #[test]
        fn spoilt_frames_never_panic(
            spoils in prop::collection::vec((0usize..200, any::<u8>()), 0..6),
            cut in 0usize..260,
            times in prop::collection::vec(any::<i64>(), 3),
        ) {
            let mut decoder = Decoder::default();
            for at in times {
                for (link, mut bytes) in seeds() {
                    let orig_len = bytes.len() as u32;
                    for (i, byte) in &spoils {
                        if let Some(b) = bytes.get_mut(*i) { *b = *byte; }
                    }
                    bytes.truncate(cut);
                    check(&mut decoder, &Frame { at: Timestamp::from_nanos(at), link, orig_len, bytes: &bytes })?;
                }
            }
        }
    }
}
