//! S27 shared-bottleneck: whether the endpoint's line is full, or down, just when another endpoint's is.
//!
//! Sees: many-laptops (T5) behind one access line that leave by several addresses. Weak: capped at 4, and never enough
//! alone. Errs: where few endpoints are busy at once, nothing can be said. Looks like it: neighbours on one full segment,
//! one worker whose programs leave by two ways, an office with several exits, a carrier's gateway.
//! Evaded by: a line for each laptop; lines that are never full.
//! Numbers: science note S27; `peers/lines.rs` has the comparison; shares are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::likelihood::ln_mix;
use crate::evidence::{Case, Hypothesis, LineTie, Question, SharedLine};
use crate::intel::Kind;
use std::fmt::Write as _;

pub(super) static RULE: Rule = Rule {
    name: "shared-bottleneck",
    signal: "S27",
    question: Question::Sharing,
    family: Family::Number,
    weak: true,
    cap: 4.0,
    observe,
    tell,
};

fn look<'a>(case: &Case<'a>) -> Option<&'a SharedLine> {
    case.ties?.line.as_ref()
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let line = look(case)?;
    let strongest = line.with.first()?;
    let home = matches!(case.kind(), Kind::Residential);
    Some(Observation {
        value: strongest.correlation,
        unit: "correlation",
        n: u64::try_from(strongest.beats.max(strongest.interruptions.0)).unwrap_or(u64::MAX),
        ln_likelihood: over(Question::Sharing, |h| {
            // How often such a one shares its line with another of the company's endpoints.
            let share = match h {
                Hypothesis::ManyLaptops => 0.2,
                Hypothesis::Coworking | Hypothesis::Cgnat if home => 0.02,
                Hypothesis::Coworking => 0.2,
                Hypothesis::Cgnat => 0.1,
                _ => 0.01,
            };
            ln_mix(&[(share, line.ln_bayes), (1.0 - share, 0.0)])
        }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let Some(line) = look(case) else { return (String::new(), Vec::new()) };
    let mut text = String::new();
    for tie in line.with.iter().take(3) {
        text.push_str(if text.is_empty() { "Its line seems to be that of " } else { " And of " });
        one(&mut text, tie);
    }
    if let Some(more) = line.with.len().checked_sub(4) {
        let _ = write!(text, " And of {} more.", more + 1);
    }
    let _ = write!(
        text,
        " It was compared with {} endpoints. Neighbours on one full segment, and one worker who leaves by two ways, look \
         the same.",
        line.compared
    );
    (text, case.account.quickest.iter().take(2).map(|(.., flow)| flow.community_id()).collect())
}

fn one(text: &mut String, tie: &LineTie) {
    let _ = write!(text, "{}:", tie.other);
    if tie.beats > 0 {
        let minutes = tie.beats / 12;
        let _ = write!(
            text,
            " their queues are full at the same time (correlation {:.2} over {minutes} minutes, {:.1} standard deviations \
             above that at wrong times)",
            tie.correlation, tie.deviations
        );
    }
    let (at_once, all) = tie.interruptions;
    if at_once > 0 {
        let joint = if tie.beats > 0 { " and" } else { "" };
        let _ = write!(
            text,
            "{joint} {at_once} interruptions of their VPN sessions ended within 5 s of each other ({all} in all)"
        );
    }
    text.push('.');
}
