//! TCP handshake round trips on both sides of the capture point, from SYN, SYN-ACK and ACK.
//!
//! Reads: the first segments of a connection. Emits: SYN to SYN-ACK (server side), SYN-ACK to ACK (client side).
//! Bias: never shorter than the path's round trip; longer by the time the stack takes to answer (microseconds) and by
//! queues. The first of each is taken; where a SYN or SYN-ACK was seen again before the answer, the sample may be too
//! long by a retransmission timeout and is marked ambiguous (Karn and Partridge, SIGCOMM 1987).
//! Reference: RFC 9293 section 3.5. Mirror copies must be filtered out before.

use crate::base::{Direction, Layer, RttSample, Side, Timestamp};
use crate::wire::{TcpFlags, TcpHeader};
use std::time::Duration;

/// The state of one connection's handshake, and what was measured of it.
#[derive(Debug, Clone, Copy)]
pub struct TcpHandshake {
    /// When SYN, SYN-ACK and the acknowledgment that ended it passed, as far as they belong together, and when the client
    /// said something after that; else [`NEVER`].
    syn: Timestamp,
    syn_ack: Timestamp,
    ack: Timestamp,
    spoke: Timestamp,
    /// The latest question's sequence number plus one: what the answer must acknowledge.
    expected: u32,
    stage: Stage,
    syn_repeated: bool,
    syn_ack_repeated: bool,
    /// Done at a time that is known for sure.
    completed: bool,
}

const NEVER: Timestamp = Timestamp::MIN;

