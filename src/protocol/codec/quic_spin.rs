//! QUIC's spin bit: round trips of an established connection, from one bit that both ends agree to turn.
//!
//! Reads: the bit of each short header, in the order in which packets pass. Emits: for each end the time from an edge
//! of the other end's bit to the edge that answers it, once the bits have shown that they answer each other. Does not:
//! believe a bit that is set at random (RFC 9000 section 17.4 tells ends to do so in one of 16 connections, and lets
//! them do so for each packet), or one that packets out of order have blurred.
//!
//! Bias: upper bounds. An edge waits for the next packet that an end has to send, so loops of an idle connection are
//! as long as its pauses; only the least of many is near the path's round trip (Kunze et al., IMC 2023).
//!
//! Reference: RFC 9000 section 17.4, RFC 9312 section 3.8.

use crate::base::{Direction, Ends, Events, Layer, Timestamp};

/// The spin bit of versions 1 and 2.
const SPIN: u8 = 0x20;
/// Packets that held their value as a bit that answers must, before an end is believed. A bit thrown for each packet
/// would hold so often once in a million connections.
const TRUSTED: u16 = 20;
/// No end is trusted more than so far, so that it can lose its trust.
const CEILING: u16 = 64;
/// What a bit that turns twice without an answer costs. Packets out of order do it too, and are rare.
const DISTRUST: u16 = 16;
/// Edges that are not used after such a turn: what they are measured from is in doubt.
const QUARANTINE: u8 = 4;

const METHOD: &str = "spin";

/// An edge of one end's bit.
#[derive(Debug, Clone, Copy)]
struct Edge {
    dir: Direction,
    at: Timestamp,
}

/// Two edges of which the second seems to answer the first.
#[derive(Debug, Clone, Copy)]
struct Pair {
    asked: Edge,
    answered: Timestamp,
}

/// Follows the bits of one connection.
#[derive(Debug, Default)]
pub struct Spin {
    last: Ends<Option<bool>>,
    newest: Option<Edge>,
    /// The newest loop, until the next edge shows that no straggler closed it.
    pending: Option<Pair>,
    held: Ends<u16>,
    quarantine: u8,
}

impl Spin {
    /// A packet with a short header, by its first byte.
    pub fn on_short_header(&mut self, at: Timestamp, dir: Direction, first: u8, events: &mut Events) {
        let bit = first & SPIN != 0;
        let before = self.last.of_mut(dir).replace(bit);
        let own = self.newest.is_some_and(|edge| edge.dir == dir);
        if before == Some(bit) {
            // An end that has turned its bit keeps it until the other has answered.
            if own {
                let held = self.held.of_mut(dir);
                *held = held.saturating_add(1).min(CEILING);
            }
        } else if before.is_some() {
            self.on_edge(Edge { dir, at }, own, events);
        }
    }

