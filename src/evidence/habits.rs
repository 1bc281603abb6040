//! Delays in groups, each with a habit: one program doing one thing takes about equally long each time.
//!
//! The group's median is unknown; a hypothesis is a distribution of medians. So a hundred handshakes of one slow program
//! are one coincidence, not a hundred, while four programs late by the same leg are four. Answers that need no thought
//! have medians of their own.
//! Reads: delays in ms. Emits: log likelihoods. Does not: know hypotheses.
//!
//! Medians live on a grid, distributions on it are tables made once: judging an endpoint is then a few thousand
//! multiplications, cheap enough for a site with a million endpoints.

use super::baseline::Learned;
use super::likelihood::ln_sum;

/// The medians tried, in ms: from -50 to 1,600 in steps of 5.
const FROM: f64 = -50.0;
const STEP: f64 = 5.0;
const MEDIANS: u16 = 331;

/// What an answer takes a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It computes, looks something up, or asks somebody.
    Thought,
    /// It has nothing to think about.
    Unthinking,
}

/// A distribution of medians on the grid: probability of each step, for either kind of answer.
#[derive(Debug)]
pub(super) struct Medians([Vec<f64>; 2]);

/// Distributions of medians, one for each length of a common leg, with the log of the leg's own probability.
#[derive(Debug)]
pub(super) struct Behind(Vec<(f64, Medians)>);

impl Medians {
    /// From a log density per ms.
    pub(super) fn new(ln_density: impl Fn(f64, Answer) -> f64) -> Self {
        Self(
            [Answer::Thought, Answer::Unthinking]
                .map(|answer| medians().map(|m| (ln_density(m, answer) + STEP.ln()).exp()).collect()),
        )
    }

    fn of(&self, answer: Answer) -> &[f64] {
        let [thought, unthinking] = &self.0;
        if answer == Answer::Thought { thought } else { unthinking }
    }
}

impl Behind {
    /// For legs from `from` to `to` ms in steps of 6: the leg's log density, and that of medians given the leg.
    pub(super) fn new(
        (from, to): (u16, u16),
        ln_leg: impl Fn(f64) -> f64,
        ln_median: impl Fn(f64, f64, Answer) -> f64,
    ) -> Self {
        const STRIDE: u16 = 6;
        let table = (from..=to).step_by(usize::from(STRIDE)).map(|leg| {
            let leg = f64::from(leg);
            (ln_leg(leg) + f64::from(STRIDE).ln(), Medians::new(|m, answer| ln_median(m, leg, answer)))
        });
        Self(table.collect())
    }
}

/// A group of delays with the likelihood of each median worked out.
#[derive(Debug)]
struct Group {
    answer: Answer,
    /// Log of the greatest likelihood.
    ln_most: f64,
    /// The likelihoods relative to it.
    relative: Vec<f64>,
}

impl Group {
    fn new(answer: Answer, delays: &[f64], scatter: f64) -> Self {
        let ln = ln_given(delays, scatter);
        let ln_most = ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { answer, ln_most, relative: ln.iter().map(|l| (l - ln_most).exp()).collect() }
    }

    /// Likelihood over that distribution of medians, relative to the greatest.
    fn mean(&self, distribution: &Medians) -> f64 {
        dot(&self.relative, distribution.of(self.answer))
    }
}

/// Groups of delays.
#[derive(Debug)]
pub(super) struct Habits<'a> {
    groups: Vec<Group>,
    /// What was learned of honest endpoints' medians, for each group.
    learned: Vec<Option<&'a Learned>>,
}

