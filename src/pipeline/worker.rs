//! One shard: its flow table and what is read of its flows. No thread, no channel, no clock.

use super::Outlet;
use super::gather::Gather;
use super::volumes::{Metered, Volumes};
use crate::base::Timestamp;
use crate::flow::{Flow, Table, Timeouts};
use crate::intel::Premises;
use crate::meter::Across;
use crate::session::{Budget, Connection, News};
use crate::wire::Packet;
use std::sync::Arc;

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
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Flows at once; 0 means [`Limits::DEFAULT_FLOWS`].
    pub flows: usize,
    /// When flows end.
    pub timeouts: Timeouts,
    /// How much of a flow is read.
    pub budget: Budget,
    /// Which addresses may be inside a tunnel.
    pub premises: Arc<Premises>,
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
    table: Table<(Connection, Metered)>,
    volumes: Volumes,
    gather: Gather,
    /// Loops that close on another flow than the one they were opened on.
    across: Across,
    budget: Budget,
    counts: WorkerCounts,
    clock: Timestamp,
    swept: Timestamp,
    told: Timestamp,
}

/// Capture time between sweeps, in nanoseconds.
const SWEEP_EVERY: i64 = 1_000_000_000;
/// Capture time between two times that all volumes are told, in nanoseconds.
const TELL_EVERY: i64 = 60_000_000_000;

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
            told: Timestamp::MIN,
            volumes: Volumes::new(Arc::clone(&limits.premises)),
        }
    }

    /// Takes one input; what comes of it goes to `out`.
    pub fn handle(&mut self, input: Input<'_>, out: &mut impl Outlet) {
        match input {
            Input::Packet(packet, clock) => self.on_packet(packet, clock, out),
            Input::Tick(clock) => self.advance(clock, out),
            Input::End => {
                let mut closing =
                    Closing { counts: &mut self.counts, gather: &self.gather, volumes: &mut self.volumes };
                self.table.drain(|flow, state| closing.end(&flow, state, out));
                self.volumes.flush(&mut |news| out.news(news));
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
        let mut closing = Closing { counts: &mut self.counts, gather: &self.gather, volumes: &mut self.volumes };
        let touch = self.table.touch(packet, clock, |flow, state| closing.end(&flow, state, out));
        if touch.duplicate {
            self.counts.duplicates += 1;
            return;
        }
        let Some((flow, (connection, metered))) = self.table.pair_mut(touch.id) else { return };
        if touch.flipped {
            connection.on_flip();
            self.volumes.on_end(std::mem::take(metered));
        }
        let was_settled = connection.is_settled();
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
        if !was_settled && !metered.is_tunnel() && connection.is_tunnel() {
            self.volumes.on_tunnel(metered, flow);
        }
        self.volumes.on_packet(metered, flow, packet, touch.dir, &mut |news| out.news(news));
    }

    fn advance(&mut self, clock: Timestamp, out: &mut impl Outlet) {
        self.clock = self.clock.max(clock);
        if self.clock.nanos().saturating_sub(self.swept.nanos()) < SWEEP_EVERY {
            return;
        }
        self.swept = self.clock;
        let mut closing = Closing { counts: &mut self.counts, gather: &self.gather, volumes: &mut self.volumes };
        self.table.sweep(self.clock, |flow, state| closing.end(&flow, state, out));
        if self.clock.nanos().saturating_sub(self.told.nanos()) >= TELL_EVERY {
            self.told = self.clock;
            self.volumes.flush(&mut |news| out.news(news));
        }
    }
}

/// What hears of the end of a flow.
struct Closing<'a> {
    counts: &'a mut WorkerCounts,
    gather: &'a Gather,
    volumes: &'a mut Volumes,
}

impl Closing<'_> {
    fn end(&mut self, flow: &Flow, (connection, metered): (Connection, Metered), out: &mut impl Outlet) {
        self.counts.flows += 1;
        self.volumes.on_end(metered);
        let mut ended = connection.close(flow, &mut |news| out.news(news));
        self.gather.on_end(&mut ended.session);
        out.ended(ended);
    }
}