    fn on_edge(&mut self, edge: Edge, twice: bool, events: &mut Events) {
        if twice {
            let held = self.held.of_mut(edge.dir);
            *held = held.saturating_sub(DISTRUST);
            (self.pending, self.quarantine) = (None, QUARANTINE);
        }
        if let Some(Pair { asked, answered }) = self.pending.take() {
            events.ask(asked.at, asked.dir, Layer::Quic, METHOD);
            events.answer(answered, asked.dir.flip(), Layer::Quic, METHOD);
        }
        let trusted = self.held.orig >= TRUSTED && self.held.resp >= TRUSTED;
        let asked = self.newest.replace(edge).filter(|_| trusted && self.quarantine == 0);
        self.pending = asked.map(|asked| Pair { asked, answered: edge.at });
        self.quarantine = self.quarantine.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::EventKind;
    use Direction::{Orig, Resp};

    const MS: i64 = 1_000_000;

    /// Packets of both ends as a tap sees them: (nanoseconds, end, bit), in order of time. The client is `near` away
    /// and back, the server `far`, both send every `every`.
    fn genuine(near: i64, far: i64, every: i64, until: i64) -> Vec<(i64, Direction, bool)> {
        let mut passed: Vec<(i64, Direction, bool)> = Vec::new();
        for t in (0..until).step_by(usize::try_from(every).unwrap()) {
            // What an end sends so that it passes at t it sends half its way before, and has by then read what passed
            // its whole way before.
            let seen = |from: Direction, way: i64| {
                passed.iter().rev().find(|(at, dir, _)| *dir == from && *at <= t - way).is_some_and(|p| p.2)
            };
            let (server, client) = (seen(Orig, far), !seen(Resp, near));
            passed.push((t, Orig, client));
            passed.push((t + 1, Resp, server));
        }
        passed
    }

    /// Round trips in ms, by end.
    fn loops(packets: &[(i64, Direction, bool)]) -> Ends<Vec<i64>> {
        let (mut spin, mut events, mut found) = (Spin::default(), Events::default(), Ends::<Vec<i64>>::default());
        let mut asked = Timestamp::default();
        for (at, dir, bit) in packets {
            spin.on_short_header(Timestamp::from_nanos(*at), *dir, 0x40 | u8::from(*bit) << 5, &mut events);
            for event in events.drain() {
                match event.kind {
                    EventKind::Ask(_) => asked = event.at,
                    _ => found.of_mut(event.dir).push((event.at.nanos() - asked.nanos()) / MS),
                }
            }
        }
        found
    }

    #[test]
    fn both_ways_are_told_and_never_too_short() {
        let found = loops(&genuine(40 * MS, 90 * MS, 5 * MS, 6_000 * MS));
        assert!(found.orig.len() > 20 && found.resp.len() > 20, "{found:?}");
        assert!(found.orig.iter().all(|ms| (40..=50).contains(ms)), "{found:?}");
        assert!(found.resp.iter().all(|ms| (90..=100).contains(ms)), "{found:?}");
    }

    /// Random numbers that are the same in every run.
    fn random(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed >> 16
    }

    #[test]
    fn a_bit_thrown_for_each_packet_is_not_believed() {
        let mut seed = 0x2545_f491_4f6c_dd1d;
        for every in [1, 5, 30, 200] {
            let mut packets = genuine(40 * MS, MS / 10, every * MS, 60_000 * MS);
            for packet in packets.iter_mut().filter(|packet| packet.1 == Orig) {
                packet.2 = random(&mut seed) & 1 == 0;
            }
            // The server answers each at once.
            let mut newest = false;
            for packet in &mut packets {
                if packet.1 == Orig { newest = packet.2 } else { packet.2 = newest }
            }
            let found = loops(&packets);
            assert!(found.orig.is_empty() && found.resp.is_empty(), "{every}: {found:?}");
        }
    }

    #[test]
    fn a_bit_that_never_turns_tells_nothing() {
        let packets: Vec<_> = (0..5_000).map(|i| (i * MS, if i % 2 == 0 { Orig } else { Resp }, true)).collect();
        let found = loops(&packets);
        assert!(found.orig.is_empty() && found.resp.is_empty());
    }

    #[test]
    fn stragglers_make_no_short_loop() {
        let mut seed = 0x1234_5678_9abc_def1;
        // A server next to the tap answers at once, so a straggler of the client comes after the answer.
        let mut packets = genuine(40 * MS, MS / 10, MS, 60_000 * MS);
        for packet in packets.iter_mut().filter(|packet| packet.1 == Orig) {
            if random(&mut seed).is_multiple_of(200) {
                packet.0 += 5 * MS / 2;
            }
        }
        packets.sort_by_key(|packet| packet.0);
        let found = loops(&packets);
        assert!(found.orig.len() > 50, "{}", found.orig.len());
        assert!(found.orig.iter().all(|ms| *ms >= 37), "{:?}", found.orig.iter().min());
    }
}
