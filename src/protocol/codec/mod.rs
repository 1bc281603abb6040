//! Formats that two protocols share, and the buffer their readers stand on.
//!
//! Imports base only. Does not: emit events.

mod inbox;

pub use inbox::Inbox;
