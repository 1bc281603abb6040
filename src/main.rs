//! The door: reads the command line, runs, and turns the outcome into an exit code.
#![forbid(unsafe_code)]

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    farmlight::app::run(farmlight::cli::Cli::parse())
}
