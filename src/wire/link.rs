//! Link types: from the first captured byte to what stands behind the link or capture header.
//!
//! Reads: the LINKTYPE_ values of tcpdump.org/linktypes.html that carry IP plainly, and the DLT_ values of raw IP and ATM
//! that some systems write in their place.
//! Emits: the next layer. Does not: read 802.11, USB, ATM cells, or vendors' switch headers (`UnknownLinkType`).

use super::Unread;
use super::decoder::{Nesting, Step};
use super::span::Span;
use super::tag;
use crate::base::LinkType;

/// What a frame of this link type holds.
pub(super) fn open<'a>(link: LinkType, span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    match link {
        LinkType::ETHERNET => tag::ethernet(span),
        LinkType::NULL | LinkType::LOOP => loopback(span),
        LinkType::RAW | LinkType(12 | 14) => Ok(Step::Ip(span)),
        LinkType::IPV4 => Ok(Step::Ipv4(span)),
        LinkType::IPV6 => Ok(Step::Ipv6(span)),
        LinkType::LINUX_SLL => linux_sll(span),
        LinkType::LINUX_SLL2 => linux_sll2(span),
        LinkType::PPP | LinkType::PPP_HDLC => ppp_or_cisco_hdlc(span, nesting),
        LinkType::PPP_ETHER => tag::pppoe(span, nesting),
        LinkType(104) => tag::cisco_hdlc(span),
        // PPP_WITH_DIR: a byte for the direction, then PPP.
        LinkType(204) => ppp_or_cisco_hdlc(span.skip(1)?, nesting),
        LinkType(107) => frame_relay(span),
        // SLIP: 16 bytes of direction and compressed header; compressed TCP has no IP version behind them.
        LinkType(8) => Ok(Step::Ip(span.skip(16)?)),
        // ATM with LLC (RFC 2684).
        LinkType(11 | 100) => tag::llc(span),
        // OpenBSD's IPsec interface: address family, SPI, flags.
        LinkType(109) => Ok(Step::Ip(span.skip(12)?)),
        LinkType(117) => pflog(span),
        LinkType(192) => per_packet(span, nesting),
        LinkType(239) => nflog(span),
        LinkType(258) => pktap(span, nesting),
        _ => Err(Unread::UnknownLinkType),
    }
}

/// BSD loopback: the address family in either byte order. Each BSD has its own number for IPv6.
fn loopback(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    let family: [u8; 4] = span.read()?;
    let family = match family {
        [0, 0, hi, lo] => u16::from_be_bytes([hi, lo]),
        [lo, hi, 0, 0] => u16::from_be_bytes([hi, lo]),
        _ => return Err(Unread::NotIp),
    };
    match family {
        2 => Ok(Step::Ipv4(span)),
        // Linux 10, Windows 23, NetBSD and OpenBSD 24, FreeBSD 28, Darwin 30.
        10 | 23 | 24 | 28 | 30 => Ok(Step::Ipv6(span)),
        _ => Err(Unread::NotIp),
    }
}

/// Linux cooked capture, version 1: packet type, ARPHRD, address, protocol.
fn linux_sll(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    let [_, _, a0, a1, ..] = span.read::<14>()?;
    let protocol = span.u16()?;
    cooked(u16::from_be_bytes([a0, a1]), protocol, span)
}

/// Linux cooked capture, version 2: protocol first, interface index added.
fn linux_sll2(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    let [p0, p1, _, _, _, _, _, _, a0, a1, ..] = span.read::<20>()?;
    cooked(u16::from_be_bytes([a0, a1]), u16::from_be_bytes([p0, p1]), span)
}

fn cooked(hardware: u16, protocol: u16, span: Span<'_>) -> Result<Step<'_>, Unread> {
    match (hardware, protocol) {
        // Netlink has its family in the place of the protocol; 802.11 has a radio header behind it.
        (824 | 801..=803, _) => Err(Unread::NotIp),
        (_, 4) => tag::llc(span),
        (_, 0x0600..) => Ok(Step::EtherType(protocol, span)),
        _ => Err(Unread::NotIp),
    }
}

/// Serial lines: Cisco's framing is told from PPP by its address byte (unicast or broadcast) and zero control byte.
fn ppp_or_cisco_hdlc<'a>(span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    match span.bytes() {
        [0x0f | 0x8f, 0x00, ..] => tag::cisco_hdlc(span),
        _ => tag::ppp(span, nesting),
    }
}

/// Frame Relay: a Q.922 address of two to four bytes, then RFC 2427's NLPID, or an EtherType in Cisco's way.
fn frame_relay(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    let mut address_len = 1;
    while span.read::<1>()?[0] & 1 == 0 {
        address_len += 1;
        if address_len > 4 {
            return Err(Unread::Malformed);
        }
    }
    let [control] = span.read()?;
    if control != 0x03 {
        return Ok(Step::EtherType(u16::from_be_bytes([control, span.read::<1>()?[0]]), span));
    }
    let mut nlpid: [u8; 1] = span.read()?;
    if nlpid == [0] {
        nlpid = span.read()?;
    }
    match nlpid {
        [0xcc] => Ok(Step::Ipv4(span)),
        [0x8e] => Ok(Step::Ipv6(span)),
        [0x80] => match span.read()? {
            [0, 0, 0, hi, lo] => Ok(Step::EtherType(u16::from_be_bytes([hi, lo]), span)),
            _ => Err(Unread::NotIp),
        },
        _ => Err(Unread::NotIp),
    }
}

