//! The corporate WireGuard tunnel of a worker whose inner packets are simulated one by one.
//!
//! Reads: the time and length of an inner packet. Emits: the transport message that carries it past the outer tap
//! (WireGuard whitepaper, section 5.4.6). Does not: encrypt, or shake hands; the handshakes are connections of their own
//! whose keys [`Tunnel::indexes`] gives, one every two minutes.

use crate::base::Direction;
use crate::simulate::frame::Faces;
use crate::simulate::random::Random;
use crate::simulate::wireguard::{self, REKEY};

/// One tunnel between a home and the gateway.
#[derive(Debug)]
pub(super) struct Tunnel {
    faces: Faces,
    from: i64,
    /// The receiver indexes of initiator and responder, handshake by handshake.
    indexes: Vec<[[u8; 4]; 2]>,
    counters: [u64; 2],
    turn: usize,
    chance: Random,
    serial: u16,
}

impl Tunnel {
    /// A tunnel from that time on, for so many handshakes.
    pub(super) fn new(faces: Faces, from: i64, handshakes: u32, mut chance: Random) -> Self {
        let indexes = (0..handshakes.max(1)).map(|_| [chance.array(), chance.array()]).collect();
        Self { faces, from, indexes, counters: [1, 0], turn: 0, chance, serial: 0 }
    }

    /// The indexes that each handshake agrees on, initiator's first.
    pub(super) fn indexes(&self) -> &[[[u8; 4]; 2]] {
        &self.indexes
    }

    /// The frame that carries an inner packet of that length.
    pub(super) fn wrap(&mut self, now: i64, direction: Direction, inner: usize) -> Option<Vec<u8>> {
        // The old keys are used until the new handshake is through.
        const SETTLED: i64 = 3_000_000_000;
        let turn = usize::try_from(now.saturating_sub(self.from).saturating_sub(SETTLED) / REKEY).unwrap_or(0);
        let turn = turn.min(self.indexes.len().saturating_sub(1));
        if turn != self.turn {
            self.turn = turn;
            // The empty packet that confirms the key was the initiator's first.
            self.counters = [1, 0];
        }
        let [initiator, responder] = self.indexes.get(turn)?;
        let [sent, received] = &mut self.counters;
        let (receiver, counter) = match direction {
            Direction::Orig => (responder, sent),
            Direction::Resp => (initiator, received),
        };
        let message = wireguard::data(receiver, *counter, inner, &mut self.chance);
        *counter = counter.saturating_add(1);
        self.serial = self.serial.wrapping_add(1);
        self.faces.datagram(direction, self.serial, &message)
    }
}
