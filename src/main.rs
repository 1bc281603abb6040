//! The door: reads the command line, runs, and turns the outcome into an exit code.
#![forbid(unsafe_code)]

use clap::Parser as _;
use std::process::ExitCode;

/// A flow is a handful of small allocations that live for as long as it does: this allocator packs and frees them
/// faster than the C library's (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    farmlight::app::run(farmlight::cli::Cli::parse())
}
