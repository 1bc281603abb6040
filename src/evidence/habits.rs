//! Delays in groups, each with a habit: one program doing one thing takes about equally long each time.
//!
//! The group's median is unknown; a hypothesis is a distribution of medians. So a hundred handshakes of one slow program
//! are one coincidence, not a hundred, while four programs late by the same leg are four.
//! Reads: delays in ms. Emits: log likelihoods. Does not: know hypotheses.

use super::likelihood::{ln_mix, ln_sum, ln_two_sided, ln_uniform};

/// The medians tried, in ms: from -50 to 1,600 in steps of 5.
const FROM: f64 = -50.0;
const STEP: f64 = 5.0;
const MEDIANS: u16 = 331;

/// Groups of delays, with the likelihood of each median worked out.
#[derive(Debug)]
pub(super) struct Habits {
    /// For each group, the log likelihood of its delays given each median.
    groups: Vec<Vec<f64>>,
}

impl Habits {
    /// From groups of delays; `scatter` is how far delays stray through queues alone, in ms.
    pub(super) fn new<'a>(groups: impl Iterator<Item = &'a Vec<f64>>, scatter: f64) -> Self {
        Self { groups: groups.map(|delays| medians().map(|m| ln_given(delays, m, scatter)).collect()).collect() }
    }

    /// Log likelihood when each group's median comes from the same distribution, independently.
    pub(super) fn ln_independent(&self, ln_median: impl Fn(f64) -> f64) -> f64 {
        let prior: Vec<f64> = medians().map(|m| ln_median(m) + STEP.ln()).collect();
        self.groups.iter().map(|group| ln_sum(group.iter().zip(&prior).map(|(ln, p)| ln + p))).sum()
    }

    /// Log likelihood when all medians depend on one unknown leg, from `legs` (ms) with its log prior weight.
    pub(super) fn ln_common(&self, legs: impl Iterator<Item = (f64, f64)>, ln_median: impl Fn(f64, f64) -> f64) -> f64 {
        let terms: Vec<f64> =
            legs.map(|(leg, ln_weight)| ln_weight + self.ln_independent(|m| ln_median(m, leg))).collect();
        ln_sum(terms.iter().copied())
    }
}

/// Legs from `from` to `to` ms in steps of 6 ms, with the log of their prior probability.
pub(super) fn legs(from: u16, to: u16, ln_density: impl Fn(f64) -> f64) -> impl Iterator<Item = (f64, f64)> {
    const STRIDE: u16 = 6;
    (from..=to).step_by(usize::from(STRIDE)).map(move |leg| {
        let leg = f64::from(leg);
        (leg, ln_density(leg) + f64::from(STRIDE).ln())
    })
}

fn medians() -> impl Iterator<Item = f64> {
    (0..MEDIANS).map(|i| FROM + STEP * f64::from(i))
}

/// Delays around a median: steady or less so, now and then something else altogether.
fn ln_given(delays: &[f64], median: f64, scatter: f64) -> f64 {
    let widths = [scatter, scatter.max(0.12 * median), scatter.max(0.4 * median)];
    let terms = widths.map(|width| {
        let each: f64 = delays
            .iter()
            .map(|d| {
                ln_mix(&[(0.95, ln_two_sided(d - median, width, 0.55)), (0.05, ln_uniform(*d, -2_000.0, 5_000.0))])
            })
            .sum();
        each - 3f64.ln()
    });
    ln_sum(terms.iter().copied())
}
