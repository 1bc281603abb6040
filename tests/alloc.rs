//! A packet of a settled flow allocates nothing, from the frame's bytes to the flow's counters.
//!
//! Opens the flows of each capture of the repository, and some that no protocol knows; then lets each of their ends
//! send its last data again and again, with sequence numbers and identifications that go on, and counts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops by panicking")]

use allocation_counter::measure;
use etherparse::{IpHeaders, Ipv4Header, Ipv6Header, PacketBuilder, ip_number};
use farmlight::base::{LinkType, Timestamp};
use farmlight::flow::{FiveTuple, FlowKey};
use farmlight::pipeline::{Input, Limits, Outlet, Worker};
use farmlight::session::{Ended, News};
use farmlight::source::{Inputs, Memory, MemoryFrame};
use farmlight::wire::{Decoded, Decoder, Packet, TcpFlags, Transport};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Default)]
struct Count(u64);

impl Outlet for Count {
    fn ended(&mut self, _: Ended) {
        self.0 += 1;
    }

    fn news(&mut self, _: News<'_>) {}
}

/// The core: what the engine does with a frame when it has no threads.
struct Core {
    decoder: Decoder,
    worker: Worker,
    out: Count,
}

impl Core {
    fn new() -> Self {
        Self { decoder: Decoder::default(), worker: Worker::new(&Limits::default()), out: Count::default() }
    }

    fn pass(&mut self, frames: &[MemoryFrame]) {
        for frame in frames {
            if let Decoded::Packet(packet) = self.decoder.decode(&frame.frame()) {
                self.worker.handle(Input::Packet(&packet, packet.at), &mut self.out);
            }
        }
    }
}

/// What one end of a flow goes on saying.
#[derive(Clone)]
struct End {
    src: IpAddr,
    dst: IpAddr,
    transport: Transport,
    payload: Vec<u8>,
}

impl End {
    fn of(packet: &Packet<'_>) -> Self {
        Self { src: packet.src, dst: packet.dst, transport: packet.transport, payload: packet.payload.to_vec() }
    }

    /// The same data again as the next of its stream.
    fn say(&mut self, at: Timestamp, id: u16) -> MemoryFrame {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ip(match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut header = Ipv4Header::new(0, 57, ip_number::TCP, src.octets(), dst.octets()).unwrap();
                header.identification = id;
                IpHeaders::Ipv4(header, Default::default())
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => IpHeaders::Ipv6(
                Ipv6Header { hop_limit: 57, source: src.octets(), destination: dst.octets(), ..Default::default() },
                Default::default(),
            ),
            _ => panic!("both ends are of one family"),
        });
        let mut bytes = Vec::new();
        match &mut self.transport {
            Transport::Tcp(tcp) => {
                builder
                    .tcp(tcp.src_port, tcp.dst_port, tcp.seq, tcp.window)
                    .ack(tcp.ack)
                    .write(&mut bytes, &self.payload)
                    .unwrap();
                tcp.seq = tcp.seq.wrapping_add(u32::try_from(self.payload.len()).unwrap());
            }
            Transport::Udp { src_port, dst_port } => {
                builder.udp(*src_port, *dst_port).write(&mut bytes, &self.payload).unwrap();
            }
            other => panic!("{other:?} has no data to repeat"),
        }
        frame(at, bytes)
    }
}

fn frame(at: Timestamp, bytes: Vec<u8>) -> MemoryFrame {
    (at, LinkType::ETHERNET, u32::try_from(bytes.len()).unwrap(), bytes).into()
}

fn captures() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("capture.pcap"))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    // Calls are read as long as they last.
    paths.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/protocols/webrtc.pcap"));
    assert!(paths.len() > 1);
    paths
}

/// The frames of a capture but for those that close a connection, and the last data of each end of its flows.
fn opened(path: &Path) -> (Vec<MemoryFrame>, Vec<End>) {
    let mut decoder = Decoder::default();
    let mut ends: BTreeMap<(String, bool), End> = BTreeMap::new();
    let mut keep = |frame: &MemoryFrame| {
        let Decoded::Packet(packet) = decoder.decode(&frame.frame()) else { return true };
        if let Transport::Tcp(tcp) = packet.transport
            && (tcp.flags.has(TcpFlags::FIN) || tcp.flags.has(TcpFlags::RST))
        {
            return false;
        }
        if matches!(packet.transport, Transport::Tcp(_) | Transport::Udp { .. }) && !packet.payload.is_empty() {
            let (key, low) = FlowKey::of(&FiveTuple::of(&packet));
            let mut end = End::of(&packet);
            if let Transport::Tcp(tcp) = &mut end.transport {
                tcp.seq = tcp.seq.wrapping_add(packet.payload_len);
            }
            ends.insert((format!("{key:?}"), low), end);
        }
        true
    };
    let memory = Memory::collect(&mut Inputs::open(&[path.to_owned()], None).unwrap());
    let frames = memory.frames().iter().filter(|frame| keep(frame)).cloned().collect();
    (frames, ends.into_values().collect())
}

