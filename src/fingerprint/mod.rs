//! Comparable values of an endpoint: its latency ladder and its path.
//!
//! Reads: samples and session constants. Emits: mergeable summaries. Does not: judge.

mod ladder;
mod path;
mod steps;

pub use ladder::{Confidence, Ladder, Rung, Samples};
pub use path::{Overhead, Path};
pub use steps::{Step, WindowMin, steps};
