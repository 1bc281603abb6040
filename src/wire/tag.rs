//! What stands between the link header and IP: EtherTypes, VLAN tags, MPLS labels, LLC/SNAP, PPP and PPPoE.
//!
//! Reads: Ethernet (IEEE 802.3), IEEE 802.1Q/802.1ad/802.1ah/802.1BR, VN-Tag, Cisco MetaData and FabricPath, Arista time stamps,
//! LLC/SNAP (RFC 1042), MPLS (RFC 3032, RFC 4385, RFC 4448), PPPoE sessions (RFC 2516), PPP (RFC 1661, RFC 1662), Cisco HDLC.
//! Emits: the next layer. Does not: read PPP that is compressed or in multilink pieces, PPPoE discovery, MACsec.

use super::decoder::{Nesting, Step};
use super::span::Span;
use super::{Unread, Wrapper};

/// EtherType of IPv4.
pub(super) const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub(super) const IPV6: u16 = 0x86dd;
/// EtherType of ARP.
pub(super) const ARP: u16 = 0x0806;
/// EtherType of Transparent Ethernet Bridging.
pub(super) const BRIDGED_ETHERNET: u16 = 0x6558;
const RARP: u16 = 0x8035;
const MPLS: u16 = 0x8847;
const MPLS_UPSTREAM: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;
/// IEEE 802.1ah: four bytes of I-TAG, then the customer's whole frame.
const PBB: u16 = 0x88e7;
/// Cisco FabricPath: two bytes of tag, then the host's whole frame.
const FABRIC_PATH: u16 = 0x8903;
/// The highest value of the field that is a length (IEEE 802.3).
const MAX_LENGTH: u16 = 1500;

/// An Ethernet frame, from the destination address.
pub(super) fn ethernet(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    let [_, _, _, _, _, _, _, _, _, _, _, _, hi, lo] = span.read::<14>()?;
    Ok(Step::EtherType(u16::from_be_bytes([hi, lo]), span))
}

/// What an EtherType (or 802.3 length) announces.
pub(super) fn ether_type<'a>(kind: u16, span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    match kind {
        IPV4 => Ok(Step::Ipv4(span)),
        IPV6 => Ok(Step::Ipv6(span)),
        ARP | RARP => Err(Unread::Arp),
        0x8100 | 0x88a8 | 0x9100 => vlan(span, nesting),
        MPLS | MPLS_UPSTREAM => mpls(span, nesting),
        PPPOE_SESSION => pppoe(span, nesting),
        BRIDGED_ETHERNET => Ok(Step::Ethernet(span)),
        FABRIC_PATH => nesting.unnamed().and_then(|()| ethernet(span.skip(2)?)),
        PBB => nesting.unnamed().and_then(|()| ethernet(span.skip(4)?)),
        0..=MAX_LENGTH => llc(span.limit(u32::from(kind))),
        _ => switch_tag(kind, span, nesting),
    }
}

/// Tags that switches put on mirrored frames: a number of bytes, then the EtherType of the frame.
fn switch_tag<'a>(kind: u16, span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let tag_len = match (kind, span.bytes()) {
        // VN-Tag (IEEE 802.1Qbh draft).
        (0x8926, _) => 4,
        // E-Tag (IEEE 802.1BR).
        (0x893f, _) => 6,
        // Cisco MetaData with one option, the security group tag of TrustSec.
        (0x8909, [1, 1, ..]) => 6,
        // Arista's time stamp, in 64 bits or 48.
        (0xd28b, [0, 1, 0 | 1, 0x10, ..]) => 12,
        (0xd28b, [0, 1, 0 | 1, 0x20, ..]) => 10,
        _ => return Err(Unread::NotIp),
    };
    nesting.unnamed()?;
    let mut span = span.skip(tag_len)?;
    Ok(Step::EtherType(span.u16()?, span))
}

fn vlan<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let control = span.u16()?;
    nesting.push(Wrapper::Vlan(control & 0x0fff))?;
    Ok(Step::EtherType(span.u16()?, span))
}

/// LLC, and SNAP in it. Only SNAP with an EtherType and the SAP of IP carry IP.
pub(super) fn llc(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    match span.read::<3>()? {
        [0xaa, 0xaa, 0x03] => match span.read::<5>()? {
            // The organization codes of RFC 1042 and of IEEE 802.1H.
            [0, 0, 0 | 0xf8, hi, lo] => match u16::from_be_bytes([hi, lo]) {
                0..=MAX_LENGTH => Err(Unread::NotIp),
                kind => Ok(Step::EtherType(kind, span)),
            },
            _ => Err(Unread::NotIp),
        },
        [0x06, 0x06, 0x03] => Ok(Step::Ip(span)),
        _ => Err(Unread::NotIp),
    }
}

