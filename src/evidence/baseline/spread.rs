//! How a quantity is spread among the honest endpoints of a group: bounded, its upper end exact.
//!
//! Every endpoint weighs the same, however many days it was seen on: each of its values has its share of one.
//! Reads: values with weights. Emits: conformal p-values, a median, a density. Does not: know what is measured.
//! References: Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random World*, 2005 (conformal p-values);
//! Silverman, *Density Estimation*, 1986, equation 3.31 (width of a kernel).

use crate::evidence::likelihood::{ln_normal, ln_sum};
use serde::{Deserialize, Serialize};

/// Greatest values kept as they are.
const EXACT: usize = 128;
/// Quantiles kept of the rest.
const QUANTILES: u8 = 64;
/// A kernel is no narrower than this, in ms: a shortest round trip wanders by so much from day to day (design value).
const NARROWEST: f64 = 3.0;
/// Nor wider than this: a value far from all others is one value.
const WIDEST: f64 = 40.0;

/// A distribution over endpoints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Endpoints it rests on.
    endpoints: u32,
    /// Values it rests on: one for each endpoint and day.
    values: u32,
    /// Evenly spaced quantiles of all but the greatest values, ascending.
    body: Vec<f64>,
    /// How many endpoints' worth of values those stand for.
    body_weight: f64,
    /// How many values those stand for.
    body_values: u32,
    /// The greatest values, ascending, each with its weight.
    tail: Vec<(f64, f64)>,
}

impl Spread {
    /// Of the values of so many endpoints, each value with its share of its endpoint.
    #[must_use]
    pub(super) fn of(endpoints: usize, mut values: Vec<(f64, f64)>) -> Self {
        values.retain(|(value, weight)| value.is_finite() && *weight > 0.0);
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let tail = values.split_off(values.len().saturating_sub(EXACT));
        let body_weight: f64 = values.iter().map(|(_, weight)| weight).sum();
        let mut body = Vec::new();
        let (mut passed, mut rest) = (0.0, values.iter().peekable());
        for i in 0..QUANTILES {
            let wanted = body_weight * (f64::from(i) + 0.5) / f64::from(QUANTILES);
            while let Some((_, weight)) = rest.next_if(|(_, weight)| passed + weight < wanted) {
                passed += weight;
            }
            body.extend(rest.peek().map(|(value, _)| micro(*value)));
        }
        Self {
            endpoints: count(endpoints),
            values: count(values.len() + tail.len()),
            body,
            body_weight: micro(body_weight),
            body_values: count(values.len()),
            tail: tail.into_iter().map(|(value, weight)| (micro(value), micro(weight))).collect(),
        }
    }

    /// Endpoints it rests on.
    #[must_use]
    pub const fn endpoints(&self) -> u32 {
        self.endpoints
    }

    /// Endpoint-days it rests on.
    #[must_use]
    pub const fn values(&self) -> u32 {
        self.values
    }

    /// Whether it is one that [`Self::of`] could have made: what comes from a file may not be.
    pub(super) fn is_sound(&self) -> bool {
        let ascending = |values: &mut dyn Iterator<Item = f64>| {
            let values: Vec<f64> = values.collect();
            values.iter().all(|value| value.is_finite()) && values.is_sorted()
        };
        self.body.len() <= usize::from(QUANTILES)
            && (self.body.is_empty() == (self.body_weight <= 0.0))
            && self.body_weight.is_finite()
            && self.tail.len() <= EXACT
            && self.tail.iter().all(|(_, weight)| *weight > 0.0 && weight.is_finite())
            && ascending(&mut self.body.iter().copied().chain(self.tail.iter().map(|(value, _)| *value)))
    }

    /// The chance that an honest endpoint's day is at least as far out: a conformal p-value.
    ///
    /// The endpoint in question counts as one of them, so that it is never less than one in as many endpoints as were
    /// seen, and holds for an endpoint drawn like those.
    #[must_use]
    pub fn p(&self, value: f64) -> f64 {
        // What is kept is rounded, so what is compared is too: an equal is never called less.
        let value = micro(value);
        ((1.0 + self.weight_from(value)) / (1.0 + f64::from(self.endpoints))).min(1.0)
    }

    /// Endpoint-days at least as far out; of those in the body about so many.
    #[must_use]
    pub fn values_from(&self, value: f64) -> u32 {
        let value = micro(value);
        let tail = self.tail.iter().filter(|(known, _)| *known >= value).count();
        let body = f64::from(self.body_values) * self.body_share_from(value);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count of 32 bits")]
        let body = body.round() as u32;
        body.saturating_add(count(tail))
    }

    fn weight_from(&self, value: f64) -> f64 {
        let tail: f64 = self.tail.iter().filter(|(known, _)| *known >= value).map(|(_, weight)| weight).sum();
        tail + self.body_weight * self.body_share_from(value)
    }

    /// A quantile stands for the values up to half way to its neighbours; the one next below the value counts whole.
    fn body_share_from(&self, value: f64) -> f64 {
        let below = self.body.partition_point(|known| *known < value);
        let from = (self.body.len() - below + usize::from(below > 0)).min(self.body.len());
        if self.body.is_empty() || below == self.body.len() && self.tail.first().is_some_and(|t| t.0 <= value) {
            return 0.0;
        }
        f64::from(count(from)) / f64::from(count(self.body.len()))
    }

