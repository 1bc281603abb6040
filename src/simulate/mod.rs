//! Scenario in, capture with known truth out: for fire drills, tests, tuning and documentation.
//!
//! Reads: a scenario's name and [`Options`]. Emits: Ethernet frames as a tap outside the company's gateway would see
//! them, the truth about every endpoint, and the geography of the addresses. Does not: use a clock, the network, real
//! addresses, or any other room than base. The same name, options and version give the same bytes everywhere.
//! `docs/simulate.md` says what is modelled and what is not.

mod access;
mod catalogue;
mod control;
mod dtls;
mod frame;
mod homes;
mod ike;
mod inner;
mod leg;
mod live;
mod octets;
mod openvpn;
mod options;
mod pcap;
mod place;
mod radius;
mod random;
mod scenario;
mod script;
mod ssh;
mod stack;
mod tcp;
mod tls;
mod tls_hello;
mod truth;
mod tunnel;
mod webrtc;
mod wireguard;
mod worker;
mod world;

pub use catalogue::SCENARIOS;
pub use options::{Access, Options, Vantage};
pub use scenario::Scenario;
pub use truth::{DeclaredHome, EndpointTruth, Truth};

use crate::base::Timestamp;
use std::io::{self, Write};
use std::path::Path;

/// Whole Ethernet frames in time order.
pub type Frames = Vec<(Timestamp, Vec<u8>)>;

/// What a simulation gives.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whole Ethernet frames in time order.
    pub frames: Frames,
    /// What is really the case.
    pub truth: Truth,
    /// The place of every network that can occur, for `analyze --geo-csv`.
    pub geo_csv: String,
}

/// Why a simulation cannot run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// No scenario has that name.
    #[error("no scenario is called {0:?}; there are {known}", known = scenario::names())]
    UnknownScenario(String),
    /// No place has that name.
    #[error("no place is called {0:?}; there are {known}", known = place::names().collect::<Vec<_>>().join(", "))]
    UnknownPlace(String),
    /// An option has a value outside its range.
    #[error("{option} is {value}, but must be from {low} to {high}")]
    OutOfRange {
        /// The option's name in [`Options`].
        option: &'static str,
        /// What was asked for.
        value: f64,
        /// The least that is allowed.
        low: f64,
        /// The most that is allowed.
        high: f64,
    },
}

/// Every city that [`Options::home`] and [`Options::operator`] can name.
pub fn places() -> impl Iterator<Item = &'static str> {
    place::names()
}

/// The place of every network that can occur, as `geo.csv` has it.
#[must_use]
pub fn geography() -> String {
    place::geo_csv()
}

/// Latitude and longitude of the tap.
#[must_use]
pub fn tap() -> String {
    format!("{},{}", place::ASHBURN.lat, place::ASHBURN.lon)
}

/// Plays a scenario.
///
/// # Errors
///
/// When the scenario or a place is not known, or an option is out of range.
pub fn run(name: &str, options: &Options) -> Result<Outcome, SimulateError> {
    run_together(&[(name, options.clone())])
}

/// Plays several scenarios in one capture, each with its own seed and [`Options::number`]; the first one's subject is
/// the subject of the truth.
///
/// # Errors
///
/// As [`run`], and when there is no scenario at all.
pub fn run_together(parts: &[(&str, Options)]) -> Result<Outcome, SimulateError> {
    let plan = |(name, options): &(&str, Options)| {
        let scenario = scenario::find(name).ok_or_else(|| SimulateError::UnknownScenario((*name).to_owned()))?;
        Ok((scenario, options.plan(scenario)?))
    };
    let parts = parts.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    let nothing = || SimulateError::UnknownScenario(String::new());
    let (frames, truth) = scenario::play(&parts).ok_or_else(nothing)?;
    Ok(Outcome { frames, truth, geo_csv: place::geo_csv() })
}

/// Writes `capture.pcap` (nanosecond time stamps), `truth.json`, `geo.csv` and, where somebody signs on, `homes.csv` into
/// `dir`, which is made if need be.
///
/// # Errors
///
/// When the directory or a file cannot be written.
pub fn write(outcome: &Outcome, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut capture = io::BufWriter::new(std::fs::File::create(dir.join("capture.pcap"))?);
    pcap::begin(&mut capture)?;
    pcap::frames(&outcome.frames, &mut capture)?;
    capture.flush()?;
    write_beside(&outcome.truth, &outcome.geo_csv, dir)
}

/// Why a longer simulation ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaysError {
    /// It cannot be played.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Plays and writes so many workdays one by one, so that only one is held in memory, and gives the number of frames.
/// Each begins at the same time of day; Saturdays and Sundays are left out. Lines have their evenings now.
///
/// # Errors
///
/// As [`run`] and [`write()`].
pub fn write_days(name: &str, options: &Options, days: u32, dir: &Path) -> Result<usize, DaysError> {
    // Checked before anything is written.
    scenario::find(name).ok_or_else(|| SimulateError::UnknownScenario(name.to_owned()))?;
    std::fs::create_dir_all(dir)?;
    let mut capture = io::BufWriter::new(std::fs::File::create(dir.join("capture.pcap"))?);
    pcap::begin(&mut capture)?;
    let (mut frames, mut kept) = (0, None);
    for (day, start) in (0_u32..).zip(workdays(options.start)).take(days.max(1) as usize) {
        let outcome = run(name, &Options { day: Some(day), start, ..options.clone() })?;
        pcap::frames(&outcome.frames, &mut capture)?;
        frames += outcome.frames.len();
        let Outcome { truth, geo_csv, .. } = outcome;
        kept.get_or_insert((truth, geo_csv)).0.days = day.saturating_add(1);
    }
    capture.flush()?;
    if let Some((mut truth, geo_csv)) = kept {
        let all = truth.days;
        let of_all_days = |endpoint: &mut EndpointTruth| endpoint.sessions = endpoint.sessions.saturating_mul(all);
        of_all_days(&mut truth.subject);
        truth.endpoints.iter_mut().for_each(of_all_days);
        write_beside(&truth, &geo_csv, dir)?;
    }
    Ok(frames)
}

/// That time of day on each workday from then on.
pub fn workdays(start: Timestamp) -> impl Iterator<Item = Timestamp> {
    const DAY: i64 = 86_400_000_000_000;
    let days = (0_i64..).map(move |day| start.nanos().saturating_add(day.saturating_mul(DAY)));
    // 1970-01-01 was a Thursday: day 4 of a week that begins with Sunday.
    let weekday = |at: i64| (at.div_euclid(DAY) + 4).rem_euclid(7);
    days.filter(move |at| (1..=5).contains(&weekday(*at))).map(Timestamp::from_nanos)
}

fn write_beside(truth: &Truth, geo_csv: &str, dir: &Path) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(truth)?;
    text.push('\n');
    std::fs::write(dir.join("truth.json"), text)?;
    let homes = dir.join("homes.csv");
    match truth.homes_csv() {
        Some(csv) => std::fs::write(homes, csv)?,
        // One of an earlier simulation would be of other people.
        None if homes.is_file() => std::fs::remove_file(homes)?,
        None => {}
    }
    std::fs::write(dir.join("geo.csv"), geo_csv)
}

#[cfg(test)]
mod tests;
