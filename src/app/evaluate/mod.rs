//! `farmlight evaluate`: truth against verdicts, of folders of captures or of a built-in matrix of simulations.
//!
//! Reads: folders, or the name of a matrix. Emits: tables, JSON or Markdown on standard output; a drawing. Does not:
//! change anything by what it finds.
//!
//! Exit codes: as of every command; 3 where an honest endpoint is accused and `--fail-on` is given.

mod matrix;
mod plot;
mod report;
mod statistics;
mod trial;

pub(crate) use matrix::Matrix;

use super::{Outcome, Wrong};
use crate::cli::{Evaluate, Format, RunArgs};
use crate::evidence::Policy;
use anyhow::Context as _;
use matrix::Trial;
use report::{Report, Style};
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use trial::{Judged, Setting, folders};

/// Honest endpoint-days of the fleet: so many without a false alarm show that there are fewer than 1 in 10,000 (rule of
/// three).
const FLEET: u32 = 30_000;

pub(super) fn run(args: &Evaluate) -> anyhow::Result<Outcome> {
    #[expect(clippy::disallowed_methods, reason = "measures the run itself")]
    let began = std::time::Instant::now();
    let matrix = args.matrix.as_deref().and_then(|name| Matrix::ALL.into_iter().find(|(known, _)| *known == name));
    let (judged, captures, whole) = match matrix {
        Some((_, matrix)) => {
            let trials = matrix.trials(args.seed.unwrap_or(0), args.honest.unwrap_or(FLEET));
            (simulated(&trials, args)?, trials.len(), true)
        }
        None => read(args)?,
    };
    let prior = Policy::PRIOR * args.run.clone().resolve()?.policy.prior_scale;
    let report = Report::of(&judged, (captures, matrix.is_some()), began.elapsed().as_secs_f64(), prior);
    if let Some(file) = &args.plot {
        std::fs::write(file, plot::svg(&report)).with_context(|| format!("--plot {}", file.display()))?;
    }
    tell(&report, &judged, args)?;
    Ok(match (whole, args.run.fail_on) {
        (false, _) => Outcome::Incomplete,
        (true, Some(_)) if report.false_alarms.hits > 0 => Outcome::Alarm,
        (true, _) => Outcome::Done,
    })
}

fn tell(report: &Report, judged: &[Judged], args: &Evaluate) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match args.run.format {
        _ if args.markdown => write!(out, "{}", report.text(Style::Markdown, args.quantities))?,
        None | Some(Format::Table) => write!(out, "{}", report.text(Style::Plain, args.quantities))?,
        Some(Format::Json) => {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)?;
        }
        Some(Format::Jsonl) => {
            for one in judged {
                serde_json::to_writer(&mut out, one)?;
                writeln!(out)?;
            }
            serde_json::to_writer(&mut out, report)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// Judges what is in folders: the endpoints, the number of captures, and whether all could be read.
fn read(args: &Evaluate) -> anyhow::Result<(Vec<Judged>, usize, bool)> {
    let folders = folders(&args.dirs).map_err(|error| Wrong(format!("{error:#}")))?;
    if folders.is_empty() {
        return Err(Wrong("no truth.json in the folders named, nor one level down".to_owned()).into());
    }
    let (mut all, mut whole) = (Vec::new(), true);
    for folder in &folders {
        let (judged, read) = folder.judged(&args.run, true)?;
        all.extend(judged);
        whole &= read;
    }
    Ok((all, folders.len(), whole))
}

/// Simulates and judges trials on as many threads as are asked for, or as the machine has; the order is that of the
/// trials.
fn simulated(trials: &[Trial], args: &Evaluate) -> anyhow::Result<Vec<Judged>> {
    let geo = tempfile::NamedTempFile::new()?;
    std::fs::write(geo.path(), crate::simulate::geography())?;
    let run = RunArgs {
        geo_csv: Some(geo.path().to_owned()),
        site: args.run.site.clone().or_else(|| Some(crate::simulate::tap())),
        internal: ["192.0.2.0/24", "2001:db8:c0::/48"].map(str::to_owned).to_vec(),
        vpn_pool: vec!["10.20.0.0/16".to_owned()],
        ..args.run.clone()
    };
    let setting = Setting::of(run, !args.no_ablation)?;
    let threads = args.run.workers.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || -> anyhow::Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(trial) = trials.get(number) else { return Ok(()) };
            let judged = setting.simulated(trial)?;
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, judged));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(trials.len()).max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().flat_map(|(_, judged)| judged).collect())
}
