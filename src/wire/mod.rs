//! Frame to packet: link types, tags and tunnels undone, fragments put together.
//!
//! Reads: frames of any link type. Emits: [`Packet`] (innermost IP packet) or the reason why there is none.
//! Does not: keep state other than unfinished fragments; verify checksums (SPAN traffic is offloaded).
//!
//! One file a layer: `link` (capture headers), `tag` (between link and IP), `ip`, `fragment`, `transport`, `tunnel`;
//! `decoder` walks them from the outside in.

mod decoder;
mod fragment;
mod ip;
mod link;
mod packet;
mod span;
mod tag;
#[cfg(test)]
mod testkit;
mod transport;
mod tunnel;

pub use decoder::Decoder;
pub use fragment::{FragmentCounters, FragmentLimits};
pub use packet::{
    Decoded, Encapsulation, OptionKinds, Packet, TcpFlags, TcpHeader, TcpOptions, Transport, Unread, Wrapper,
};
