//! Tunnels: GRE with what it carries, ERSPAN, VXLAN, GENEVE.
//!
//! Reads: GRE (RFC 2784, RFC 2890), PPTP's GRE (RFC 2637), NVGRE (RFC 7637), ERSPAN I, II and III (draft-foschiano-erspan-03),
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

/// Whether datagrams to this port may be a tunnel's. Only the destination tells: the source port is for load balancing.
#[inline]
pub(super) const fn is_udp_tunnel(dst_port: u16) -> bool {
    matches!(dst_port, VXLAN | VXLAN_OF_LINUX | GENEVE)
}

/// The payload of a datagram to a tunnel's port.
pub(super) fn udp<'a>(dst_port: u16, span: Span<'a>, nesting: &mut Nesting) -> Result<Step<'a>, Unread> {
    match dst_port {
        VXLAN => vxlan(span, nesting),
        // This port has other users (Cisco's OTV, Flannel): every reserved bit must be zero.
        VXLAN_OF_LINUX if !matches!(span.bytes(), [0x08, 0, 0, 0, _, _, _, 0, ..]) => Err(Unread::Malformed),
        VXLAN_OF_LINUX => vxlan(span, nesting),
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

const SESSION: u16 = 0x03ff;
const VERSION: u16 = 0x0007;
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
