//! How many bytes passed in each quarter of a second.
//!
//! Reads: time, sender and length of each packet of one address. Emits: [`Volume`]s, to be summed elsewhere.
//! Bias: none in the sums; a packet is counted in the tick of its own time stamp, so that two capture points whose
//! clocks differ count it in different ticks. Holds [`VolumeMeter::TICKS`] ticks and no more.

use crate::base::{Timestamp, Volume};

/// Counts what passes at one address.
#[derive(Debug, Default)]
pub struct VolumeMeter {
    /// Grows to its bound and keeps its memory: most addresses need a few ticks only.
    ticks: Vec<Volume>,
}

impl VolumeMeter {
    /// Ticks held at once: four seconds of steady traffic.
    pub const TICKS: usize = 16;

    /// A packet of so many bytes. `false`, and it is not counted, if all ticks are taken: [`Self::take`] them first.
    #[must_use]
    pub fn on_packet(&mut self, at: Timestamp, from_worker: bool, len: u32) -> bool {
        let tick = Volume::tick_of(at);
        // The newest is nearly always the one; packets that come a little late find theirs still there.
        if let Some(volume) = self.ticks.iter_mut().rev().find(|volume| volume.tick == tick) {
            volume.add(from_worker, len);
            return true;
        }
        if self.ticks.len() >= Self::TICKS {
            return false;
        }
        let mut volume = Volume { tick, ..Volume::default() };
        volume.add(from_worker, len);
        self.ticks.push(volume);
        true
    }

    /// What has been counted since the last call.
    pub fn take(&mut self, f: impl FnOnce(&[Volume])) {
        if !self.ticks.is_empty() {
            f(&self.ticks);
            self.ticks.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_what_was_counted() {
        let mut meter = VolumeMeter::default();
        let mut counted = 0u64;
        let mut take = |meter: &mut VolumeMeter| {
            meter.take(|volumes| {
                assert!(volumes.len() <= VolumeMeter::TICKS);
                counted += volumes.iter().map(|v| u64::from(v.bytes[0]) + u64::from(v.bytes[1])).sum::<u64>();
            });
        };
        for i in 0..1_000i64 {
            // Two captures merged: now and then a packet comes late.
            let at = Timestamp::from_nanos(i * 40_000_000 - (i % 7) * 90_000_000);
            if !meter.on_packet(at, i % 3 == 0, 100) {
                take(&mut meter);
                assert!(meter.on_packet(at, i % 3 == 0, 100));
            }
        }
        take(&mut meter);
        assert_eq!(counted, 100_000);
    }
}
