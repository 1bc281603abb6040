//! Shares with their uncertainty, quantiles, curves: the arithmetic of an evaluation.
//!
//! Reads: counts and scores. Emits: intervals, points. Does not: know what was counted.

use serde::Serialize;

/// Hits among trials, with 95 % intervals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Rate {
    pub(super) hits: usize,
    pub(super) n: usize,
    /// Absent where nothing was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<f64>,
    /// Wilson's score interval.
    pub(super) wilson: [f64; 2],
    /// Clopper and Pearson's exact interval.
    pub(super) exact: [f64; 2],
}

impl Rate {
    pub(super) fn of(hits: usize, n: usize) -> Self {
        let share = (n > 0).then(|| hits as f64 / n as f64);
        Self { hits, n, share, wilson: wilson(hits, n), exact: clopper_pearson(hits, n) }
    }
}

/// Two-sided 95 %.
const Z: f64 = 1.959_964;
const TAIL: f64 = 0.025;

/// Wilson 1927.
fn wilson(hits: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (hits, n) = (hits as f64, n as f64);
    let share = hits / n;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    [((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0)]
}

/// Clopper and Pearson 1934, by bisection of the binomial tails.
fn clopper_pearson(hits: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let solve = |rises: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if rises(middle) { high = middle } else { low = middle }
        }
        f64::midpoint(low, high)
    };
    let low = if hits == 0 { 0.0 } else { solve(&|p| at_least(hits, n, p) > TAIL) };
    let high = if hits == n { 1.0 } else { solve(&|p| 1.0 - at_least(hits + 1, n, p) < TAIL) };
    [low, high]
}

/// The probability of at least so many hits in `n` trials of chance `p`, summed over the shorter tail.
fn at_least(hits: usize, n: usize, p: f64) -> f64 {
    let term = |k: usize| {
        let (k, m) = (k as f64, n as f64);
        let choose = ln_gamma(m + 1.0) - ln_gamma(k + 1.0) - ln_gamma(m - k + 1.0);
        (choose + k * p.ln() + (m - k) * (1.0 - p).ln()).exp()
    };
    if p <= 0.0 || p >= 1.0 {
        return f64::from(u8::from(hits == 0 || p >= 1.0));
    }
    if hits > n / 2 { (hits..=n).map(term).sum() } else { 1.0 - (0..hits).map(term).sum::<f64>() }
}

/// Stirling's series with three terms, shifted up to where it is exact to a part in 10^10.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 8.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1_260.0 * x.powi(5));
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

/// The value at a share of the values, by nearest rank.
pub(super) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}

/// One point of the curve: how many of each kind score at least the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Point {
    pub(super) threshold: f64,
    pub(super) false_alarms: f64,
    pub(super) recall: f64,
}

/// Receiver operating characteristic.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Curve {
    /// The probability that a malicious endpoint scores above an honest one, ties counting half.
    pub(super) area: f64,
    /// Recall where no more than that share of honest endpoints is accused; absent where too few were seen to tell.
    pub(super) at: Vec<Operating>,
    pub(super) points: Vec<Point>,
}

/// Recall at a share of false alarms.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Operating {
    pub(super) false_alarms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) point: Option<Point>,
}

/// The curve of malicious scores against honest ones.
pub(super) fn curve(malicious: &[f64], honest: &[f64]) -> Curve {
    let mut all: Vec<(f64, bool)> =
        malicious.iter().map(|s| (*s, true)).chain(honest.iter().map(|s| (*s, false))).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (bad, good) = (malicious.len().max(1) as f64, honest.len().max(1) as f64);
    let (mut found, mut accused, mut area) = (0.0, 0.0, 0.0);
    let mut points = Vec::new();
    for step in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let hits = step.iter().filter(|(_, malicious)| *malicious).count() as f64;
        let misses = step.len() as f64 - hits;
        area += misses * (found + hits / 2.0);
        (found, accused) = (found + hits, accused + misses);
        let threshold = step.first().map_or(0.0, |(score, _)| *score);
        points.push(Point { threshold, false_alarms: accused / good, recall: found / bad });
    }
    let best = |most: f64| points.iter().rev().find(|p| p.false_alarms <= most).copied();
    let enough = |most: f64| honest.len() as f64 * most >= 1.0;
    let operating = |most: f64| Operating { false_alarms: most, point: best(most).filter(|_| enough(most)) };
    let at = [1e-1, 1e-2, 1e-3, 1e-4].map(operating).to_vec();
    Curve { area: area / (bad * good), at, points: corners(points) }
}

/// Points where the curve turns: the others lie on the lines between them.
fn corners(points: Vec<Point>) -> Vec<Point> {
    let turns = |i: usize| {
        let (Some(before), Some(here), Some(after)) =
            (i.checked_sub(1).and_then(|j| points.get(j)), points.get(i), points.get(i + 1))
        else {
            return true;
        };
        let flat = before.recall == here.recall && here.recall == after.recall;
        let steep = before.false_alarms == here.false_alarms && here.false_alarms == after.false_alarms;
        !flat && !steep
    };
    let kept: Vec<bool> = (0..points.len()).map(turns).collect();
    points.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(point, _)| point).collect()
}

