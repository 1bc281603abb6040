//! The shape of a flow after its handshake: who sends how much, what is answered by how little.
//!
//! Reads: size, direction and time of each packet with payload. Emits: a [`Shape`].
//! Bias: what was sent again is counted again, and segments that a capture point sees merged (offload) count as one
//! full packet. Silence is measured at the capture point, so a round trip above [`QUIET`] looks like silence between
//! request and answer; the openings are followed across it.

use crate::base::{Direction, Shape, Timestamp};
use std::time::Duration;

/// Both ends have been silent for so long: what follows is a new beginning. A program's own pauses are shorter, a
/// person's strokes come about every 100 to 300 ms (Dhakal et al., CHI 2018).
const QUIET: Duration = Duration::from_millis(80);
/// Two strokes of one word or line are not further apart; what comes more slowly is a program that says it is there.
const TYPING: Duration = Duration::from_millis(1_500);
/// A stroke's answer comes with the round trip.
const ANSWERED: Duration = Duration::from_secs(2);
/// A machine grants a channel in the round trip to it; a person who types takes longer.
const GRANTED: Duration = Duration::from_millis(400);
/// SSH's packet for one letter has 36 to 76 bytes, by cipher, MAC and padding; an arrow key or a pasted word is still in.
const STROKE: std::ops::RangeInclusive<u32> = 28..=100;
/// An echo may bring a redrawn line with it.
const ECHO: u32 = 280;
/// A request to open a channel names two addresses and ports: CHANNEL_OPEN (RFC 4254, 5.1 and 7) with its packet's frame.
const OPENS: std::ops::RangeInclusive<u32> = 84..=220;
/// The answer, CHANNEL_OPEN_CONFIRMATION, has 17 bytes and the frame.
const GRANTS: std::ops::RangeInclusive<u32> = 36..=76;

/// Where the newest beginning stands.
#[derive(Debug, Clone, Copy, Default)]
enum Since {
    #[default]
    Nothing,
    /// A lone small packet of the originator.
    Stroke,
    /// A lone packet that may ask for a channel.
    Asked(Direction),
    /// It was granted.
    Granted(Direction),
}

/// Counts one flow.
#[derive(Debug, Default)]
pub struct ShapeMeter {
    shape: Shape,
    since: Since,
    first: Option<Timestamp>,
    last: Timestamp,
    /// When the newest lone small packet of the originator passed.
    stroke: Option<Timestamp>,
}

impl ShapeMeter {
    /// A packet with `len` bytes of payload.
    pub fn on_packet(&mut self, at: Timestamp, dir: Direction, len: u32) {
        let first = *self.first.get_or_insert(at);
        let pause = at.since(self.last).unwrap_or_default();
        let sent = self.shape.sent.of_mut(dir);
        sent.packets = sent.packets.saturating_add(1);
        sent.bytes = sent.bytes.saturating_add(u64::from(len));
        sent.full = sent.full.saturating_add(u32::from(len >= Shape::FULL));
        self.shape.bursts.on_packet(dir, len);
        self.since = self.follow(at, dir, len, pause);
        self.shape.lasted = at.since(first).unwrap_or(self.shape.lasted);
        self.last = at;
    }

    fn follow(&mut self, at: Timestamp, dir: Direction, len: u32, pause: Duration) -> Since {
        let shape = &mut self.shape;
        let in_time = pause < ANSWERED;
        match self.since {
            Since::Stroke if in_time && dir == Direction::Resp => {
                shape.echoes = shape.echoes.saturating_add(u32::from(len <= ECHO));
                Since::Nothing
            }
            Since::Asked(from) if pause < GRANTED && dir == from.flip() && GRANTS.contains(&len) => {
                Since::Granted(from)
            }
            Since::Granted(from) if in_time && len > *GRANTS.start() => {
                let openings = shape.openings.of_mut(from);
                *openings = openings.saturating_add(1);
                shape.opener.get_or_insert(from);
                Since::Nothing
            }
            _ if pause < QUIET => Since::Nothing,
            _ if dir == Direction::Orig && STROKE.contains(&len) => {
                let before = self.stroke.replace(at);
                let typing = before.and_then(|before| at.since(before)).is_some_and(|apart| apart <= TYPING);
                shape.strokes = shape.strokes.saturating_add(u32::from(typing));
                match (OPENS.contains(&len), typing) {
                    (true, _) => Since::Asked(dir),
                    (false, true) => Since::Stroke,
                    (false, false) => Since::Nothing,
                }
            }
            _ if OPENS.contains(&len) => Since::Asked(dir),
            _ => Since::Nothing,
        }
    }

    /// What has been counted.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Orig, Resp};

    fn shape(packets: &[(i64, Direction, u32)]) -> Shape {
        let mut meter = ShapeMeter::default();
        for (ms, dir, len) in packets {
            meter.on_packet(Timestamp::from_nanos(ms * 1_000_000), *dir, *len);
        }
        *meter.shape()
    }

    #[test]
    fn strokes_and_their_echoes() {
        let typed: Vec<_> = (0..10).flat_map(|i| [(200 * i + 100, Orig, 36), (200 * i + 105, Resp, 36)]).collect();
        let counted = shape(&typed);
        assert_eq!((counted.strokes, counted.echoes, counted.lasted.as_millis()), (9, 9, 1805));
    }

    #[test]
    fn a_program_that_says_it_is_there_does_not_type() {
        let alive: Vec<_> = (1..30).flat_map(|i| [(2000 * i, Orig, 76), (2000 * i + 5, Resp, 36)]).collect();
        assert_eq!(shape(&alive).strokes, 0);
    }

    #[test]
    fn an_opening_is_told_by_who_asks() {
        let from_server = [(1000, Resp, 112), (1002, Orig, 44), (1003, Resp, 560), (1010, Orig, 1448)];
        let counted = shape(&from_server);
        assert_eq!((counted.openings.orig, counted.openings.resp, counted.opener), (0, 1, Some(Resp)));
        assert_eq!(counted.sent.orig.full, 1);
        // The same across a long round trip.
        let far = [(1000, Orig, 112), (1300, Resp, 44), (1600, Orig, 560)];
        assert_eq!(shape(&far).openings.orig, 1);
        // A prompt, and a person who reads it before the first letter.
        let prompt = [(1000, Resp, 112), (1483, Orig, 48), (1490, Resp, 48)];
        assert_eq!(shape(&prompt).opener, None);
        // In the middle of a transfer nobody was silent before.
        let busy = [(1000, Orig, 1448), (1001, Orig, 112), (1002, Resp, 44), (1003, Orig, 560)];
        assert_eq!(shape(&busy).openings.orig, 0);
    }
}