/// OpenBSD's packet filter log: its length in the first byte, padded to four.
fn pflog(span: Span<'_>) -> Result<Step<'_>, Unread> {
    let len = usize::from(*span.bytes().first().ok_or(Unread::Truncated)?);
    Ok(Step::Ip(span.skip(len.next_multiple_of(4))?))
}

/// Per-Packet Information: its length and the link type of what follows, little-endian.
fn per_packet<'a>(span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let mut header = span;
    let [_, _, l0, l1, d0, d1, d2, d3] = header.read()?;
    let link = u16::try_from(u32::from_le_bytes([d0, d1, d2, d3])).map_err(|_| Unread::UnknownLinkType)?;
    let len = usize::from(u16::from_le_bytes([l0, l1]));
    if len < 8 {
        return Err(Unread::Malformed);
    }
    nesting.unnamed()?;
    open(LinkType(link), span.skip(len)?, nesting)
}

/// Darwin's capture header: its length, the kind of record and the link type of what follows, little-endian.
fn pktap<'a>(span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let mut header = span;
    let (len, _kind) = (u32::from_le_bytes(header.read()?), header.read::<4>()?);
    let link = u16::try_from(u32::from_le_bytes(header.read()?)).map_err(|_| Unread::UnknownLinkType)?;
    let len = usize::try_from(len).ok().filter(|len| *len >= 12).ok_or(Unread::Malformed)?;
    nesting.unnamed()?;
    open(LinkType(link), span.skip(len)?, nesting)
}

/// Linux netfilter log: type-length-value fields in the byte order of the host; one of them is the packet.
fn nflog(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    const PAYLOAD: [u8; 2] = [0, 9];
    let [family, _version, _, _] = span.read()?;
    if !matches!(family, 2 | 10) {
        return Err(Unread::NotIp);
    }
    loop {
        let mut field = span;
        let [l0, l1, t0, t1] = field.read()?;
        // Type 9 has a zero byte, and that tells the byte order; no other field is looked into.
        let big_endian = t0 == 0;
        let len = if big_endian { u16::from_be_bytes([l0, l1]) } else { u16::from_le_bytes([l0, l1]) };
        if len < 4 {
            return Err(Unread::Malformed);
        }
        if [t0, t1] == PAYLOAD || [t1, t0] == PAYLOAD {
            return Ok(Step::Ip(field.limit(u32::from(len) - 4)));
        }
        span = span.skip(usize::from(len).next_multiple_of(4))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::{ethernet, packet, tcp4, udp6, unread};

    /// The frame `head` + packet gives the packet.
    fn carries(link: u16, head: &[u8], ip: &[u8]) {
        packet(LinkType(link), &[head, ip].concat(), |p| assert_eq!(p.payload, b"x", "link type {link} {head:x?}"));
    }

    #[test]
    fn every_link_type_that_carries_ip_is_opened() {
        let (v4, v6) = (tcp4(b"x"), udp6(53, b"x"));
        for raw in [12, 14, 101] {
            carries(raw, &[], &v4);
            carries(raw, &[], &v6);
        }
        carries(228, &[], &v4);
        carries(229, &[], &v6);
        for loopback in [0, 108] {
            carries(loopback, &[2, 0, 0, 0], &v4);
            carries(loopback, &[0, 0, 0, 2], &v4);
            for family in [24, 28, 30] {
                carries(loopback, &[family, 0, 0, 0], &v6);
                carries(loopback, &[0, 0, 0, family], &v6);
            }
        }
        carries(113, &[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0], &v4);
        carries(276, &[0x86, 0xdd, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0], &v6);
        carries(113, &[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x81, 0, 0, 12, 8, 0], &v4);
        carries(104, &[0x0f, 0, 8, 0], &v4);
        carries(50, &[0x8f, 0, 0x86, 0xdd], &v6);
        carries(204, &[1, 0xff, 3, 0, 0x21], &v4);
        carries(107, &[0x18, 0x41, 3, 0xcc], &v4);
        carries(107, &[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 0x86, 0xdd], &v6);
        carries(107, &[0x18, 0x41, 8, 0], &v4);
        carries(8, &[0; 16], &v4);
        carries(100, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4);
        carries(109, &[0; 12], &v6);
        carries(117, &[61; 64], &v4);
        carries(192, &[0, 0, 8, 0, 101, 0, 0, 0], &v4);
        carries(239, &[2, 0, 0, 0, 6, 0, 10, 0, b'i', 0, 0, 0, 57, 0, 9, 0], &v4);
        carries(239, &[2, 0, 0, 0, 0, 57, 0, 9], &v4);
        let pktap = [&[20, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0][..], &[0; 8], &ethernet(0x0800, &[])].concat();
        carries(258, &pktap, &v4);
    }

    #[test]
    fn what_is_not_ip_is_told() {
        assert_eq!(unread(LinkType(105), &[0; 64]), Unread::UnknownLinkType);
        assert_eq!(unread(LinkType(9999), &[]), Unread::UnknownLinkType);
        assert_eq!(unread(LinkType::NULL, &[7, 0, 0, 0, 0x45, 0]), Unread::NotIp);
        assert_eq!(unread(LinkType(104), &[0x8f, 0, 0x80, 0x35, 0, 0, 0, 2]), Unread::NotIp);
        assert_eq!(unread(LinkType::LINUX_SLL, &[0, 4, 3, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1]), Unread::NotIp);
        assert_eq!(unread(LinkType::ETHERNET, &ethernet(0x0806, &[0; 28])), Unread::Arp);
        assert_eq!(unread(LinkType::ETHERNET, &[1; 13]), Unread::Truncated);
    }

    #[test]
    fn link_types_within_link_types_end() {
        let ppi = [0, 0, 8, 0, 192, 0, 0, 0].repeat(200);
        assert_eq!(unread(LinkType(192), &ppi), Unread::TooDeep);
        assert_eq!(unread(LinkType(192), &[0, 0, 0, 0, 192, 0, 0, 0]), Unread::Malformed);
    }
}
