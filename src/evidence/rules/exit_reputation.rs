//! S33 exit-reputation: the address belongs to a VPN service or a data centre.
//!
//! Sees: commercial-vpn (T4). Weak: capped at 2.5 and never enough alone, because honest people use such services, too.
//! Errs: lists are old, addresses change hands; privacy relays are on VPN lists (they are subtracted where they are
//! known). Evaded by: an exit in somebody's home. Numbers: science note S33; shares are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question};
use crate::intel::Kind;

pub(super) static RULE: Rule = Rule {
    name: "exit-reputation",
    signal: "S33",
    question: Question::Connection,
    family: Family::Truth,
    weak: true,
    cap: 2.5,
    observe,
    tell,
};

fn observe(case: &Case<'_>) -> Option<Observation> {
    let kind = case.kind();
    if !matches!(kind, Kind::Vpn | Kind::Hosting) {
        return None;
    }
    Some(Observation {
        value: 1.0,
        unit: "lists",
        n: 1,
        // The priors of the innocent stories are already those of such an address.
        ln_likelihood: over(Question::Connection, |h| match h {
            Hypothesis::CommercialVpn => 0.9f64.ln(),
            _ => 0.05f64.ln(),
        }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let what = match case.kind() {
        Kind::Vpn => "a VPN service's exit",
        _ => "a data centre",
    };
    let by = case.place.and_then(|place| place.kind_by).map_or("what was given", |by| by.name());
    let text = format!("The address is {what}, as {by} says: not a home. Honest people use such services, too.");
    (text, case.account.quickest.iter().take(1).map(|(.., flow)| flow.community_id()).collect())
}
