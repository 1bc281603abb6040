//! Seeded chance: named streams of `oorandom` (PCG, O'Neill 2014) and the few distributions the model needs.
//!
//! Reads: a seed and a name. Emits: integers, byte strings, waiting times. Does not: read a clock or the system's
//! entropy, or call the maths library. Exponential waits come from von Neumann's comparison method ("Various
//! techniques used in connection with random digits", NBS 1951), which only compares and adds, so a seed gives the
//! same capture on every platform.

use oorandom::Rand64;

/// One stream of chance. Streams of different names are independent, so drawing more in one leaves the others alone.
#[derive(Debug, Clone)]
pub(super) struct Random(Rand64);

impl Random {
    /// The stream `name` of `seed`.
    pub(super) fn stream(seed: u64, name: &str) -> Self {
        // FNV-1a over the name (draft-eastlake-fnv); it only has to spread names.
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self(Rand64::new((u128::from(seed) << 64) | u128::from(hash)))
    }

    /// A uniform integer in `0..bound`; 0 when the bound is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.rand_range(0..bound) }
    }

    /// A uniform integer from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.saturating_sub(low).max(0).unsigned_abs();
        low.saturating_add_unsigned(self.below(width.saturating_add(1)))
    }

    /// A uniform index into something of `len` items; 0 for an empty one.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// One item of a slice.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.index(from.len()))
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.0.rand_float() < p
    }

    /// An exponential variate of mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        let mut whole = 0.0;
        loop {
            let first = self.0.rand_float();
            let (mut last, mut run) = (first, 1_u32);
            loop {
                let next = self.0.rand_float();
                if next > last {
                    break;
                }
                (last, run) = (next, run.wrapping_add(1));
            }
            if run % 2 == 1 {
                return whole + first;
            }
            whole += 1.0;
        }
    }

    /// A queueing delay with the given mean: Erlang of order 2 (gamma of shape 2), never negative.
    pub(super) fn erlang(&mut self, mean: i64) -> i64 {
        ((self.exponential() + self.exponential()) * 0.5 * mean as f64) as i64
    }

    /// `n` bytes that look like ciphertext.
    pub(super) fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(n.saturating_add(8));
        while out.len() < n {
            out.extend_from_slice(&self.0.rand_u64().to_be_bytes());
        }
        out.truncate(n);
        out
    }

    /// `N` bytes as an array.
    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.bytes(N).first_chunk().copied().unwrap_or([0; N])
    }

    /// Puts a slice into a random order (Fisher-Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last.saturating_add(1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_repeatable_and_apart() {
        let (mut a, mut b, mut c) = (Random::stream(7, "a"), Random::stream(7, "a"), Random::stream(7, "b"));
        assert_eq!(a.bytes(64), b.bytes(64));
        assert_ne!(a.bytes(64), c.bytes(64));
        assert_eq!(a.bytes(13).len(), 13);
    }

    #[test]
    fn the_exponential_has_the_right_mean_and_tail() {
        let mut random = Random::stream(1, "exponential");
        let n = 200_000;
        let draws: Vec<f64> = (0..n).map(|_| random.exponential()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let above = |x: f64| draws.iter().filter(|d| **d > x).count() as f64 / f64::from(n);
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        // P(X > x) = e^-x.
        assert!((above(0.5) - 0.6065).abs() < 0.005, "{}", above(0.5));
        assert!((above(2.0) - 0.1353).abs() < 0.005, "{}", above(2.0));
        assert!((above(4.0) - 0.0183).abs() < 0.002, "{}", above(4.0));
    }

    #[test]
    fn queueing_delay_has_mean_and_variance_of_an_erlang_two() {
        let mut random = Random::stream(2, "erlang");
        let n = 100_000;
        let draws: Vec<f64> = (0..n).map(|_| random.erlang(1_000_000) as f64).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / f64::from(n);
        assert!((mean - 1e6).abs() < 1e4, "{mean}");
        // The variance of an Erlang-2 is half the square of its mean.
        assert!((variance / 5e11 - 1.0).abs() < 0.03, "{variance}");
        assert!(draws.iter().all(|d| *d >= 0.0));
    }

    #[test]
    fn shuffling_keeps_every_item_and_moves_them_evenly() {
        let mut random = Random::stream(3, "shuffle");
        let mut first = [0_u32; 4];
        for _ in 0..4000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            first[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3]);
        }
        assert!(first.iter().all(|n| (850..1150).contains(n)), "{first:?}");
    }
}
