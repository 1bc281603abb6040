//! One signal a file: how well each hypothesis explains one observation.
//!
//! A leaf room: no rule imports another. Each stands in [`RULES`] and has a section in `docs/evidence.md`.
//! A rule that has too little to go by says nothing.

mod absolute_excess;
mod ack_echo;
mod always_on;
mod congestion_clock;
mod cross_layer_gap;
mod crowded_address;
mod exit_reputation;
mod hello_lag;
mod hop_shift;
mod impossible_travel;
mod inner_outer_gap;
mod jitter_texture;
mod nat_hosts;
mod obfuscated_tunnel;
mod pseudorange;
mod remote_tool;
mod rtt_bimodality;
mod shared_bottleneck;
mod shared_control;
mod shift_hours;
mod stack_mismatch;
mod too_fast;
mod tunnel_tax;

use super::{Case, Hypothesis, Question};

/// All rules.
pub static RULES: &[&Rule] = &[
    &absolute_excess::RULE,
    &too_fast::RULE,
    &pseudorange::RULE,
    &cross_layer_gap::RULE,
    &inner_outer_gap::RULE,
    &hello_lag::RULE,
    &tunnel_tax::RULE,
    &hop_shift::RULE,
    &congestion_clock::RULE,
    &rtt_bimodality::RULE,
    &jitter_texture::RULE,
    &exit_reputation::RULE,
    &impossible_travel::RULE,
    &stack_mismatch::RULE,
    &obfuscated_tunnel::RULE,
    &remote_tool::RULE,
    &ack_echo::RULE,
    &always_on::RULE,
    &shift_hours::RULE,
    &crowded_address::RULE,
    &nat_hosts::RULE,
    &shared_bottleneck::RULE,
    &shared_control::RULE,
];

/// What the measurements of several rules have in common (science note 6): within a family they are not independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// P: how long and by which way packets travel.
    Physics,
    /// R: a remote-control session is seen.
    Remote,
    /// H: what hands do, and when.
    Human,
    /// N: how many are where.
    Number,
    /// T: what machines and networks say of themselves.
    Truth,
}

impl Family {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Physics => "physics",
            Self::Remote => "remote",
            Self::Human => "human",
            Self::Number => "number",
            Self::Truth => "truth",
        }
    }
}

/// One signal.
#[derive(Debug)]
pub struct Rule {
    /// The contract's name.
    pub name: &'static str,
    /// Its number in the science note.
    pub signal: &'static str,
    /// Which question it helps to answer.
    pub question: Question,
    /// What its measurements have in common with those of other rules.
    pub family: Family,
    /// It never decides alone: without another rule's observation there is no verdict.
    pub weak: bool,
    /// The most it may say for or against, in natural logarithms: no event is called rarer than what could have been
    /// witnessed (science note 6.8.3).
    pub cap: f64,
    /// Looks at a case.
    pub observe: fn(&Case<'_>) -> Option<Observation>,
    /// Tells what was seen, uncertainty included, and which flows show it (Community IDs).
    pub tell: fn(&Case<'_>, &Observation) -> (String, Vec<String>),
}

/// A log likelihood for each hypothesis of one question; the others are not asked.
fn over(question: Question, ln_likelihood: impl Fn(Hypothesis) -> f64) -> [f64; Hypothesis::ALL.len()] {
    Hypothesis::ALL.map(|h| if h.question() == question { ln_likelihood(h) } else { 0.0 })
}

/// What a rule saw, and how well each hypothesis explains it.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// What was measured.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// From how many measurements.
    pub n: u64,
    /// Log likelihood under each hypothesis, in the order of [`Hypothesis::ALL`]; only those of the rule's question
    /// are looked at.
    pub ln_likelihood: [f64; Hypothesis::ALL.len()],
    /// The hidden leg that a malicious hypothesis reads off it, in ms.
    pub hidden_leg_ms: Option<(Hypothesis, f64)>,
}

impl Observation {
    /// Log likelihood under one hypothesis, no farther below the best one than `cap`.
    #[must_use]
    pub fn ln_likelihood_of(&self, hypothesis: Hypothesis, cap: f64) -> f64 {
        let best = self.best_of(hypothesis.question());
        self.ln_of(hypothesis).max(best - cap)
    }

    /// The same for each hypothesis of one question.
    pub(super) fn capped(&self, question: Question, cap: f64) -> [f64; Hypothesis::ALL.len()] {
        let least = self.best_of(question) - cap;
        self.ln_likelihood.map(|ln| ln.max(least))
    }

    fn ln_of(&self, hypothesis: Hypothesis) -> f64 {
        self.ln_likelihood.get(hypothesis as usize).copied().unwrap_or_default()
    }

    fn best_of(&self, question: Question) -> f64 {
        let rivals = question.answers(true).iter().chain(question.answers(false));
        rivals.map(|h| self.ln_of(*h)).fold(f64::NEG_INFINITY, f64::max)
    }
}
