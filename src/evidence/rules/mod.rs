//! One signal a file: how well each hypothesis explains one observation.
//!
//! A leaf room: no rule imports another. Each stands in [`RULES`] and has a section in `docs/evidence.md`.
//! A rule that has too little to go by says nothing.

mod absolute_excess;
mod cross_layer_gap;
mod hello_lag;
mod tunnel_tax;

use super::{Case, Hypothesis};

/// All rules.
pub static RULES: &[&Rule] = &[&absolute_excess::RULE, &cross_layer_gap::RULE, &hello_lag::RULE, &tunnel_tax::RULE];

/// One signal.
#[derive(Debug)]
pub struct Rule {
    /// The contract's name.
    pub name: &'static str,
    /// Its number in the science note.
    pub signal: &'static str,
    /// The most it may say for or against, in natural logarithms: no event is called rarer than what could have been
    /// witnessed (science note 6.8.3).
    pub cap: f64,
    /// Looks at a case.
    pub observe: fn(&Case<'_>) -> Option<Observation>,
    /// Tells what was seen, uncertainty included, and which flows show it (Community IDs).
    pub tell: fn(&Case<'_>, &Observation) -> (String, Vec<String>),
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
    /// Log likelihood under each hypothesis, in the order of [`Hypothesis::ALL`].
    pub ln_likelihood: [f64; Hypothesis::ALL.len()],
    /// The hidden leg that a malicious hypothesis reads off it, in ms.
    pub hidden_leg_ms: Option<(Hypothesis, f64)>,
}

impl Observation {
    /// Log likelihood under one hypothesis, no farther below the best one than `cap`.
    #[must_use]
    pub fn ln_likelihood_of(&self, hypothesis: Hypothesis, cap: f64) -> f64 {
        let best = self.ln_likelihood.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let own = self.ln_likelihood.get(hypothesis as usize).copied().unwrap_or(best);
        own.max(best - cap)
    }
}
