//! A summary of any number of durations in bounded memory, that two halves can be put together from in any order.
//!
//! Count, least and greatest are exact. Quantiles are exact while there are few, and then within 0.8 % (half the width
//! of a bin: 64 bins an octave), as a sparse histogram with logarithmic bins. When it is full, the highest bins become
//! one: the low quantiles stay right, one that lies among the collapsed is told too short (Masson, Rim, Lee: DDSketch,
//! VLDB 2019, section 2.2, with the other end collapsed). Which bins are left depends on the set of durations only.

use std::time::Duration;

/// A duration in 32 bits: nanoseconds below 2.1 s, microseconds up to 35 minutes beyond, and no more than that.
/// Ordered as durations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
struct Length(u32);

impl Length {
    const MICROS: u32 = 1 << 31;

    fn of(duration: Duration) -> Self {
        match u32::try_from(duration.as_nanos()) {
            Ok(nanos) if nanos < Self::MICROS => Self(nanos),
            _ => {
                let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
                Self(Self::MICROS | micros.min(Self::MICROS - 1))
            }
        }
    }

    const fn nanos(self) -> u64 {
        let low = (self.0 & !Self::MICROS) as u64;
        if self.0 & Self::MICROS == 0 { low } else { low * 1_000 }
    }

    const fn duration(self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    /// Bins an octave, as a power of two.
    const BITS: u32 = 6;

    /// The number of its bin: the octave, and the next bits after the leading one.
    fn bin(self) -> u16 {
        let nanos = self.nanos();
        let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(Self::BITS + 1);
        u16::try_from((u64::from(shift) << Self::BITS) + (nanos >> shift)).unwrap_or(u16::MAX)
    }

    /// The middle of a bin.
    fn of_bin(bin: u16) -> Duration {
        let shift = u32::from(bin >> Self::BITS).saturating_sub(1);
        let lead = u64::from(bin) - (u64::from(shift) << Self::BITS);
        // No duration has a bin so high, but a file may.
        let shift = shift.min(u64::BITS - Self::BITS - 2);
        Duration::from_nanos((lead << shift) + (1u64 << shift) / 2)
    }
}

/// Durations counted together; the count in two halves, so that a bin takes 6 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Bin {
    bin: u16,
    count: [u16; 2],
}

impl Bin {
    const fn count(self) -> u32 {
        self.count[0] as u32 | (self.count[1] as u32) << 16
    }

    #[expect(clippy::cast_possible_truncation, reason = "two halves")]
    const fn set(&mut self, count: u32) {
        self.count = [count as u16, (count >> 16) as u16];
    }
}

/// Durations that take no memory of their own: most digests never have more.
const INLINE: usize = 3;

/// Each ascending. Boxed where they are many, so that one of a few takes 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    /// As many as there are durations; the others are 0.
    Inline([Length; INLINE]),
    #[expect(clippy::box_collection, reason = "there are many digests, and most are inline")]
    Few(Box<Vec<Length>>),
    #[expect(clippy::box_collection, reason = "there are many digests, and most are inline")]
    Bins(Box<Vec<Bin>>),
}

/// Durations of one kind: up to `FEW` as they are, then in at most `BINS` bins.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "stored::Digest", into = "stored::Digest")]
pub struct Digest<const FEW: usize, const BINS: usize> {
    n: u64,
    min: Length,
    max: Length,
    body: Body,
}

/// Of one flow.
pub type FlowDigest = Digest<16, 128>;
/// Of an endpoint or a session of many flows.
pub type WideDigest = Digest<64, 512>;

impl<const FEW: usize, const BINS: usize> Default for Digest<FEW, BINS> {
    fn default() -> Self {
        Self { n: 0, min: Length::default(), max: Length::default(), body: Body::Inline([Length::default(); INLINE]) }
    }
}

/// A digest as it is written down: whether few durations are in a box or not is nobody's business.
mod stored {
    use super::{Bin, INLINE, Length};

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Digest {
        n: u64,
        min: Length,
        max: Length,
        body: Body,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    enum Body {
        Few(Vec<Length>),
        Bins(Vec<Bin>),
    }

    impl<const FEW: usize, const BINS: usize> From<super::Digest<FEW, BINS>> for Digest {
        fn from(digest: super::Digest<FEW, BINS>) -> Self {
            let body = match digest.body {
                super::Body::Inline(few) => Body::Few(few.into_iter().take(few_of(digest.n)).collect()),
                super::Body::Few(few) => Body::Few(*few),
                super::Body::Bins(bins) => Body::Bins(*bins),
            };
            Self { n: digest.n, min: digest.min, max: digest.max, body }
        }
    }

    impl<const FEW: usize, const BINS: usize> From<Digest> for super::Digest<FEW, BINS> {
        fn from(stored: Digest) -> Self {
            let body = match stored.body {
                Body::Few(few) if few.len() <= INLINE => {
                    let mut inline = [Length::default(); INLINE];
                    inline.iter_mut().zip(few).for_each(|(place, length)| *place = length);
                    super::Body::Inline(inline)
                }
                Body::Few(few) => super::Body::Few(Box::new(few)),
                Body::Bins(bins) => super::Body::Bins(Box::new(bins)),
            };
            Self { n: stored.n, min: stored.min, max: stored.max, body }
        }
    }

    fn few_of(n: u64) -> usize {
        usize::try_from(n).unwrap_or(INLINE)
    }
}

impl<const FEW: usize, const BINS: usize> Digest<FEW, BINS> {
    /// The first bins; when they are taken, as many more as there are. There are many flows, and most need few.
    const STEP: usize = if BINS <= 128 { 8 } else { 16 };

