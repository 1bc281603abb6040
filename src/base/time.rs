//! Capture time: nanoseconds since the Unix epoch, signed, as the packet brought it.
//!
//! Does not: read a clock. A capture may hold times before 1970 or far in the future; arithmetic saturates.

use std::time::Duration;

/// A point in capture time, in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time that can be told.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time that can be told.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds and nanoseconds since the epoch, saturating.
    #[must_use]
    pub const fn from_parts(seconds: i64, nanos: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The time that passed since `earlier`; `None` if it is later than `self`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Option<Duration> {
        match self.0.checked_sub(earlier.0) {
            Some(nanos) if nanos >= 0 => Some(Duration::from_nanos(nanos.unsigned_abs())),
            _ => None,
        }
    }

    /// The time `span` before this one, saturating.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// This time and `span` more, saturating.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_only_forwards() {
        let a = Timestamp::from_parts(10, 5);
        let b = a.plus(Duration::from_micros(3));
        assert_eq!(b.since(a), Some(Duration::from_micros(3)));
        assert_eq!(a.since(b), None);
        assert_eq!(Timestamp::MAX.since(Timestamp::MIN), None);
        assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
    }
}
