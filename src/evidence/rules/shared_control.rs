//! S28 shared-control: whether the endpoint's clients are odd in the same way as those of a stranger.
//!
//! Sees: many-laptops (T5) that were set up by one hand and leave by several addresses. Weak: capped at 1.5, and never
//! enough alone. How rare something is, the run's own endpoints tell, and how rare it is that two have something so rare
//! in common, too: what a company's image brings is common and weighs nothing, and a small run says nothing.
//! Errs: two who share a hobby share its programs. Evaded by: the company's own image, unchanged.
//! Numbers: science note S28; `peers/marks.rs` has the comparison; the weight is 1 / (2 √p), an e-value (Vovk and Wang,
//! Annals of Statistics 2021).

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question, SharedMarks};

pub(super) static RULE: Rule = Rule {
    name: "shared-control",
    signal: "S28",
    question: Question::Sharing,
    family: Family::Number,
    weak: true,
    cap: 1.5,
    observe,
    tell,
};

fn look<'a>(case: &Case<'a>) -> Option<&'a SharedMarks> {
    case.ties?.marks.as_ref()
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let marks = look(case)?;
    let ln_e = -(2.0 * marks.share.sqrt()).ln();
    (ln_e > 0.0).then(|| Observation {
        value: marks.weight,
        unit: "nats",
        n: u64::try_from(marks.compared).unwrap_or(u64::MAX),
        // An office and a carrier's gateway make their users alike as well.
        ln_likelihood: over(Question::Sharing, |h| if h == Hypothesis::Household { 0.0 } else { ln_e }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let Some(marks) = look(case) else { return (String::new(), Vec::new()) };
    let common: Vec<String> = marks.marks.iter().map(|(mark, n)| format!("{} ({n})", mark.name())).collect();
    let text = format!(
        "It has in common with {} what few of {} endpoints have: {}. {:.1} % of them have as much in common with a \
         stranger.",
        marks.other,
        marks.compared,
        common.join(", "),
        marks.share * 100.0
    );
    (text, case.account.quickest.iter().take(2).map(|(.., flow)| flow.community_id()).collect())
}
