//! Comparable values of an endpoint: its latency ladder and its path.
//!
//! Reads: samples and session constants. Emits: mergeable summaries. Does not: judge.

mod ladder;
mod path;

pub use ladder::{Ladder, Rung, Samples};
pub use path::{Overhead, Path};
