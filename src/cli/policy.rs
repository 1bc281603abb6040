//! The table `[policy]` of the configuration file: what a site decides for itself.
//!
//! Reads: what was written. Emits: the policy, defaults where nothing was. Does not: weigh evidence.

use super::UsageError;
use crate::evidence::Policy;
use serde::{Deserialize, Serialize};

/// The table `[policy]` of the configuration file.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PolicySettings {
    /// Share of remote identities that are relayed, before anything is measured.
    pub prior: Option<f64>,
    /// False alarms per remote identity and day that there is time for.
    pub alert_budget: Option<f64>,
    /// Posterior log-odds from which on an endpoint is called relayed.
    pub relayed_from: Option<f64>,
    /// Log ratio to which an endpoint is called clear.
    pub clear_to: Option<f64>,
}

impl PolicySettings {
    /// The policy: defaults where nothing is set.
    ///
    /// # Errors
    /// A number is out of its range.
    pub(super) fn policy(&self) -> Result<Policy, UsageError> {
        let within = |option, value: Option<f64>, default: f64, low: f64, high: f64| match value {
            None => Ok(default),
            Some(value) if (low..=high).contains(&value) => Ok(value),
            Some(value) => {
                Err(UsageError::Value { option, reason: format!("{value} is not between {low} and {high}") })
            }
        };
        let prior = within("policy.prior", self.prior, Policy::PRIOR, 1e-9, 0.5)?;
        let policy = Policy {
            alert_budget: within("policy.alert-budget", self.alert_budget, Policy::ALERT_BUDGET, 0.0, 1.0)?,
            relayed_from: within("policy.relayed-from", self.relayed_from, Policy::RELAYED_FROM, -20.0, 20.0)?,
            clear_to: within("policy.clear-to", self.clear_to, Policy::CLEAR_TO, -20.0, 0.0)?,
            ..Policy::default()
        };
        Ok(policy.with_prior(prior))
    }
}
