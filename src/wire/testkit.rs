//! Builds frames and reads them back: for the tests of this room.

use super::{Decoded, Decoder, Packet, Unread, Wrapper};
use crate::base::{Frame, LinkType, Timestamp};
use etherparse::{PacketBuilder, TcpOptionElement};

pub(super) const A: [u8; 4] = [192, 0, 2, 1];
pub(super) const B: [u8; 4] = [198, 51, 100, 7];
pub(super) const MACS: [u8; 12] = [2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4];

/// IPv4, TCP from port 1000 to 2000, with timestamps.
pub(super) fn tcp4(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(A, B, 57)
        .tcp(1000, 2000, 7, 64_240)
        .ack(9)
        .options(&[TcpOptionElement::Noop, TcpOptionElement::Noop, TcpOptionElement::Timestamp(11, 12)])
        .unwrap()
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

/// IPv6, UDP from port 1000.
pub(super) fn udp6(dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv6([0x20; 16], [0x30; 16], 64).udp(1000, dst_port).write(&mut bytes, payload).unwrap();
    bytes
}

/// IPv4, UDP from port 1000.
pub(super) fn udp4(dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(A, B, 64).udp(1000, dst_port).write(&mut bytes, payload).unwrap();
    bytes
}

/// An IPv4 packet of this protocol with these fragment bits (flags and offset as they stand in the header).
pub(super) fn ip4(protocol: u8, id: u16, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let [i0, i1] = id.to_be_bytes();
    let [f0, f1] = fragment.to_be_bytes();
    let head = [0x45, 0, total[0], total[1], i0, i1, f0, f1, 57, protocol, 0, 0];
    [&head[..], &A, &B, payload].concat()
}

/// An IPv6 packet whose first header behind the fixed one is `next`.
pub(super) fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0, l0, l1, next, 64][..], &[0x20; 16], &[0x30; 16], payload].concat()
}

/// An Ethernet frame, not padded.
pub(super) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&MACS[..], &kind.to_be_bytes(), payload].concat()
}

/// A frame captured whole.
pub(super) fn frame(link: LinkType, bytes: &[u8]) -> Frame<'_> {
    Frame { at: Timestamp::from_parts(1, 0), link, orig_len: u32::try_from(bytes.len()).unwrap(), bytes }
}

/// What `seen` makes of the packet in a frame; panics if there is none.
pub(super) fn packet<T>(link: LinkType, bytes: &[u8], seen: impl FnOnce(&Packet<'_>) -> T) -> T {
    packet_of(&frame(link, bytes), seen)
}

/// The same, of a frame that may be cut.
pub(super) fn packet_of<T>(frame: &Frame<'_>, seen: impl FnOnce(&Packet<'_>) -> T) -> T {
    match Decoder::default().decode(frame) {
        Decoded::Packet(packet) => seen(&packet),
        other => panic!("{other:?}"),
    }
}

/// Why there is no packet in a frame; panics if there is one.
pub(super) fn unread(link: LinkType, bytes: &[u8]) -> Unread {
    match Decoder::default().decode(&frame(link, bytes)) {
        Decoded::NotUnderstood(unread) => unread,
        other => panic!("{other:?}"),
    }
}

/// The wrappers around the packet in a frame.
pub(super) fn wrappers(link: LinkType, bytes: &[u8]) -> Vec<Wrapper> {
    packet(link, bytes, |p| p.encapsulation.iter().collect())
}