    /// The value that half of the endpoints' days lie below.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// A quantile.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let points: Vec<(f64, f64)> = self.points().collect();
        let wanted = q * points.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut passed = 0.0;
        let reached = |(_, weight): &&(f64, f64)| {
            passed += weight;
            passed >= wanted
        };
        points.iter().find(reached).or(points.last()).map_or(0.0, |(value, _)| *value)
    }

    /// The greatest value.
    #[must_use]
    pub fn greatest(&self) -> f64 {
        self.tail.last().map_or(0.0, |(value, _)| *value)
    }

    /// Values with weights that add up to the number of endpoints.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let each = self.body_weight / f64::from(count(self.body.len().max(1)));
        self.body.iter().map(move |value| (*value, each)).chain(self.tail.iter().copied())
    }

    /// The density, in natural logarithms per ms: a kernel on each point, the wider the lonelier it is.
    #[must_use]
    pub fn density(&self) -> Density {
        let points: Vec<(f64, f64)> = self.points().collect();
        let whole: f64 = points.iter().map(|(_, weight)| weight).sum();
        let middle = self.quantile(0.75) - self.quantile(0.25);
        let width = (0.9 * middle / 1.34 * f64::from(self.endpoints.max(1)).powf(-0.2)).clamp(NARROWEST, WIDEST);
        let gaps = points.iter().zip(points.iter().skip(1)).map(|(low, high)| high.0 - low.0);
        let before: Vec<f64> = std::iter::once(0.0).chain(gaps).collect();
        let lonely = |gap: &f64| gap.clamp(width, WIDEST);
        let kernels = points.iter().zip(&before).map(|((value, weight), gap)| (*value, weight / whole, lonely(gap)));
        Density(kernels.collect())
    }
}

/// A mixture of normal densities: middle, share, width.
#[derive(Debug, Clone, PartialEq)]
pub struct Density(Vec<(f64, f64, f64)>);

impl Density {
    /// Its logarithm.
    #[must_use]
    pub fn ln(&self, value: f64) -> f64 {
        ln_sum(self.0.iter().map(|(middle, share, width)| share.ln() + ln_normal(value, *middle, *width)))
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Millionths are more than a measurement is good for, and keep a file short.
fn micro(value: f64) -> f64 {
    (value * 1e6).round() / 1e6 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Spread {
        Spread::of(values.len(), values.iter().map(|value| (*value, 1.0)).collect())
    }

    #[test]
    fn the_upper_end_is_exact_and_the_rest_is_near() {
        let values: Vec<f64> = (0..5_000).map(f64::from).collect();
        let spread = of(&values);
        assert!(spread.is_sound());
        for (value, from) in [(5_000.0, 0), (4_999.0, 1), (4_900.0, 100), (4_872.0, 128)] {
            assert_eq!(spread.values_from(value), from, "{value}");
            assert!((spread.p(value) - f64::from(from + 1) / 5_001.0).abs() < 1e-9, "{value}");
        }
        for value in [10.0, 1_000.0, 2_500.0, 4_000.0] {
            let exact = (5_000.0 - value + 1.0) / 5_001.0;
            let p = spread.p(value);
            assert!(p >= exact - 1e-9 && p < exact + 0.035, "{value}: {p} for {exact}");
        }
        assert!((spread.median() - 2_500.0).abs() < 80.0);
        assert!((spread.greatest() - 4_999.0).abs() < 1e-9);
    }

    #[test]
    fn who_is_seen_on_a_hundred_days_weighs_no_more_than_who_is_seen_on_one() {
        let chatty = (0..100).map(|_| (90.0, 0.01));
        let spread = Spread::of(100, (0..99).map(|_| (10.0, 1.0)).chain(chatty).collect());
        assert_eq!((spread.endpoints(), spread.values(), spread.values_from(80.0)), (100, 199, 100));
        assert!((spread.p(80.0) - 2.0 / 101.0).abs() < 1e-9);
        assert!((spread.median() - 10.0).abs() < 1e-9);
    }

    proptest! {
        /// Whatever the values.
        #[test]
        fn p_values_hold(values in proptest::collection::vec(-50.0f64..400.0, 1..400)) {
            let spread = of(&values);
            prop_assert!(spread.is_sound());
            let mut told: Vec<f64> = values.iter().map(|value| spread.p(*value)).collect();
            told.sort_by(f64::total_cmp);
            for (rank, p) in told.iter().enumerate() {
                // Of n + 1 endpoints that are alike at most a share p has a p-value of p or less.
                let share = (rank + 1) as f64 / (values.len() + 1) as f64;
                prop_assert!(*p + 1e-9 >= share, "{p} below {share}");
            }
        }
    }

    #[test]
    fn values_closer_than_what_is_kept_are_equals() {
        let values = [128.034_308_268, 128.034_308_150];
        assert!(values.iter().all(|value| (of(&values).p(*value) - 1.0).abs() < 1e-9));
    }

    #[test]
    fn a_density_sums_to_one_and_follows_the_values() {
        for n in [3, 60, 500] {
            let values: Vec<f64> = (0..n).map(|i| 20.0 + f64::from(i * 7 % 31) + f64::from(i * i % 17)).collect();
            let density = of(&values).density();
            let whole: f64 = (-100..200).map(|x| density.ln(f64::from(x)).exp()).sum();
            assert!((whole - 1.0).abs() < 0.01, "{whole}");
            assert!(density.ln(40.0) > density.ln(120.0) + 3.0);
        }
    }
}
