//! How much passed when: what a tunnel's outside and the traffic inside it have in common.
//!
//! Stands here because the pipeline counts it and `evidence` compares it.

use super::Timestamp;

/// The two sides of a tunnel's wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelSide {
    /// The tunnel's own packets, as they pass outside the gateway.
    Outer,
    /// What was in them, behind the gateway.
    Inner,
}

/// What passed during one tick of capture time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Which tick since 1970.
    pub tick: i64,
    /// Packets from the worker, and to it.
    pub packets: [u32; 2],
    /// Bytes of their IP packets, headers included.
    pub bytes: [u32; 2],
}

impl Volume {
    /// Ticks in a second: finer than two capture points' clocks usually differ, so that the difference shows.
    pub const TICKS: i64 = 4;

    /// The tick of a time.
    #[must_use]
    pub const fn tick_of(at: Timestamp) -> i64 {
        at.nanos().div_euclid(1_000_000_000 / Self::TICKS)
    }

    /// Adds a packet; what is beyond 4 GiB in a tick is not counted.
    pub const fn add(&mut self, from_worker: bool, len: u32) {
        let [from, to] = &mut self.packets;
        let packets = if from_worker { from } else { to };
        *packets = packets.saturating_add(1);
        let [from, to] = &mut self.bytes;
        let bytes = if from_worker { from } else { to };
        *bytes = bytes.saturating_add(len);
    }
}
