//! Passive measurements: segments and events in, [`crate::base::RttSample`]s out.
//!
//! A leaf room: one measurement a file, each with its method and its bias. Does not: judge, average, or forget which
//! packets a number came from. The methods are described for users in `docs/meters.md`.

mod across;
mod data_echo;
mod key_echo;
mod remote_echo;
mod shape;
mod tcp_data;
mod tcp_handshake;
mod turnaround;
mod volume;

pub use across::Across;
pub use data_echo::DataEcho;
pub use key_echo::KeyEcho;
pub use remote_echo::RemoteEcho;
pub use shape::ShapeMeter;
pub use tcp_data::TcpData;
pub use tcp_handshake::TcpHandshake;
pub use turnaround::Turnaround;
pub use volume::VolumeMeter;
