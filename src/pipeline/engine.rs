//! Decoding, sharding, and the threads: the same report for any number of workers.
//!
//! Frames are decoded on the caller's thread, so that the shard is chosen by the innermost address pair and fragments
//! never part (docs/decisions/0002). With one worker everything runs on that thread. Batches travel through bounded
//! queues and come back to be filled again.

use super::batch::Batch;
use super::{Input, Limits, Worker, WorkerCounts};
use crate::base::{Frame, Timestamp};
use crate::session::{Ended, News};
use crate::wire::{Decoded, Decoder, Packet, Unread};
use crossbeam::channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::thread::JoinHandle;

/// Where a worker's output goes; each worker has its own.
pub trait Outlet {
    /// A session has ended.
    fn ended(&mut self, ended: Ended);
    /// Something is known of a session that goes on.
    fn news(&mut self, news: News<'_>);
}

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Worker threads; 0 and 1 mean none: all on the caller's thread.
    pub workers: usize,
    /// Bounds, over all workers.
    pub limits: Limits,
}

/// What the run counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames read.
    pub frames: u64,
    /// Frames that gave an IP packet or a fragment of one.
    pub decoded: u64,
    /// The others, by reason.
    pub not_understood: BTreeMap<&'static str, u64>,
    /// Fragments among `decoded` that completed no packet.
    pub fragments: u64,
    /// Frames whose time lay before that of an earlier frame.
    pub time_backwards: u64,
    /// What the workers counted.
    pub workers: WorkerCounts,
}

/// Batches in flight per worker: enough that neither side waits for the other's hiccups.
const IN_FLIGHT: usize = 8;

enum Message {
    Batch(Batch),
    Tick(Timestamp),
}

struct Lane<O> {
    queue: Sender<Message>,
    returned: Receiver<Batch>,
    filling: Batch,
    thread: JoinHandle<(WorkerCounts, O)>,
}

enum Crew<O> {
    Inline(Box<Worker>, O),
    Threads(Vec<Lane<O>>),
}

/// The run.
pub struct Engine<O> {
    decoder: Decoder,
    crew: Crew<O>,
    shard: foldhash::fast::RandomState,
    clock: Timestamp,
    totals: Totals,
    unread: [u64; Unread::ALL.len()],
}

impl<O> std::fmt::Debug for Engine<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("totals", &self.totals).finish_non_exhaustive()
    }
}

impl<O: Outlet + Send + 'static> Engine<O> {
    /// Starts the workers; `outlet` makes the output of each.
    pub fn start(config: &EngineConfig, mut outlet: impl FnMut() -> O) -> Self {
        let crew = if config.workers <= 1 {
            Crew::Inline(Box::new(Worker::new(&config.limits)), outlet())
        } else {
            let flows = config.limits.flows.max(if config.limits.flows == 0 { Limits::DEFAULT_FLOWS } else { 0 });
            let limits = Limits { flows: flows.div_ceil(config.workers), ..config.limits.clone() };
            Crew::Threads((0..config.workers).map(|_| lane(Worker::new(&limits), outlet())).collect())
        };
        Self {
            decoder: Decoder::default(),
            crew,
            shard: foldhash::fast::RandomState::default(),
            clock: Timestamp::MIN,
            totals: Totals::default(),
            unread: [0; Unread::ALL.len()],
        }
    }

    /// Takes a frame.
    pub fn frame(&mut self, frame: &Frame<'_>) {
        self.totals.frames += 1;
        if frame.at < self.clock {
            self.totals.time_backwards += 1;
        } else {
            self.clock = frame.at;
        }
        match self.decoder.decode(frame) {
            Decoded::Packet(packet) => {
                self.totals.decoded += 1;
                dispatch(&mut self.crew, &self.shard, &packet, self.clock);
            }
            Decoded::Fragment => {
                self.totals.decoded += 1;
                self.totals.fragments += 1;
            }
            Decoded::NotUnderstood(reason) => {
                if let Some(n) = self.unread.get_mut(reason as usize) {
                    *n += 1;
                }
            }
        }
    }

    /// Time has come to `now` without a frame (live): flows that are over end, and waiting packets move on.
    pub fn tick(&mut self, now: Timestamp) {
        self.clock = self.clock.max(now);
        match &mut self.crew {
            Crew::Inline(worker, out) => worker.handle(Input::Tick(self.clock), out),
            Crew::Threads(lanes) => {
                for lane in lanes {
                    lane.send();
                    let _ = lane.queue.send(Message::Tick(self.clock));
                }
            }
        }
    }

    /// What was counted by the decoder so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.totals.frames
    }

    /// Ends every flow and gives the counts and the outlets.
    pub fn finish(mut self) -> (Totals, Vec<O>) {
        let mut outlets = Vec::new();
        match self.crew {
            Crew::Inline(mut worker, mut out) => {
                worker.handle(Input::End, &mut out);
                self.totals.workers = worker.counts();
                outlets.push(out);
            }
            Crew::Threads(lanes) => {
                let closing: Vec<_> = lanes.into_iter().map(Lane::close).collect();
                for thread in closing {
                    match thread.join() {
                        Ok((counts, out)) => {
                            self.totals.workers.add(counts);
                            outlets.push(out);
                        }
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
            }
        }
        for (reason, n) in Unread::ALL.iter().zip(self.unread) {
            if n > 0 {
                self.totals.not_understood.insert(reason.name(), n);
            }
        }
        (self.totals, outlets)
    }
}

fn dispatch<O: Outlet>(crew: &mut Crew<O>, shard: &foldhash::fast::RandomState, packet: &Packet<'_>, clock: Timestamp) {
    match crew {
        Crew::Inline(worker, out) => worker.handle(Input::Packet(packet, clock), out),
        Crew::Threads(lanes) => {
            let pair = (packet.src.min(packet.dst), packet.src.max(packet.dst));
            let count = u64::try_from(lanes.len()).unwrap_or(1).max(1);
            let index = usize::try_from(shard.hash_one(pair) % count).unwrap_or(0);
            if let Some(lane) = lanes.get_mut(index)
                && lane.filling.push(packet, clock)
            {
                lane.send();
            }
        }
    }
}

impl<O> Lane<O> {
    /// Sends what has been filled and takes an empty vessel.
    fn send(&mut self) {
        if self.filling.is_empty() {
            return;
        }
        let mut next = self.returned.try_recv().unwrap_or_default();
        next.clear();
        let full = std::mem::replace(&mut self.filling, next);
        // The receiver only goes away by panicking, which `finish` passes on.
        let _ = self.queue.send(Message::Batch(full));
    }

    fn close(mut self) -> JoinHandle<(WorkerCounts, O)> {
        self.send();
        self.thread
    }
}

/// Starts one worker on a thread of its own.
fn lane<O: Outlet + Send + 'static>(mut worker: Worker, mut out: O) -> Lane<O> {
    let (queue, inbox) = bounded::<Message>(IN_FLIGHT);
    let (back, returned) = bounded::<Batch>(IN_FLIGHT);
    let thread = std::thread::spawn(move || {
        for message in inbox {
            match message {
                Message::Batch(batch) => {
                    batch.each(|packet, clock| worker.handle(Input::Packet(packet, clock), &mut out));
                    let _ = back.try_send(batch);
                }
                Message::Tick(clock) => worker.handle(Input::Tick(clock), &mut out),
            }
        }
        worker.handle(Input::End, &mut out);
        (worker.counts(), out)
    });
    Lane { queue, returned, filling: Batch::default(), thread }
}
