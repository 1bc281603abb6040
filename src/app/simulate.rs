//! `farmlight simulate`: a capture with known truth.

use super::{Outcome, Wrong};
use crate::base::Timestamp;
use crate::cli::Simulate;
use crate::simulate::{Options, SCENARIOS, SimulateError, run as play, write};
use std::io::{self, Write as _};
use std::time::Duration;

pub(super) fn run(args: &Simulate) -> anyhow::Result<Outcome> {
    if args.scenario == "list" {
        let mut out = io::stdout().lock();
        for scenario in SCENARIOS {
            let name = format!("{:<16} ", scenario.name);
            let column = textwrap::Options::new(80).initial_indent(&name).subsequent_indent("                 ");
            writeln!(out, "{}", textwrap::fill(scenario.about, column))?;
        }
        return Ok(Outcome::Done);
    }
    let Some(dir) = &args.out else {
        return Err(Wrong("simulate needs --out DIR".to_owned()).into());
    };
    let outcome = play(&args.scenario, &options(args)).map_err(|error: SimulateError| Wrong(error.to_string()))?;
    write(&outcome, dir)?;
    writeln!(io::stdout(), "{}: capture.pcap ({} frames), truth.json, geo.csv", dir.display(), outcome.frames.len())?;
    Ok(Outcome::Done)
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
    }
}
