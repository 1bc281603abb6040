//! S10 congestion-clock: whose evening it is when the way to the endpoint is fullest.
//!
//! Sees: home-exit, home-proxy and commercial-vpn (T2 to T4) whose hidden leg crosses lines that are full in another
//! part of the world's evening. Weak: capped at 2 and never enough alone. Needs seven days. Errs: a household's own
//! evening, a backup at a fixed hour. Evaded by: lines that are never full. Numbers: science note S10; the widths are
//! design values, tried on simulated weeks only.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Question};
use std::collections::BTreeSet;
use std::f64::consts::TAU;

pub(super) static RULE: Rule = Rule {
    name: "congestion-clock",
    signal: "S10",
    question: Question::Connection,
    family: Family::Physics,
    weak: true,
    cap: 2.0,
    observe,
    tell,
};

const LEAST_DAYS: usize = 7;
const LEAST_WINDOWS: usize = 56;
/// Access lines are fullest around nine in the evening by their own sun.
const EVENING: f64 = 21.0;
/// The evenings of East Asia, and of Moscow and the Gulf, in hours UTC (science note S10: 12 to 16; Moscow is UTC+3).
const ELSEWHERE: [f64; 2] = [14.0, 18.0];
/// How concentrated evenings are: a von Mises distribution's kappa (design value, about two and a half hours).
const KAPPA: f64 = 2.5;
/// A rhythm counts from this strength on: the length of the mean vector of the queueing.
const RHYTHM: f64 = 0.15;

struct Rhythm {
    /// When the queues are longest, in hours UTC.
    peak: f64,
    strength: f64,
    windows: u64,
}

fn look(case: &Case<'_>) -> Option<Rhythm> {
    let (_, rung) = case.path_rungs().max_by_key(|(_, rung)| rung.windows())?;
    let minima: Vec<(i64, f64)> = rung.minima().map(|(at, us)| (at.nanos(), f64::from(us))).collect();
    let days: BTreeSet<i64> = minima.iter().map(|(at, _)| at.div_euclid(86_400_000_000_000)).collect();
    if days.len() < LEAST_DAYS || minima.len() < LEAST_WINDOWS {
        return None;
    }
    let floor = minima.iter().map(|(_, us)| *us).fold(f64::INFINITY, f64::min);
    let mut bins = [(0.0, 0.0); 24];
    for (at, us) in &minima {
        let hour = usize::try_from(at.div_euclid(3_600_000_000_000).rem_euclid(24)).unwrap_or_default();
        if let Some(bin) = bins.get_mut(hour) {
            *bin = (bin.0 + us - floor, bin.1 + 1.0);
        }
    }
    // By the hour, so that an hour that is looked at more often does not count for more.
    let (mut x, mut y, mut all) = (0.0, 0.0, 0.0);
    for (hour, (sum, n)) in (0u8..).zip(bins) {
        if n > 0.0 {
            let (mean, angle) = (sum / n, (f64::from(hour) + 0.5) / 24.0 * TAU);
            (x, y, all) = (x + mean * angle.cos(), y + mean * angle.sin(), all + mean);
        }
    }
    let strength = x.hypot(y) / f64::max(all, 1.0);
    let peak = y.atan2(x).rem_euclid(TAU) / TAU * 24.0;
    Some(Rhythm { peak, strength, windows: u64::try_from(minima.len()).unwrap_or(u64::MAX) })
}

/// The sun's clock at the endpoint's place, in hours from UTC.
fn shift(case: &Case<'_>) -> Option<f64> {
    Some(case.place?.point?.lon() / 15.0)
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (rhythm, shift) = (look(case).filter(|rhythm| rhythm.strength >= RHYTHM)?, shift(case)?);
    let own = von_mises(rhythm.peak, EVENING - shift);
    let theirs: f64 = ELSEWHERE.iter().map(|hour| von_mises(rhythm.peak, *hour)).sum::<f64>() / 2.0;
    let any = 1.0 / 24.0;
    Some(Observation {
        value: (rhythm.peak + shift).rem_euclid(24.0),
        unit: "h",
        n: rhythm.windows,
        ln_likelihood: over(Question::Connection, |h| {
            // Behind a relay both ways fill up, the home's own as well.
            let density = if h.is_malicious() { 0.4 * theirs + 0.4 * own + 0.2 * any } else { 0.7 * own + 0.3 * any };
            density.ln()
        }),
        hidden_leg_ms: None,
    })
}

/// The density of hours around one, per hour.
fn von_mises(hour: f64, around: f64) -> f64 {
    // The modified Bessel function of order 0 at KAPPA, by its series.
    let bessel: f64 = (0..20u8)
        .scan(1.0, |term, k| {
            let now = *term;
            *term *= (KAPPA / 2.0 / f64::from(k + 1)).powi(2);
            Some(now)
        })
        .sum();
    (KAPPA * ((hour - around) / 24.0 * TAU).cos()).exp() / (24.0 * bessel)
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let text = format!(
        "Over a week and more the way to it is fullest around {:02.0}:00 by the sun at its place; home lines are around \
         21:00. Backups and habits have rhythms, too.",
        seen.value.floor()
    );
    (text, case.account.quickest.iter().take(1).map(|(.., flow)| flow.community_id()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Layer, RttSample, Side, Timestamp};
    use crate::evidence::{Account, Hypothesis, Site};
    use crate::intel::{Kind, Place};
    use std::time::Duration;

    /// Ten days with a sample each ten minutes whose queue is fullest at `peak` o'clock UTC.
    fn observed(peak: f64, depth: f64) -> Option<Observation> {
        let mut account = Account::default();
        for i in 0..1_440u32 {
            let hour = f64::from(i) / 6.0;
            let queue = depth * (1.0 + ((hour - peak) / 24.0 * TAU).cos()) / 2.0 + f64::from(i % 7) * 0.1;
            account.ladder.add(&RttSample {
                at: Timestamp::from_parts(i64::from(i) * 600, 0),
                side: Side::Client,
                rtt: Duration::from_secs_f64((60.0 + queue) / 1e3),
                layer: Layer::TcpHandshake,
                method: "test",
                ambiguous: false,
            });
        }
        // Omaha: the sun is six and a half hours behind Greenwich.
        let place = Place { point: Some("41.26,-95.93".parse().unwrap()), kind: Kind::Residential, ..Place::default() };
        observe(&Case::new(&account, Some(&place), &Site::default()))
    }

    fn says(seen: &Observation) -> f64 {
        seen.ln_likelihood_of(Hypothesis::HomeExit, RULE.cap) - seen.ln_likelihood_of(Hypothesis::Direct, RULE.cap)
    }

    #[test]
    fn the_evening_of_another_place_speaks_for_a_relay_and_ones_own_against() {
        let asian = observed(14.0, 20.0).unwrap();
        assert!(says(&asian) > 0.5, "{}", says(&asian));
        let own = observed(27.4, 20.0).unwrap();
        assert!(says(&own) < -0.2 && (own.value - 21.0).abs() < 1.0, "{} {}", says(&own), own.value);
        // A way that is never full has no clock.
        assert!(observed(14.0, 0.0).is_none());
    }

    #[test]
    fn densities_of_hours_add_up_to_one() {
        let sum: f64 = (0..2_400u32).map(|i| von_mises(f64::from(i) / 100.0, 21.0) / 100.0).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}
