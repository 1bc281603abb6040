//! Time to decode a frame, by kind and mixed, beside etherparse's own walk over the same bytes.
//!
//! Every iteration decodes the same 1,024 frames; the throughput criterion prints is frames a second.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // No bytes from the network here.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{LaxSlicedPacket, PacketBuilder, TcpOptionElement, VlanId};
use farmlight::base::{Frame, LinkType, Timestamp};
use farmlight::wire::{Decoded, Decoder};
use std::hint::black_box;

const FRAMES: usize = 1024;

fn tcp4(payload: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [198, 51, 100, 7], 57)
        .tcp(50_000, 443, 7, 64_240)
        .ack(9)
        .options(&[TcpOptionElement::Noop, TcpOptionElement::Noop, TcpOptionElement::Timestamp(1, 2)])
        .unwrap()
        .write(&mut bytes, &vec![0x17; payload])
        .unwrap();
    bytes
}

fn tcp6_in_vlan(payload: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .single_vlan(VlanId::try_new(12).unwrap())
        .ipv6([0x20; 16], [0x30; 16], 57)
        .tcp(50_000, 443, 7, 64_240)
        .write(&mut bytes, &vec![0x17; payload])
        .unwrap();
    bytes
}

fn udp4(dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [198, 51, 100, 7], 57)
        .udp(50_000, dst_port)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

fn vxlan(inner: &[u8]) -> Vec<u8> {
    udp4(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0], inner].concat())
}

fn decode_all(decoder: &mut Decoder, frames: &[Vec<u8>]) -> u64 {
    let mut sum = 0;
    for bytes in frames {
        let frame =
            Frame { at: Timestamp::from_nanos(0), link: LinkType::ETHERNET, orig_len: bytes.len() as u32, bytes };
        if let Decoded::Packet(packet) = decoder.decode(black_box(&frame)) {
            sum += u64::from(black_box(&packet).payload_len);
        }
    }
    sum
}

fn benches(c: &mut Criterion) {
    let mixed = || {
        let kinds = [tcp4(1400), tcp4(0), tcp4(0), tcp6_in_vlan(900), udp4(443, &[0x40; 1200]), vxlan(&tcp4(100))];
        (0..FRAMES).filter_map(|i| kinds.get(i % kinds.len()).cloned()).collect::<Vec<_>>()
    };
    let sets = [
        ("ethernet-ipv4-tcp", vec![tcp4(1400); FRAMES]),
        ("vlan-ipv6-tcp", vec![tcp6_in_vlan(900); FRAMES]),
        ("ethernet-ipv4-udp", vec![udp4(443, &[0x40; 1200]); FRAMES]),
        ("vxlan-ipv4-tcp", vec![vxlan(&tcp4(100)); FRAMES]),
        ("mixed", mixed()),
    ];
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, frames) in &sets {
        let mut decoder = Decoder::default();
        group.bench_function(*name, |b| b.iter(|| decode_all(&mut decoder, frames)));
    }
    group.bench_function("etherparse-lax-slices-of-ethernet-ipv4-tcp", |b| {
        let frames = &sets[0].1;
        b.iter(|| {
            frames.iter().filter(|bytes| black_box(LaxSlicedPacket::from_ethernet(black_box(bytes))).is_ok()).count()
        });
    });
    group.finish();
}

criterion_group!(decode, benches);
criterion_main!(decode);