impl<'l> Habits<'l> {
    /// From groups of delays; `scatter` is how far delays stray through queues alone, in ms.
    pub(super) fn new<'a>(groups: impl Iterator<Item = (Answer, &'a [f64])>, scatter: f64) -> Self {
        let groups = groups.map(|(answer, delays)| Group::new(answer, delays, scatter)).collect();
        Self { groups, learned: Vec::new() }
    }

    /// The same beside what was learned of such groups, in their order.
    pub(super) fn against(self, learned: Vec<Option<&'l Learned>>) -> Self {
        Self { learned, ..self }
    }

    /// Log likelihood when each group is one of an honest endpoint: its median comes from what was learned of such
    /// groups, mixed with what is shipped.
    pub(super) fn ln_usual(&self, shipped: &Medians) -> f64 {
        let without = self.ln_independent(shipped);
        let Some(most) = self.learned.iter().flatten().max_by_key(|learned| learned.spread.endpoints()) else {
            return without;
        };
        let learned = self.learned.iter().copied().chain(std::iter::repeat(None));
        let of_group = |(group, learned): (&Group, Option<&Learned>)| {
            let shipped = group.mean(shipped);
            let mixed = learned.map_or(shipped, |learned| {
                let weight = learned.weight();
                weight * group.mean(learned.medians()) + (1.0 - weight) * shipped
            });
            group.ln_most + mixed.max(f64::MIN_POSITIVE).ln()
        };
        let with: f64 = self.groups.iter().zip(learned).map(of_group).sum();
        without + most.within(with - without)
    }

    /// Log likelihood when each group's median comes from the same distribution, independently.
    pub(super) fn ln_independent(&self, distribution: &Medians) -> f64 {
        self.groups.iter().map(|group| group.ln_most + group.mean(distribution).max(f64::MIN_POSITIVE).ln()).sum()
    }

    /// Log likelihood when all medians depend on one unknown leg.
    pub(super) fn ln_common(&self, behind: &Behind) -> f64 {
        let terms: Vec<f64> =
            behind.0.iter().map(|(ln_leg, distribution)| ln_leg + self.ln_independent(distribution)).collect();
        ln_sum(terms.iter().copied())
    }
}

fn medians() -> impl Iterator<Item = f64> {
    (0..MEDIANS).map(|i| FROM + STEP * f64::from(i))
}

