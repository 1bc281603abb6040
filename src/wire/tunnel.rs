//! Tunnels: GRE with what it carries, ERSPAN, VXLAN, GENEVE.
//!
//! Reads: GTP-U (3GPP TS 29.281), GRE (RFC 2784, RFC 2890), PPTP's GRE (RFC 2637), NVGRE (RFC 7637), ERSPAN I, II and III (draft-foschiano-erspan-03),
//! WCCP redirection (draft-wilson-wrec-wccp-v2-01), VXLAN (RFC 7348), GENEVE (RFC 8926).
//! Emits: the inner frame or packet. Does not: read GRE with source routing (RFC 1701) or keep-alives; the caller gives the
//! outer packet wherever this room says `Err`.

use super::decoder::{Nesting, Step};
use super::span::Span;
use super::tag::{self, BRIDGED_ETHERNET};
use super::{Unread, Wrapper};

/// The UDP port of VXLAN (RFC 7348, section 5), of Linux before it, and of GENEVE (RFC 8926, section 3.3).
const VXLAN: u16 = 4789;
const VXLAN_OF_LINUX: u16 = 8472;
const GENEVE: u16 = 6081;
/// GTP-U (3GPP TS 29.281, section 4.4.2).
const GTP_U: u16 = 2152;

/// Whether datagrams to this port may be a tunnel's. Only the destination tells: the source port is for load balancing.
#[inline]
pub(super) const fn is_udp_tunnel(dst_port: u16) -> bool {
    matches!(dst_port, VXLAN | VXLAN_OF_LINUX | GENEVE | GTP_U)
}

/// The payload of a datagram to a tunnel's port.
pub(super) fn udp<'a>(dst_port: u16, span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    match dst_port {
        VXLAN => vxlan(span, nesting),
        // This port has other users (Cisco's OTV, Flannel): every reserved bit must be zero.
        VXLAN_OF_LINUX if !matches!(span.bytes(), [0x08, 0, 0, 0, _, _, _, 0, ..]) => Err(Unread::Malformed),
        VXLAN_OF_LINUX => vxlan(span, nesting),
        GTP_U => gtp_u(span, nesting),
        _ => geneve(span, nesting),
    }
}

fn vxlan<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let [flags, _, _, _, v0, v1, v2, _] = span.read()?;
    if flags & 0x08 == 0 {
        return Err(Unread::Malformed);
    }
    nesting.push(Wrapper::Vxlan(u32::from_be_bytes([0, v0, v1, v2])))?;
    Ok(Step::Ethernet(span))
}

fn geneve<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let [version_len, _, p0, p1, v0, v1, v2, _] = span.read()?;
    if version_len >> 6 != 0 {
        return Err(Unread::Malformed);
    }
    nesting.push(Wrapper::Geneve(u32::from_be_bytes([0, v0, v1, v2])))?;
    carried(u16::from_be_bytes([p0, p1]), span.skip(usize::from(version_len & 0x3f) * 4)?)
}

/// A user packet of a mobile network, version 1 (3GPP TS 29.281, section 5); its control messages are no packets.
fn gtp_u<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    const G_PDU: u8 = 0xff;
    let [flags, G_PDU, l0, l1, t0, t1, t2, t3] = span.read()? else { return Err(Unread::NotIp) };
    if flags >> 4 != 0b0011 {
        return Err(Unread::Malformed);
    }
    let mut span = span.limit(u32::from(u16::from_be_bytes([l0, l1])));
    if flags & 0x07 != 0 {
        let [_, _, _, mut next] = span.read()?;
        // Extension headers: length in units of 4 bytes first, the next one's type last.
        while next != 0 && flags & 0x04 != 0 {
            let units = usize::from(span.bytes().first().copied().ok_or(Unread::Truncated)?);
            let last = (units * 4).checked_sub(1).ok_or(Unread::Malformed)?;
            next = span.bytes().get(last).copied().ok_or(Unread::Truncated)?;
            span = span.skip(units * 4)?;
        }
    }
    nesting.push(Wrapper::Gtp(u32::from_be_bytes([t0, t1, t2, t3])))?;
    Ok(Step::Ip(span))
}

