//! From a keystroke to its echo, in an SSH session that is typed through this tap.
//!
//! Reads: size, time, sequence and acknowledgment numbers of the segments of a flow after its handshake. Emits: round
//! trips to the server. A stroke is a lone small segment of the client after silence of both ends; its echo is the
//! server's next small segment that acknowledges it, so it left the server's TCP after the stroke had come.
//! Bias: longer by the server's program, from a fraction of a millisecond (a shell's line editor) to what a command
//! takes. Where TCP ends before SSH does (a relay), a segment that the server sent of its own accord in that very
//! moment may pass for the echo: the loop is then only as long as TCP's.
//! Does not: look at bulk, or judge who types.

use crate::base::{Direction, Layer, RttSample, Side, Timestamp};
use crate::wire::TcpHeader;
use std::time::Duration;

/// Both ends silent for so long: what follows is a person's (Dhakal et al., CHI 2018: strokes are 100 to 300 ms apart).
const QUIET: Duration = Duration::from_millis(80);
/// SSH's packet for one letter has 36 to 76 bytes, by cipher, MAC and padding.
const STROKE: std::ops::RangeInclusive<u32> = 28..=100;
/// An echo may bring a redrawn line with it.
const ECHO: u32 = 280;

/// A stroke without an echo.
#[derive(Debug, Clone, Copy)]
struct Stroke {
    at: Timestamp,
    /// What the server acknowledges when it has it.
    end: u32,
}

/// One flow's strokes.
#[derive(Debug, Default)]
pub struct KeyEcho {
    stroke: Option<Stroke>,
    last: Timestamp,
}

impl KeyEcho {
    /// A segment with `len` bytes of payload.
    pub fn on_segment(&mut self, at: Timestamp, dir: Direction, tcp: &TcpHeader, len: u32) -> Option<RttSample> {
        let quiet = at.since(self.last).is_some_and(|pause| pause >= QUIET);
        self.last = at;
        match dir {
            // What follows a stroke before its echo, the stroke sent again among it, leaves open what is answered.
            Direction::Orig => {
                let lone = quiet && self.stroke.is_none() && STROKE.contains(&len);
                self.stroke = lone.then_some(Stroke { at, end: tcp.seq.wrapping_add(len) });
                None
            }
            Direction::Resp => {
                let Stroke { at: asked, end } = self.stroke?;
                // Serial number arithmetic (RFC 1982).
                let came = tcp.ack.wrapping_sub(end) < 1 << 31;
                if !came {
                    return None;
                }
                self.stroke = None;
                let rtt = at.since(asked).filter(|_| len <= ECHO)?;
                let (side, layer) = (Side::Server, Layer::Ssh);
                Some(RttSample { at, side, rtt, layer, method: "echo", ambiguous: false })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Orig, Resp};

    /// Milliseconds, end, sequence number, acknowledgment, length; gives the round trips in ms.
    fn echoes(segments: &[(i64, Direction, u32, u32, u32)]) -> Vec<u128> {
        let mut meter = KeyEcho::default();
        let sample = |(ms, dir, seq, ack, len): &(i64, Direction, u32, u32, u32)| {
            let tcp = TcpHeader { seq: *seq, ack: *ack, ..TcpHeader::default() };
            meter.on_segment(Timestamp::from_nanos(ms * 1_000_000), *dir, &tcp, *len)
        };
        segments.iter().filter_map(sample).map(|sample| sample.rtt.as_millis()).collect()
    }

    #[test]
    fn an_echo_acknowledges_its_stroke() {
        let start = u32::MAX - 40;
        let end = start.wrapping_add(36);
        assert_eq!(echoes(&[(1_000, Orig, start, 1, 36), (1_150, Resp, 1, end, 36)]), [150]);
        // What was under way when the stroke passed does not, and what follows does.
        let late = [(1_000, Orig, start, 1, 36), (1_005, Resp, 1, start, 52), (1_150, Resp, 53, end, 36)];
        assert_eq!(echoes(&late), [150]);
    }

    #[test]
    fn what_is_not_alone_or_comes_again_is_no_question() {
        assert_eq!(echoes(&[(1_000, Orig, 0, 1, 36), (1_020, Orig, 36, 1, 36), (1_150, Resp, 1, 72, 36)]), []);
        assert_eq!(echoes(&[(1_000, Orig, 0, 1, 36), (1_300, Orig, 0, 1, 36), (1_350, Resp, 1, 36, 36)]), []);
        assert_eq!(echoes(&[(1_000, Resp, 1, 0, 500), (1_010, Orig, 0, 501, 36), (1_100, Resp, 501, 36, 36)]), []);
    }

    #[test]
    fn pages_are_no_echoes() {
        assert_eq!(echoes(&[(1_000, Orig, 0, 1, 36), (1_150, Resp, 1, 36, 1_448)]), []);
        assert_eq!(echoes(&[(1_000, Orig, 0, 1, 1_448), (1_150, Resp, 1, 1_448, 36)]), []);
    }
}
