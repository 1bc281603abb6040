//! Steps in a path: when the shortest round trip becomes another for good.
//!
//! Reads: the minimum of each window. Emits: [`Step`]s, at most [`MOST`], ascending in time.
//! Method: binary segmentation by ranks, then pruning. A stretch is split where the ranks of both sides differ most
//! (Pettitt, Applied Statistics 1979), each side again. Then the weakest split that is no step goes, until all are.
//! It is a step if both sides have [`LEAST_WINDOWS`] windows; if the sides' minima and medians both differ by at least
//! 3 ms, by a twentieth of the lower level and by four times the usual distance of neighbouring windows (a step is one
//! distance among many and does not raise the usual one); and if nearly all windows of one side lie above nearly all of
//! the other.
//! Errs: a queue that is never empty for at least four windows looks like a step up and one down.
//! How often a path that stays as it is shows a step: the test below, and `docs/meters.md`.

use crate::base::Window;
use std::time::Duration;

/// Windows on each side of a step.
const LEAST_WINDOWS: usize = 4;
/// Round trips that a window's minimum must rest on.
const LEAST_SAMPLES: u32 = 2;
/// Steps told of one layer.
const MOST: usize = 16;
/// Differences smaller than these are no step.
const LEAST_MS: f64 = 3.0;
const LEAST_SHARE: f64 = 0.05;
const LEAST_NOISE: f64 = 4.0;
/// Of pairs of a window before and one after, so many must differ in the step's direction.
const ORDERED: f64 = 0.9;

/// The shortest round trip of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WindowMin {
    /// The window.
    pub window: Window,
    /// Round trips in it.
    pub n: u32,
    /// The shortest, in microseconds.
    pub min_us: u32,
}

/// The shortest round trip changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The first window after it.
    pub at: Window,
    /// The shortest between the step before, or the beginning, and this one; and how many round trips that rests on.
    pub from: (Duration, u64),
    /// The shortest between this step and the next, or the end.
    pub to: (Duration, u64),
}

/// The steps in windows that ascend in time.
#[must_use]
pub fn steps(windows: &[WindowMin]) -> Vec<Step> {
    let told: Vec<WindowMin> = windows.iter().filter(|w| w.n >= LEAST_SAMPLES).copied().collect();
    let ms: Vec<f64> = told.iter().map(|w| f64::from(w.min_us) / 1e3).collect();
    let mut cuts = Vec::new();
    divide(&ms, 0, &mut cuts);
    cuts.sort_unstable();
    refine(&ms, &mut cuts);
    prune(&ms, &mut cuts);
    let step = |(begin, cut, end)| {
        let (left, right) = (told.get(begin..cut)?, told.get(cut..end)?);
        Some(Step { at: right.first()?.window, from: level(left), to: level(right) })
    };
    neighbours(&cuts, told.len()).filter_map(step).take(MOST).collect()
}

/// Each cut with where the stretch before it begins and the one after it ends.
fn neighbours(cuts: &[usize], len: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let before = std::iter::once(0).chain(cuts.iter().copied());
    let after = cuts.iter().copied().skip(1).chain([len]);
    before.zip(cuts.iter().copied()).zip(after).map(|((begin, cut), end)| (begin, cut, end))
}

fn level(windows: &[WindowMin]) -> (Duration, u64) {
    let min = windows.iter().map(|w| w.min_us).min().unwrap_or_default();
    (Duration::from_micros(u64::from(min)), windows.iter().map(|w| u64::from(w.n)).sum())
}

/// Notes where a stretch, before which `before` windows stand, may fall into two, and each of them again.
fn divide(ms: &[f64], before: usize, cuts: &mut Vec<usize>) {
    let Some(cut) = unlike(ms) else { return };
    cuts.push(before + cut);
    let (left, right) = ms.split_at(cut);
    divide(left, before, cuts);
    divide(right, before + cut, cuts);
}

/// The split whose sides differ most by the ranks of their windows, if they differ more than chance often makes them.
fn unlike(ms: &[f64]) -> Option<usize> {
    /// Kruskal and Wallis' H: 5 in 100 splits chosen beforehand pass it by chance (chi-squared, one degree of freedom).
    const NOTABLE: f64 = 6.0;
    let n = ms.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| ms.get(*a).partial_cmp(&ms.get(*b)).unwrap_or(std::cmp::Ordering::Equal));
    let mut ranks = vec![0.0; n];
    for (rank, place) in order.into_iter().enumerate() {
        ranks.get_mut(place).into_iter().for_each(|slot| *slot = number(rank));
    }
    let (whole, middle) = (number(n), (number(n) - 1.0) / 2.0);
    let mut sum = 0.0;
    let scores = ranks.iter().zip(1..).map(|(rank, k)| {
        sum += rank - middle;
        let k_f = number(k);
        (12.0 / (whole * (whole + 1.0)) * sum * sum * whole / (k_f * (whole - k_f)), k)
    });
    let inside = scores.filter(|(_, k)| *k >= LEAST_WINDOWS && k + LEAST_WINDOWS <= n);
    inside.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score >= NOTABLE).map(|(_, k)| k)
}

#[expect(clippy::cast_precision_loss, reason = "some hundreds")]
const fn number(n: usize) -> f64 {
    n as f64
}

