//! Chance for tests, the same in every run: xorshift (Marsaglia, Journal of Statistical Software 2003).

/// A state other than 0.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Evenly in 0..n.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }
}