/// How often what is believed with some probability is so.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Calibration {
    /// The share of malicious endpoints that the scores assume, and that the counts are brought to.
    pub(super) prior: f64,
    /// Mean distance of what was believed from what was so, weighed by endpoints.
    pub(super) expected_error: f64,
    pub(super) bins: Vec<Bin>,
}

/// Endpoints of about the same score.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Bin {
    /// Scores from here on.
    pub(super) from: f64,
    pub(super) malicious: usize,
    pub(super) honest: usize,
    pub(super) believed: f64,
    pub(super) observed: f64,
}

/// Edges of the bins in log odds.
const EDGES: [f64; 10] = [f64::NEG_INFINITY, -12.0, -8.0, -5.0, -3.0, -1.0, 0.0, 1.0, 3.0, 5.0];

/// Believed against observed. An evaluation has far more malicious endpoints than the world; each counts for less here, so
/// that their share is `prior`.
pub(super) fn calibration(scores: &[(f64, bool)], prior: f64) -> Calibration {
    let bad = scores.iter().filter(|(_, malicious)| *malicious).count() as f64;
    let good = scores.len() as f64 - bad;
    let weight = if bad > 0.0 { prior / (1.0 - prior) * good / bad } else { 0.0 };
    let (mut bins, mut error, mut total) = (Vec::new(), 0.0, 0.0);
    for (i, from) in EDGES.iter().enumerate() {
        let to = EDGES.get(i + 1).copied().unwrap_or(f64::INFINITY);
        let inside: Vec<_> = scores.iter().filter(|(score, _)| score >= from && *score < to).collect();
        let malicious = inside.iter().filter(|(_, malicious)| *malicious).count();
        let honest = inside.len() - malicious;
        let of = |malicious: bool| if malicious { weight } else { 1.0 };
        let mass: f64 = inside.iter().map(|(_, malicious)| of(*malicious)).sum();
        if mass <= 0.0 {
            continue;
        }
        let believed = inside.iter().map(|(s, malicious)| of(*malicious) / (1.0 + (-s).exp())).sum::<f64>() / mass;
        let observed = malicious as f64 * weight / mass;
        error += mass * (believed - observed).abs();
        total += mass;
        bins.push(Bin { from: from.max(-99.0), malicious, honest, believed, observed });
    }
    Calibration { prior, expected_error: if total > 0.0 { error / total } else { 0.0 }, bins }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_agree_with_tables() {
        // Newcombe 1998, table I: 81 of 263, 0 of 20.
        let rate = Rate::of(81, 263);
        assert!((rate.wilson[0] - 0.2553).abs() < 1e-4 && (rate.wilson[1] - 0.3662).abs() < 1e-4, "{rate:?}");
        assert!((rate.exact[0] - 0.2527).abs() < 1e-4 && (rate.exact[1] - 0.3676).abs() < 1e-4, "{rate:?}");
        let none = Rate::of(0, 20);
        assert!((none.wilson[1] - 0.1611).abs() < 1e-4 && (none.exact[1] - 0.1684).abs() < 1e-4, "{none:?}");
        assert_eq!((none.exact[0], Rate::of(7, 7).exact[1], Rate::of(0, 0).share), (0.0, 1.0, None));
        // The rule of three.
        assert!((Rate::of(0, 30_000).exact[1] * 30_000.0 - 3.69).abs() < 0.01);
    }

    #[test]
    fn a_perfect_order_has_area_one_and_chance_a_half() {
        assert_eq!(curve(&[3.0, 2.0], &[1.0, 0.0]).area, 1.0);
        assert_eq!(curve(&[1.0, 1.0], &[1.0, 1.0]).area, 0.5);
        let curve = curve(&[5.0, 1.0], &[2.0, 0.0, -1.0, -2.0]);
        assert_eq!(curve.area, 0.875);
        let ends = curve.points.last().unwrap();
        assert_eq!((ends.recall, ends.false_alarms), (1.0, 1.0));
        assert!(curve.at.iter().all(|at| at.point.is_none()), "four honest endpoints tell nothing of a tenth");
    }

    #[test]
    fn honest_odds_are_calibrated_and_boasts_are_not() {
        // Of 1000 endpoints at even odds half are malicious.
        let even: Vec<(f64, bool)> = (0..1_000).map(|i| (0.0, i % 2 == 0)).collect();
        assert!(calibration(&even, 0.5).expected_error < 1e-9);
        let boast: Vec<(f64, bool)> = (0..1_000).map(|i| (5.0, i % 2 == 0)).collect();
        assert!((calibration(&boast, 0.5).expected_error - 0.493).abs() < 0.001);
    }

    #[test]
    fn quantiles_are_ranks() {
        assert_eq!(quantile(&[3.0, f64::NAN, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