/// Moves each cut by a few windows to where the sides' minima differ most, and of such places where the sides are most
/// alike in themselves: one bad window beside a step draws the split by ranks to itself.
fn refine(ms: &[f64], cuts: &mut [usize]) {
    let found: Vec<_> = neighbours(cuts, ms.len()).collect();
    for (slot, (begin, cut, end)) in cuts.iter_mut().zip(found) {
        let near = cut.saturating_sub(LEAST_WINDOWS - 1).max(begin + LEAST_WINDOWS)..=cut + LEAST_WINDOWS - 1;
        let score = |at: usize| {
            let (left, right) = (ms.get(begin..at)?, ms.get(at..end).filter(|side| side.len() >= LEAST_WINDOWS)?);
            let unlike: f64 = [left, right].iter().map(|side| spread(side)).sum();
            Some(((least(right) - least(left)).abs().floor(), -unlike, at))
        };
        let best = near.filter_map(score).max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        *slot = best.map_or(cut, |(.., at)| at);
    }
}

fn spread(side: &[f64]) -> f64 {
    let level = median(side);
    side.iter().map(|ms| (ms - level).abs()).sum()
}

/// Takes away, weakest first, what is no step.
fn prune(ms: &[f64], cuts: &mut Vec<usize>) {
    let apart: Vec<f64> = ms.windows(2).filter_map(|pair| Some((pair.last()? - pair.first()?).abs())).collect();
    let noise = LEAST_NOISE * median(&apart);
    loop {
        let weak = neighbours(cuts, ms.len()).enumerate().filter_map(|(i, (begin, cut, end))| {
            let (left, right) = (ms.get(begin..cut)?, ms.get(cut..end)?);
            (!is_step(left, right, noise)).then(|| ((least(right) - least(left)).abs(), i))
        });
        let Some((_, weakest)) = weak.min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
        cuts.remove(weakest);
    }
}

fn least(side: &[f64]) -> f64 {
    side.iter().copied().fold(f64::INFINITY, f64::min)
}

fn is_step(left: &[f64], right: &[f64], noise: f64) -> bool {
    let needed = LEAST_MS.max(LEAST_SHARE * least(left).min(least(right))).max(noise);
    let by_least = least(right) - least(left);
    let by_median = median(right) - median(left);
    let up = by_least > 0.0;
    if left.len().min(right.len()) < LEAST_WINDOWS {
        return false;
    }
    if by_least.abs() < needed || by_median.abs() < needed || (by_median > 0.0) != up {
        return false;
    }
    let (lower, mut upper) = if up { (left, right.to_vec()) } else { (right, left.to_vec()) };
    upper.sort_by(f64::total_cmp);
    let ordered: usize = lower.iter().map(|ms| upper.len() - upper.partition_point(|above| above <= ms)).sum();
    number(ordered) >= ORDERED * number(left.len() * right.len())
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oorandom::Rand64;

    fn windows(ms: impl IntoIterator<Item = f64>) -> Vec<WindowMin> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made here")]
        let us = |ms: f64| (ms * 1e3) as u32;
        (0..).map(Window).zip(ms).map(|(window, ms)| WindowMin { window, n: 20, min_us: us(ms) }).collect()
    }

    /// Minimum of `n` round trips over a floor: gamma-like queues, and with a probability a burst of the whole window
    /// (science: bursts are as long as somebody's upload).
    fn minimum(random: &mut Rand64, floor: f64, n: u32, bloat: f64) -> f64 {
        let mut exponential = |mean: f64| -mean * (1.0 - random.rand_float()).ln();
        let queue = (0..n).map(|_| exponential(3.0) + exponential(1.0)).fold(f64::INFINITY, f64::min);
        let burst = exponential(60.0);
        floor + queue + if random.rand_float() < bloat { burst } else { 0.0 }
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let mut random = Rand64::new(7);
        for (from, to) in [(30.0, 110.0), (110.0, 30.0), (20.0, 26.0)] {
            let path = windows((0..40).map(|i| minimum(&mut random, if i < 17 { from } else { to }, 20, 0.0)));
            let found = steps(&path);
            assert_eq!(found.iter().map(|s| s.at.0).collect::<Vec<_>>(), [17], "{from} to {to}");
            let size = found[0].to.0.as_secs_f64() - found[0].from.0.as_secs_f64();
            assert!((size * 1e3 - (to - from)).abs() < 1.0);
            assert_eq!((found[0].from.1, found[0].to.1), (17 * 20, 23 * 20));
        }
    }

    #[test]
    fn there_and_back_again() {
        let mut random = Rand64::new(8);
        let floor = |i| if (12..24).contains(&i) { 190.0 } else { 35.0 };
        let path = windows((0..48).map(|i| minimum(&mut random, floor(i), 10, 0.05)));
        assert_eq!(steps(&path).iter().map(|s| s.at.0).collect::<Vec<_>>(), [12, 24]);
    }

    /// The numbers of docs/meters.md: of 1000 days of a path that stays as it is, so many show a step.
    #[test]
    fn a_path_that_stays_shows_no_step() {
        for (name, n, bloat, most) in [
            ("quiet", 20, 0.0, 0),
            ("few samples", 2, 0.0, 2),
            ("a third bloated", 20, 0.3, 2),
            ("bloated", 5, 0.7, 10),
        ] {
            let mut random = Rand64::new(4_711);
            let days = (0..1_000).filter(|i| {
                let length = [12, 48, 96, 288][i % 4];
                !steps(&windows((0..length).map(|_| minimum(&mut random, 40.0, n, bloat)))).is_empty()
            });
            let days = days.count();
            println!("{name}: {days} of 1000");
            assert!(days <= most, "{name}: {days} of 1000 show a step");
        }
    }
}
