//! What is said of an endpoint, and on what grounds.

use super::rules::Family;
use super::{Hypothesis, OverDays, Question};
use crate::base::{Identity, Timestamp};
use crate::intel::Distance;
use std::net::IpAddr;
use std::sync::Arc;

/// The verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Somebody far away works through this endpoint.
    Relayed,
    /// Somebody far away works the machine behind it.
    RemoteControlled,
    /// Many workers' machines are behind it.
    Farm,
    /// It is the exit of a service, and its user is elsewhere.
    Exit,
    /// Measured well enough, and an innocent explanation is by far the best.
    Clear,
    /// The data can't tell.
    Insufficient,
}

impl Verdict {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::RemoteControlled => "remote-controlled",
            Self::Farm => "farm",
            Self::Exit => "exit",
            Self::Clear => "clear",
            Self::Insufficient => "insufficient",
        }
    }

    /// Whether it goes into the findings without being asked for.
    #[must_use]
    pub const fn is_finding(self) -> bool {
        !matches!(self, Self::Clear | Self::Insufficient)
    }

    /// What it is called when a malicious hypothesis is the best.
    #[must_use]
    pub const fn of(suspect: Hypothesis) -> Self {
        match suspect {
            Hypothesis::RemoteDesktop | Hypothesis::IpKvm => Self::RemoteControlled,
            Hypothesis::ManyLaptops => Self::Farm,
            Hypothesis::CommercialVpn => Self::Exit,
            _ => Self::Relayed,
        }
    }
}

/// How urgent a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For the record.
    Info,
    /// Likely (odds below 9 to 1): look at it when there is time.
    Low,
    /// Odds of 9 to 1 and more.
    Medium,
    /// Odds of 99 to 1 and more.
    High,
    /// The same, and several families of evidence agree.
    Critical,
}

impl Severity {
    /// All, mildest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// One observation and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The rule's name.
    pub rule: &'static str,
    /// What its measurements have in common with those of other rules.
    pub family: Family,
    /// How much better the best malicious hypothesis explains it than the best innocent one (natural logarithm).
    pub llr: f64,
    /// The same against the plainest innocent answer: a home as it says, the worker's own hands, one household.
    pub llr_plain: f64,
    /// What was measured.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// From how many measurements.
    pub n: u64,
    /// In words, uncertainty included.
    pub text: String,
    /// Flows to look at, by Community ID.
    pub cites: Vec<String>,
}

/// The innocent explanation that fits best.
#[derive(Debug, Clone, PartialEq)]
pub struct Innocent {
    /// Which.
    pub hypothesis: Hypothesis,
    /// How much better it explains all observations than the best malicious one (negative: worse).
    pub llr: f64,
    /// In words.
    pub text: String,
}

/// Why a finding is recorded and not raised: an entry of the allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// What the entry allows.
    pub allow: &'static str,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it counts.
    pub expires: String,
}

impl Finding {
    /// Whether it is to be raised: a finding that nobody has said is all right.
    #[must_use]
    pub const fn is_raised(&self) -> bool {
        self.verdict.is_finding() && self.suppressed.is_none()
    }
}

/// The judgement on one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Stable: the same endpoint, hypothesis and day give the same id.
    pub id: String,
    /// Who.
    pub endpoint: IpAddr,
    /// What was asked.
    pub question: Question,
    /// What is said.
    pub verdict: Verdict,
    /// The hypothesis behind it: of something raised the best malicious one, of every other verdict the best innocent one.
    pub hypothesis: Hypothesis,
    /// How urgent.
    pub severity: Severity,
    /// Posterior log-odds of the malicious answers to the question against the innocent ones.
    pub score: f64,
    /// Best malicious minus best innocent, priors left out.
    pub llr: f64,
    /// The log of how much likelier what was seen is under the malicious answers than under the innocent ones: the
    /// score without what was believed before.
    pub ln_bayes: f64,
    /// The rate of false discoveries among this finding and all stronger ones of the run, because so many endpoints were
    /// looked at; known at the end of a run only.
    pub false_discovery_rate: Option<f64>,
    /// What its days say together, against what was learned of the site's honest endpoints.
    pub over_days: Option<OverDays>,
    /// The best innocent story.
    pub innocent: Innocent,
    /// Round trip between home and operator as far as it can be read off, in ms; less where loops pass it twice, a few
    /// ms more where the home's line is quicker than usual.
    pub hidden_leg_ms: Option<f64>,
    /// The same as a distance, between operator and home.
    pub operator: Option<Distance>,
    /// On what grounds; never empty for a finding.
    pub evidence: Vec<Evidence>,
    /// What would decide it.
    pub missing: Vec<String>,
    /// Who is said to have been there, most worth first.
    pub identities: Vec<Arc<Identity>>,
    /// The entry of the allow-list that covers it.
    pub suppressed: Option<Suppressed>,
    /// Earliest packet.
    pub first_seen: Option<Timestamp>,
    /// Latest packet.
    pub last_seen: Option<Timestamp>,
}

/// A log ratio with its sign and one digit; nothing is neither more nor less.
#[must_use]
pub fn signed(llr: f64) -> String {
    if llr.abs() < 0.05 { "0.0".to_owned() } else { format!("{llr:+.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_sign() {
        let said = [-0.0, 0.049, -0.049, 0.05, -12.0].map(signed);
        assert_eq!(said, ["0.0", "0.0", "0.0", "+0.1", "-12.0"]);
    }
}
