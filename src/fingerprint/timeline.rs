//! How a value of an endpoint changed over time, in bounded memory.
//!
//! Reads: times and values in any order. Emits: how often each value was seen, and when it changed for good.
//! Windows begin at 5 minutes and double while there are too many of them: what is kept depends on the set of
//! observations only, for a coarser window holds all that finer ones do. Does not: say why something changed.

use crate::base::{Emptiable, Timestamp};

/// The finest window.
const WINDOW_NANOS: i64 = 300_000_000_000;
/// Windows, times the values in each, that are kept.
const KEPT: usize = 64;
/// The coarsest window is 5 minutes times two to this power, 10 years: then the smallest values stay.
const DOUBLINGS: u32 = 20;
/// A value seen less often may be one forged or strayed packet and makes no change.
const SETTLED: u32 = 3;

/// One value in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Seen<V> {
    window: i32,
    value: V,
    n: u32,
}

impl<V: 'static> Emptiable for Timeline<V> {
    const EMPTY: &'static Self = &Self { doublings: 0, seen: Vec::new() };

    fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

/// Values over time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Timeline<V> {
    doublings: u32,
    /// Ascending by window, then by value.
    seen: Vec<Seen<V>>,
}

/// A value that gave way to another: none of those seen before was seen again, and none after it had been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<V> {
    /// The beginning of the window in which the new value was first seen; as coarse as the windows are.
    pub at: Timestamp,
    /// The commonest value before.
    pub from: V,
    /// The commonest value after.
    pub to: V,
}

impl<V> Default for Timeline<V> {
    fn default() -> Self {
        Self { doublings: 0, seen: Vec::new() }
    }
}

/// When one value was seen.
#[derive(Clone, Copy)]
struct Span<V> {
    value: V,
    first: i32,
    last: i32,
    n: u64,
}

impl<V> Span<V> {
    /// Whether a span that begins no earlier is of the same time. A window that both share is the change itself if one
    /// was there before it and the other stays after it.
    const fn is_beside(&self, later: &Self) -> bool {
        let hands_over = later.first == self.last && self.first < self.last && later.first < later.last;
        later.first <= self.last && !hands_over
    }
}

impl<V: Copy + Ord> Timeline<V> {
    /// Takes in one observation.
    pub(super) fn add(&mut self, at: Timestamp, value: V) {
        let window = self.window(at.nanos());
        self.insert(Seen { window, value, n: 1 });
        self.bound();
    }

    /// Takes in what another has: the same as if it had all been told to this one.
    pub(super) fn merge(&mut self, other: Self) {
        let doublings = other.doublings.min(DOUBLINGS);
        while self.doublings < doublings {
            self.double();
        }
        for mut seen in other.seen {
            seen.window = seen.window.div_euclid(1 << (self.doublings - doublings));
            self.insert(seen);
        }
        self.bound();
    }

    fn bound(&mut self) {
        while self.seen.len() > KEPT && self.doublings < DOUBLINGS {
            self.double();
        }
        self.seen.truncate(KEPT);
    }

    /// Makes the windows twice as long.
    fn double(&mut self) {
        self.doublings += 1;
        for mut seen in std::mem::take(&mut self.seen) {
            seen.window = seen.window.div_euclid(2);
            self.insert(seen);
        }
    }

    /// Any time in nanoseconds has a window far within 32 bits.
    #[expect(clippy::cast_possible_truncation, reason = "i64::MAX nanoseconds are 31 million windows")]
    const fn window(&self, nanos: i64) -> i32 {
        nanos.div_euclid(WINDOW_NANOS << self.doublings) as i32
    }

    fn insert(&mut self, new: Seen<V>) {
        match self.seen.binary_search_by(|seen| (seen.window, seen.value).cmp(&(new.window, new.value))) {
            Ok(place) => {
                if let Some(seen) = self.seen.get_mut(place) {
                    seen.n = seen.n.saturating_add(new.n);
                }
            }
            Err(place) => {
                if self.seen.is_empty() {
                    self.seen.reserve_exact(1);
                }
                self.seen.insert(place, new);
            }
        }
    }

    /// The values, ascending, and how often each was seen.
    pub(super) fn counts(&self) -> Vec<(V, u64)> {
        let mut counts: Vec<(V, u64)> = Vec::new();
        for span in self.spans() {
            counts.push((span.value, span.n));
        }
        counts
    }

