//! Speed of reading captures: frames out of bytes in memory, in each format, without looking into them.
//!
//! Reads: captures generated here with a fixed pattern of lengths (320 bytes on average). Does not: touch the disk.
// A benchmark may stop on a wrong assumption of its own; no byte here comes off a wire.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use farmlight::source::{CaptureReader, Filter, Next, Source};
use std::hint::black_box;
use std::io::Write;

const FRAMES: u32 = 100_000;

/// Frame lengths: mostly small, some full, as traffic has it.
const LENGTHS: [u32; 8] = [60, 60, 66, 90, 66, 60, 644, 1514];

fn frames() -> impl Iterator<Item = (u32, Vec<u8>)> {
    (0..FRAMES).zip(LENGTHS.iter().cycle()).map(|(n, len)| {
        let mut frame = vec![0; *len as usize];
        frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, if n % 4 == 0 { 6 } else { 17 }]);
        (n, frame)
    })
}

fn pcap() -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1] {
        out.extend(u32::to_le_bytes(word));
    }
    for (n, frame) in frames() {
        let len = u32::try_from(frame.len()).unwrap();
        for word in [1_700_000_000 + n / 1_000, n % 1_000, len, len] {
            out.extend(word.to_le_bytes());
        }
        out.extend(frame);
    }
    out
}

fn pcapng() -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28, 1, 20, 1, 0, 20] {
        out.extend(u32::to_le_bytes(word));
    }
    for (n, frame) in frames() {
        let len = u32::try_from(frame.len()).unwrap();
        let block = len.next_multiple_of(4) + 32;
        for word in [6, block, 0, 0, n, len, len] {
            out.extend(word.to_le_bytes());
        }
        out.extend(&frame);
        out.resize(out.len() + (len.next_multiple_of(4) - len) as usize, 0);
        out.extend(block.to_le_bytes());
    }
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    w.write_all(bytes).unwrap();
    w.finish().unwrap()
}

fn read(bytes: &[u8], mut filter: Option<Filter>) -> u64 {
    let mut reader = CaptureReader::new("bench", bytes);
    let mut sum = 0;
    while let Next::Frame(frame) = reader.next() {
        if filter.as_mut().is_none_or(|f| f.matches(&frame) == Ok(true)) {
            sum += u64::from(frame.bytes.get(23).copied().unwrap_or(0));
        }
    }
    sum
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Elements(FRAMES.into())).sample_size(20);
    let (pcap, pcapng) = (pcap(), pcapng());
    let (gzip, zstd) = (gzip(&pcap), zstd::encode_all(&pcap[..], 3).unwrap());
    for (name, bytes) in [("pcap", &pcap), ("pcapng", &pcapng), ("pcap.gz", &gzip), ("pcap.zst", &zstd)] {
        group.bench_function(name, |b| b.iter(|| read(black_box(bytes), None)));
    }
    let filter = Filter::new("tcp port 443").unwrap();
    group.bench_function("pcap, filtered", |b| b.iter(|| read(black_box(&pcap), Some(filter.clone()))));
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
