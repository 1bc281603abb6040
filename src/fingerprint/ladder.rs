//! The latency ladder of an endpoint: for each layer, how long the shortest and the usual round trip is.
//!
//! Mergeable: the content depends only on the set of samples, not on their order or on who saw them. Up to
//! [`Samples::EXACT`] samples are kept as they are; beyond, a DDSketch keeps quantiles with a relative error of 1 %
//! (Masson, Rim, Lee: DDSketch, VLDB 2019). The minimum is always exact.

use crate::base::{Layer, RttSample, Timestamp};
use sketches_ddsketch::{Config, DDSketch};
use std::time::Duration;

/// Length of the windows that tell whether samples are spread over time (science note 0.2: queues are autocorrelated).
const WINDOW_NANOS: i64 = 300_000_000_000;
/// Windows told apart; more are not needed by any rule.
const WINDOWS: usize = 64;

/// Durations of one kind.
#[derive(Clone, Default)]
pub struct Samples {
    /// Microseconds, unsorted, while few.
    exact: Vec<u32>,
    /// Microseconds, once many.
    sketch: Option<Box<DDSketch>>,
    n: u64,
    min: u32,
}

impl std::fmt::Debug for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Samples").field("n", &self.n).field("min_us", &self.min).finish_non_exhaustive()
    }
}

impl Samples {
    /// So many samples are kept exactly.
    pub const EXACT: usize = 64;

    /// Adds one; longer than 71 minutes counts as 71 minutes.
    pub fn add(&mut self, duration: Duration) {
        self.add_micros(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
    }

    fn add_micros(&mut self, micros: u32) {
        self.min = if self.n == 0 { micros } else { self.min.min(micros) };
        self.n += 1;
        if let Some(sketch) = &mut self.sketch {
            sketch.add(f64::from(micros));
            return;
        }
        if self.exact.is_empty() {
            self.exact.reserve_exact(1);
        }
        self.exact.push(micros);
        if self.exact.len() > Self::EXACT {
            let mut sketch = Box::new(DDSketch::new(Config::new(0.01, 2048, 1.0)));
            self.exact.drain(..).for_each(|m| sketch.add(f64::from(m)));
            self.exact.shrink_to_fit();
            self.sketch = Some(sketch);
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
        (self.n > 0).then(|| Duration::from_micros(u64::from(self.min)))
    }

    /// A quantile, `q` in 0..=1, by nearest rank; exact while few, within 1 % beyond.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let micros = if let Some(sketch) = &self.sketch {
            sketch.quantile(q).ok().flatten()?.max(f64::from(self.min))
        } else {
            let mut sorted = self.exact.clone();
            sorted.sort_unstable();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "at most 64"
            )]
            let rank = ((sorted.len() as f64 * q).ceil() as usize).saturating_sub(1);
            f64::from(*sorted.get(rank)?)
        };
        Some(Duration::from_secs_f64(micros / 1e6))
    }
}

/// One layer of the ladder.
#[derive(Debug, Clone, Default)]
pub struct Rung {
    /// Round trips at this layer.
    pub samples: Samples,
    /// Ascending.
    windows: Vec<i64>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Rung {
    fn add(&mut self, sample: &RttSample) {
        self.samples.add(sample.rtt);
        let window = sample.at.nanos().div_euclid(WINDOW_NANOS);
        if let Err(place) = self.windows.binary_search(&window) {
            if self.windows.is_empty() {
                self.windows.reserve_exact(1);
            }
            self.windows.insert(place, window);
            self.windows.truncate(WINDOWS);
        }
        self.first = Some(self.first.map_or(sample.at, |t| t.min(sample.at)));
        self.last = Some(self.last.map_or(sample.at, |t| t.max(sample.at)));
    }

    /// Distinct 5-minute windows with samples, up to 64.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// From the first sample to the last.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.first.zip(self.last).and_then(|(first, last)| last.since(first)).unwrap_or_default()
    }
}

/// All rungs of an endpoint.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    /// Ascending by layer. A vector: nearly every endpoint has one or two rungs, and there may be a million endpoints.
    rungs: Vec<(Layer, Rung)>,
}

impl Ladder {
    /// Adds a sample; ambiguous ones don't count.
    pub fn add(&mut self, sample: &RttSample) {
        if sample.ambiguous {
            return;
        }
        let place = match self.rungs.binary_search_by_key(&sample.layer, |(layer, _)| *layer) {
            Ok(place) => place,
            Err(place) => {
                self.rungs.reserve_exact(1);
                self.rungs.insert(place, (sample.layer, Rung::default()));
                place
            }
        };
        if let Some((_, rung)) = self.rungs.get_mut(place) {
            rung.add(sample);
        }
    }

    /// The rungs, lowest layer first.
    pub fn rungs(&self) -> impl Iterator<Item = (Layer, &Rung)> {
        self.rungs.iter().map(|(layer, rung)| (*layer, rung))
    }

    /// One rung.
    #[must_use]
    pub fn rung(&self, layer: Layer) -> Option<&Rung> {
        self.rungs().find(|(l, _)| *l == layer).map(|(_, rung)| rung)
    }

    /// The lowest rung that has samples: where the network path itself is measured best.
    #[must_use]
    pub fn lowest(&self) -> Option<(Layer, &Rung)> {
        self.rungs().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Quantiles are within the stated error of the exact ones, whatever the order of the samples.
        #[test]
        fn quantiles_keep_their_promise(mut micros in proptest::collection::vec(1u32..2_000_000, 1..400)) {
            let mut forward = Samples::default();
            micros.iter().for_each(|m| forward.add(Duration::from_micros(u64::from(*m))));
            let mut backward = Samples::default();
            micros.iter().rev().for_each(|m| backward.add(Duration::from_micros(u64::from(*m))));
            micros.sort_unstable();
            prop_assert_eq!(forward.min(), Some(Duration::from_micros(u64::from(micros[0]))));
            for q in [0.05, 0.5] {
                prop_assert_eq!(forward.quantile(q), backward.quantile(q));
                let got = forward.quantile(q).unwrap().as_secs_f64() * 1e6;
                let at = |shift: isize| {
                    let rank = (micros.len() as f64 * q).ceil() as isize - 1 + shift;
                    f64::from(micros[rank.clamp(0, micros.len() as isize - 1) as usize])
                };
                prop_assert!(got >= at(-1) * 0.98 - 1.0 && got <= at(1) * 1.02 + 1.0, "{} not near {}", got, at(0));
            }
        }
    }
}