/// A label stack. What it carries isn't told by it, so the first nibble behind it decides (RFC 4385, section 3).
pub(super) fn mpls<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    loop {
        let entry = u32::from_be_bytes(span.read()?);
        nesting.push(Wrapper::Mpls(entry >> 12))?;
        if entry & 0x100 != 0 {
            break;
        }
    }
    match span.bytes().first().map(|b| b >> 4) {
        None => Err(Unread::Truncated),
        Some(4 | 6) if !is_ethernet(&span) => Ok(Step::Ip(span)),
        // The control word of an Ethernet pseudowire, unless the frame behind it says that there is none.
        Some(0) if span.skip(4).is_ok_and(|inner| is_ethernet(&inner)) => Ok(Step::Ethernet(span.skip(4)?)),
        Some(_) if is_ethernet(&span) => Ok(Step::Ethernet(span)),
        Some(_) => Err(Unread::NotIp),
    }
}

/// Whether an Ethernet header of a frame with IP, or what leads to it, stands here: no other bytes are likely to look so.
fn is_ethernet(span: &Span<'_>) -> bool {
    let kind = span.bytes().get(12..14).map(|b| b.iter().fold(0, |kind, b| kind << 8 | u16::from(*b)));
    let nibble = span.bytes().get(14).map(|b| b >> 4);
    match (kind, nibble) {
        (Some(IPV4), Some(4)) | (Some(IPV6), Some(6)) => !is_ip(span),
        (Some(ARP), Some(0)) => !is_ip(span),
        (Some(0x8100 | 0x88a8), Some(_)) => !is_ip(span),
        _ => false,
    }
}

/// Whether an IP header stands here whose length fits: then bytes 12 and 13 belong to an address.
fn is_ip(span: &Span<'_>) -> bool {
    match *span.bytes() {
        [0x45..=0x4f, _, hi, lo, ..] => {
            let total = u32::from(u16::from_be_bytes([hi, lo]));
            total >= 20 && total <= span.wire()
        }
        [0x60..=0x6f, _, _, _, hi, lo, ..] => 40 + u32::from(u16::from_be_bytes([hi, lo])) <= span.wire(),
        _ => false,
    }
}

/// A PPPoE session packet, from its version and type.
pub(super) fn pppoe<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let [version_type, code, s0, s1, l0, l1] = span.read()?;
    if version_type != 0x11 {
        return Err(Unread::Malformed);
    }
    if code != 0 {
        return Err(Unread::NotIp);
    }
    nesting.push(Wrapper::Pppoe(u16::from_be_bytes([s0, s1])))?;
    ppp(span.limit(u32::from(u16::from_be_bytes([l0, l1]))), nesting)
}

/// A PPP packet, with or without address and control bytes, its protocol in one byte or two (RFC 1661, section 6.5).
pub(super) fn ppp<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    if let [0xff, 0x03, ..] = span.bytes() {
        span = span.skip(2)?;
    }
    let [first] = span.read()?;
    let protocol = match first & 1 {
        1 => u16::from(first),
        _ => u16::from_be_bytes([first, span.read::<1>()?[0]]),
    };
    match protocol {
        0x0021 => Ok(Step::Ipv4(span)),
        0x0057 => Ok(Step::Ipv6(span)),
        0x0281 | 0x0283 => mpls(span, nesting),
        _ => Err(Unread::NotIp),
    }
}

