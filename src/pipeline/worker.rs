//! One shard: its flow table and what is read of its flows. No thread, no channel, no clock.

use super::Outlet;
use super::gather::Gather;
use crate::base::Timestamp;
use crate::flow::{Flow, Table, Timeouts};
use crate::meter::Across;
use crate::session::{Budget, Connection, News};
use crate::wire::Packet;

/// What a worker is given.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A packet, and the run's clock: the latest time on any packet up to it, on whichever worker.
    Packet(&'a Packet<'a>, Timestamp),
    /// Time has come to this point and no packet with it.
    Tick(Timestamp),
    /// Nothing more will come: every flow ends.
    End,
}

/// Bounds of one worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Flows at once; 0 means [`Limits::DEFAULT_FLOWS`].
    pub flows: usize,
    /// When flows end.
    pub timeouts: Timeouts,
    /// How much of a flow is read.
    pub budget: Budget,
}

impl Limits {
    /// Flows at once over all workers, unless configured: about 1 GiB when full.
    pub const DEFAULT_FLOWS: usize = 2_000_000;
}

/// What a worker counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Packets handled, mirror copies included.
    pub packets: u64,
    /// Packets that were a mirror's second copy.
    pub duplicates: u64,
    /// Flows that ended.
    pub flows: u64,
    /// Flows that had to make room for others.
    pub evicted: u64,
}

impl WorkerCounts {
    /// Adds another worker's.
    pub const fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.duplicates += other.duplicates;
        self.flows += other.flows;
        self.evicted += other.evicted;
    }
}

/// One shard.
#[derive(Debug)]
pub struct Worker {
    table: Table<Connection>,
    gather: Gather,
    /// Loops that close on another flow than the one they were opened on.
    across: Across,
    budget: Budget,
    counts: WorkerCounts,
    clock: Timestamp,
    swept: Timestamp,
}

/// Capture time between sweeps, in nanoseconds.
const SWEEP_EVERY: i64 = 1_000_000_000;

impl Worker {
    /// An empty shard.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let flows = if limits.flows == 0 { Limits::DEFAULT_FLOWS } else { limits.flows };
        Self {
            table: Table::new(flows, limits.timeouts),
            gather: Gather::default(),
            across: Across::default(),
            budget: limits.budget,
            counts: WorkerCounts::default(),
            clock: Timestamp::MIN,
            swept: Timestamp::MIN,
        }
    }

    /// Takes one input; what comes of it goes to `out`.
    pub fn handle(&mut self, input: Input<'_>, out: &mut impl Outlet) {
        match input {
            Input::Packet(packet, clock) => self.on_packet(packet, clock, out),
            Input::Tick(clock) => self.advance(clock, out),
            Input::End => {
                let (counts, gather) = (&mut self.counts, &self.gather);
                self.table.drain(|flow, connection| end(counts, gather, &flow, connection, out));
            }
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> WorkerCounts {
        WorkerCounts { evicted: self.table.evicted(), ..self.counts }
    }

    fn on_packet(&mut self, packet: &Packet<'_>, clock: Timestamp, out: &mut impl Outlet) {
        self.advance(clock, out);
        self.counts.packets += 1;
        let (counts, gather) = (&mut self.counts, &self.gather);
        let touch = self.table.touch(packet, clock, |flow, connection| end(counts, gather, &flow, connection, out));
        if touch.duplicate {
            self.counts.duplicates += 1;
        }
        let Some((flow, connection)) = self.table.pair_mut(touch.id) else { return };
        if touch.duplicate {
            connection.on_copy(touch.dir);
            return;
        }
        if touch.flipped {
            connection.on_flip();
        }
        let across = &mut self.across;
        connection.on_packet(flow, touch.dir, packet, &self.budget, &mut |news| match news {
            News::Asked { at, dir, of, token } => across.ask(at, dir, of, token),
            News::Answered { at, dir, of, token, sample } => *sample = across.answer(at, dir, of, token),
            other => out.news(other),
        });
        if connection.is_read()
            && let Some(kind) = connection.gathers()
        {
            self.gather.on_lead(flow, kind);
        }
    }

    fn advance(&mut self, clock: Timestamp, out: &mut impl Outlet) {
        self.clock = self.clock.max(clock);
        if self.clock.nanos().saturating_sub(self.swept.nanos()) < SWEEP_EVERY {
            return;
        }
        self.swept = self.clock;
        let (counts, gather) = (&mut self.counts, &self.gather);
        self.table.sweep(self.clock, |flow, connection| end(counts, gather, &flow, connection, out));
    }
}

fn end(counts: &mut WorkerCounts, gather: &Gather, flow: &Flow, connection: Connection, out: &mut impl Outlet) {
    counts.flows += 1;
    let mut ended = connection.close(flow, &mut |news| out.news(news));
    gather.on_end(&mut ended.session);
    out.ended(ended);
}