    /// Adds one; longer than 35 minutes counts as 35 minutes.
    pub fn add(&mut self, duration: Duration) {
        let length = Length::of(duration);
        self.widen(length, length);
        self.add_many(length, 1);
    }

    /// Adds all of another.
    pub fn merge<const F: usize, const B: usize>(&mut self, other: &Digest<F, B>) {
        if other.n == 0 {
            return;
        }
        self.widen(other.min, other.max);
        match &other.body {
            Body::Inline(_) | Body::Few(_) => other.few().iter().for_each(|length| self.add_many(*length, 1)),
            Body::Bins(bins) => {
                for bin in bins.iter() {
                    self.add_many(Length::of(Length::of_bin(bin.bin)), bin.count());
                }
            }
        }
    }

    /// How many.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// The shortest, exact.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (self.n > 0).then(|| self.min.duration())
    }

    /// The longest, exact.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.n > 0).then(|| self.max.duration())
    }

    /// A quantile, `q` in 0..=1, by nearest rank: the least duration with that share of all at or below it.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.n == 0 {
            return None;
        }
        let rank = rank(self.n, q);
        match &self.body {
            Body::Inline(_) | Body::Few(_) => {
                self.few().get(usize::try_from(rank).ok()?).map(|length| length.duration())
            }
            Body::Bins(bins) => {
                let mut below = 0;
                let bin = bins.iter().find(|bin| {
                    below += u64::from(bin.count());
                    below > rank
                });
                Some(Length::of_bin(bin.or(bins.last())?.bin).clamp(self.min.duration(), self.max.duration()))
            }
        }
    }

    fn widen(&mut self, min: Length, max: Length) {
        (self.min, self.max) = if self.n == 0 { (min, max) } else { (self.min.min(min), self.max.max(max)) };
    }

    /// The durations, as long as they are kept as they are.
    fn few(&self) -> &[Length] {
        match &self.body {
            Body::Inline(few) => few.get(..usize::try_from(self.n).unwrap_or(INLINE)).unwrap_or(few),
            Body::Few(few) => few,
            Body::Bins(_) => &[],
        }
    }

    fn add_many(&mut self, length: Length, count: u32) {
        let before = self.n;
        self.n += u64::from(count);
        if let Body::Inline(few) = &mut self.body {
            if self.n <= INLINE as u64 {
                // The places behind those taken are filled, then all brought in order.
                let free = few.iter_mut().skip(usize::try_from(before).unwrap_or(INLINE));
                free.take(count as usize).for_each(|place| *place = length);
                let taken = usize::try_from(self.n).unwrap_or(INLINE);
                few.get_mut(..taken).unwrap_or_default().sort_unstable();
                return;
            }
            let taken = few.get(..usize::try_from(before).unwrap_or(INLINE)).unwrap_or(few);
            let mut few = Vec::with_capacity(INLINE + 1);
            few.extend_from_slice(taken);
            self.body = Body::Few(Box::new(few));
        }
        if let Body::Few(few) = &mut self.body {
            if self.n <= FEW as u64 {
                let place = few.partition_point(|known| *known < length);
                few.splice(place..place, std::iter::repeat_n(length, count as usize));
                return;
            }
            let few = std::mem::take(&mut **few);
            self.body = Body::Bins(Box::new(Vec::with_capacity(Self::STEP)));
            few.iter().for_each(|length| self.count(length.bin(), 1));
        }
        self.count(length.bin(), count);
    }

    fn count(&mut self, bin: u16, more: u32) {
        let Body::Bins(bins) = &mut self.body else { return };
        let place = match bins.binary_search_by_key(&bin, |b| b.bin) {
            Ok(place) => place,
            Err(place) if bins.len() < BINS => {
                if bins.len() == bins.capacity() {
                    bins.reserve_exact(bins.len().max(Self::STEP).min(BINS - bins.len()));
                }
                bins.insert(place, Bin { bin, count: [0; 2] });
                place
            }
            Err(place) if place == bins.len() => place - 1,
            Err(place) => {
                // One more than there is room for: the two highest become one, as high as the lower of the two.
                if place + 1 == bins.len() {
                    bins.last_mut().into_iter().for_each(|last| last.bin = bin);
                } else {
                    if let (Some(last), Some(before)) = (bins.pop(), bins.last_mut()) {
                        before.set(before.count().saturating_add(last.count()));
                    }
                    bins.insert(place, Bin { bin, count: [0; 2] });
                }
                place
            }
        };
        if let Some(bin) = bins.get_mut(place) {
            bin.set(bin.count().saturating_add(more));
        }
    }
}

