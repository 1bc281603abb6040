//! S31 stack-mismatch: the connections come from another system than the programs on them say they run on.
//!
//! Sees: home-proxy (T3) and commercial-vpn (T4), whose own machine opens the connections that somebody else's programs
//! use. Weak: capped at 3 and never enough alone. Errs: a Linux subsystem on Windows, a virtual machine behind its host's
//! address translation, several machines behind one address. Evaded by: a proxy on the same system as the worker's.
//! Numbers: science note S31; shares are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question};
use crate::fingerprint::Family as Stack;

pub(super) static RULE: Rule = Rule {
    name: "stack-mismatch",
    signal: "S31",
    question: Question::Connection,
    family: Family::Truth,
    weak: true,
    cap: 3.0,
    observe,
    tell,
};

/// What the connections' first packets show, and what programs say, if that is one system each.
fn look(case: &Case<'_>) -> Option<(Stack, Stack)> {
    let mut said = case.account.facts.systems.iter().map(|(system, _)| *system);
    let only = said.next()?;
    let stack = case.account.path.family()?;
    said.next().is_none().then_some((stack, only))
}

/// Android's stack is Linux's.
fn agree(stack: Stack, said: Stack) -> bool {
    let kin = |family| if family == Stack::Android { Stack::Linux } else { family };
    kin(stack) == kin(said)
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (stack, said) = look(case)?;
    // That they agree proves nothing: the same system may stand on both.
    if agree(stack, said) {
        return None;
    }
    let share = |h: Hypothesis| match h {
        Hypothesis::HomeProxy => 0.4,
        Hypothesis::CommercialVpn => 0.1,
        // They open the connections of their users, too.
        Hypothesis::PrivacyRelay | Hypothesis::GeoSatellite | Hypothesis::Accelerator => 0.3,
        _ => 0.03f64,
    };
    Some(Observation {
        value: 1.0,
        unit: "mismatches",
        n: case.account.path.announced(),
        ln_likelihood: over(Question::Connection, |h| share(h).ln()),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let Some((stack, said)) = look(case) else { return (String::new(), Vec::new()) };
    let flows = case.account.facts.systems.iter().map(|(_, flow)| flow.community_id());
    let text = format!(
        "Its programs say they run on {}, but its connections are opened by {}: another machine opens them, or a virtual \
         one.",
        said.name(),
        stack.name()
    );
    (text, flows.take(2).collect())
}
