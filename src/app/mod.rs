//! Wiring: the one place that knows all rooms.
//!
//! Exit codes: 0 done; 1 failed, or an input could not be read to its end (what was read is still reported); 2 wrong
//! usage or configuration; 3 done and `--fail-on` was met. A closed pipe is not an error.

mod analyze;
mod baseline;
mod config;
mod evaluate;
mod explain;
mod folder;
mod geo;
mod history;
mod intel;
mod outlet;
mod progress;
mod reload;
mod report;
mod screen;
mod simulate;
mod slice;
mod stdin;
mod watch;

pub(crate) use evaluate::Matrix;

use crate::cli::{Cli, Command, UsageError, command};
use std::io::{self, Write as _};
use std::process::ExitCode;

/// How a command ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// A report was made, but an input could not be read to its end.
    Incomplete,
    /// A finding as severe as `--fail-on` asks for.
    Alarm,
}

/// Runs a command and gives its exit code.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    log_to_stderr(cli.verbose, cli.quiet);
    let quiet = cli.quiet;
    let outcome = match cli.command {
        Command::Analyze(args) => analyze::run(args, quiet),
        Command::Watch(args) => watch::run(args, quiet),
        Command::Explain(args) => explain::run(&args),
        Command::Slice(args) => slice::run(&args, quiet),
        Command::Simulate(args) => simulate::run(&args),
        Command::Config(args) => config::run(args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Baseline(args) => baseline::run(&args),
        Command::Geo(args) => geo::run(&args),
        Command::Intel(args) => intel::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "farmlight", &mut script);
            print(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command()).render(&mut page).map_err(Into::into).and_then(|()| print(&page))
        }
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(1),
        Ok(Outcome::Alarm) => ExitCode::from(3),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "farmlight: {error:#}");
            let usage = error.downcast_ref::<UsageError>().is_some() || error.downcast_ref::<Wrong>().is_some();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

/// Wrong usage found after parsing: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

fn print(bytes: &[u8]) -> anyhow::Result<Outcome> {
    io::stdout().write_all(bytes)?;
    Ok(Outcome::Done)
}

/// Whether the reader of our output has gone away: `farmlight ... | head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn log_to_stderr(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("FARMLIGHT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("farmlight={level}")));
    let colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    // A second call in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .without_time()
        .try_init();
}