/// So many frames, each end in its turn; each acknowledges what the other end of its flow said last.
fn more(ends: &mut [End], from: Timestamp, spacing: Duration, count: u32) -> Vec<MemoryFrame> {
    let turn = u32::try_from(ends.len()).unwrap();
    let mut frames = Vec::new();
    for i in 0..count {
        let id = u16::try_from(i % 65_000).unwrap() + 1;
        let end = &mut ends[usize::try_from(i % turn).unwrap()];
        frames.push(end.say(from.plus(spacing * i), id));
        if let Transport::Tcp(said) = end.transport {
            let (src, dst) = (end.src, end.dst);
            for other in ends.iter_mut().filter(|other| (other.src, other.dst) == (dst, src)) {
                match &mut other.transport {
                    Transport::Tcp(tcp) if (tcp.src_port, tcp.dst_port) == (said.dst_port, said.src_port) => {
                        tcp.ack = said.seq;
                    }
                    _ => {}
                }
            }
        }
    }
    frames
}

/// Allocations of the frames that follow the opening ones; panics if not all of them belonged to flows that go on.
fn allocations(core: &mut Core, frames: &[MemoryFrame]) -> u64 {
    let (before, ended) = (core.worker.counts(), core.out.0);
    let counted = measure(|| core.pass(frames)).count_total;
    let after = core.worker.counts();
    assert_eq!(after.packets - before.packets, u64::try_from(frames.len()).unwrap());
    assert_eq!(after.duplicates, before.duplicates, "a packet was taken for a copy");
    assert_eq!(core.out.0, ended, "a flow ended");
    counted
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1u8; 10]))).count_total, 1);
}

#[test]
fn data_of_flows_whose_handshake_was_read_allocates_nothing() {
    for path in captures() {
        let (opening, mut ends) = opened(&path);
        let mut core = Core::new();
        assert!(measure(|| core.pass(&opening)).count_total > 0, "reading handshakes needs memory");
        let last = opening.last().unwrap().at;
        // Whatever the handshakes left to be read.
        let spacing = Duration::from_micros(100);
        core.pass(&more(&mut ends, last.plus(spacing), spacing, 6_000));
        // Without a pause: that would be a round trip of a new length, and the sums would grow.
        let frames = more(&mut ends, last.plus(spacing * 6_001), spacing, 10_000);
        assert_eq!(allocations(&mut core, &frames), 0, "{}, {} ends", path.display(), ends.len());
    }
}

#[test]
fn data_of_flows_that_no_protocol_knows_allocates_nothing() {
    let (a, b) = ("192.0.2.1".parse().unwrap(), "198.51.100.7".parse().unwrap());
    let (c, d) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let tcp = |src_port, dst_port, seq, ack, flags| {
        Transport::Tcp(farmlight::wire::TcpHeader {
            src_port,
            dst_port,
            seq,
            ack,
            flags: TcpFlags(flags),
            window: 500,
            ..Default::default()
        })
    };
    let mut ends = Vec::new();
    for (one, other) in [(a, b), (c, d)] {
        for (src, dst, ports) in [(one, other, (50_000, 9_999)), (other, one, (9_999, 50_000))] {
            let payload = vec![0xf5; 1_200];
            ends.push(End { src, dst, transport: tcp(ports.0, ports.1, 1, 1, 0x18), payload: payload.clone() });
            ends.push(End { src, dst, transport: Transport::Udp { src_port: ports.0, dst_port: ports.1 }, payload });
        }
    }
    let mut core = Core::new();
    let (start, spacing) = (Timestamp::from_parts(1_700_000_000, 0), Duration::from_micros(100));
    core.pass(&more(&mut ends, start, spacing, 1_000));
    let frames = more(&mut ends, start.plus(Duration::from_secs(1)), spacing, 10_000);
    assert_eq!(allocations(&mut core, &frames), 0);
}

