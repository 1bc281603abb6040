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
