//! Seeds: what captures hold, in the forms that the targets `frame`, `pdu_tcp` and `pdu_udp` read.
//!
//! Usage: `seeds CORPUS CAPTURE...`, a file or a folder each. Writes `CORPUS/TARGET/seed-*`; the same captures give the
//! same files. Frames go in runs of neighbours; of each flow the first bytes go in, for every protocol whose probe does
//! not rule them out.

use farmlight::base::{Direction, Ends, Frame, Timestamp};
use farmlight::flow::{Assembler, Chunk, FiveTuple, FlowKey, Limits};
use farmlight::protocol::Carrier;
use farmlight::source::{Inputs, Next, Source};
use farmlight::wire::{Decoded, Decoder, Packet, Transport};
use farmlight_fuzz::{LINKS, readers, rules_out, write_turn};
use libfuzzer_sys as _;
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A target and what it is fed.
type Seed = (&'static str, Vec<u8>);

/// Frames in one seed, seeds of one capture, and the size the fuzzer cuts seeds to.
const RUN: usize = 8;
const RUNS: usize = 24;
const SIZE: usize = 4_096;
/// Flows of one capture that are taken, and of one flow.
const FLOWS: usize = 48;
const TURNS: usize = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = env::args_os().skip(1).map(PathBuf::from);
    let corpus = paths.next().ok_or("usage: seeds CORPUS CAPTURE...")?;
    let mut captures = Vec::new();
    paths.try_for_each(|path| find(&path, &mut captures))?;
    for target in ["frame", "pdu_tcp", "pdu_udp"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    let mut written = 0;
    for (i, capture) in captures.iter().enumerate() {
        for (j, (target, bytes)) in seeds(capture)?.into_iter().enumerate() {
            fs::write(corpus.join(target).join(format!("seed-{i}-{j}")), bytes)?;
            written += 1;
        }
    }
    println!("{written} seeds of {} captures", captures.len());
    Ok(())
}

/// The captures at or below a path, in order.
fn find(path: &Path, captures: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(path)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| find(entry, captures));
    }
    if path.extension().is_some_and(|ext| ext == "pcap" || ext == "pcapng" || ext == "cap") {
        captures.push(path.to_owned());
    }
    Ok(())
}

/// The seeds of one capture, each with its target.
fn seeds(capture: &Path) -> Result<Vec<Seed>, Box<dyn Error>> {
    let mut source = Inputs::open(&[capture.to_owned()], None)?;
    let (mut frames, mut flows) = (Frames::default(), Flows::default());
    let mut decoder = Decoder::default();
    loop {
        match source.next() {
            Next::Frame(frame) => {
                frames.add(&frame);
                if let Decoded::Packet(packet) = decoder.decode(&frame) {
                    flows.add(&packet);
                }
            }
            Next::Idle(_) => {}
            Next::End => break,
        }
    }
    Ok(frames.done.into_iter().map(|bytes| ("frame", bytes)).chain(flows.seeds()).collect())
}

/// Frames by the run, as the target `frame` reads them: the link type, then (bytes cut, length, bytes) each.
#[derive(Default)]
struct Frames {
    run: Vec<u8>,
    in_run: usize,
    done: Vec<Vec<u8>>,
}

impl Frames {
    fn add(&mut self, frame: &Frame<'_>) {
        let Some(link) = LINKS.iter().position(|link| *link == frame.link) else { return };
        let bytes = &frame.bytes[..frame.bytes.len().min(SIZE / 4)];
        let cut = (frame.orig_len as usize).saturating_sub(bytes.len()).min(255);
        if self.run.is_empty() {
            self.run.push(link as u8);
        }
        if self.run.len() + 3 + bytes.len() <= SIZE && self.done.len() < RUNS {
            self.run.push(cut as u8);
            self.run.extend((bytes.len() as u16).to_be_bytes());
            self.run.extend(bytes);
            self.in_run += 1;
        }
        if self.in_run == RUN {
            self.in_run = 0;
            self.done.push(std::mem::take(&mut self.run));
        }
    }
}