/// A protocol type of GRE or GENEVE: an EtherType, but never an 802.3 length.
fn carried(kind: u16, span: Span<'_>) -> Result<Step<'_>, Unread> {
    match kind {
        0..0x0600 => Err(Unread::NotIp),
        BRIDGED_ETHERNET => Ok(Step::Ethernet(span)),
        _ => Ok(Step::EtherType(kind, span)),
    }
}

/// A GRE packet, from its flags.
pub(super) fn gre<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let flags = span.u16()?;
    let kind = span.u16()?;
    match flags & VERSION {
        0 => {}
        1 => return pptp(flags, kind, span, nesting),
        _ => return Err(Unread::Malformed),
    }
    if flags & ROUTING != 0 {
        return Err(Unread::NotIp);
    }
    let options = [CHECKSUM, KEY, SEQUENCE].into_iter().filter(|bit| flags & bit != 0).count();
    let span = span.skip(options * 4)?;
    match kind {
        0x88be if flags & SEQUENCE == 0 => {
            nesting.push(Wrapper::Erspan1)?;
            Ok(Step::Ethernet(span))
        }
        0x88be => erspan2(span, nesting),
        0x22eb => erspan3(span, nesting),
        _ => {
            nesting.push(Wrapper::Gre)?;
            match kind {
                0x880b => tag::ppp(span, nesting),
                0x883e => wccp(span),
                CISCO_META_DATA => meta_data(span),
                _ => carried(kind, span),
            }
        }
    }
}

/// PPTP's GRE: the key is payload length and call; without a sequence number it is a bare acknowledgment.
fn pptp<'a>(flags: u16, kind: u16, mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    const ACKNOWLEDGMENT: u16 = 0x0080;
    if kind != 0x880b || flags & KEY == 0 {
        return Err(Unread::Malformed);
    }
    if flags & SEQUENCE == 0 {
        return Err(Unread::NotIp);
    }
    let len = span.u16()?;
    let _call = span.u16()?;
    let numbers = if flags & ACKNOWLEDGMENT == 0 { 4 } else { 8 };
    let span = span.skip(numbers)?.limit(u32::from(len));
    nesting.push(Wrapper::Gre)?;
    tag::ppp(span, nesting)
}

/// WCCP puts four bytes before the redirected packet since its version 2, where they are not both version and header length.
fn wccp(span: Span<'_>) -> Result<Step<'_>, Unread> {
    match span.bytes().first() {
        Some(0x45..=0x4f) => Ok(Step::Ipv4(span)),
        _ => Ok(Step::Ipv4(span.skip(4)?)),
    }
}

/// Cisco MetaData in GRE: the protocol type comes first, then one option, the security group tag.
fn meta_data(mut span: Span<'_>) -> Result<Step<'_>, Unread> {
    let [hi, lo, 1, 1, _, _, _, _] = span.read()? else { return Err(Unread::NotIp) };
    carried(u16::from_be_bytes([hi, lo]), span)
}

fn erspan2<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let [version, _, s0, s1, _, _, _, _] = span.read()?;
    if version >> 4 != 1 {
        return Err(Unread::Malformed);
    }
    let session = u16::from_be_bytes([s0, s1]);
    nesting.push(Wrapper::Erspan2(session & SESSION))?;
    Ok(Step::Ethernet(mirrored(session, span)))
}

fn erspan3<'a>(mut span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    let [version, _, s0, s1, _, _, _, _, _, _, f0, f1] = span.read()?;
    if version >> 4 != 2 {
        return Err(Unread::Malformed);
    }
    let session = u16::from_be_bytes([s0, s1]);
    let has_subheader = f1 & 1 != 0;
    let span = mirrored(session, span.skip(if has_subheader { 8 } else { 0 })?);
    nesting.push(Wrapper::Erspan3(session & SESSION))?;
    // Frame type: 0 is Ethernet, 2 is IP.
    match f0 >> 2 & 0x1f {
        0 => Ok(Step::Ethernet(span)),
        2 => Ok(Step::Ip(span)),
        _ => Err(Unread::NotIp),
    }
}