/// Time itself costs something: each flow is looked at once a minute, whatever the number of its packets.
#[test]
fn hours_of_traffic_allocate_for_time_and_not_for_packets() {
    let (opening, mut ends) = opened(&captures()[0]);
    let mut core = Core::new();
    core.pass(&opening);
    let begin = opening.last().unwrap().at;
    let sparse = allocations(&mut core, &more(&mut ends, begin, Duration::from_millis(180), 20_000));
    let dense = {
        let begin = begin.plus(Duration::from_secs(3_600));
        allocations(&mut core, &more(&mut ends, begin, Duration::from_millis(60), 60_000))
    };
    println!("{} ends, an hour each: {sparse} allocations for 20,000 packets, {dense} for 60,000", ends.len());
    assert!(sparse > 0 && dense <= sparse + sparse / 4, "{sparse} allocations for 20,000 packets, {dense} for 60,000");
}

/// The SYN and the SYN-ACK of a connection from the first end to the second.
fn handshake(ends: &[End], at: Timestamp) -> Vec<MemoryFrame> {
    let (IpAddr::V4(a), IpAddr::V4(b)) = (ends[0].src, ends[0].dst) else { panic!("the flows are of IPv4") };
    let Transport::Tcp(tcp) = ends[0].transport else { return Vec::new() };
    let (mut syn, mut answer) = (Vec::new(), Vec::new());
    let ip = |from: std::net::Ipv4Addr, to: std::net::Ipv4Addr| {
        PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from.octets(), to.octets(), 57)
    };
    ip(a, b).tcp(tcp.src_port, tcp.dst_port, 0, 500).syn().write(&mut syn, &[]).unwrap();
    ip(b, a).tcp(tcp.dst_port, tcp.src_port, 0, 500).syn().ack(1).write(&mut answer, &[]).unwrap();
    vec![frame(at, syn), frame(at.plus(Duration::from_millis(10)), answer)]
}

/// How a flow that is measured goes.
#[derive(Clone, Copy, Default)]
struct Kind {
    udp: bool,
    both_ways: bool,
    from_the_start: bool,
}

/// Bytes that a worker holds for each of many such flows, after 200 packets each.
fn held(kind: Kind) -> i64 {
    const FLOWS: u16 = 2_000;
    let (a, b) = ("192.0.2.1".parse().unwrap(), "198.51.100.7".parse().unwrap());
    let start = Timestamp::from_parts(1_700_000_000, 0);
    let mut frames = Vec::new();
    for port in 0..FLOWS {
        let end = |src, dst, src_port, dst_port| {
            let tcp = farmlight::wire::TcpHeader {
                src_port,
                dst_port,
                seq: 1,
                ack: 1,
                flags: TcpFlags(0x18),
                window: 500,
                ..Default::default()
            };
            let transport = if kind.udp { Transport::Udp { src_port, dst_port } } else { Transport::Tcp(tcp) };
            End { src, dst, transport, payload: vec![0xf5; 600] }
        };
        let mut ends = [end(a, b, 10_000 + port, 9_999), end(b, a, 9_999, 10_000 + port)];
        let at = start.plus(Duration::from_micros(u64::from(port)));
        if kind.from_the_start {
            frames.extend(handshake(&ends, at));
        }
        let ways = if kind.both_ways { 2 } else { 1 };
        // Round trips of 20 to 29 ms.
        let spacing = Duration::from_micros(20_000 + 500 * u64::from(port % 20));
        frames.extend(more(&mut ends[..ways], at.plus(Duration::from_millis(20)), spacing, 200));
    }
    frames.sort_by_key(|frame| frame.frame().at);
    let mut core = Core::new();
    measure(|| core.pass(&frames)).bytes_current / i64::from(FLOWS)
}

/// What docs/meters.md states of the memory of a settled flow: with its place in the table, its record, its meters and
/// their sums.
#[test]
fn a_settled_flow_takes_little_memory() {
    let (udp, both_ways, from_the_start) = (true, true, true);
    for (what, kind, most) in [
        ("UDP, both ways", Kind { udp, both_ways, ..Kind::default() }, 470),
        ("TCP, one way", Kind::default(), 470),
        ("TCP from its middle, both ways", Kind { both_ways, ..Kind::default() }, 1_130),
        ("TCP from its beginning, both ways", Kind { both_ways, from_the_start, ..Kind::default() }, 910),
    ] {
        let bytes = held(kind);
        println!("{what}: {bytes} bytes");
        assert!(bytes <= most, "{what}: {bytes} bytes");
    }
}
