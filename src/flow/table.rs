//! The flow table of one worker: a plain map from key to slot, with state of the caller's beside each flow.
//!
//! Bounded: when full, the flow that was opened first of a small sample makes room, and that is counted.
//! Does not: lock, share, or order its output; callers sort.

use super::expiry::Agenda;
use super::{FiveTuple, Flow, FlowKey, Timeouts};
use crate::base::{Direction, Timestamp};
use crate::wire::{Packet, Transport};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::time::Duration;

/// A flow may close long before the deadline it was noted for: it is looked at at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A slot of the table; valid until the flow in it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowId(u32);

/// What became of a packet in the table.
#[derive(Debug, Clone, Copy)]
pub struct Touch {
    /// Its flow.
    pub id: FlowId,
    /// Who sent it.
    pub dir: Direction,
    /// It is a mirror's copy of a packet just seen, and was not counted.
    pub duplicate: bool,
    /// It showed that originator and responder are the other way round; they have been exchanged.
    pub flipped: bool,
}

#[derive(Debug)]
struct Slot<T> {
    flow: Flow,
    state: T,
    generation: u32,
    live: bool,
}

impl<T> Slot<T> {
    /// Told from the tuple: to keep it beside that would cost every flow 48 bytes.
    fn key(&self) -> FlowKey {
        FlowKey::of(&self.flow.tuple).0
    }
}

/// Slots in blocks that never move: growing neither copies a million flows nor holds them twice.
#[derive(Debug)]
struct Slab<T>(Vec<Vec<Slot<T>>>);

/// Slots in a block, as a power of two.
const BLOCK_BITS: u32 = 10;
const BLOCK: usize = 1 << BLOCK_BITS;

impl<T> Slab<T> {
    fn at(&self, index: u32) -> Option<&Slot<T>> {
        self.0.get((index >> BLOCK_BITS) as usize)?.get(index as usize & (BLOCK - 1))
    }

    fn at_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        self.0.get_mut((index >> BLOCK_BITS) as usize)?.get_mut(index as usize & (BLOCK - 1))
    }

    fn len(&self) -> u32 {
        let blocks = self.0.len().saturating_sub(1) * BLOCK;
        u32::try_from(blocks + self.0.last().map_or(0, Vec::len)).unwrap_or(u32::MAX)
    }

    /// Adds a slot and gives its index.
    fn push(&mut self, slot: Slot<T>) -> u32 {
        let index = self.len();
        match self.0.last_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => block.push(slot),
            None => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(slot);
                self.0.push(block);
            }
        }
        index
    }
}

/// Flows, each with a state `T`.
#[derive(Debug)]
pub struct Table<T> {
    index: HashTable<u32>,
    slots: Slab<T>,
    free: Vec<u32>,
    hasher: RandomState,
    agenda: Agenda,
    timeouts: Timeouts,
    limit: usize,
    evicted: u64,
}

impl<T: Default> Table<T> {
    /// An empty table for at most `limit` flows.
    #[must_use]
    pub fn new(limit: usize, timeouts: Timeouts) -> Self {
        Self {
            index: HashTable::new(),
            slots: Slab(Vec::new()),
            free: Vec::new(),
            hasher: RandomState::default(),
            agenda: Agenda::default(),
            timeouts,
            limit: limit.clamp(16, 1 << 30),
            evicted: 0,
        }
    }

    /// Flows that had to make room for others.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Flows in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The flow of `id` and its state.
    pub fn pair_mut(&mut self, id: FlowId) -> Option<(&mut Flow, &mut T)> {
        let slot = self.slots.at_mut(id.0)?;
        Some((&mut slot.flow, &mut slot.state))
    }

    /// Finds or opens the flow of a packet and takes the packet into its counters.
    ///
    /// `clock` is the run's clock, the latest time seen on any packet. Flows that end here (timed out, or their ports
    /// used again, or evicted) go to `ended`.
    pub fn touch(&mut self, packet: &Packet<'_>, clock: Timestamp, mut ended: impl FnMut(Flow, T)) -> Touch {
        let tuple = FiveTuple::of(packet);
        let (key, from_low) = FlowKey::of(&tuple);
        let hash = self.hasher.hash_one(key);
        let back = tuple.flipped();
        let is_same = |slot: &Slot<T>| slot.flow.tuple == tuple || slot.flow.tuple == back;
        let found = self.index.find(hash, |i| self.slots.at(*i).is_some_and(is_same)).copied();
        let index = match found {
            Some(index) if self.goes_on(index, packet, clock) => index,
            Some(index) => {
                if let Some((flow, state)) = self.remove(index) {
                    ended(flow, state);
                }
                self.open(hash, tuple, from_low, packet, clock, &mut ended)
            }
            None => self.open(hash, tuple, from_low, packet, clock, &mut ended),
        };
        self.count(index, from_low, packet, clock)
    }

