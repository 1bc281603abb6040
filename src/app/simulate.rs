//! `farmlight simulate`: a capture with known truth.

use super::{Outcome, Wrong};
use crate::base::Timestamp;
use crate::cli::Simulate;
use crate::simulate::{Access, DaysError, Options, SCENARIOS, Vantage, run as play, write, write_days};
use std::io::{self, Write as _};
use std::time::Duration;

/// A workday, when several are asked for.
const SHIFT: Duration = Duration::from_secs(8 * 3600);

pub(super) fn run(args: &Simulate) -> anyhow::Result<Outcome> {
    if args.scenario == "list" {
        return list();
    }
    let Some(dir) = &args.out else {
        return Err(Wrong("simulate needs --out DIR".to_owned()).into());
    };
    let mut options = options(args);
    let frames = if let Some(days) = args.days {
        options.duration = options.duration.or(Some(SHIFT));
        write_days(&args.scenario, &options, days, dir).map_err(|error| match error {
            DaysError::Simulate(error) => Wrong(error.to_string()).into(),
            other => anyhow::Error::from(other),
        })?
    } else {
        let outcome = play(&args.scenario, &options).map_err(|error| Wrong(error.to_string()))?;
        write(&outcome, dir)?;
        outcome.frames.len()
    };
    let homes = if dir.join("homes.csv").is_file() { ", homes.csv" } else { "" };
    writeln!(io::stdout(), "{}: capture.pcap ({frames} frames), truth.json, geo.csv{homes}", dir.display())?;
    Ok(Outcome::Done)
}

fn list() -> anyhow::Result<Outcome> {
    let mut out = io::stdout().lock();
    let width = SCENARIOS.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0) + 2;
    let indent = " ".repeat(width);
    for scenario in SCENARIOS {
        let name = format!("{:<width$}", scenario.name);
        let column = textwrap::Options::new(80).initial_indent(&name).subsequent_indent(&indent);
        writeln!(out, "{}", textwrap::fill(scenario.about, column))?;
    }
    Ok(Outcome::Done)
}

/// What the table has under that name; the command line lets no other one through.
fn named<T: Copy>(table: &[(&str, T)], name: Option<&str>) -> Option<T> {
    table.iter().find(|(known, _)| Some(*known) == name).map(|(_, value)| *value)
}

fn options(args: &Simulate) -> Options {
    let defaults = Options::default();
    Options {
        seed: args.seed.unwrap_or(defaults.seed),
        home: args.home.clone(),
        operator: args.operator.clone(),
        last_mile_ms: args.last_mile_ms,
        last_mile_jitter_ms: args.last_mile_jitter_ms,
        hidden_rtt_ms: args.hidden_rtt_ms,
        hidden_jitter_ms: args.hidden_jitter_ms,
        loss: args.loss,
        sessions: args.sessions,
        bystanders: args.bystanders,
        duration: args.duration_s.map(Duration::from_secs),
        start: args.start_unix.map_or(defaults.start, |seconds| Timestamp::from_parts(seconds, 0)),
        access: named(&Access::ALL, args.access.as_deref()),
        vantage: named(&Vantage::ALL, args.vantage.as_deref()),
        laptops: args.laptops,
        ..defaults
    }
}