/// One flow's first bytes.
#[derive(Default)]
struct Talk {
    assemblers: Ends<Assembler>,
    turns: Vec<(Direction, Vec<u8>)>,
    ports: Ends<u16>,
}

/// The first flows of a capture, in the order in which they began.
#[derive(Default)]
struct Flows {
    known: HashMap<FlowKey, (usize, bool)>,
    talks: Vec<(Carrier, Talk)>,
}

impl Flows {
    fn add(&mut self, packet: &Packet<'_>) {
        let carrier = match packet.transport {
            Transport::Tcp(_) => Carrier::Stream,
            Transport::Udp { .. } | Transport::Icmp { .. } | Transport::Other(_) => Carrier::Datagram,
        };
        let tuple = FiveTuple::of(packet);
        let (key, low) = FlowKey::of(&tuple);
        let next = self.talks.len();
        let (index, orig_is_low) = *self.known.entry(key).or_insert((next, low));
        if index == next {
            if next == FLOWS {
                self.known.remove(&key);
                return;
            }
            let ports = Ends { orig: tuple.orig.port, resp: tuple.resp.port };
            self.talks.push((carrier, Talk { ports, ..Talk::default() }));
        }
        let dir = if low == orig_is_low { Direction::Orig } else { Direction::Resp };
        let talk = &mut self.talks[index].1;
        if talk.turns.len() < TURNS {
            talk.add(dir, packet);
        }
    }

    /// Each talk once for every protocol that may be its own, in one of several cuts.
    fn seeds(self) -> impl Iterator<Item = Seed> {
        self.talks.into_iter().enumerate().flat_map(|(n, (carrier, talk))| {
            let target = if carrier == Carrier::Stream { "pdu_tcp" } else { "pdu_udp" };
            let sent = talk.opening();
            let fit = readers(carrier).into_iter().enumerate().filter(move |(_, protocol)| {
                !rules_out(protocol, carrier, Ends { orig: &sent.orig, resp: &sent.resp }, talk.ports)
            });
            let turns = talk.turns;
            fit.map(move |(chosen, _)| (target, dialogue(chosen, n, &turns))).collect::<Vec<_>>()
        })
    }
}

impl Talk {
    fn add(&mut self, dir: Direction, packet: &Packet<'_>) {
        let turns = &mut self.turns;
        let Transport::Tcp(tcp) = packet.transport else {
            turns.push((dir, packet.payload.to_vec()));
            return;
        };
        let assembler = self.assemblers.of_mut(dir);
        if tcp.flags.is_syn() || tcp.flags.is_syn_ack() {
            assembler.on_syn(tcp.seq);
            return;
        }
        let mut keep = |chunk: Chunk<'_>| {
            if let Chunk::Bytes(_, bytes) = chunk {
                turns.push((dir, bytes.to_vec()));
            }
        };
        let at = Timestamp::default();
        assembler.on_segment(at, tcp.seq, packet.payload, packet.payload_len, &Limits::default(), &mut keep);
    }

    /// The first turn of each end.
    fn opening(&self) -> Ends<Vec<u8>> {
        let first = |wanted| self.turns.iter().find(|(dir, _)| *dir == wanted).map(|(_, b)| b.clone());
        Ends { orig: first(Direction::Orig).unwrap_or_default(), resp: first(Direction::Resp).unwrap_or_default() }
    }
}

/// The turns as the targets `pdu_*` read them.
fn dialogue(chosen: usize, n: usize, turns: &[(Direction, Vec<u8>)]) -> Vec<u8> {
    const PIECES: [u8; 4] = [1, 3, 17, 255];
    let mut out = vec![chosen as u8, PIECES[n % PIECES.len()]];
    for (dir, bytes) in turns {
        write_turn(&mut out, *dir, &bytes[..bytes.len().min(SIZE / 2)]);
    }
    out.truncate(SIZE);
    out
}