impl Default for TcpHandshake {
    fn default() -> Self {
        Self {
            syn: NEVER,
            syn_ack: NEVER,
            ack: NEVER,
            spoke: NEVER,
            expected: 0,
            stage: Stage::Nothing,
            syn_repeated: false,
            syn_ack_repeated: false,
            completed: false,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Nothing,
    Syn,
    SynAck,
    Done,
}

impl TcpHandshake {
    /// Whether nothing more can come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// What was measured, in the order in which it was.
    pub fn samples(&self) -> impl Iterator<Item = RttSample> + use<> {
        [self.server(), self.client()].into_iter().flatten()
    }

    /// The client's bytes came; the first after the handshake tell how long it waited.
    pub fn on_client_bytes(&mut self, at: Timestamp) {
        if self.completed && self.spoke == NEVER && at >= self.ack {
            self.spoke = at;
        }
    }

    /// From the end of the handshake to the client's first bytes, unless that can't be told for sure.
    #[must_use]
    pub fn hello_lag(&self) -> Option<Duration> {
        if self.spoke == NEVER { None } else { self.spoke.since(self.ack) }
    }

    /// The segment that ended the handshake tells nothing of when the connection stood.
    pub const fn forget_completion(&mut self) {
        self.completed = false;
    }

    /// A segment sent by `dir`.
    pub fn on_segment(&mut self, at: Timestamp, dir: Direction, tcp: &TcpHeader) -> Option<RttSample> {
        if tcp.flags.has(TcpFlags::RST) {
            self.stage = Stage::Done;
            return None;
        }
        match (self.stage, dir) {
            (Stage::Done, _) => None,
            (Stage::Nothing | Stage::Syn, Direction::Orig) if tcp.flags.is_syn() => {
                if self.stage == Stage::Syn && self.expected == tcp.seq.wrapping_add(1) {
                    self.syn_repeated = true;
                } else {
                    (self.stage, self.expected, self.syn) = (Stage::Syn, tcp.seq.wrapping_add(1), at);
                }
                None
            }
            (Stage::Syn, Direction::Resp) if tcp.flags.is_syn_ack() && acknowledges(tcp, self.expected) => {
                self.on_syn_ack(at, tcp);
                self.server()
            }
            (Stage::Nothing, Direction::Resp) if tcp.flags.is_syn_ack() => {
                self.on_syn_ack(at, tcp);
                None
            }
            (Stage::SynAck, Direction::Resp) if tcp.flags.is_syn_ack() => {
                self.syn_ack_repeated = true;
                None
            }
            (Stage::SynAck, Direction::Orig) if tcp.flags.is_syn() => None,
            (Stage::SynAck, Direction::Orig) if acknowledges(tcp, self.expected) => {
                (self.stage, self.ack, self.completed) = (Stage::Done, at, !self.syn_ack_repeated);
                self.client()
            }
            _ => None,
        }
    }

    fn on_syn_ack(&mut self, at: Timestamp, tcp: &TcpHeader) {
        (self.stage, self.expected, self.syn_ack) = (Stage::SynAck, tcp.seq.wrapping_add(1), at);
    }

    fn server(&self) -> Option<RttSample> {
        sample(self.syn, self.syn_ack, Side::Server, "syn", self.syn_repeated)
    }

    fn client(&self) -> Option<RttSample> {
        sample(self.syn_ack, self.ack, Side::Client, "syn-ack", self.syn_ack_repeated)
    }
}

fn sample(asked: Timestamp, at: Timestamp, side: Side, method: &'static str, ambiguous: bool) -> Option<RttSample> {
    let rtt = at.since(asked).filter(|_| asked != NEVER)?;
    Some(RttSample { at, side, rtt, layer: Layer::TcpHandshake, method, ambiguous })
}

/// Whether a segment acknowledges at least `expected`: more, where the SYN carried data (RFC 7413).
#[expect(clippy::cast_possible_wrap, reason = "sequence arithmetic")]
const fn acknowledges(tcp: &TcpHeader, expected: u32) -> bool {
    tcp.flags.has(TcpFlags::ACK) && tcp.ack.wrapping_sub(expected) as i32 >= 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seg(flags: u8, seq: u32, ack: u32) -> TcpHeader {
        TcpHeader { seq, ack, flags: TcpFlags(flags), ..TcpHeader::default() }
    }

    fn ms(n: i64) -> Timestamp {
        Timestamp::from_nanos(n * 1_000_000)
    }

    #[test]
    fn both_sides_of_the_tap() {
        let mut m = TcpHandshake::default();
        assert_eq!(m.on_segment(ms(0), Direction::Orig, &seg(0x02, u32::MAX, 0)), None);
        let server = m.on_segment(ms(7), Direction::Resp, &seg(0x12, 500, 0)).unwrap();
        assert_eq!((server.side, server.rtt, server.ambiguous), (Side::Server, Duration::from_millis(7), false));
        assert_eq!(m.on_segment(ms(9), Direction::Orig, &seg(0x10, 0, 499)), None, "acknowledges something older");
        let client = m.on_segment(ms(50), Direction::Orig, &seg(0x18, 0, 501)).unwrap();
        assert_eq!((client.side, client.rtt, client.ambiguous), (Side::Client, Duration::from_millis(43), false));
        assert!(m.is_done());
        assert_eq!(m.samples().collect::<Vec<_>>(), [server, client], "what was told is kept");
        (80..90).for_each(|at| m.on_client_bytes(ms(at)));
        assert_eq!(m.hello_lag(), Some(Duration::from_millis(30)));
    }

    #[test]
    fn a_repeated_question_makes_only_its_own_answer_ambiguous() {
        let mut m = TcpHandshake::default();
        m.on_segment(ms(0), Direction::Orig, &seg(0x02, 1, 0));
        m.on_segment(ms(1000), Direction::Orig, &seg(0x02, 1, 0));
        let server = m.on_segment(ms(1010), Direction::Resp, &seg(0x12, 5, 2)).unwrap();
        assert!(server.ambiguous && server.rtt == Duration::from_millis(1010));
        let client = m.on_segment(ms(1050), Direction::Orig, &seg(0x10, 2, 6)).unwrap();
        assert!(!client.ambiguous);
    }
}