    fn goes_on(&self, index: u32, packet: &Packet<'_>, clock: Timestamp) -> bool {
        self.slots.at(index).is_some_and(|slot| {
            let reused = matches!(packet.transport, Transport::Tcp(tcp) if slot.flow.is_reuse(&tcp));
            !reused && !self.timeouts.is_over(&slot.flow, clock)
        })
    }

    fn count(&mut self, index: u32, from_low: bool, packet: &Packet<'_>, clock: Timestamp) -> Touch {
        let id = FlowId(index);
        let Some(slot) = self.slots.at_mut(index) else {
            return Touch { id, dir: Direction::Orig, duplicate: true, flipped: false };
        };
        let flow = &mut slot.flow;
        let dir = flow.direction(from_low);
        let flipped = matches!(packet.transport, Transport::Tcp(tcp) if flow.shows_flip(dir, &tcp));
        if flipped {
            flow.flip();
        }
        let dir = if flipped { dir.flip() } else { dir };
        let duplicate = !flow.count(dir, packet, clock);
        Touch { id, dir, duplicate, flipped }
    }

    fn open(
        &mut self,
        hash: u64,
        tuple: FiveTuple,
        from_low: bool,
        packet: &Packet<'_>,
        clock: Timestamp,
        ended: &mut impl FnMut(Flow, T),
    ) -> u32 {
        if self.index.len() >= self.limit {
            self.make_room(clock, ended);
        }
        let flow = Flow::open(tuple, from_low, packet, clock);
        let when = self.timeouts.deadline(&flow);
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.slots.at_mut(index) {
                    slot.generation = slot.generation.wrapping_add(1);
                    (slot.flow, slot.state, slot.live) = (flow, T::default(), true);
                }
                index
            }
            None => self.slots.push(Slot { flow, state: T::default(), generation: 0, live: true }),
        };
        let generation = self.slots.at(index).map_or(0, |s| s.generation);
        self.agenda.note(when, index, generation);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, index, |i| slots.at(*i).map_or(0, |s| hasher.hash_one(s.key())));
        index
    }

    /// Takes a live slot's flow out and frees the slot.
    fn remove(&mut self, index: u32) -> Option<(Flow, T)> {
        let slot = self.slots.at_mut(index).filter(|s| s.live)?;
        slot.live = false;
        let (key, flow, state) = (slot.key(), slot.flow.clone(), std::mem::take(&mut slot.state));
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.index.find_entry(hash, |i| *i == index) {
            entry.remove();
        }
        self.free.push(index);
        Some((flow, state))
    }

    /// Evicts the flow that has been silent longest among a few, found by stepping through the slots.
    fn make_room(&mut self, clock: Timestamp, ended: &mut impl FnMut(Flow, T)) {
        const SAMPLE: u32 = 16;
        self.sweep(clock, &mut *ended);
        let count = self.slots.len();
        if self.index.len() < self.limit || count == 0 {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "any spread-out start will do")]
        let start = (self.evicted.wrapping_mul(0x9E37_79B9) as u32) % count;
        let oldest = (0..count.min(SAMPLE))
            .map(|i| (start.wrapping_add(i)) % count)
            .filter_map(|i| self.slots.at(i).filter(|s| s.live).map(|s| (s.flow.last_clock, i)))
            .min();
        if let Some((flow, state)) = oldest.and_then(|(_, i)| self.remove(i)) {
            self.evicted += 1;
            ended(flow, state);
        }
    }

    /// Gives out the flows that are over at `clock`. Only frees memory earlier than look-ups would.
    pub fn sweep(&mut self, clock: Timestamp, mut ended: impl FnMut(Flow, T)) {
        while let Some(due) = self.agenda.due(clock) {
            for (index, generation) in due {
                let Some(slot) = self.slots.at(index) else { continue };
                if !slot.live || slot.generation != generation {
                    continue;
                }
                if self.timeouts.is_over(&slot.flow, clock) {
                    if let Some((flow, state)) = self.remove(index) {
                        ended(flow, state);
                    }
                } else {
                    let soon = clock.plus(LOOK_AGAIN);
                    self.agenda.note(self.timeouts.deadline(&slot.flow).min(soon), index, generation);
                }
            }
        }
    }

    /// Ends all flows.
    pub fn drain(&mut self, mut ended: impl FnMut(Flow, T)) {
        self.index.clear();
        self.agenda.clear();
        self.free.clear();
        for slot in self.slots.0.drain(..).flatten().filter(|s| s.live) {
            ended(slot.flow, slot.state);
        }
    }

    /// Looks at every live flow and its state.
    pub fn for_each(&self, mut f: impl FnMut(&Flow, &T)) {
        for slot in self.slots.0.iter().flatten().filter(|s| s.live) {
            f(&slot.flow, &slot.state);
        }
    }
}
