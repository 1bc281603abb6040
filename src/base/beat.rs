//! The shortest round trip of five seconds: how a way's length changes from moment to moment.
//!
//! Stands here because sessions count beats and `fingerprint` keeps them. Beats begin 2 s, 7 s, 12 s and so on past each
//! minute, because the largest low-orbit network gives its users another satellite 12, 27, 42 and 57 s past it (Tanveer
//! et al., CoNEXT 2023): no beat lies astride of such a change.

use super::{Layer, RttKind, Side, Timestamp};
use std::time::Duration;

/// The round trips of one beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Beat {
    /// Which beat since 1970.
    pub number: u32,
    /// The shortest, in tenths of a millisecond; no more than 6.5 s.
    pub tenths: u16,
    /// How many; no more than 65,535.
    pub n: u16,
}

impl Beat {
    /// The length of a beat, and where the first of a minute begins, in nanoseconds.
    pub const NANOS: i64 = 5_000_000_000;
    const OFFSET: i64 = 2_000_000_000;

    /// The beat of one round trip.
    #[must_use]
    pub fn of(at: Timestamp, rtt: Duration) -> Self {
        let number = at.nanos().saturating_sub(Self::OFFSET).div_euclid(Self::NANOS);
        Self {
            number: u32::try_from(number.max(0)).unwrap_or(u32::MAX),
            tenths: u16::try_from(rtt.as_micros() / 100).unwrap_or(u16::MAX),
            n: 1,
        }
    }

    /// Whether round trips of a kind are counted: those that the client's TCP answers at once, so that all tell of the
    /// same way and of nothing but the way.
    #[must_use]
    pub fn counts(kind: &RttKind) -> bool {
        let tcp = matches!(kind.layer, Layer::TcpHandshake | Layer::TcpData);
        tcp && kind.side == Side::Client && !kind.ambiguous && !kind.may_wait()
    }

    /// Its length, in ms.
    #[must_use]
    pub fn ms(&self) -> f64 {
        f64::from(self.tenths) / 10.0
    }

    /// When it begins.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        Timestamp::from_nanos(i64::from(self.number) * Self::NANOS + Self::OFFSET)
    }

    /// Puts a beat into an ascending list, or into the one of the same number.
    pub fn put_into(self, beats: &mut Vec<Self>) {
        // Nearly always it is the last one, or later than that.
        let place = match beats.last() {
            Some(last) if last.number == self.number => beats.len() - 1,
            Some(last) if last.number > self.number => beats.partition_point(|known| known.number < self.number),
            _ => beats.len(),
        };
        match beats.get_mut(place).filter(|known| known.number == self.number) {
            Some(known) => {
                known.tenths = known.tenths.min(self.tenths);
                known.n = known.n.saturating_add(self.n);
            }
            None => beats.insert(place, self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_begins_where_a_low_orbit_changes_satellites() {
        // 2026-03-02T14:00:00Z.
        let at = |second: i64| Timestamp::from_parts(1_772_460_000 + second, 0);
        let number = |second| Beat::of(at(second), Duration::from_millis(20)).number;
        for change in [12, 27, 42, 57] {
            assert_eq!(number(change), number(change + 4));
            assert_eq!(number(change), number(change - 1) + 1);
            assert_eq!(Beat::of(at(change + 3), Duration::ZERO).start(), at(change));
            assert_eq!(number(change) % 3, number(12) % 3, "each change begins a beat of the same rest");
        }
        assert_eq!(Beat::of(Timestamp::MIN, Duration::from_secs(60)), Beat { number: 0, tenths: u16::MAX, n: 1 });
    }
}
