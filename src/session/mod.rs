//! Flows, events and samples joined into one record of a session.
//!
//! Reads: packets of a flow, through the protocol registry and the meters. Emits: [`Session`]s, and what is new about
//! a session while it lasts. Knows no protocol by name. Does not: judge.

mod connection;
mod join;
mod measured;
mod reading;
mod record;
mod roster;
mod signs;
mod story;

pub use crate::protocol::Category;
pub use connection::{Budget, Connection, Ended, News};
pub use join::Join;
pub use record::{Confidence, RttSummary, Session};
pub use roster::{Roster, SessionKind, Tally};
pub use story::Story;