/// The mirrored frame; the T bit says that the switch cut it.
fn mirrored(session: u16, span: Span<'_>) -> Span<'_> {
    if session & 0x0400 == 0 { span } else { span.cut_by_sender() }
}

const CISCO_META_DATA: u16 = 0x8909;
const SESSION: u16 = 0x03ff;
const VERSION: u16 = 0x0007;
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LinkType;
    use crate::wire::Transport;
    use crate::wire::testkit::{ethernet, ip4, ip6, packet, tcp4, udp4, udp6, wrappers};

    /// The wrappers of GRE with this header around `inner`, whose payload must be `x`.
    fn gre(head: &[u8], inner: &[u8]) -> Vec<Wrapper> {
        let bytes = ip4(47, 1, 0, &[head, inner].concat());
        packet(LinkType::IPV4, &bytes, |p| assert_eq!(p.payload, b"x", "{head:x?}"));
        wrappers(LinkType::IPV4, &bytes)
    }

    /// The packet that carries the tunnel must be given, with the tunnel as its payload.
    fn left_alone(protocol: u8, tunnel: &[u8]) {
        packet(LinkType::IPV4, &ip4(protocol, 1, 0, tunnel), |p| {
            assert_eq!(
                (p.transport, p.payload, p.encapsulation.is_empty()),
                (Transport::Other(protocol), tunnel, true)
            );
        });
    }

    #[test]
    fn gre_with_any_of_its_fields() {
        let v4 = tcp4(b"x");
        assert_eq!(gre(&[0, 0, 8, 0], &v4), [Wrapper::Gre]);
        assert_eq!(gre(&[0, 0, 0x86, 0xdd], &udp6(53, b"x")), [Wrapper::Gre]);
        assert_eq!(gre(&[0x80, 0, 8, 0, 1, 2, 0, 0], &v4), [Wrapper::Gre]);
        assert_eq!(gre(&[0xb0, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1], &v4), [Wrapper::Gre]);
        let nvgre = [0x20, 0, 0x65, 0x58, 0, 0x10, 1, 5];
        assert_eq!(gre(&nvgre, &ethernet(0x0800, &v4)), [Wrapper::Gre]);
        assert_eq!(gre(&[0, 0, 0x88, 0x47, 0, 1, 1, 64], &v4), [Wrapper::Gre, Wrapper::Mpls(16)]);
        assert_eq!(gre(&[0, 0, 0x89, 0x09, 8, 0, 1, 1, 0, 1, 0, 0], &v4), [Wrapper::Gre]);
        assert_eq!(gre(&[0, 0, 0x88, 0x3e], &v4), [Wrapper::Gre]);
        assert_eq!(gre(&[0, 0, 0x88, 0x3e, 0, 0, 1, 0], &v4), [Wrapper::Gre]);
    }

    #[test]
    fn gre_of_pptp_carries_ppp() {
        let ppp = [&[0xff, 3, 0, 0x21][..], &tcp4(b"x")].concat();
        let len = u8::try_from(ppp.len()).unwrap();
        assert_eq!(gre(&[0x30, 0x01, 0x88, 0x0b, 0, len, 0, 9, 0, 0, 0, 1], &ppp), [Wrapper::Gre]);
        assert_eq!(gre(&[0x30, 0x81, 0x88, 0x0b, 0, len, 0, 9, 0, 0, 0, 1, 0, 0, 0, 4], &ppp), [Wrapper::Gre]);
        left_alone(47, &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 9, 0, 0, 0, 4]);
    }

    #[test]
    fn erspan_of_every_type() {
        let mirrored = ethernet(0x0800, &tcp4(b"x"));
        assert_eq!(gre(&[0, 0, 0x88, 0xbe], &mirrored), [Wrapper::Erspan1]);
        let two = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 12, 0x08, 101, 0, 0, 0, 3];
        assert_eq!(gre(&two, &mirrored), [Wrapper::Erspan2(101)]);
        let three = |last: u8| [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 12, 0x01, 1, 0, 0, 0, 3, 0, 0, 0, last];
        assert_eq!(gre(&three(0), &mirrored), [Wrapper::Erspan3(257)]);
        assert_eq!(gre(&three(1), &[&[0x18; 8][..], &mirrored].concat()), [Wrapper::Erspan3(257)]);
        let mut of_ip = three(0);
        of_ip[18] = 2 << 2;
        assert_eq!(gre(&of_ip, &tcp4(b"x")), [Wrapper::Erspan3(257)]);
    }

    #[test]
    fn a_frame_cut_by_the_mirror_keeps_its_true_length() {
        let mirrored = ethernet(0x0800, &tcp4(&[7; 1000]));
        let head = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 12, 0x0c, 101, 0, 0, 0, 3];
        let bytes = ip4(47, 1, 0, &[&head[..], &mirrored[..100]].concat());
        packet(LinkType::IPV4, &bytes, |p| {
            assert_eq!((p.ip_len, p.payload_len, p.payload.len()), (1052, 1000, 34));
        });
    }

    #[test]
    fn vxlan_and_geneve_are_undone_at_their_ports() {
        let inner = ethernet(0x0800, &tcp4(b"x"));
        let vxlan = [&[8, 0, 0, 0, 0, 1, 0, 0][..], &inner].concat();
        for port in [4789, 8472] {
            assert_eq!(wrappers(LinkType::IPV4, &udp4(port, &vxlan)), [Wrapper::Vxlan(256)]);
            assert_eq!(wrappers(LinkType::IPV6, &udp6(port, &vxlan)), [Wrapper::Vxlan(256)]);
        }
        assert_eq!(wrappers(LinkType::IPV4, &udp4(4790, &vxlan)), []);
        let geneve = [&[1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 0][..], &inner].concat();
        assert_eq!(wrappers(LinkType::IPV4, &udp4(6081, &geneve)), [Wrapper::Geneve(5)]);
        let geneve_ip = [&[0, 0, 0x86, 0xdd, 0, 0, 5, 0][..], &udp6(53, b"x")].concat();
        assert_eq!(wrappers(LinkType::IPV4, &udp4(6081, &geneve_ip)), [Wrapper::Geneve(5)]);
    }

    #[test]
    fn datagrams_at_a_tunnels_port_that_are_no_tunnel_stay_datagrams() {
        let inner = ethernet(0x0800, &tcp4(b"x"));
        let mut reserved = [&[8, 0, 0, 1, 0, 1, 0, 0][..], &inner].concat();
        let payloads: [(u16, &[u8]); 6] = [
            (4789, b"no"),
            (4789, &[0; 64]),
            (4789, &[8; 64]),
            (8472, &reserved.clone()),
            (6081, &[0xc0; 64]),
            (6081, &[0; 64]),
        ];
        for (port, payload) in payloads {
            packet(LinkType::IPV4, &udp4(port, payload), |p| {
                assert_eq!(p.transport, Transport::Udp { src_port: 1000, dst_port: port });
                assert_eq!((p.payload, p.encapsulation.is_empty()), (payload, true));
            });
        }
        reserved[3] = 0;
        reserved[20] = 8;
        reserved[21] = 6;
        packet(LinkType::IPV4, &udp4(4789, &reserved), |p| assert_eq!(p.payload, reserved));
    }

    #[test]
    fn ip_in_ip_of_all_four_kinds() {
        let (v4, v6) = (tcp4(b"x"), udp6(53, b"x"));
        assert_eq!(wrappers(LinkType::RAW, &ip4(4, 1, 0, &v4)), [Wrapper::Ipv4InIp]);
        assert_eq!(wrappers(LinkType::RAW, &ip4(41, 1, 0, &v6)), [Wrapper::Ipv6InIp]);
        assert_eq!(wrappers(LinkType::RAW, &ip6(4, &v4)), [Wrapper::Ipv4InIp]);
        assert_eq!(wrappers(LinkType::RAW, &ip6(41, &v6)), [Wrapper::Ipv6InIp]);
    }

    #[test]
    fn a_tunnel_with_nothing_readable_in_it_is_given_itself() {
        left_alone(4, &[0x60; 60]);
        left_alone(41, b"short");
        left_alone(47, &[0, 0, 0, 0]);
        left_alone(47, &[0, 0, 0x20, 1, 1, 2, 3]);
        left_alone(47, &[0x40, 0, 8, 0, 0, 0, 0, 0]);
        left_alone(47, &[0, 2, 8, 0, 0x45]);
        left_alone(47, &[0x10]);
        left_alone(47, &[&[0, 0, 0x65, 0x58][..], &ethernet(0x0806, &[0; 28])].concat());
    }
}
