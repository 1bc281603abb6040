//! `farmlight analyze`: captures in, findings out.

use super::history::{History, of_captures};
use super::outlet::{Records, Sessions, SharedJoin, WorkerOutlet};
use super::progress::Progress;
use super::report::{Bench, Run};
use super::{Outcome, Wrong, stdin};
use crate::cli::{Analyze, RunConfig};
use crate::evidence::{Forgotten, LedgerLimits};
use crate::pipeline::{Engine, EngineConfig, Limits};
use crate::sink::Spool;
use crate::source::{Filter, Inputs, Next, Source};
use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) fn run(args: Analyze, quiet: bool) -> anyhow::Result<Outcome> {
    let config = args.run.resolve()?;
    let mut bench = Bench::of(&config)?;
    bench.history = History::open(&config, bench.pseudonyms.as_ref())?;
    let filter = config.filter.as_deref().map(Filter::new).transpose().map_err(|e| Wrong(format!("--filter: {e}")))?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on(&[SIGINT, SIGTERM, SIGHUP], &stop)?;
    if args.inputs.iter().any(|path| path.as_os_str() == "-") {
        stdin::ends_on(&stop).context("standard input")?;
    }
    let mut inputs = Inputs::open(&args.inputs, filter).map_err(|e| Wrong(e.to_string()))?;
    if let Some(dir) = &config.out {
        // Found out now, not after an hour of reading.
        std::fs::create_dir_all(dir).map_err(|e| Wrong(format!("--out {}: {e}", dir.display())))?;
    }
    read_all(&config, &mut bench, &mut inputs, &stop, quiet)
}

/// What is read until Ctrl-C is reported all the same.
fn read_all(
    config: &RunConfig,
    bench: &mut Bench,
    inputs: &mut Inputs,
    stop: &AtomicBool,
    quiet: bool,
) -> anyhow::Result<Outcome> {
    #[expect(clippy::disallowed_methods, reason = "measures the run itself")]
    let began = std::time::Instant::now();
    let ledger = bench.ledger(config, LedgerLimits::default());
    let bench = &*bench;
    let join = SharedJoin::default();
    let records = || {
        let spooled = config.out.as_deref().map(|dir| Sessions::Spooled(Spool::new(dir)));
        Records::new(spooled.unwrap_or(Sessions::Counted), &bench.notes, &ledger)
    };
    let mut engine = Engine::start(&engine_config(config), || WorkerOutlet::new(&join, records()));
    let mut progress = Progress::new(inputs.total(), quiet);
    loop {
        match inputs.next() {
            Next::Frame(frame) => engine.frame(&frame),
            Next::Idle(now) => engine.tick(now),
            Next::End => break,
        }
        progress.step(|| inputs.position());
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    // Also when it was the signal that made the input end.
    let interrupted = stop.load(Ordering::Relaxed);
    progress.finish();
    let (totals, outlets) = engine.finish();
    let mut joined = records();
    joined.add_joined(&join, None);
    let mut records: Vec<Records> = outlets.into_iter().map(|outlet| outlet.records).collect();
    records.push(joined);
    let inputs = inputs.reports();
    if let Some(history) = &bench.history {
        history.begin(of_captures(&inputs))?;
    }
    tracing::info!(frames = totals.frames, flows = totals.workers.flows, "read");
    let outcome = Run {
        config,
        bench,
        ledger: &ledger,
        totals,
        records,
        inputs,
        began,
        live: false,
        whole: !interrupted,
        forgotten: Forgotten::default(),
    }
    .report()?;
    // The process is about to end: giving a million accounts back one by one would only take time.
    std::mem::forget(ledger);
    if interrupted {
        tracing::error!("interrupted: the report covers what was read until then");
        return Ok(Outcome::Incomplete);
    }
    Ok(outcome)
}

pub(super) fn engine_config(config: &RunConfig) -> EngineConfig {
    EngineConfig {
        workers: config.workers,
        limits: Limits { flows: config.max_flows, premises: Arc::new(config.premises.clone()), ..Limits::default() },
    }
}

/// Raises `stop` on these signals; a second one ends the program at once.
pub(super) fn stop_on(signals: &[i32], stop: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in signals {
        // In this order: only the second one finds the flag raised.
        flag::register_conditional_shutdown(*signal, 130, Arc::clone(stop))?;
        flag::register(*signal, Arc::clone(stop))?;
    }
    Ok(())
}
