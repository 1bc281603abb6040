//! IP headers: IPv4 with options, IPv6 with its extension headers.
//!
//! Reads: RFC 791, RFC 8200 (hop-by-hop, routing, destination options, fragment), RFC 2675 (jumbograms).
//! Emits: the addresses and what is behind the header, at its true length. Does not: look behind ESP or AH, verify checksums,
//! follow a routing header to the final destination.

use super::Unread;
use super::decoder::Step;
use super::fragment::{Key, Piece};
use super::span::Span;
use etherparse::{Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};
use std::net::IpAddr;

/// What of an IP header outlives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct IpHeader {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) ttl: u8,
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    /// Length of the largest piece it came in, header included; 0 if it came whole.
    pub(super) largest_fragment: u16,
    /// Bytes before the payload, extension headers included.
    pub(super) len: u32,
}

/// IP of the version that the first nibble tells.
pub(super) fn any(span: Span<'_>) -> Result<Step<'_>, Unread> {
    match span.bytes().first().map(|b| b >> 4) {
        Some(4) => v4(span),
        Some(6) => v6(span),
        Some(_) => Err(Unread::NotIp),
        None => Err(Unread::Truncated),
    }
}

/// An IPv4 packet.
#[inline]
pub(super) fn v4(span: Span<'_>) -> Result<Step<'_>, Unread> {
    let header = Ipv4HeaderSlice::from_slice(span.bytes()).map_err(|error| match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => Unread::Truncated,
        etherparse::err::ipv4::HeaderSliceError::Content(_) => Unread::Malformed,
    })?;
    let header_len = header.slice().len();
    let ip = IpHeader {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        ttl: header.ttl(),
        id: header.identification(),
        dont_fragment: header.dont_fragment(),
        largest_fragment: 0,
        len: header_len as u32,
    };
    let protocol = header.protocol().0;
    let span = match usize::from(header.total_len()) {
        // Segmentation offload: the length on the wire is all there is to go by.
        0 => span,
        total if total < header_len => return Err(Unread::Malformed),
        total => span.claim(total as u32),
    };
    let payload = span.skip(header_len)?;
    if !header.is_fragmenting_payload() {
        return Ok(Step::Payload(ip, protocol, payload));
    }
    let key = Key { src: ip.src, dst: ip.dst, id: u32::from(ip.id), protocol: Some(protocol) };
    let offset = u32::from(header.fragments_offset().value()) * 8;
    Ok(Step::Fragment(ip, Piece { key, protocol, offset, more: header.more_fragments(), payload }))
}

/// An IPv6 packet.
#[inline]
pub(super) fn v6(span: Span<'_>) -> Result<Step<'_>, Unread> {
    let header = Ipv6HeaderSlice::from_slice(span.bytes()).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => Unread::Truncated,
        etherparse::err::ipv6::HeaderSliceError::Content(_) => Unread::Malformed,
    })?;
    let ip = IpHeader {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        ttl: header.hop_limit(),
        id: 0,
        dont_fragment: false,
        largest_fragment: 0,
        len: 40,
    };
    let protocol = header.next_header().0;
    let payload = span.skip(40)?;
    let payload = match (header.payload_length(), protocol) {
        // A jumbogram or segmentation offload, but for a packet that says that it carries nothing.
        (0, NO_NEXT_HEADER) => payload.limit(0),
        (0, _) => payload,
        (len, _) => payload.claim(u32::from(len)),
    };
    Ok(Step::Payload(ip, protocol, payload))
}

