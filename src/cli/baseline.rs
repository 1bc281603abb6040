//! `farmlight baseline`: its words.
//!
//! Reads: the command line. Does not: act.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `farmlight baseline`.
#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// Learn from folders that analyze or watch wrote with --out, of days on which nothing special was going on.
    Learn(BaselineLearn),
    /// Say what a baseline holds.
    Show(BaselineShow),
}

/// `farmlight baseline learn`.
#[derive(Debug, Args)]
pub struct BaselineLearn {
    /// The folders: at least 50 endpoints of which nothing was found, all in all.
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// The file to write, for --baseline of analyze, watch and evaluate.
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `farmlight baseline show`.
#[derive(Debug, Args)]
pub struct BaselineShow {
    /// The file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
