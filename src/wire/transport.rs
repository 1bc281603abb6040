//! Transport headers: TCP, UDP, ICMP.
//!
//! Reads: TCP (RFC 9293) with the options of RFC 7323 and RFC 2018 that flow tracking needs, UDP (RFC 768), ICMP (RFC 792, RFC 4443).
//! Emits: the header and the payload behind it. Does not: verify checksums; judge the order of segments.
//!
//! A header that the snap length cut is read as far as flags (TCP) or ports (UDP), so that the packet still counts with its length.

use super::span::Span;
use super::{TcpFlags, TcpHeader, TcpOptions, Transport, Unread};
use crate::base::Reader;
use etherparse::{TcpHeaderSlice, UdpHeaderSlice};

/// A header and the payload behind it.
pub(super) type Segment<'a> = (Transport, Span<'a>);

/// Reads a TCP segment.
#[inline]
pub(super) fn tcp(span: Span<'_>) -> Result<Segment<'_>, Unread> {
    let Ok(header) = TcpHeaderSlice::from_slice(span.bytes()) else { return tcp_cut(span) };
    let tcp = TcpHeader {
        src_port: header.source_port(),
        dst_port: header.destination_port(),
        seq: header.sequence_number(),
        ack: header.acknowledgment_number(),
        flags: TcpFlags(header.slice().get(13).copied().unwrap_or_default()),
        window: header.window_size(),
        options: tcp_options(header.options()),
    };
    Ok((Transport::Tcp(tcp), span.skip(header.slice().len())?))
}

/// A TCP header that isn't there to its end. Less than up to its flags is of no use to flow tracking.
#[cold]
fn tcp_cut(span: Span<'_>) -> Result<Segment<'_>, Unread> {
    let mut rest = span;
    let short = if span.wire() < 20 { Unread::Malformed } else { Unread::Truncated };
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags] = rest.read::<14>().map_err(|_| short)?;
    let len = u32::from(offset >> 4) * 4;
    if len < 20 || len > span.wire() {
        return Err(Unread::Malformed);
    }
    let tcp = TcpHeader {
        src_port: u16::from_be_bytes([s0, s1]),
        dst_port: u16::from_be_bytes([d0, d1]),
        seq: u32::from_be_bytes([q0, q1, q2, q3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        flags: TcpFlags(flags),
        window: rest.u16().unwrap_or_default(),
        options: tcp_options(span.bytes().get(20..).unwrap_or_default()),
    };
    Ok((Transport::Tcp(tcp), span.skip_uncaptured(len)))
}

/// Options up to the first that is cut or contradicts itself.
#[inline]
fn tcp_options(bytes: &[u8]) -> TcpOptions {
    match *bytes {
        [] => TcpOptions::default(),
        // What nearly every segment of an established connection carries: two NOPs and timestamps.
        [1, 1, 8, 10, a, b, c, d, e, f, g, h] => TcpOptions {
            timestamps: Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))),
            ..TcpOptions::default()
        },
        _ => tcp_options_in_any_order(bytes),
    }
}

fn tcp_options_in_any_order(bytes: &[u8]) -> TcpOptions {
    let mut options = TcpOptions::default();
    let mut reader = Reader::new(bytes);
    while let Some(kind) = reader.u8() {
        match kind {
            0 => break,
            1 => continue,
            _ => {}
        }
        let Some(body) = reader.u8().and_then(|len| reader.take(usize::from(len).checked_sub(2)?)) else { break };
        match (kind, body) {
            (2, &[a, b]) => options.mss = Some(u16::from_be_bytes([a, b])),
            (3, &[shift]) => options.window_scale = Some(shift),
            (4, &[]) => options.sack_permitted = true,
            (8, &[a, b, c, d, e, f, g, h]) => {
                options.timestamps = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
            }
            _ => {}
        }
    }
    options
}

/// Reads a UDP datagram. Its length field counts only where it takes something off: 0 is a jumbogram or offloaded.
#[inline]
pub(super) fn udp(span: Span<'_>) -> Result<Segment<'_>, Unread> {
    let Ok(header) = UdpHeaderSlice::from_slice(span.bytes()) else { return udp_cut(span) };
    let transport = Transport::Udp { src_port: header.source_port(), dst_port: header.destination_port() };
    let payload = span.skip(8)?;
    match header.length().checked_sub(8) {
        Some(len) => Ok((transport, payload.limit(u32::from(len)))),
        None => Ok((transport, payload)),
    }
}

#[cold]
fn udp_cut(span: Span<'_>) -> Result<Segment<'_>, Unread> {
    if span.wire() < 8 {
        return Err(Unread::Malformed);
    }
    let mut rest = span;
    let (src_port, dst_port) = (rest.u16()?, rest.u16()?);
    Ok((Transport::Udp { src_port, dst_port }, span.skip_uncaptured(8)))
}

/// Reads an ICMP or ICMPv6 message; the payload begins behind the checksum.
pub(super) fn icmp(mut span: Span<'_>) -> Result<Segment<'_>, Unread> {
    let whole = span;
    let [kind, code] = span.read()?;
    Ok((Transport::Icmp { kind, code }, whole.skip_uncaptured(4)))
}
