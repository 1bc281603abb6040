//! What can be asked of a scenario, and what it means when it is not.
//!
//! Reads: [`Options`] and a scenario's defaults. Emits: a plan with every value settled and in range.

use crate::base::Timestamp;
use crate::simulate::SimulateError;
use crate::simulate::leg::MS;
use crate::simulate::place::{self, Place};
use crate::simulate::random::Random;
use crate::simulate::scenario::Scenario;
use std::time::Duration;

/// What to change about a scenario; what is `None` stays as the scenario has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where all chance comes from.
    pub seed: u64,
    /// The city the worker claims to be in, where the seen address is.
    pub home: Option<String>,
    /// The city the operator is really in; only scenarios with an operator use it.
    pub operator: Option<String>,
    /// One-way delay of the home's access line, milliseconds.
    pub last_mile_ms: Option<f64>,
    /// Mean queueing delay of that line, each way, milliseconds.
    pub last_mile_jitter_ms: Option<f64>,
    /// Round trip between operator and home, milliseconds; unless given, it follows from their distance.
    pub hidden_rtt_ms: Option<f64>,
    /// Mean queueing delay of that leg, each way, milliseconds.
    pub hidden_jitter_ms: Option<f64>,
    /// Probability that the access line or the hidden leg loses a packet, each way.
    pub loss: Option<f64>,
    /// Sessions the worker opens.
    pub sessions: Option<u32>,
    /// Honest endpoints beside the worker.
    pub bystanders: Option<u32>,
    /// The time over which sessions begin.
    pub duration: Option<Duration>,
    /// When the capture begins.
    pub start: Timestamp,
    /// What kind of access line the home has.
    pub access: Option<Access>,
    /// Where the capture points are; only a direct worker's can be chosen.
    pub vantage: Option<Vantage>,
    /// Computers behind the address.
    pub laptops: Option<u32>,
    /// Which workday of a longer simulation this is, from 0; `None`: a single one, whose lines know no time of day.
    pub day: Option<u32>,
    /// Which home of its city the subject has.
    pub number: u8,
    /// The number of an access line: subjects of one capture with the same share it, whatever their addresses.
    pub line: Option<u8>,
    /// The city of the company's site whose servers the subject uses, where the capture is then taken; unless given, the
    /// gateway's. Subjects of one capture with the same home and number are one address that is seen from several sites.
    pub site: Option<String>,
}

/// A kind of access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// 2 ms, and hardly any queue.
    Fibre,
    /// 7 ms.
    Cable,
    /// 14 ms.
    Dsl,
    /// Contended radio in the home.
    Wifi,
    /// An upload buffer that is often full.
    Bloated,
    /// A cellular network.
    Lte,
    /// A low-orbit satellite network.
    Leo,
}

impl Access {
    /// All of them by name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("fibre", Self::Fibre),
        ("cable", Self::Cable),
        ("dsl", Self::Dsl),
        ("wifi", Self::Wifi),
        ("bloated", Self::Bloated),
        ("lte", Self::Lte),
        ("leo", Self::Leo),
    ];

    /// One-way delay and mean queue, milliseconds.
    #[must_use]
    pub const fn delays(self) -> (f64, f64) {
        match self {
            Self::Fibre => (2.0, 0.3),
            Self::Cable => (7.0, 1.5),
            Self::Dsl => (14.0, 1.0),
            Self::Wifi => (5.0, 2.5),
            Self::Bloated => (6.0, 1.0),
            Self::Lte => (16.0, 2.0),
            Self::Leo => (11.0, 2.0),
        }
    }
}

/// Where the capture points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vantage {
    /// Outside the gateway.
    Outside,
    /// Inside it: what was in the tunnel.
    Inside,
    /// Both.
    Both,
}

impl Vantage {
    /// All of them by the letters of `docs/simulate.md`.
    pub const ALL: [(&'static str, Self); 3] = [("a", Self::Outside), ("b", Self::Inside), ("ab", Self::Both)];
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            home: None,
            operator: None,
            last_mile_ms: None,
            last_mile_jitter_ms: None,
            hidden_rtt_ms: None,
            hidden_jitter_ms: None,
            loss: None,
            sessions: None,
            bystanders: None,
            duration: None,
            // 2026-03-02T14:00:00Z, a Monday morning in Virginia.
            start: Timestamp::from_parts(1_772_460_000, 0),
            access: None,
            vantage: None,
            laptops: None,
            day: None,
            number: 120,
            line: None,
            site: None,
        }
    }
}

/// A scenario with every choice made. Delays in nanoseconds.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) home: &'static Place,
    pub(super) operator: &'static Place,
    pub(super) last_mile: i64,
    pub(super) last_mile_jitter: i64,
    pub(super) hidden_one_way: i64,
    pub(super) hidden_jitter: i64,
    pub(super) loss: f64,
    pub(super) sessions: u32,
    pub(super) bystanders: u32,
    pub(super) duration: i64,
    pub(super) start: Timestamp,
    pub(super) access: Option<Access>,
    pub(super) vantage: Option<Vantage>,
    pub(super) hosts: u32,
    pub(super) day: Option<u32>,
    pub(super) number: u8,
    pub(super) line: Option<u8>,
    pub(super) site: &'static Place,
}

