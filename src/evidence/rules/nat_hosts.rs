//! S29 nat-hosts: how many machines there are at least behind one address, by their clocks and their stacks.
//!
//! Sees: many-laptops (T5), whatever names they use. Weak: capped at 2, and never enough alone; most stacks give no line
//! at all, so that nothing is said where few are seen. Looks like it: a household with several devices, an office, a
//! provider's address translation. Evaded by: a proxy, whose one stack sends everything. Numbers: science note S29.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question};

pub(super) static RULE: Rule = Rule {
    name: "nat-hosts",
    signal: "S29",
    question: Question::Sharing,
    family: Family::Number,
    weak: true,
    cap: 2.0,
    observe,
    tell,
};

/// From how many on there is something to be explained: one worker has a laptop and a telephone.
const MANY: usize = 3;

fn observe(case: &Case<'_>) -> Option<Observation> {
    let hosts = case.account.path.hosts().filter(|hosts| hosts.at_least >= MANY)?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let value = hosts.at_least as f64;
    Some(Observation {
        value,
        unit: "machines",
        n: u64::try_from(hosts.compared).unwrap_or(u64::MAX),
        ln_likelihood: over(Question::Sharing, |h| match h {
            Hypothesis::Household => 0.05f64.ln(),
            _ => 0.5f64.ln(),
        }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let n = case.account.path.hosts().map_or(0, |hosts| hosts.at_least);
    let text = format!(
        "At least {n} machines send from this address, as their clocks and stacks show. Households with several devices \
         look the same."
    );
    (text, case.account.quickest.iter().take(2).map(|(.., flow)| flow.community_id()).collect())
}
