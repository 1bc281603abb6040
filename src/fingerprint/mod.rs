//! Comparable values of an endpoint: its latency ladder and its path.
//!
//! Reads: samples and session constants. Emits: mergeable summaries. Does not: judge.

mod family;
mod hops;
mod hosts;
mod ladder;
mod path;
mod pulse;
mod stack;
mod steps;
mod tax;
mod timeline;

pub use family::Family;
pub use hops::{Origin, origins};
pub use hosts::Hosts;
pub use ladder::{Confidence, Ladder, Rung, Samples};
pub use path::Path;
pub use pulse::{Comb, Pulse};
pub use stack::{Role, Stack};
pub use steps::{Step, WindowMin, steps};
pub use tax::{Overhead, causes};
pub use timeline::Change;
