//! Scenario in, capture with known truth out: for fire drills, tests, tuning and documentation.
//!
//! Reads: a scenario's name and [`Options`]. Emits: Ethernet frames as a tap outside the company's gateway would see
//! them, the truth about every endpoint, and the geography of the addresses. Does not: use a clock, the network, real
//! addresses, or any other room than base. The same name, options and version give the same bytes everywhere.
//! `docs/simulate.md` says what is modelled and what is not.

mod frame;
mod leg;
mod octets;
mod options;
mod place;
mod random;
mod scenario;
mod script;
mod ssh;
mod stack;
mod tcp;
mod tls;
mod tls_hello;
mod truth;
mod wireguard;
mod worker;
mod world;

pub use options::Options;
pub use scenario::{SCENARIOS, Scenario};
pub use truth::{EndpointTruth, Truth};

use crate::base::Timestamp;
use std::io::{self, Write};
use std::path::Path;

/// What a simulation gives.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whole Ethernet frames in time order.
    pub frames: Vec<(Timestamp, Vec<u8>)>,
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

/// Plays a scenario.
///
/// # Errors
///
/// When the scenario or a place is not known, or an option is out of range.
pub fn run(name: &str, options: &Options) -> Result<Outcome, SimulateError> {
    let scenario = scenario::find(name).ok_or_else(|| SimulateError::UnknownScenario(name.to_owned()))?;
    let plan = options.plan(scenario)?;
    let (frames, truth) = scenario::play(scenario, &plan);
    Ok(Outcome { frames, truth, geo_csv: place::geo_csv() })
}

/// Writes `capture.pcap` (nanosecond time stamps), `truth.json` and `geo.csv` into `dir`, which is made if need be.
///
/// # Errors
///
/// When the directory or a file cannot be written.
pub fn write(outcome: &Outcome, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut capture = io::BufWriter::new(std::fs::File::create(dir.join("capture.pcap"))?);
    write_pcap(&outcome.frames, &mut capture)?;
    capture.flush()?;
    let mut truth = serde_json::to_string_pretty(&outcome.truth)?;
    truth.push('\n');
    std::fs::write(dir.join("truth.json"), truth)?;
    std::fs::write(dir.join("geo.csv"), &outcome.geo_csv)
}

/// The classic capture file format with nanosecond time stamps, little-endian (draft-ietf-opsawg-pcap).
fn write_pcap(frames: &[(Timestamp, Vec<u8>)], out: &mut impl Write) -> io::Result<()> {
    const MAGIC: u32 = 0xa1b2_3c4d;
    const SNAP_LENGTH: u32 = 262_144;
    const ETHERNET: u32 = 1;
    const SECOND: i64 = 1_000_000_000;
    out.write_all(&MAGIC.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0])?;
    for word in [0, 0, SNAP_LENGTH, ETHERNET] {
        out.write_all(&word.to_le_bytes())?;
    }
    for (at, bytes) in frames {
        let seconds = u32::try_from(at.nanos().div_euclid(SECOND)).map_err(io::Error::other)?;
        let nanos = u32::try_from(at.nanos().rem_euclid(SECOND)).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        for word in [seconds, nanos, length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