/// Cisco HDLC: address, control, then an EtherType.
pub(super) fn cisco_hdlc(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    let [_, _, hi, lo] = span.read()?;
    match u16::from_be_bytes([hi, lo]) {
        // Cisco's SLARP keep-alive has the number that is RARP on Ethernet.
        RARP | 0..=MAX_LENGTH => Err(Unread::NotIp),
        kind => Ok(Step::EtherType(kind, span)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LinkType;
    use crate::wire::testkit::{MACS, ethernet, packet, tcp4, udp6, unread, wrappers};

    const E: LinkType = LinkType::ETHERNET;

    #[test]
    fn tags_and_labels_are_told_outermost_first() {
        let qinq = ethernet(0x88a8, &[&[0x20, 100, 0x81, 0, 0xe0, 12, 8, 0][..], &tcp4(b"x")].concat());
        assert_eq!(wrappers(E, &qinq), [Wrapper::Vlan(100), Wrapper::Vlan(12)]);
        let labels = ethernet(0x8847, &[&[0, 1, 0x00, 64, 0, 2, 0x01, 64][..], &udp6(53, b"x")].concat());
        assert_eq!(wrappers(E, &labels), [Wrapper::Mpls(16), Wrapper::Mpls(32)]);
    }

    #[test]
    fn a_pseudowire_is_told_from_ip_with_and_without_control_word() {
        let label = [0, 1, 0x01, 64];
        let frame = ethernet(0x0800, &tcp4(b"x"));
        let with = [&label[..], &[0; 4], &frame].concat();
        assert_eq!(wrappers(E, &ethernet(0x8847, &with)), [Wrapper::Mpls(16)]);
        for first in [0x02, 0x45, 0x60, 0x90] {
            let mut frame = frame.clone();
            frame[0] = first;
            let without = ethernet(0x8847, &[&label[..], &frame].concat());
            packet(E, &without, |p| assert_eq!((p.payload, p.src.is_ipv4()), (&b"x"[..], true), "{first:x}"));
        }
        assert_eq!(unread(E, &ethernet(0x8847, &[&label[..], &[0x10; 40]].concat())), Unread::NotIp);
        assert_eq!(unread(E, &ethernet(0x8847, &[0, 1, 0, 64].repeat(30))), Unread::TooDeep);
        assert_eq!(unread(E, &ethernet(0x8847, &label)), Unread::Truncated);
    }

    #[test]
    fn pppoe_sessions_carry_ip_and_their_length_takes_padding_off() {
        let session = [&[0x11, 0, 0, 7, 0, 55, 0, 0x21][..], &tcp4(b"x"), &[0; 9]].concat();
        let frame = ethernet(0x8864, &session);
        assert_eq!(wrappers(E, &frame), [Wrapper::Pppoe(7)]);
        packet(E, &frame, |p| assert_eq!((p.payload, p.ip_len), (&b"x"[..], 53)));
        assert_eq!(wrappers(LinkType::PPP_ETHER, &session), [Wrapper::Pppoe(7)]);
        assert_eq!(unread(E, &ethernet(0x8864, &[0x11, 0, 0, 7, 0, 4, 0xc0, 0x21, 1, 1])), Unread::NotIp);
        assert_eq!(unread(E, &ethernet(0x8863, &[0x11, 9, 0, 0, 0, 0])), Unread::NotIp);
    }

    #[test]
    fn ppp_with_and_without_its_optional_bytes() {
        let heads: [&[u8]; 4] = [&[0xff, 3, 0, 0x21], &[0xff, 3, 0x21], &[0, 0x21], &[0x21]];
        for head in heads {
            packet(LinkType::PPP, &[head, &tcp4(b"x")].concat(), |p| assert_eq!(p.payload, b"x", "{head:x?}"));
        }
        packet(LinkType::PPP_HDLC, &[&[0x57][..], &udp6(53, b"x")].concat(), |p| assert_eq!(p.payload, b"x"));
        assert_eq!(unread(LinkType::PPP, &[0xff, 3, 0xc0, 0x21, 1, 1, 0, 4]), Unread::NotIp);
    }

    #[test]
    fn llc_carries_ip_in_snap_only() {
        let llc = |head: &[u8], body: &[u8]| {
            let inner = [head, body].concat();
            [&MACS[..], &u16::try_from(inner.len()).unwrap().to_be_bytes(), &inner, &[0; 5]].concat()
        };
        packet(E, &llc(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &tcp4(b"x")), |p| assert_eq!(p.payload, b"x"));
        assert_eq!(unread(E, &llc(&[0x42, 0x42, 3], &[0; 35])), Unread::NotIp);
        assert_eq!(unread(E, &llc(&[0xaa, 0xaa, 3, 0, 0, 12, 0x20, 0], &[0; 35])), Unread::NotIp);
        assert_eq!(unread(E, &llc(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 6], &[0; 28])), Unread::Arp);
    }

    #[test]
    fn tags_of_switches_are_undone_without_a_name() {
        let tags: [(u16, &[u8]); 5] = [
            (0x8926, &[0; 4]),
            (0x893f, &[0; 6]),
            (0x8909, &[1, 1, 0, 1, 0, 9]),
            (0xd28b, &[0, 1, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]),
            (0xd28b, &[0, 1, 1, 0x20, 0, 0, 0, 0, 0, 0]),
        ];
        for (kind, tag) in tags {
            let frame = ethernet(kind, &[tag, &[8, 0], &tcp4(b"x")].concat());
            packet(E, &frame, |p| assert_eq!((p.payload, p.encapsulation.is_empty()), (&b"x"[..], true), "{kind:x}"));
        }
        let pbb = ethernet(0x88e7, &[&[0, 0, 0, 5][..], &ethernet(0x0800, &tcp4(b"x"))].concat());
        packet(E, &pbb, |p| assert_eq!(p.payload, b"x"));
        let fabric = ethernet(0x8903, &[&[0, 0x60][..], &ethernet(0x0800, &tcp4(b"x"))].concat());
        packet(E, &fabric, |p| assert_eq!(p.payload, b"x"));
        assert_eq!(unread(E, &ethernet(0x88cc, &[0; 46])), Unread::NotIp);
    }
}