/// Whether `protocol` is an extension header that [`extension`] reads.
#[inline]
pub(super) const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// One extension header of IPv6.
pub(super) fn extension(mut ip: IpHeader, protocol: u8, span: Span<'_>) -> Result<Step<'_>, Unread> {
    if protocol == FRAGMENT {
        return fragment(ip, span);
    }
    let header = Ipv6RawExtHeaderSlice::from_slice(span.bytes()).map_err(|_| Unread::Truncated)?;
    let len = header.slice().len();
    ip.len += len as u32;
    Ok(Step::Payload(ip, header.next_header().0, span.skip(len)?))
}

fn fragment(ip: IpHeader, span: Span<'_>) -> Result<Step<'_>, Unread> {
    let header = Ipv6FragmentHeaderSlice::from_slice(span.bytes()).map_err(|_| Unread::Truncated)?;
    let payload = span.skip(8)?;
    let protocol = header.next_header().0;
    if !header.is_fragmenting_payload() {
        // An atomic fragment (RFC 6946) stands for itself.
        return Ok(Step::Payload(IpHeader { len: ip.len + 8, ..ip }, protocol, payload));
    }
    let key = Key { src: ip.src, dst: ip.dst, id: header.identification(), protocol: None };
    let offset = u32::from(header.fragment_offset().value()) * 8;
    Ok(Step::Fragment(ip, Piece { key, protocol, offset, more: header.more_fragments(), payload }))
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Frame, LinkType};
    use crate::wire::Transport;
    use crate::wire::testkit::{ethernet, frame, ip4, ip6, packet, packet_of, tcp4, udp4, udp6, unread};

    #[test]
    fn padding_is_no_payload() {
        let mut bytes = ethernet(0x0800, &tcp4(b"ab"));
        bytes.extend_from_slice(&[0xee; 40]);
        packet(LinkType::ETHERNET, &bytes, |p| {
            assert_eq!((p.payload, p.payload_len, p.ip_len), (&b"ab"[..], 2, 54));
            assert_eq!(
                (p.ttl, p.src.to_string().as_str(), p.dst.to_string().as_str()),
                (57, "192.0.2.1", "198.51.100.7")
            );
        });
    }

    #[test]
    fn a_total_length_of_zero_means_the_length_of_the_frame() {
        let mut bytes = ethernet(0x0800, &tcp4(&[7; 300]));
        bytes[16..18].copy_from_slice(&[0, 0]);
        let offloaded = Frame { orig_len: 70_000, ..frame(LinkType::ETHERNET, &bytes) };
        packet_of(&offloaded, |p| {
            assert_eq!((p.ip_len, p.payload_len, p.payload.len()), (69_986, 69_934, 300));
        });
    }

    #[test]
    fn a_total_length_beyond_the_frame_counts_only_if_the_frame_was_cut() {
        let mut bytes = tcp4(&[7; 10]);
        bytes[2..4].copy_from_slice(&1500u16.to_be_bytes());
        packet(LinkType::RAW, &bytes, |p| assert_eq!((p.ip_len, p.payload_len), (62, 10)));
        let cut = Frame { orig_len: 100, ..frame(LinkType::RAW, &bytes) };
        packet_of(&cut, |p| assert_eq!((p.ip_len, p.payload_len, p.payload.len()), (1500, 1448, 10)));
    }

    #[test]
    fn headers_that_contradict_themselves() {
        let with = |at: usize, byte: u8| {
            let mut bytes = tcp4(&[]);
            bytes[at] = byte;
            unread(LinkType::IPV4, &bytes)
        };
        assert_eq!(with(0, 0x44), Unread::Malformed);
        assert_eq!(with(0, 0x65), Unread::Malformed);
        assert_eq!(with(3, 19), Unread::Malformed);
        assert_eq!(unread(LinkType::IPV4, &tcp4(&[])[..19]), Unread::Truncated);
        assert_eq!(unread(LinkType::IPV6, &udp6(1, &[])[..39]), Unread::Truncated);
        assert_eq!(unread(LinkType::RAW, &[0x50; 40]), Unread::NotIp);
        assert_eq!(unread(LinkType::RAW, &[]), Unread::Truncated);
    }

    #[test]
    fn extension_headers_belong_to_the_ip_length_and_not_to_the_payload() {
        let udp = &udp6(53, b"query")[40..];
        let pad = [1, 4, 0, 0, 0, 0];
        let chain = [&[60][..], &[0], &pad, &[43, 0], &pad, &[17, 0, 0, 0, 0, 0, 0, 0], udp].concat();
        packet(LinkType::IPV6, &ip6(0, &chain), |p| {
            assert_eq!(p.transport, Transport::Udp { src_port: 1000, dst_port: 53 });
            assert_eq!((p.ip_len, p.payload), (40 + 24 + 13, &b"query"[..]));
        });
        let endless = [[60, 0, 1, 4, 0, 0, 0, 0]; 40].concat();
        assert_eq!(unread(LinkType::IPV6, &ip6(60, &endless)), Unread::TooDeep);
    }

    #[test]
    fn an_atomic_fragment_stands_for_itself() {
        let chain = [&[17, 0, 0, 0, 0, 0, 0, 9][..], &udp6(53, b"query")[40..]].concat();
        packet(LinkType::IPV6, &ip6(44, &chain), |p| assert_eq!((p.ip_len, p.payload), (61, &b"query"[..])));
    }

    #[test]
    fn a_jumbogram_takes_its_length_from_the_frame() {
        let hop_by_hop = [17, 0, 0xc2, 4, 0, 1, 0x86, 0xa0];
        let mut bytes = ip6(0, &[&hop_by_hop[..], &udp6(9, &[1; 50])[40..]].concat());
        bytes[4..6].copy_from_slice(&[0, 0]);
        bytes[52..54].copy_from_slice(&[0, 0]);
        let jumbo = Frame { orig_len: 100_040, ..frame(LinkType::IPV6, &bytes) };
        packet_of(&jumbo, |p| assert_eq!((p.ip_len, p.payload_len, p.payload.len()), (100_040, 99_984, 50)));
        packet(LinkType::IPV6, &[&ip6(59, &[])[..], &[0; 6]].concat(), |p| {
            assert_eq!((p.transport, p.ip_len, p.payload_len), (Transport::Other(59), 40, 0));
        });
    }

    #[test]
    fn other_protocols_are_given_by_number() {
        for protocol in [50, 51, 89, 2] {
            packet(LinkType::IPV4, &ip4(protocol, 3, 0, b"body"), |p| {
                assert_eq!((p.transport, p.payload, p.ip_id), (Transport::Other(protocol), &b"body"[..], 3));
            });
        }
    }

    #[test]
    fn options_of_ipv4_are_stepped_over() {
        let mut bytes = udp4(53, b"q");
        bytes.splice(20..20, [7, 4, 4, 0]);
        bytes[0] = 0x46;
        bytes[3] += 4;
        packet(LinkType::IPV4, &bytes, |p| assert_eq!((p.payload, p.ip_len), (&b"q"[..], 33)));
    }
}