    /// Ascending by value.
    fn spans(&self) -> Vec<Span<V>> {
        let mut spans: Vec<Span<V>> = Vec::new();
        for seen in &self.seen {
            let n = u64::from(seen.n);
            match spans.binary_search_by(|span| span.value.cmp(&seen.value)) {
                Ok(place) => {
                    if let Some(span) = spans.get_mut(place) {
                        span.first = span.first.min(seen.window);
                        span.last = span.last.max(seen.window);
                        span.n += n;
                    }
                }
                Err(place) => {
                    spans.insert(place, Span { value: seen.value, first: seen.window, last: seen.window, n });
                }
            }
        }
        spans
    }

    /// The changes, earliest first. Values that come and go beside each other (two paths, two machines) are no change.
    pub(super) fn changes(&self) -> Vec<Change<V>> {
        let mut spans: Vec<Span<V>> = self.spans().into_iter().filter(|s| s.n >= u64::from(SETTLED)).collect();
        spans.sort_unstable_by_key(|span| (span.first, span.value));
        // Values whose times overlap make one stage together: its end, its beginning, its commonest value.
        let mut stages: Vec<Span<V>> = Vec::new();
        for span in spans {
            match stages.last_mut().filter(|stage| stage.is_beside(&span)) {
                Some(stage) => {
                    stage.last = stage.last.max(span.last);
                    if span.n > stage.n {
                        (stage.value, stage.n) = (span.value, span.n);
                    }
                }
                None => stages.push(span),
            }
        }
        let width = WINDOW_NANOS << self.doublings;
        let change = |(before, after): (&Span<V>, &Span<V>)| Change {
            at: Timestamp::from_nanos(i64::from(after.first).saturating_mul(width)),
            from: before.value,
            to: after.value,
        };
        stages.iter().zip(stages.iter().skip(1)).map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn minutes(minutes: i64) -> Timestamp {
        Timestamp::from_nanos(minutes * 60_000_000_000)
    }

    #[test]
    fn a_change_is_one_that_stays() {
        let mut line = Timeline::default();
        (0..12).for_each(|i| line.add(minutes(i * 5), 13u8));
        assert_eq!(line.changes(), []);
        line.add(minutes(20), 14);
        assert_eq!(line.changes(), [], "one packet is no change");
        (12..20).for_each(|i| line.add(minutes(i * 5), 15));
        assert_eq!(line.changes(), [Change { at: minutes(60), from: 13, to: 15 }]);
        line.add(minutes(200), 13);
        assert_eq!(line.changes(), [], "the old value is back: two paths beside each other");
        assert_eq!(line.counts(), [(13, 13), (14, 1), (15, 8)]);
    }

    #[test]
    fn months_of_observations_stay_bounded_and_keep_the_change() {
        let mut line = Timeline::default();
        let hour = |i: i64| minutes(i * 60);
        for i in 0..4_000 {
            line.add(hour(i), if i < 3_000 { 1_460u16 } else { 1_380 });
        }
        assert!(line.seen.len() <= KEPT);
        let changes = line.changes();
        let width = WINDOW_NANOS << line.doublings;
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].from, changes[0].to), (1_460, 1_380));
        assert!((changes[0].at.nanos() - hour(3_000).nanos()).abs() <= width);
    }

    proptest! {
        /// The order in which observations come, and who has them, does not matter.
        #[test]
        fn the_order_does_not_matter(mut seen in prop::collection::vec((0i64..4_000_000, 0u8..90), 0..300), seed in any::<u64>()) {
            let line = |seen: &[(i64, u8)]| {
                let mut line = Timeline::default();
                seen.iter().for_each(|(at, value)| line.add(minutes(*at), *value));
                line
            };
            let forward = line(&seen);
            seen.sort_unstable_by_key(|(at, value)| (at ^ i64::try_from(seed >> 32).unwrap(), value ^ 0x55));
            prop_assert_eq!(&line(&seen), &forward);
            prop_assert!(forward.seen.len() <= KEPT);
            if forward.doublings < DOUBLINGS {
                prop_assert_eq!(forward.counts().iter().map(|(_, n)| n).sum::<u64>(), seen.len() as u64);
            }
        }
    }
}
