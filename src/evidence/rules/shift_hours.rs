//! S25 shift-hours: the hours of work against the sun at the place the address claims.
//!
//! Sees: work that goes on at night there, week after week. Capped at 1.0 and never enough alone: people work at night
//! for many good reasons, and a clock says nothing about a person. Needs five days. Evaded by: keeping the place's hours.
//! Numbers: science note S25; shares are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question};
use std::collections::BTreeSet;

pub(super) static RULE: Rule = Rule {
    name: "shift-hours",
    signal: "S25",
    question: Question::Control,
    family: Family::Human,
    weak: true,
    cap: 1.0,
    observe,
    tell,
};

const LEAST_DAYS: usize = 5;
/// Hours of the sun's clock that are night.
const NIGHT: std::ops::Range<i64> = 0..5;

/// The share of packets at night, and the days they are of.
fn look(case: &Case<'_>) -> Option<(f64, usize)> {
    let point = case.place?.point?;
    #[expect(clippy::cast_possible_truncation, reason = "at most 12")]
    let shift = (point.lon() / 15.0).round() as i64;
    let (mut night, mut all) = (0u64, 0u64);
    let mut days = BTreeSet::new();
    for (hour, packets) in case.facts().flat_map(|facts| facts.hours.iter()) {
        let local = hour + shift;
        days.insert(local.div_euclid(24));
        all += packets;
        night += if NIGHT.contains(&local.rem_euclid(24)) { *packets } else { 0 };
    }
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = night as f64 / all.max(1) as f64;
    (days.len() >= LEAST_DAYS).then_some((share, days.len()))
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (share, days) = look(case)?;
    let mostly = share > 0.5;
    let of = |h: Hypothesis| match h {
        Hypothesis::RemoteDesktop | Hypothesis::IpKvm => 0.15,
        _ => 0.05f64,
    };
    Some(Observation {
        value: share * 100.0,
        unit: "%",
        n: u64::try_from(days).unwrap_or(u64::MAX),
        ln_likelihood: over(Question::Control, |h| if mostly { of(h).ln() } else { (1.0 - of(h)).ln() }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let text = format!(
        "Over {} days, {:.0} % of its packets come between midnight and five by the sun at its place. Many people work \
         at night.",
        seen.n, seen.value
    );
    (text, case.account.facts.tunnels.iter().take(1).map(|tunnel| tunnel.flow.community_id()).collect())
}