impl Plan {
    /// A stream of chance for what differs from day to day.
    pub(super) fn today(&self, name: &str) -> Random {
        match self.day {
            None | Some(0) => Random::stream(self.seed, name),
            Some(day) => Random::stream(self.seed, &format!("{name}, day {day}")),
        }
    }
}

impl Options {
    /// Settles what was left open and checks the ranges.
    pub(super) fn plan(&self, scenario: &Scenario) -> Result<Plan, SimulateError> {
        let defaults = &scenario.defaults;
        let city = |asked: &Option<String>, otherwise: &str| {
            let name = asked.as_deref().unwrap_or(otherwise);
            place::find(name).ok_or_else(|| SimulateError::UnknownPlace(name.to_owned()))
        };
        let home = city(&self.home, defaults.home)?;
        let operator = city(&self.operator, defaults.operator)?;
        let site = self.site.as_deref().map_or(Ok(&place::ASHBURN), |name| city(&Some(name.to_owned()), name))?;
        // The operator's own access line adds 3 ms each way.
        let hidden = self.hidden_rtt_ms.unwrap_or_else(|| 2.0 * (operator.one_way_ms(home) + 3.0));
        let duration = self.duration.unwrap_or(defaults.duration).as_secs_f64();
        let loss = self.loss.unwrap_or(0.0);
        let sessions = self.sessions.unwrap_or(defaults.sessions);
        let bystanders = self.bystanders.unwrap_or(defaults.bystanders);
        // Nothing repairs a lost datagram.
        within("loss", loss, 0.0, if scenario.traffic.survives_loss() { 0.2 } else { 0.0 })?;
        within("duration", duration, 1.0, 86_400.0)?;
        within("sessions", f64::from(sessions), 1.0, 2_000.0)?;
        within("bystanders", f64::from(bystanders), 0.0, 64.0)?;
        // Classic pcap counts seconds in 32 bits.
        within("start", self.start.nanos() as f64 / 1e9, 0.0, 4.2e9)?;
        let hosts = self.laptops.unwrap_or(scenario.hosts);
        within("laptops", f64::from(hosts), 1.0, 20.0)?;
        let (last_mile, jitter) =
            self.access.map_or((defaults.last_mile_ms, defaults.last_mile_jitter_ms), Access::delays);
        let delay = |option, asked: Option<f64>, otherwise: f64| delay(option, asked.unwrap_or(otherwise));
        Ok(Plan {
            seed: self.seed,
            home,
            operator,
            last_mile: delay("last_mile_ms", self.last_mile_ms, last_mile)?,
            last_mile_jitter: delay("last_mile_jitter_ms", self.last_mile_jitter_ms, jitter)?,
            hidden_one_way: delay("hidden_rtt_ms", Some(hidden), hidden)? / 2,
            hidden_jitter: delay("hidden_jitter_ms", self.hidden_jitter_ms, 1.5)?,
            loss,
            sessions,
            bystanders,
            duration: (duration * 1e3) as i64 * MS,
            start: self.start,
            access: self.access,
            vantage: self.vantage,
            hosts,
            day: self.day,
            number: self.number,
            line: self.line,
            site,
        })
    }
}

fn delay(option: &'static str, ms: f64) -> Result<i64, SimulateError> {
    within(option, ms, 0.0, 5_000.0)?;
    Ok((ms * MS as f64).round() as i64)
}

fn within(option: &'static str, value: f64, low: f64, high: f64) -> Result<(), SimulateError> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(SimulateError::OutOfRange { option, value, low, high }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::scenario::find;

    #[test]
    fn options_override_defaults_and_are_checked() {
        let scenario = find("home-proxy").unwrap();
        let plan = |options: Options| options.plan(scenario);
        let asked = Options { home: Some("phoenix".into()), hidden_rtt_ms: Some(200.0), ..Options::default() };
        let settled = plan(asked).unwrap();
        assert_eq!((settled.home.city, settled.hidden_one_way), ("Phoenix", 100 * MS));
        let refused = |options: Options| plan(options).unwrap_err();
        assert!(matches!(
            refused(Options { last_mile_ms: Some(f64::NAN), ..Options::default() }),
            SimulateError::OutOfRange { option: "last_mile_ms", .. }
        ));
        assert!(matches!(
            refused(Options { loss: Some(0.5), ..Options::default() }),
            SimulateError::OutOfRange { option: "loss", .. }
        ));
        let nowhere = refused(Options { operator: Some("Atlantis".into()), ..Options::default() });
        assert!(nowhere.to_string().contains("Shenyang"), "{nowhere}");
    }
}
