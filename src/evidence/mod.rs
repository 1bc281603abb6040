//! Per endpoint: what explains what was measured? The only room with opinions.
//!
//! Reads: news and sessions through the [`Ledger`]; places. Emits: [`Finding`]s, never without evidence.
//! Named hypotheses compete, malicious and innocent; each rule says how well each of them explains one observation.
//! Every number here names its source: a section of the project's science note (`docs/evidence.md` tells it), a paper,
//! or a calibration run.

mod baseline;
mod claims;
mod covariation;
mod discovery;
mod facts;
mod habits;
mod hypothesis;
mod journey;
mod judge;
mod ledger;
mod likelihood;
#[cfg(test)]
mod lookalikes;
mod peers;
mod policy;
mod ranges;
pub mod rules;
mod series;
mod tunnels;
mod verdict;
mod worked;

pub use baseline::{
    Baseline, BaselineError, DayJudged, DayMeasured, LEAST_ENDPOINTS, Learner, Line, Measured,
    Origin as BaselineOrigin, OverDays, ProgramMeasured, Signal, Spread, Staying, TooFew, program_group,
};
pub use claims::{ClaimLimits, Claims, Leg, StayOf};
pub use discovery::{false_discovery_rates, ln_strength};
pub use facts::{Facts, Program, Reach, ToolUse, Tunnel};
pub use hypothesis::{Hypothesis, Question};
pub use journey::{Journey, Stop};
pub use judge::{Case, Site, alone, expected_ms, judge, judge_all};
pub use ledger::{Account, CitedFlow, Forgotten, Gap, Inner, Lag, Ledger, LedgerLimits, program_hash};
pub use peers::{LineTie, Mark, Peers, SharedLine, SharedMarks, Ties};
pub use policy::Policy;
pub use ranges::{Range, Ranges};
pub use tunnels::{Joined, Joins};
pub use verdict::{Evidence, Finding, Innocent, Severity, Suppressed, Verdict, signed};
