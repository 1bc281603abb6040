//! S30 impossible-travel: somebody whom servers accept is at two far places faster than an airliner flies.
//!
//! Sees: commercial-vpn (T4), and accounts that several people use. Weak: capped at 3 and never enough alone. Errs:
//! places of addresses are wrong now and then, above all of mobile networks; a telephone and a laptop leave by different
//! lines; an honest VPN moves its user in a second. Evaded by: staying in one place. Numbers: science note S30 (900 km/h).

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Journey, Question};
use crate::intel::Kind;

pub(super) static RULE: Rule = Rule {
    name: "impossible-travel",
    signal: "S30",
    question: Question::Connection,
    family: Family::Truth,
    weak: true,
    cap: 3.0,
    observe,
    tell,
};

/// Airliners cruise at about this speed, in km/h.
const AIRLINER: f64 = 900.0;

fn observe(case: &Case<'_>) -> Option<Observation> {
    let journey = case.journey?;
    let speed = journey.speed();
    if speed <= AIRLINER {
        return None;
    }
    // Where a telephone's or a service's address is tells little of where its user is.
    let loose =
        |kind: Kind| matches!(kind, Kind::Mobile | Kind::Vpn | Kind::Hosting | Kind::Satellite | Kind::SatelliteLeo);
    let honest = if loose(case.kind()) || loose(journey.kind) { 0.1 } else { 0.01 };
    Some(Observation {
        value: speed,
        unit: "km/h",
        n: 1,
        ln_likelihood: over(Question::Connection, |h| {
            let share: f64 = match h {
                Hypothesis::CommercialVpn => 0.3,
                Hypothesis::HomeExit | Hypothesis::HomeProxy => 0.1,
                Hypothesis::PrivacyRelay | Hypothesis::Misplaced => 0.2,
                _ => honest,
            };
            share.ln()
        }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let Some(Journey { who, other, km, between, .. }) = case.journey else { return (String::new(), Vec::new()) };
    let minutes = between.as_secs() / 60;
    let when = if between.is_zero() { "at the same time".to_owned() } else { format!("within {minutes} min") };
    let text = format!(
        "{} was accepted from here and from {other}, {km:.0} km away, {when}: nobody travels that fast. A telephone on \
         another line, or a VPN of one's own, looks the same.",
        who.name
    );
    (text, case.account.quickest.iter().take(1).map(|(.., flow)| flow.community_id()).collect())
}
