//! The bytes of a segment or datagram as the tap sees it: Ethernet, IPv4 or IPv6, TCP or UDP, checksums right.
//!
//! Reads: a segment and the two ends of its connection. Emits: a frame, padded to the Ethernet minimum. Does not:
//! decide when. The headers are etherparse's; the MAC addresses are locally administered ones of the edge router and
//! the gateway, since everything outside passes the router.

use crate::base::Direction;
use crate::simulate::stack::Stack;
use crate::simulate::tcp::Segment;
use etherparse::{
    IpFragOffset, IpHeaders, Ipv4Header, Ipv6Header, PacketBuilder, PacketBuilderStep, TcpHeader, TcpOptionElement,
    err::packet::BuildVecWriteError, ip_number,
};
use std::net::IpAddr;

/// One end of a connection as its packets show it at the tap.
#[derive(Debug, Clone)]
pub(super) struct Face {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    /// Whose headers these are.
    pub(super) stack: &'static Stack,
    /// Routers between it and the tap.
    pub(super) hops: u8,
    /// Where its sequence numbers start.
    pub(super) iss: u32,
}

/// Both ends, client first.
#[derive(Debug, Clone)]
pub(super) struct Faces {
    pub(super) client: Face,
    pub(super) server: Face,
}

impl Faces {
    const fn of(&self, direction: Direction) -> (&Face, &Face) {
        match direction {
            Direction::Orig => (&self.client, &self.server),
            Direction::Resp => (&self.server, &self.client),
        }
    }

    /// A TCP segment on the wire; `None` only if its options do not fit a header.
    pub(super) fn segment(&self, direction: Direction, segment: &Segment) -> Option<Vec<u8>> {
        let (from, to) = self.of(direction);
        let mut header = TcpHeader::new(from.port, to.port, from.iss.wrapping_add(low(segment.seq)), segment.window);
        (header.syn, header.fin, header.psh) = (segment.syn.is_some(), segment.fin, segment.push);
        if let Some(ack) = segment.ack {
            header.ack = true;
            header.acknowledgment_number = to.iss.wrapping_add(low(ack));
        }
        header.set_options(&options(from.stack, to.iss, segment)).ok()?;
        let syn_ack = segment.syn.is_some() && segment.ack.is_some();
        let id = if from.stack.counts_ids && !syn_ack { segment.serial } else { 0 };
        let step = ip_step(from, to, id)?.tcp_header(header);
        written(step.size(segment.payload.len()), |buffer| step.write_to_vec(buffer, &segment.payload))
    }

    /// A UDP datagram on the wire; `None` only if it is too long for one.
    pub(super) fn datagram(&self, direction: Direction, serial: u16, payload: &[u8]) -> Option<Vec<u8>> {
        let (from, to) = self.of(direction);
        let step = ip_step(from, to, if from.stack.counts_ids { serial } else { 0 })?.udp(from.port, to.port);
        written(step.size(payload.len()), |buffer| step.write_to_vec(buffer, payload))
    }
}

fn options(stack: &Stack, peer_iss: u32, segment: &Segment) -> Vec<TcpOptionElement> {
    if let Some(offer) = segment.syn {
        return stack.syn_options(offer.mss, segment.times);
    }
    let mut options = Vec::new();
    if let Some((value, echo)) = segment.times {
        options.extend([TcpOptionElement::Noop, TcpOptionElement::Noop, TcpOptionElement::Timestamp(value, echo)]);
    }
    let on_wire = |block: &(u64, u64)| (peer_iss.wrapping_add(low(block.0)), peer_iss.wrapping_add(low(block.1)));
    let mut blocks = segment.sack.iter().map(on_wire);
    if let Some(first) = blocks.next() {
        let rest = [blocks.next(), blocks.next(), None];
        options.extend([TcpOptionElement::Noop, TcpOptionElement::Noop]);
        options.push(TcpOptionElement::SelectiveAcknowledgement(first, rest));
    }
    options
}

