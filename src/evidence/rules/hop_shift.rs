//! S08 hop-shift: the number of routers on the way changed at the same time as its length.
//!
//! Sees: home-exit (T2) that is switched on while we watch: a tunnel brings a router and a leg. Weak: capped at 1.5 and
//! never enough alone; counts only where a step of 60 ms in the shortest round trip comes within a quarter of an hour of
//! the change. Looks like it: a traveller, another line, a new route. Evaded by: a tunnel that was always there.
//! Numbers: science note S08.

use super::{Family, Observation, Rule, over};
use crate::base::Timestamp;
use crate::evidence::{Case, Hypothesis, Question};
use crate::fingerprint::Change;
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "hop-shift",
    signal: "S08",
    question: Question::Connection,
    family: Family::Physics,
    weak: true,
    cap: 1.5,
    observe,
    tell,
};

/// The farm question begins here, in ms (science note 0.1).
const STEP: f64 = 60.0;
/// Both are known to five minutes at best.
const TOGETHER: Duration = Duration::from_secs(900);

/// The change of hops, and the step up in ms that came with it.
fn look(case: &Case<'_>) -> Option<(Change<u8>, f64)> {
    let near = |a: Timestamp, b: Timestamp| {
        a.nanos().abs_diff(b.nanos()) <= u64::try_from(TOGETHER.as_nanos()).unwrap_or(u64::MAX)
    };
    let steps: Vec<(Timestamp, f64)> = case
        .path_rungs()
        .flat_map(|(_, rung)| rung.steps())
        .map(|step| (step.at.start(), (step.to.0.as_secs_f64() - step.from.0.as_secs_f64()) * 1e3))
        .filter(|(_, rise)| *rise >= STEP)
        .collect();
    if steps.is_empty() {
        return None;
    }
    let more = case
        .account
        .path
        .hop_changes()
        .into_iter()
        .filter(|change| change.to > change.from && change.to - change.from <= 3);
    more.filter_map(|change| steps.iter().find(|(at, _)| near(*at, change.at)).map(|(_, rise)| (change, *rise))).next()
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (_, rise) = look(case)?;
    Some(Observation {
        value: rise,
        unit: "ms",
        n: 1,
        ln_likelihood: over(Question::Connection, |h| match h {
            Hypothesis::HomeExit => 0.2f64.ln(),
            _ => 0.04f64.ln(),
        }),
        hidden_leg_ms: Some((Hypothesis::HomeExit, rise)),
    })
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let Some((change, _)) = look(case) else { return (String::new(), Vec::new()) };
    let text = format!(
        "The way to it became {:.0} ms longer, and has {} instead of {} routers since: something was put in between. A \
         traveller or a new line looks the same.",
        seen.value, change.to, change.from
    );
    (text, case.account.quickest.iter().take(2).map(|(.., flow)| flow.community_id()).collect())
}
