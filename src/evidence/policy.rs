//! What a site decides for itself: how common it thinks relays are, how many false alarms it has time for, and from
//! which odds on it wants to hear.
//!
//! Reads: nothing. Emits: numbers for the judgement, with the defaults that `docs/evidence.md` argues for.
//! Does not: change what a measurement says; evidence is weighed the same under every policy.

/// A site's own choices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// How many times more common than [`Policy::PRIOR`] this site thinks relays are; 1 leaves the priors alone.
    pub prior_scale: f64,
    /// False alarms per remote identity and day that the site has time for.
    pub alert_budget: f64,
    /// From these posterior log-odds on an endpoint is called relayed.
    pub relayed_from: f64,
    /// To this log ratio of the best relay against the best innocent story, priors left out, an endpoint is called
    /// clear.
    pub clear_to: f64,
}

impl Policy {
    /// The share of remote identities that are relayed, before anything is measured: one in 3,300 (science note 6.8:
    /// 1e-4 to 1e-3).
    pub const PRIOR: f64 = 3e-4;
    /// One false alarm a day per 10,000 remote identities (science note 6.8.5).
    pub const ALERT_BUDGET: f64 = 1e-4;
    /// More likely than not (science note 6.8.5).
    pub const RELAYED_FROM: f64 = 0.0;
    /// 20 to 1 against, before priors.
    pub const CLEAR_TO: f64 = -3.0;

    /// The policy of a site that thinks this share of its remote identities relayed.
    #[must_use]
    pub fn with_prior(self, prior: f64) -> Self {
        Self { prior_scale: prior / Self::PRIOR, ..self }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            prior_scale: 1.0,
            alert_budget: Self::ALERT_BUDGET,
            relayed_from: Self::RELAYED_FROM,
            clear_to: Self::CLEAR_TO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_prior_scales_nothing() {
        let policy = Policy::default();
        assert!((policy.with_prior(Policy::PRIOR).prior_scale - policy.prior_scale).abs() < 1e-12);
        assert!((policy.with_prior(3e-3).prior_scale - 10.0).abs() < 1e-9);
    }
}
