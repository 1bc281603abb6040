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
            (5, &[_, ..]) => options.sacks = true,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Frame, LinkType};
    use crate::wire::testkit::{frame, ip4, packet, packet_of, tcp4, udp4, unread};

    fn options(bytes: &[u8]) -> TcpOptions {
        tcp_options(bytes)
    }

    #[test]
    fn options_in_any_order_and_the_common_order_read_alike() {
        let fast = options(&[1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4]);
        assert_eq!(fast, options(&[8, 10, 0, 0, 1, 2, 0, 0, 3, 4, 1, 1]));
        assert_eq!(fast.timestamps, Some((0x102, 0x304)));
        let syn = options(&[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]);
        let want = TcpOptions {
            mss: Some(1460),
            window_scale: Some(7),
            timestamps: Some((1, 0)),
            sack_permitted: true,
            sacks: false,
        };
        assert!(options(&[1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 0, 12]).sacks);
        assert_eq!(syn, want);
    }

    #[test]
    fn options_end_at_the_first_that_cannot_be() {
        assert_eq!(options(&[2, 4, 5, 0xb4, 3, 0, 4, 2]), TcpOptions { mss: Some(1460), ..TcpOptions::default() });
        assert_eq!(options(&[0, 4, 2, 0]), TcpOptions::default());
        assert_eq!(options(&[2, 9, 5, 0xb4]), TcpOptions::default());
        assert_eq!(options(&[2, 3, 5, 4, 2]), TcpOptions { sack_permitted: true, ..TcpOptions::default() });
    }

    #[test]
    fn a_segment_cut_anywhere_keeps_its_true_length() {
        let bytes = tcp4(&[0x55; 100]);
        for kept in 34..bytes.len() {
            let cut = Frame { bytes: &bytes[..kept], ..frame(LinkType::RAW, &bytes) };
            packet_of(&cut, |p| {
                let Transport::Tcp(tcp) = p.transport else { panic!("{p:?}") };
                assert_eq!((tcp.src_port, tcp.seq, tcp.ack, tcp.flags), (1000, 7, 9, TcpFlags::ACK), "kept {kept}");
                assert_eq!((p.ip_len, p.payload_len), (152, 100));
                assert_eq!(p.payload.len(), kept.saturating_sub(52));
                assert_eq!(tcp.options.timestamps, (kept >= 52).then_some((11, 12)));
            });
        }
        let cut = Frame { bytes: &bytes[..33], ..frame(LinkType::RAW, &bytes) };
        assert!(matches!(
            crate::wire::Decoder::default().decode(&cut),
            crate::wire::Decoded::NotUnderstood(Unread::Truncated)
        ));
    }

    #[test]
    fn a_segment_that_contradicts_itself_is_malformed() {
        let mut bytes = tcp4(&[]);
        bytes[32] = 0x40;
        assert_eq!(unread(LinkType::RAW, &bytes), Unread::Malformed);
        bytes[32] = 0xf0;
        assert_eq!(unread(LinkType::RAW, &bytes), Unread::Malformed);
        assert_eq!(unread(LinkType::RAW, &ip4(6, 1, 0, &[0; 12])), Unread::Malformed);
    }

    #[test]
    fn the_udp_length_only_ever_takes_off() {
        for (claimed, want) in [(0u16, 32), (7, 32), (8, 0), (18, 10), (40, 32), (9000, 32)] {
            let mut bytes = udp4(5000, &[9; 32]);
            bytes[24..26].copy_from_slice(&claimed.to_be_bytes());
            packet(LinkType::RAW, &bytes, |p| {
                assert_eq!((p.payload_len, p.payload.len(), p.ip_len), (want, want as usize, 60), "claimed {claimed}");
                assert_eq!(p.transport, Transport::Udp { src_port: 1000, dst_port: 5000 });
            });
        }
    }

    #[test]
    fn the_ports_of_a_cut_datagram_are_enough() {
        let bytes = udp4(5000, &[9; 32]);
        let cut = Frame { bytes: &bytes[..24], ..frame(LinkType::RAW, &bytes) };
        packet_of(&cut, |p| assert_eq!((p.payload_len, p.payload.len()), (32, 0)));
    }

    #[test]
    fn the_identifier_of_an_echo_is_in_the_payload() {
        packet(LinkType::RAW, &ip4(1, 1, 0, &[8, 0, 0xff, 0xff, 0x12, 0x34, 0, 1, b'x']), |p| {
            assert_eq!(p.transport, Transport::Icmp { kind: 8, code: 0 });
            assert_eq!((p.payload_len, p.payload), (5, &[0x12, 0x34, 0, 1, b'x'][..]));
        });
    }
}
