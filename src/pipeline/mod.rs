//! The run: frames in, sessions and news out, on one thread or many.
//!
//! [`Worker`] is pure: packets and time in, outputs out. [`Engine`] decodes on the caller's thread, shards by the
//! unordered address pair and owns the only threads and queues. Does not: know where frames come from or go to.

mod batch;
mod engine;
mod gather;
mod volumes;
mod worker;

pub use engine::{Engine, EngineConfig, Outlet, Totals};
pub use worker::{Input, Limits, Worker, WorkerCounts};