fn ip_step(from: &Face, to: &Face, id: u16) -> Option<PacketBuilderStep<IpHeaders>> {
    let ttl = from.stack.ttl.saturating_sub(from.hops);
    let ip = match (from.ip, to.ip) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4Header::new(0, ttl, ip_number::TCP, source.octets(), destination.octets()).ok()?;
            header.identification = id;
            header.dont_fragment = true;
            header.fragment_offset = IpFragOffset::ZERO;
            IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                hop_limit: ttl,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(header, etherparse::Ipv6Extensions::default())
        }
        _ => return None,
    };
    let (source, destination) = if from.hops == GATEWAY_HOPS { (GATEWAY, ROUTER) } else { (ROUTER, GATEWAY) };
    Some(PacketBuilder::ethernet2(source, destination).ip(ip))
}

fn written(size: usize, write: impl FnOnce(&mut Vec<u8>) -> Result<(), BuildVecWriteError>) -> Option<Vec<u8>> {
    let mut buffer = Vec::with_capacity(size.max(MINIMUM));
    write(&mut buffer).ok()?;
    // The tap gives frames without their check sequence, so the minimum of 64 octets shows as 60.
    buffer.resize(buffer.len().max(MINIMUM), 0);
    Some(buffer)
}

/// Offsets wrap on the wire as sequence numbers do.
const fn low(offset: u64) -> u32 {
    offset as u32
}

/// The gateway is the tap's neighbour: no router decrements what it sends before the tap.
pub(super) const GATEWAY_HOPS: u8 = 0;
const MINIMUM: usize = 60;
const ROUTER: [u8; 6] = [0x02, 0x00, 0x5e, 0x00, 0x00, 0x01];
const GATEWAY: [u8; 6] = [0x02, 0x00, 0x5e, 0x00, 0x00, 0x02];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::stack::{LINUX, WINDOWS};
    use crate::simulate::tcp::Offer;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    fn faces(client: IpAddr, server: IpAddr) -> Faces {
        Faces {
            client: Face { ip: client, port: 50_000, stack: &WINDOWS, hops: 11, iss: u32::MAX - 1 },
            server: Face { ip: server, port: 443, stack: &LINUX, hops: GATEWAY_HOPS, iss: 1000 },
        }
    }

    fn syn() -> Segment {
        Segment {
            seq: 0,
            ack: None,
            syn: Some(Offer { mss: 1460, scale: 8, timestamps: false }),
            fin: false,
            push: false,
            window: 64_240,
            times: None,
            sack: Vec::new(),
            serial: 9,
            payload: Vec::new(),
        }
    }

    #[test]
    fn a_windows_syn_has_its_ttl_options_and_checksums() {
        let faces = faces(IpAddr::from([198, 18, 1, 10]), IpAddr::from([192, 0, 2, 10]));
        let bytes = faces.segment(Direction::Orig, &syn()).unwrap();
        let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4") };
        assert_eq!((ip.header().ttl(), ip.header().identification(), ip.header().dont_fragment()), (117, 9, true));
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("not TCP") };
        assert_eq!(tcp.options(), [2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2]);
        assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4([198, 18, 1, 10], [192, 0, 2, 10]).unwrap());
        assert_eq!(tcp.sequence_number(), u32::MAX - 1);
    }

    #[test]
    fn offsets_wrap_and_short_frames_are_padded() {
        let faces = faces(IpAddr::from([198, 18, 1, 10]), IpAddr::from([192, 0, 2, 10]));
        let ack = Segment { seq: 5, ack: Some(7), syn: None, sack: vec![(10, 20), (30, 40)], ..syn() };
        let bytes = faces.segment(Direction::Orig, &ack).unwrap();
        let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("not TCP") };
        assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (3, 1007));
        assert_eq!(tcp.options().get(..4), Some(&[1, 1, 5, 18][..]));
        assert_eq!(faces.segment(Direction::Orig, &Segment { sack: Vec::new(), ..ack }).unwrap().len(), 60);
    }

    #[test]
    fn ipv6_and_udp_frames_decode() {
        let faces = faces("2001:db8:1::10:1".parse().unwrap(), "2001:db8:c0::10".parse().unwrap());
        let bytes = faces.datagram(Direction::Resp, 1, &[1; 148]).unwrap();
        let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(NetSlice::Ipv6(ip)) = &sliced.net else { panic!("not IPv6") };
        assert_eq!(ip.header().hop_limit(), 64);
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("not UDP") };
        assert_eq!((udp.source_port(), udp.payload().len()), (443, 148));
    }
}
