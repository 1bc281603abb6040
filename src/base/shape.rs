//! How the packets of a flow went to and fro once its handshake was over: counters that cost a packet next to nothing.
//!
//! Stands here because a meter counts them and protocols read them. Does not: hold any packet, or say what it means.

use super::{Direction, Ends};
use std::time::Duration;

/// What one end sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets with payload; what was sent twice counts twice.
    pub packets: u32,
    /// Payload, in bytes.
    pub bytes: u64,
    /// Packets of at least [`Shape::FULL`] bytes.
    pub full: u32,
}

/// What one end sent before the other sent anything again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Burst {
    /// Packets with payload.
    pub packets: u32,
    /// Payload, in bytes.
    pub bytes: u32,
    /// Payload of the first packet.
    pub first: u32,
}

/// The first bursts of a flow, in turn from the end that sent the first of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bursts {
    kept: [Burst; Self::KEPT],
    begun: usize,
    opened_by: Option<Direction>,
    newest: Option<Direction>,
}

impl Bursts {
    /// How many are kept.
    pub const KEPT: usize = 8;

    /// A packet of `dir` with `len` bytes of payload.
    pub fn on_packet(&mut self, dir: Direction, len: u32) {
        self.opened_by.get_or_insert(dir);
        if self.newest != Some(dir) {
            self.newest = Some(dir);
            self.begun = self.begun.saturating_add(1);
        }
        let Some(burst) = self.begun.checked_sub(1).and_then(|at| self.kept.get_mut(at)) else { return };
        if burst.packets == 0 {
            burst.first = len;
        }
        burst.packets = burst.packets.saturating_add(1);
        burst.bytes = burst.bytes.saturating_add(len);
    }

    /// Those that have begun; the other end has sent something behind each but the last.
    #[must_use]
    pub fn begun(&self) -> &[Burst] {
        self.kept.get(..self.begun.min(Self::KEPT)).unwrap_or_default()
    }

    /// Who sent the first.
    #[must_use]
    pub const fn opened_by(&self) -> Option<Direction> {
        self.opened_by
    }
}

/// The counters of one flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// From the first packet counted to the last.
    pub lasted: Duration,
    /// What each end sent.
    pub sent: Ends<Sent>,
    /// Small packets of the originator that stood alone, each soon after another such one, as those of a person typing do.
    pub strokes: u32,
    /// Strokes that the responder answered with a small packet, as an echo does.
    pub echoes: u32,
    /// Lone requests of each end after silence that the other granted with a packet of a few bytes, before data flowed:
    /// so a channel is opened through SSH.
    pub openings: Ends<u32>,
    /// Who asked for the first of them.
    pub opener: Option<Direction>,
    /// How it began.
    pub bursts: Bursts,
}

impl Shape {
    /// Payload from which a packet is a full one: no path in use has a smaller segment but for odd tunnels.
    pub const FULL: u32 = 1_000;

    /// Packets of both ends.
    #[must_use]
    pub const fn packets(&self) -> u32 {
        self.sent.orig.packets.saturating_add(self.sent.resp.packets)
    }

    /// The share of all payload that this end sent, in percent.
    #[must_use]
    pub fn share(&self, dir: Direction) -> u64 {
        let all = self.sent.orig.bytes.saturating_add(self.sent.resp.bytes);
        self.sent.of(dir).bytes.saturating_mul(100).checked_div(all).unwrap_or(0)
    }
}

/// An attribute said in clear, and its value.
type Said = (super::Key, String);

/// A protocol's reading of a shape: what a flow was used for.
#[derive(Debug)]
pub struct Gait {
    /// The protocol whose flows are watched, by its name in the registry.
    pub protocol: &'static str,
    /// The attribute told.
    pub key: super::Key,
    /// After so many packets with payload enough has been counted; without it all are, to the flow's end.
    pub packets: Option<u32>,
    /// Its value, if the shape tells enough beside what was said in clear.
    pub of: fn(&Shape, &[Said]) -> Option<&'static str>,
}
