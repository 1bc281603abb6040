//! What a packet of a settled flow costs: in the table alone, and in a whole worker.
//!
//! Every iteration takes 1,024 packets in over flows in random order; criterion's throughput is packets a second.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // No bytes from the network here.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farmlight::base::Timestamp;
use farmlight::flow::{Table, Timeouts};
use farmlight::pipeline::{Input, Limits, Outlet, Worker};
use farmlight::session::{Connection, Ended, News};
use farmlight::wire::{Encapsulation, Packet, TcpFlags, TcpHeader, TcpOptions, Transport};
use oorandom::Rand32;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

const PACKETS: u32 = 1_024;
const FLOWS: [u32; 3] = [1_000, 10_000, 100_000];
/// Twenty microseconds between packets: 50,000 a second, so that nothing runs out of time in a measurement.
const SPACING: i64 = 20_000;

struct Nowhere;

impl Outlet for Nowhere {
    fn ended(&mut self, ended: Ended) {
        black_box(ended);
    }

    fn news(&mut self, _: News<'_>) {}
}

/// Packets of so many TCP flows, each end's sequence number going on.
struct Traffic {
    sent: Vec<u32>,
    random: Rand32,
    clock: i64,
    payload: Vec<u8>,
}

impl Traffic {
    fn new(flows: u32) -> Self {
        Self { sent: vec![1; flows as usize], random: Rand32::new(7), clock: 0, payload: vec![0xa5; 1_200] }
    }

    fn packet(&mut self, flow: u32, flags: u8, len: u32) -> Packet<'_> {
        self.clock += SPACING;
        let seq = self.sent[flow as usize];
        self.sent[flow as usize] = seq.wrapping_add(len.max(u32::from(flags & TcpFlags::SYN.0 != 0)));
        Packet {
            at: Timestamp::from_nanos(self.clock),
            src: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + flow)),
            dst: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
            ttl: 57,
            ip_id: seq as u16 | 1,
            ip_len: 52 + len,
            dont_fragment: true,
            largest_fragment: 0,
            transport: Transport::Tcp(TcpHeader {
                src_port: 50_000,
                dst_port: 443,
                seq,
                ack: 9,
                flags: TcpFlags(flags),
                window: 502,
                urgent: 0,
                options: TcpOptions::default(),
            }),
            payload_len: len,
            payload: &self.payload[..len as usize],
            encapsulation: Encapsulation::default(),
        }
    }

    /// The next packet of any flow.
    fn any(&mut self) -> Packet<'_> {
        let flow = self.random.rand_range(0..self.sent.len() as u32);
        self.packet(flow, 0x18, 1_200)
    }

    fn len(&self) -> u32 {
        self.sent.len() as u32
    }
}

fn table(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow/touch");
    group.throughput(Throughput::Elements(PACKETS.into()));
    for flows in FLOWS {
        let mut traffic = Traffic::new(flows);
        let mut table: Table<Connection> = Table::new(1 << 20, Timeouts::default());
        for flow in 0..traffic.len() {
            let packet = traffic.packet(flow, TcpFlags::SYN.0, 0);
            table.touch(&packet, packet.at, |_, _| {});
        }
        group.bench_function(BenchmarkId::from_parameter(flows), |b| {
            b.iter(|| {
                for _ in 0..PACKETS {
                    let packet = traffic.any();
                    black_box(table.touch(&packet, packet.at, |_, _| {}));
                }
            });
        });
        assert_eq!(table.len(), flows as usize);
    }
    group.finish();
}

fn worker(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow/settled");
    group.throughput(Throughput::Elements(PACKETS.into()));
    for flows in FLOWS {
        let mut traffic = Traffic::new(flows);
        let mut worker = Worker::new(&Limits::default());
        for flow in 0..traffic.len() {
            // An opening, and bytes that no protocol begins with.
            for (flags, len) in [(TcpFlags::SYN.0, 0), (0x18, 1_200), (0x18, 1_200)] {
                let packet = traffic.packet(flow, flags, len);
                worker.handle(Input::Packet(&packet, packet.at), &mut Nowhere);
            }
        }
        group.bench_function(BenchmarkId::from_parameter(flows), |b| {
            b.iter(|| {
                for _ in 0..PACKETS {
                    let packet = traffic.any();
                    worker.handle(Input::Packet(black_box(&packet), packet.at), &mut Nowhere);
                }
            });
        });
        assert_eq!(worker.counts().flows, 0, "a flow ended while it was measured");
    }
    group.finish();
}

criterion_group!(benches, table, worker);
criterion_main!(benches);
