//! S02 too-fast: a round trip shorter than light in fibre needs to the place the address claims.
//!
//! Sees: commercial-vpn (T4) and wrong addresses: whoever answers is nearer than the place. One sample is a proof that
//! the place is wrong, but not of who is wrong. Where only TCP is too fast, a provider that ends TCP early explains it.
//! Errs: the tap is not where it was said to be; one address is served from many places. Evaded by: nothing.
//! Numbers: science note 0.1 and S02: 99.9 km per ms of round trip, 1 ms of slack for clocks.

use super::{Family, Observation, Rule, over};
use crate::base::Layer;
use crate::evidence::{Case, Hypothesis, Question};
use crate::intel::Distance;

pub(super) static RULE: Rule = Rule {
    name: "too-fast",
    signal: "S02",
    question: Question::Connection,
    family: Family::Physics,
    weak: true,
    cap: 6.0,
    observe,
    tell,
};

/// Clocks of two taps, and places that are a few streets off, in ms.
const SLACK: f64 = 1.0;

/// How much sooner than light the shortest loop closes, in ms; whether it is above TCP; how many round trips.
fn look(case: &Case<'_>) -> Option<(f64, bool, u64)> {
    let light = case.expected?.distance_ms * Distance::USUAL_KM_PER_MS / Distance::LIGHT_KM_PER_MS;
    let least = |above: bool| {
        let rungs = case.account.ladder.rungs().filter(move |(layer, _)| (*layer != Layer::TcpHandshake) == above);
        rungs
            .filter_map(|(_, rung)| Some((rung.samples.min()?.as_secs_f64() * 1e3, rung.samples.n())))
            .min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (least, above, n) = match (least(true), least(false)) {
        (Some((ms, n)), _) if ms + SLACK < light => (ms, true, n),
        (_, Some((ms, n))) => (ms, false, n),
        _ => return None,
    };
    (least + SLACK < light).then_some((light - least, above, n))
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (sooner, above, n) = look(case)?;
    Some(Observation {
        value: sooner,
        unit: "ms",
        n,
        ln_likelihood: over(Question::Connection, |h| {
            let share: f64 = match h {
                Hypothesis::Misplaced | Hypothesis::CommercialVpn | Hypothesis::PrivacyRelay => 0.5,
                Hypothesis::Accelerator if !above => 0.5,
                _ => 1e-3,
            };
            share.ln()
        }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let above = look(case).is_some_and(|(_, above, _)| above);
    let who = if above { "whoever answers is nearer than that place" } else { "TCP ends nearer than that place" };
    let text = format!(
        "Its quickest round trip is {:.0} ms shorter than light in fibre needs to the place the address says: {who}.",
        seen.value
    );
    (text, case.account.quickest.iter().take(2).map(|(.., flow)| flow.community_id()).collect())
}