/// Sum of products. In eight sums side by side, so that none waits for the one before.
fn dot(these: &[f64], those: &[f64]) -> f64 {
    let (these, those) = (these.chunks_exact(8), those.chunks_exact(8));
    let rest: f64 = these.remainder().iter().zip(those.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 8];
    for (these, those) in these.zip(those) {
        for ((sum, a), b) in sums.iter_mut().zip(these).zip(those) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Log likelihoods of delays given each median: steady or less so, now and then something else altogether. Two-sided
/// exponential (45 % below) in 95 of 100 cases, else anything from -2 to 5 s; as wide as the scatter, as 0.12 medians or
/// as 0.4 of them, but never narrower than the scatter.
fn ln_given(delays: &[f64], scatter: f64) -> Vec<f64> {
    let steady = ln_steady(delays, scatter);
    let of_median = |(median, steady): (f64, f64)| {
        let wider = |share: f64| {
            let width = share * median;
            if width > scatter { ln_around(delays, median, width) } else { steady }
        };
        ln_sum([steady, wider(0.12), wider(0.4)].into_iter()) - 3f64.ln()
    };
    medians().zip(steady).map(of_median).collect()
}

/// Factors that are multiplied before a logarithm is taken: 8 of the least, e^-60, are still far from zero.
const AT_ONCE: usize = 8;

/// Log likelihood of delays around one median.
fn ln_around(delays: &[f64], median: f64, width: f64) -> f64 {
    let of = |delay: &f64| density(*delay, *delay - median, (-(delay - median).abs() / width).exp(), width);
    delays.chunks(AT_ONCE).map(|delays| delays.iter().map(of).product::<f64>().ln()).sum()
}

/// The same for each median: from one to the next an exponential falls or rises by the same factor.
fn ln_steady(delays: &[f64], width: f64) -> Vec<f64> {
    let fall = (-STEP / width).exp();
    let mut ln = vec![0.0; usize::from(MEDIANS)];
    let mut near = vec![0.0; usize::from(MEDIANS)];
    for delays in delays.chunks(AT_ONCE) {
        let mut products = vec![1.0; usize::from(MEDIANS)];
        for delay in delays {
            let above = medians().position(|median| median >= *delay).unwrap_or(usize::from(MEDIANS));
            let (below, above) = near.split_at_mut(above);
            let away = |median: Option<f64>| median.map_or(0.0, |median| (-(delay - median).abs() / width).exp());
            let mut height = away(medians().nth(below.len()));
            for near in above {
                *near = height;
                height *= fall;
            }
            height = away(below.len().checked_sub(1).and_then(|last| medians().nth(last)));
            for near in below.iter_mut().rev() {
                *near = height;
                height *= fall;
            }
            for ((product, near), median) in products.iter_mut().zip(&near).zip(medians()) {
                *product *= density(*delay, delay - median, *near, width);
            }
        }
        ln.iter_mut().zip(products).for_each(|(ln, product)| *ln += product.ln());
    }
    ln
}

/// Density of a delay that is `away` from the median, where `near` is its exponential.
fn density(delay: f64, away: f64, near: f64, width: f64) -> f64 {
    const ELSE: f64 = 0.05 / 7_000.0;
    /// e^-60, [`IMPOSSIBLE`].
    const LEAST: f64 = 8.756_510_762_696_52e-27;
    let side = if away < 0.0 { 0.95 * 0.45 } else { 0.95 * 0.55 };
    let anything = if (-2_000.0..=5_000.0).contains(&delay) { ELSE } else { 0.0 };
    (side / width * near + anything).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::likelihood::{IMPOSSIBLE, ln_exponential, ln_hidden_leg, ln_mix, ln_two_sided, ln_uniform};

    /// What is written out is the mixture that it stands for.
    #[test]
    fn delays_are_likely_as_the_mixture_says() {
        let delays = [3.0, 41.0, 188.0, 190.0, 2_600.0, -7.0, -60.0, 95.0, 95.0, 96.0, 1_700.0];
        let given = ln_given(&delays, 8.0);
        for (median, given) in medians().zip(given) {
            let widths: [f64; 3] = [8.0, 8f64.max(0.12 * median), 8f64.max(0.4 * median)];
            let terms = widths.map(|width| {
                let one = |d: &f64| {
                    ln_mix(&[(0.95, ln_two_sided(d - median, width, 0.55)), (0.05, ln_uniform(*d, -2_000.0, 5_000.0))])
                };
                delays.iter().map(one).sum::<f64>() - 3f64.ln()
            });
            let whole = ln_sum(terms.iter().copied());
            assert!((given - whole).abs() < 1e-9, "{median}");
        }
        let far = [9_000.0; 20];
        assert!(ln_given(&far, 8.0).iter().all(|ln| *ln >= 20.0 * IMPOSSIBLE - 1e-9));
        assert_eq!(density(9_000.0, 9_000.0, 0.0, 8.0), IMPOSSIBLE.exp());
    }

    /// Many delays of one program are one coincidence; several programs late by the same are many.
    #[test]
    fn programs_that_agree_weigh_more_than_one_that_repeats() {
        let honest = Medians::new(|m, _| ln_exponential(m, 60.0));
        let behind = Behind::new((60, 400), ln_hidden_leg, |m, leg, _| ln_two_sided(m - leg, 12.0, 0.6));
        let gain = |groups: &[Vec<f64>]| {
            let habits = Habits::new(groups.iter().map(|group| (Answer::Thought, &group[..])), 8.0);
            habits.ln_common(&behind) - habits.ln_independent(&honest)
        };
        let one = gain(&[vec![190.0; 12]]);
        let four = gain(&[vec![190.0; 3], vec![192.0; 3], vec![188.0; 3], vec![191.0; 3]]);
        assert!(four > one + 5.0, "{one} {four}");
        assert!(gain(&[vec![3.0; 4], vec![2.0; 4]]) < -8.0);
    }

    /// A program that is known to think for 90 ms is no longer odd when it does; others are judged as shipped.
    #[test]
    fn what_was_learned_of_a_program_is_usual() {
        let honest = Medians::new(|m, _| ln_exponential(m, 8.0));
        let slow = Learned::of((0..400).map(|n| 85.0 + f64::from(n % 11)));
        let delays = [vec![90.0; 5], vec![91.0; 5]];
        let habits = || Habits::new(delays.iter().map(|group| (Answer::Thought, &group[..])), 8.0);
        let without = habits().ln_usual(&honest);
        assert!((without - habits().ln_independent(&honest)).abs() < 1e-9);
        let one = habits().against(vec![Some(&slow), None]).ln_usual(&honest);
        let both = habits().against(vec![Some(&slow), Some(&slow)]).ln_usual(&honest);
        assert!(one > without + 2.0 && both >= one && both <= without + 401f64.ln() + 1e-9, "{without} {one} {both}");
    }
}
