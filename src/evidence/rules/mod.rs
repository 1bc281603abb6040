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
}

/// What a rule saw, and how well each hypothesis explains it.
#[derive(Debug, Clone)]
pub struct Observation {
    /// What was measured.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// From how many measurements.
    pub n: u64,
    /// In words, uncertainty included.
    pub text: String,
    /// Flows, by Community ID.
    pub cites: Vec<String>,
    /// Log likelihood under each hypothesis.
    pub ln_likelihood: Vec<(Hypothesis, f64)>,
    /// The hidden leg that each malicious hypothesis reads off it, in ms.
    pub hidden_leg_ms: Option<(Hypothesis, f64)>,
}

impl Observation {
    /// Log likelihood under one hypothesis, no farther below the best one than `cap`.
    #[must_use]
    pub fn ln_likelihood_of(&self, hypothesis: Hypothesis, cap: f64) -> f64 {
        let best = self.ln_likelihood.iter().map(|(_, ln)| *ln).fold(f64::NEG_INFINITY, f64::max);
        let own = self.ln_likelihood.iter().find(|(h, _)| *h == hypothesis).map_or(best, |(_, ln)| *ln);
        own.max(best - cap)
    }
}
