//! What passed when at one address, for hours.
//!
//! Commutative: the content depends on the set of what was told only. Time is cut into blocks of five minutes. The
//! latest [`FINE_BLOCKS`] blocks with traffic hold quarter seconds, older ones five seconds, and of those the oldest go
//! when there are [`BLOCKS`]. An entry takes 20 bytes and exists only where something passed.

use crate::base::Volume;
use std::collections::BTreeMap;

/// Ticks in a block.
pub(super) const BLOCK: i64 = 300 * Volume::TICKS;
/// Ticks in a coarse entry.
pub(super) const COARSE: i64 = 5 * Volume::TICKS;
/// Coarse entries in a block.
pub(super) const COARSE_IN_BLOCK: usize = 60;
/// Blocks that hold single ticks: a quarter of an hour of traffic.
const FINE_BLOCKS: usize = 3;
/// Blocks: four hours of traffic.
const BLOCKS: usize = 48;

/// An entry of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its first tick, from the beginning of the block.
    pub(super) at: u16,
    /// From the worker and to it.
    pub(super) packets: [u32; 2],
    /// The same.
    pub(super) bytes: [u32; 2],
}

impl Entry {
    fn add(&mut self, other: &Self) {
        let add = |own: &mut [u32; 2], more: &[u32; 2]| {
            for (own, more) in own.iter_mut().zip(more) {
                *own = own.saturating_add(*more);
            }
        };
        add(&mut self.packets, &other.packets);
        add(&mut self.bytes, &other.bytes);
    }
}

/// Five minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) fine: bool,
    /// Ascending.
    pub(super) entries: Vec<Entry>,
}

impl Block {
    fn add(&mut self, mut entry: Entry) {
        if !self.fine {
            entry.at -= entry.at % 20;
        }
        let place = self.entries.partition_point(|known| known.at < entry.at);
        match self.entries.get_mut(place).filter(|known| known.at == entry.at) {
            Some(known) => known.add(&entry),
            None => self.entries.insert(place, entry),
        }
    }

    fn coarsen(&mut self) {
        if std::mem::take(&mut self.fine) {
            let fine = std::mem::take(&mut self.entries);
            fine.into_iter().for_each(|entry| self.add(entry));
            self.entries.shrink_to_fit();
        }
    }

    /// In five seconds each, from the worker and to it.
    pub(super) fn coarse(&self) -> [Vec<f32>; 2] {
        let mut sums = [vec![0.0; COARSE_IN_BLOCK], vec![0.0; COARSE_IN_BLOCK]];
        for entry in &self.entries {
            for (sums, bytes) in sums.iter_mut().zip(entry.bytes) {
                if let Some(sum) = sums.get_mut(usize::from(entry.at / 20)) {
                    #[expect(clippy::cast_precision_loss, reason = "an amount to compare")]
                    let bytes = bytes as f32;
                    *sum += bytes;
                }
            }
        }
        sums
    }
}

/// All blocks of one address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Series {
    blocks: BTreeMap<i64, Block>,
    /// The first tick ever, also if what passed then is forgotten.
    first: Option<i64>,
}

impl Series {
    /// Takes in what passed.
    pub(super) fn add(&mut self, volumes: &[Volume]) {
        self.first = self.first.into_iter().chain(volumes.iter().map(|volume| volume.tick)).min();
        for volume in volumes {
            let number = volume.tick.div_euclid(BLOCK);
            let at = u16::try_from(volume.tick.rem_euclid(BLOCK)).unwrap_or(0);
            let entry = Entry { at, packets: volume.packets, bytes: volume.bytes };
            if let Some(block) = self.blocks.get_mut(&number) {
                block.add(entry);
            } else {
                self.open(number).add(entry);
                self.tidy();
            }
        }
    }

    fn open(&mut self, number: i64) -> &mut Block {
        let later = self.blocks.range(number..).count();
        self.blocks.entry(number).or_insert_with(|| Block { fine: later < FINE_BLOCKS, entries: Vec::new() })
    }

    /// Which blocks are fine and which stay depends on their numbers only.
    fn tidy(&mut self) {
        if self.blocks.len() > BLOCKS {
            self.blocks.pop_first();
        }
        for block in self.blocks.values_mut().rev().skip(FINE_BLOCKS) {
            block.coarsen();
        }
    }

    /// Block by block, by number.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (i64, &Block)> {
        self.blocks.iter().map(|(number, block)| (*number, block))
    }

    /// The earliest tick of which something is certain to be known, if older ones had to go.
    pub(super) fn forgotten_before(&self) -> Option<i64> {
        (self.blocks.len() >= BLOCKS).then(|| self.blocks.keys().next().map(|number| number * BLOCK)).flatten()
    }

    /// The first tick ever.
    pub(super) const fn first(&self) -> Option<i64> {
        self.first
    }

    /// Bytes of both directions from `from` on, up to `to`.
    pub(super) fn bytes_between(&self, from: i64, to: i64) -> f64 {
        let entries = self.entries().filter(|(tick, ..)| (from..=to).contains(tick));
        entries.map(|(.., entry)| entry.bytes.iter().copied().map(f64::from).sum::<f64>()).sum()
    }

    /// First and last tick with traffic that is kept.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        let (first, block) = self.blocks.first_key_value()?;
        let from = first * BLOCK + i64::from(block.entries.first()?.at);
        let (last, block) = self.blocks.last_key_value()?;
        let width = if block.fine { 1 } else { COARSE };
        Some((from, last * BLOCK + i64::from(block.entries.last()?.at) + width - 1))
    }

    /// All entries with their first tick and width.
    pub(super) fn entries(&self) -> impl Iterator<Item = (i64, i64, &Entry)> {
        self.blocks.iter().flat_map(|(number, block)| {
            let width = if block.fine { 1 } else { COARSE };
            block.entries.iter().map(move |entry| (number * BLOCK + i64::from(entry.at), width, entry))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(volumes: &[(i64, u32)], piece: usize) -> Series {
        let volumes: Vec<Volume> = volumes
            .iter()
            .map(|(tick, bytes)| Volume { tick: *tick, packets: [1, 0], bytes: [*bytes, bytes / 2] })
            .collect();
        let mut series = Series::default();
        volumes.chunks(piece.max(1)).for_each(|piece| series.add(piece));
        series
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(
            volumes in proptest::collection::vec((-40_000i64..90_000, 0u32..3_000), 1..400),
            turn in 0usize..400,
            piece in 1usize..40,
        ) {
            let mut turned = volumes.clone();
            turned.rotate_left(turn % volumes.len());
            turned.reverse();
            prop_assert_eq!(series(&volumes, 1), series(&turned, piece));
        }
    }

    #[test]
    fn bounds_hold_and_what_is_kept_is_whole() {
        let volumes: Vec<(i64, u32)> = (0..200_000).map(|tick| (tick, 10)).collect();
        let series = series(&volumes, 16);
        assert_eq!(series.blocks.len(), BLOCKS);
        let fine = series.blocks.values().filter(|block| block.fine).count();
        assert_eq!(fine, FINE_BLOCKS);
        assert!(series.blocks.values().all(|block| block.entries.len() <= if block.fine { 1_200 } else { 60 }));
        let (from, to) = series.span().unwrap();
        let bytes: u64 = series.entries().map(|(.., entry)| u64::from(entry.bytes[0])).sum();
        assert_eq!(bytes, 10 * u64::try_from(to - from + 1).unwrap());
        assert!(series.forgotten_before() == Some(from));
    }
}