/// The place of a quantile among `n` in ascending order, from 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "0 to n")]
fn rank(n: u64, q: f64) -> u64 {
    ((n as f64 * q).ceil() as u64).clamp(1, n) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest<const F: usize, const B: usize>(nanos: &[u64]) -> Digest<F, B> {
        let mut digest = Digest::default();
        nanos.iter().for_each(|n| digest.add(Duration::from_nanos(*n)));
        digest
    }

    #[test]
    fn a_length_keeps_the_order_and_the_value() {
        let lengths = [0, 1, 999_999_999, 2_147_483_647, 2_147_483_648, 5_000_000_000, 2_000_000_000_000];
        let all: Vec<Length> = lengths.iter().map(|n| Length::of(Duration::from_nanos(*n))).collect();
        assert!(all.is_sorted());
        for (length, nanos) in all.iter().zip(lengths) {
            assert!(nanos.abs_diff(length.nanos()) < 1_000 && (nanos >= 1 << 31 || nanos == length.nanos()));
        }
        assert_eq!(Length::of(Duration::from_secs(9_000)).duration().as_secs(), 2_147);
    }

    #[test]
    fn bins_hold_what_they_say() {
        let mut last = 0;
        for nanos in (0..2_000u64).chain((10..40).flat_map(|e| (0..64).map(move |i| (1 << e) + i * ((1 << e) / 64)))) {
            let length = Length::of(Duration::from_nanos(nanos));
            let middle = u64::try_from(Length::of_bin(length.bin()).as_nanos()).unwrap();
            assert!(middle.abs_diff(length.nanos()) * 128 <= length.nanos(), "{nanos} is told as {middle}");
            assert!(length.bin() >= last || nanos < 2_000);
            last = length.bin();
        }
    }

    #[test]
    fn a_full_digest_gives_up_its_highest() {
        let spread: Vec<u64> = (0..400).map(|i| 1_000_000 + i * 100_000).collect();
        let full: Digest<4, 8> = digest(&spread);
        let Body::Bins(bins) = &full.body else { panic!("many") };
        assert_eq!((bins.len(), full.n(), full.max()), (8, 400, Some(Duration::from_nanos(40_900_000))));
        assert_eq!(bins.iter().map(|b| u64::from(b.count())).sum::<u64>(), 400);
        let low = full.quantile(0.01).unwrap().as_secs_f64();
        assert!((low / 0.0013 - 1.0).abs() < 0.008, "{low}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut flow = FlowDigest::default();
        (1..100_000u64).for_each(|i| flow.add(Duration::from_nanos(i * i)));
        let Body::Bins(bins) = &flow.body else { panic!("many") };
        assert!(bins.capacity() * size_of::<Bin>() <= 768 && size_of::<FlowDigest>() <= 32);
    }

    proptest! {
        /// Quantiles are within the stated error of the exact ones, and nothing depends on order or on who counted.
        #[test]
        fn quantiles_keep_their_promise(
            mut nanos in proptest::collection::vec(1u64..2_000_000_000, 1..400),
            cut in any::<prop::sample::Index>(),
        ) {
            let all: WideDigest = digest(&nanos);
            nanos.reverse();
            let (one, other) = nanos.split_at(cut.index(nanos.len()));
            let mut put: WideDigest = digest(other);
            put.merge(&digest::<64, 512>(one));
            nanos.sort_unstable();
            prop_assert_eq!(put.min(), Some(Duration::from_nanos(nanos[0])));
            prop_assert_eq!(put.max(), nanos.last().map(|n| Duration::from_nanos(*n)));
            for q in [0.0, 0.05, 0.5, 1.0] {
                prop_assert_eq!(put.quantile(q), all.quantile(q));
                let exact = nanos[usize::try_from(rank(put.n(), q)).unwrap()] as f64;
                let told = put.quantile(q).unwrap().as_nanos() as f64;
                let error = if nanos.len() <= 64 { 0.0 } else { 0.008 * exact + 1.0 };
                prop_assert!((told - exact).abs() <= error, "{} is told as {}", exact, told);
            }
        }

        /// Which bins are left depends on the set only, also when they are too many.
        #[test]
        fn what_is_full_still_merges_in_any_order(
            parts in proptest::collection::vec(proptest::collection::vec(1u64..2_000_000_000, 0..40), 2..6),
        ) {
            let merged = |parts: &mut dyn Iterator<Item = &Vec<u64>>| {
                let mut all = Digest::<4, 8>::default();
                parts.for_each(|part| all.merge(&digest::<4, 8>(part)));
                all
            };
            let (forth, back) = (merged(&mut parts.iter()), merged(&mut parts.iter().rev()));
            prop_assert_eq!((forth.n(), forth.min(), forth.max()), (back.n(), back.min(), back.max()));
            prop_assert_eq!(forth, back);
        }
    }
}
