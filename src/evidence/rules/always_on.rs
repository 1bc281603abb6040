//! S24 always-on: the machine is connected around the clock, day after day.
//!
//! Sees: laptops that are kept awake for somebody else (T1, T5). Weak: capped at 1.5, never enough alone: machines that
//! are left on, backups and keep-alives look the same. Needs two days. Evaded by: switching off.
//! Numbers: science note S24 (more than 20 h a day); shares are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question};
use std::collections::BTreeMap;

pub(super) static RULE: Rule = Rule {
    name: "always-on",
    signal: "S24",
    question: Question::Control,
    family: Family::Human,
    weak: true,
    cap: 1.5,
    observe,
    tell,
};

/// A day with packets in so many of its hours had no night.
const NO_NIGHT: usize = 21;
const LEAST_DAYS: usize = 2;

/// Days without a night, and days.
fn days(case: &Case<'_>) -> (usize, usize) {
    let mut hours: BTreeMap<i64, u32> = BTreeMap::new();
    for (hour, _) in case.facts().flat_map(|facts| facts.hours.iter()) {
        *hours.entry(hour.div_euclid(24)).or_default() |= 1 << hour.rem_euclid(24);
    }
    let nightless = hours.values().filter(|set| usize::try_from(set.count_ones()).is_ok_and(|n| n >= NO_NIGHT)).count();
    (nightless, hours.len())
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (nightless, days) = days(case);
    if days < LEAST_DAYS {
        return None;
    }
    let share = |h: Hypothesis| match h {
        Hypothesis::RemoteDesktop | Hypothesis::IpKvm => 0.4,
        _ => 0.1f64,
    };
    let always = nightless >= LEAST_DAYS;
    #[expect(clippy::cast_precision_loss, reason = "a count of days")]
    let value = nightless as f64;
    Some(Observation {
        value,
        unit: "days",
        n: u64::try_from(days).unwrap_or(u64::MAX),
        ln_likelihood: over(Question::Control, |h| if always { share(h).ln() } else { (1.0 - share(h)).ln() }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let (nightless, days) = days(case);
    let text = format!(
        "On {nightless} of {days} days there was hardly an hour without packets. Machines that are left on look the same."
    );
    (text, case.account.facts.tunnels.iter().take(1).map(|tunnel| tunnel.flow.community_id()).collect())
}
