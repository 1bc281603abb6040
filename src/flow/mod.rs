//! Packets to flows: who talks to whom, in which order, from when to when.
//!
//! Reads: [`crate::wire::Packet`]s. Emits: [`Flow`]s with per-end counters, and in-order stream bytes.
//! Does not: look into payload, read a clock, or judge.

mod assembler;
mod community_id;
mod duplicate;
mod expiry;
mod key;
mod record;
mod syn;
mod table;

pub use assembler::{Assembler, Chunk, Limits};
pub use community_id::community_id;
pub use expiry::Timeouts;
pub use key::{FiveTuple, FlowKey, Peer, Protocol, SCTP};
pub use record::{End, Flow, TcpState};
pub use syn::{Clock, Syn};
pub use table::{FlowId, Table, Touch};
