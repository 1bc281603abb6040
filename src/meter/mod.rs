//! Passive measurements: segments and events in, [`crate::base::RttSample`]s out.
//!
//! A leaf room: one measurement a file, each with its method and its bias. Does not: judge, average, or forget which
//! packets a number came from. The methods are described for users in `docs/meters.md`.

mod shape;
mod tcp_handshake;
mod turnaround;

pub use shape::ShapeMeter;
pub use tcp_handshake::TcpHandshake;
pub use turnaround::Turnaround;
