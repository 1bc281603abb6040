//! The whole engine over frames in memory: every capture of `captures/`, one after the other, again and again.
//!
//! `REPLAY_PCAP=FILE cargo bench --bench replay -- identification` measures what identification costs on a capture.
//! Nothing is judged or written; criterion's throughput is frames a second.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // Captures of this repository, not of a network.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farmlight::base::Timestamp;
use farmlight::pipeline::{Engine, EngineConfig, Limits, Outlet};
use farmlight::session::{Budget, Ended, News};
use farmlight::source::{Inputs, Memory, MemoryFrame, Next, Source};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

/// How often the captures follow each other in one run.
const ROUNDS: u32 = 20;
/// Between two captures: longer than any flow waits.
const PAUSE: Duration = Duration::from_secs(3_600);

struct Nowhere;

impl Outlet for Nowhere {
    fn ended(&mut self, ended: Ended) {
        black_box(ended);
    }

    fn news(&mut self, news: News<'_>) {
        black_box(news);
    }
}

/// The frames of all captures, moved so that each capture begins a while after the one before.
fn frames() -> Vec<MemoryFrame> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the captures are there")
        .map(|entry| entry.unwrap().path().join("capture.pcap"))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let (mut all, mut begin) = (Vec::new(), Timestamp::default());
    for path in paths {
        let memory = Memory::collect(&mut Inputs::open(&[path], None).expect("a path was named"));
        let first = memory.frames().first().map_or(Timestamp::default(), |frame| frame.at);
        let moved = |frame: &MemoryFrame| begin.plus(frame.at.since(first).unwrap_or_default());
        all.extend(memory.frames().iter().map(|frame| MemoryFrame { at: moved(frame), ..frame.clone() }));
        begin = all.last().map_or(begin, |frame| frame.at.plus(PAUSE));
    }
    all
}

/// The frames of the capture that `REPLAY_PCAP` names, as far as they fit into 2 GiB.
fn named_frames() -> Option<Vec<MemoryFrame>> {
    let path = std::env::var_os("REPLAY_PCAP")?;
    let mut inputs = Inputs::open(&[path.into()], None).expect("a path was named");
    let (mut all, mut bytes) = (Vec::new(), 0usize);
    while bytes < 2 << 30 {
        match inputs.next() {
            Next::Frame(frame) => {
                bytes += frame.bytes.len();
                all.push(MemoryFrame::from(frame));
            }
            Next::Idle(_) => {}
            Next::End => break,
        }
    }
    Some(all)
}

/// One run over a capture, with this budget for identification.
fn once(frames: &[MemoryFrame], budget: Budget) -> u64 {
    let limits = Limits { budget, ..Limits::default() };
    let mut engine = Engine::start(&EngineConfig { workers: 1, limits }, || Nowhere);
    frames.iter().for_each(|frame| engine.frame(&frame.frame()));
    engine.finish().0.workers.flows
}

/// What identification costs on a capture: with it and without.
fn identification(c: &mut Criterion) {
    let Some(frames) = named_frames() else { return };
    let mut group = c.benchmark_group("identification");
    group.throughput(Throughput::Elements(frames.len() as u64)).sample_size(10);
    for (name, budget) in [("with", Budget::default()), ("without", Budget::NOTHING)] {
        group.bench_function(name, |b| b.iter(|| once(black_box(&frames), budget)));
    }
    group.finish();
}

fn replay(frames: &[MemoryFrame], workers: usize) -> u64 {
    let mut engine = Engine::start(&EngineConfig { workers, ..EngineConfig::default() }, || Nowhere);
    let span = frames.last().map_or(PAUSE, |frame| frame.at.since(Timestamp::default()).unwrap_or(PAUSE) + PAUSE);
    for round in 0..ROUNDS {
        for frame in frames {
            let mut frame = frame.frame();
            frame.at = frame.at.plus(span * round);
            engine.frame(&frame);
        }
    }
    let (totals, _) = engine.finish();
    assert_eq!(totals.time_backwards, 0);
    totals.workers.flows
}

fn engine(c: &mut Criterion) {
    let frames = frames();
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements(frames.len() as u64 * u64::from(ROUNDS))).sample_size(10);
    for workers in [1, 2] {
        group.bench_function(BenchmarkId::new("workers", workers), |b| b.iter(|| replay(black_box(&frames), workers)));
    }
    group.finish();
}

criterion_group!(benches, engine, identification);
criterion_main!(benches);
