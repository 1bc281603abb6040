//! Probability densities of round trips, in natural logarithms per millisecond.
//!
//! Reads: milliseconds. Emits: log densities. Does not: know hypotheses.

/// Log of a density too small to tell from impossible.
pub(super) const IMPOSSIBLE: f64 = -60.0;

/// Normal density.
pub(super) fn ln_normal(x: f64, mean: f64, sd: f64) -> f64 {
    let z = (x - mean) / sd;
    (-0.5 * z * z - (sd * (2.0 * std::f64::consts::PI).sqrt()).ln()).max(IMPOSSIBLE)
}

/// Exponential density from 0 up.
pub(super) fn ln_exponential(x: f64, mean: f64) -> f64 {
    if x < 0.0 { IMPOSSIBLE } else { (-x / mean - mean.ln()).max(IMPOSSIBLE) }
}

/// Two-sided exponential density around 0, with this share of it above.
pub(super) fn ln_two_sided(x: f64, mean: f64, above: f64) -> f64 {
    let share = if x < 0.0 { 1.0 - above } else { above };
    (share.ln() - x.abs() / mean - mean.ln()).max(IMPOSSIBLE)
}

/// Uniform density.
pub(super) fn ln_uniform(x: f64, from: f64, to: f64) -> f64 {
    if (from..=to).contains(&x) { -(to - from).ln() } else { IMPOSSIBLE }
}

/// Density of gamma(2, `scale`): a queue that is never empty (science note 0.2).
pub(super) fn ln_gamma2(x: f64, scale: f64) -> f64 {
    if x <= 0.0 {
        return IMPOSSIBLE;
    }
    let z = x / scale;
    (z.ln() - z - scale.ln()).max(IMPOSSIBLE)
}

/// The round trip between the home and an operator in the places that matter (science note S01: East Asia, Russia and
/// the Gulf, and a broad rest).
pub(super) fn ln_hidden_leg(x: f64) -> f64 {
    ln_mix(&[(0.6, ln_normal(x, 185.0, 35.0)), (0.25, ln_normal(x, 150.0, 30.0)), (0.15, ln_uniform(x, 60.0, 400.0))])
}

/// Log of a weighted sum of densities.
pub(super) fn ln_mix(parts: &[(f64, f64)]) -> f64 {
    ln_sum(parts.iter().map(|(weight, ln_density)| weight.ln() + ln_density))
}

/// Log of a sum, from the logs of its terms.
pub(super) fn ln_sum(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() { most + terms.map(|t| (t - most).exp()).sum::<f64>().ln() } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each density sums to one over its range.
    #[test]
    fn densities_are_densities() {
        let integral = |f: &dyn Fn(f64) -> f64| -> f64 {
            (-200_000i32..500_000).map(|i| f(f64::from(i) / 100.0).exp() / 100.0).sum()
        };
        for (name, total) in [
            ("normal", integral(&|x| ln_normal(x, 185.0, 35.0))),
            ("exponential", integral(&|x| ln_exponential(x, 40.0))),
            ("two-sided", integral(&|x| ln_two_sided(x, 12.0, 0.7))),
            ("uniform", integral(&|x| ln_uniform(x, 60.0, 400.0))),
            ("gamma", integral(&|x| ln_gamma2(x, 60.0))),
            ("hidden leg", integral(&ln_hidden_leg)),
        ] {
            assert!((total - 1.0).abs() < 0.01, "{name}: {total}");
        }
    }
}
