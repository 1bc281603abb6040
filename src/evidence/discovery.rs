//! How many of a list of findings are expected to be wrong because so many endpoints were looked at.
//!
//! Reads: Bayes factors of findings, and how many endpoints were judged. Emits: for each the rate of false discoveries
//! among it and all stronger ones. Method: the Benjamini-Hochberg procedure for e-values (Wang and Ramdas, "False
//! discovery rate control with e-values", 2022), which holds whatever the findings have to do with each other: a Bayes
//! factor against the innocent answers is an e-value as far as those are modelled right. Does not: hide a finding.

use super::likelihood::ln_sum;

/// The log of the mean of two e-values, which is one whatever they have to do with each other: of a finding's Bayes
/// factor and of what its days say together. They look at the same packets, so they are not multiplied.
#[must_use]
pub fn ln_strength(ln_bayes: f64, over_days: Option<f64>) -> f64 {
    over_days.map_or(ln_bayes, |e| ln_sum([ln_bayes, e.ln()].into_iter()) - 2f64.ln())
}

/// The rates, in the order of `ln_bayes` (natural logarithms), for findings among `judged` endpoints; at most 1.
#[must_use]
pub fn false_discovery_rates(ln_bayes: &[f64], judged: u64) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a count of endpoints")]
    let ln_judged = (judged.max(1) as f64).ln();
    let mut order: Vec<(usize, f64)> = ln_bayes.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut rates = vec![1.0f64; ln_bayes.len()];
    // From the weakest to the strongest: no finding's rate is above that of a weaker one.
    let mut least = 1.0f64;
    for (rank, (place, ln)) in order.iter().enumerate().rev() {
        #[expect(clippy::cast_precision_loss, reason = "a count of findings")]
        let own = (ln_judged - ((rank + 1) as f64).ln() - ln).exp();
        least = least.min(own);
        if let Some(rate) = rates.get_mut(*place) {
            *rate = least;
        }
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_strong_finding_among_few_is_surer_than_many_weak_ones_among_many() {
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9) && a.len() == b.len();
        let ln = |e: f64| e.ln();
        assert!(close(&false_discovery_rates(&[ln(1e4)], 100), &[0.01]));
        assert!(close(&false_discovery_rates(&[ln(1e4)], 1_000_000), &[1.0]));
        // The second is as sure as the list of both: 2 of 100 at 200 make 100 / (2 * 200).
        assert!(close(&false_discovery_rates(&[ln(200.0), ln(1e4)], 100), &[0.25, 0.01]));
        // A weaker one that makes the list longer can only help the others.
        assert!(close(&false_discovery_rates(&[ln(150.0), ln(140.0)], 100), &[100.0 / 280.0, 100.0 / 280.0]));
        assert!(false_discovery_rates(&[], 5).is_empty());
    }

    /// What days say takes the place of half of the Bayes factor: neither counts twice.
    #[test]
    fn days_and_bayes_factor_are_averaged() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(ln_strength(3.0, None), 3.0));
        assert!(close(ln_strength(100f64.ln(), Some(300.0)), 200f64.ln()));
        assert!(close(ln_strength(-900.0, Some(300.0)), 150f64.ln()));
    }

    /// Among honest endpoints only, whose Bayes factors are e-values, a list at rate a is not empty more often than a.
    #[test]
    fn honest_endpoints_fill_no_list() {
        let mut random = 1u64;
        let mut uniform = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((random >> 33) as f64 + 0.5) / (1u64 << 31) as f64
        };
        let (days, endpoints) = (2_000, 50);
        let mut listed = 0;
        for _ in 0..days {
            // 1 / (2 sqrt p) is an e-value for a uniform p.
            let ln: Vec<f64> = (0..endpoints).map(|_| (0.5 / uniform().sqrt()).ln()).collect();
            listed += usize::from(false_discovery_rates(&ln, endpoints).iter().any(|rate| *rate <= 0.1));
        }
        assert!(listed <= days / 10, "{listed} of {days}");
    }
}
