//! Formats that two protocols share, and the buffer their readers stand on.
//!
//! Imports base only. Does not: emit events.

mod inbox;
mod text;

pub use inbox::Inbox;
pub use text::{text, text_utf16le};
