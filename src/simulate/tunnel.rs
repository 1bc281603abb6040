//! The corporate tunnel of a worker whose inner packets are simulated one by one.
//!
//! Reads: the time and length of an inner packet. Emits: the message that carries it past the outer tap: of WireGuard
//! (whitepaper, section 5.4.6), OpenVPN or ESP in UDP. Does not: encrypt, or shake hands; handshakes are connections of
//! their own, for WireGuard with the keys that [`Tunnel::indexes`] gives, one every two minutes.

use crate::base::Direction;
use crate::simulate::frame::Faces;
use crate::simulate::random::Random;
use crate::simulate::wireguard::{self, REKEY};
use crate::simulate::{ike, openvpn};

/// What an inner packet becomes.
#[derive(Debug)]
enum Form {
    /// The receiver indexes of initiator and responder, handshake by handshake, from that time on.
    WireGuard {
        from: i64,
        indexes: Vec<[[u8; 4]; 2]>,
        turn: usize,
    },
    OpenVpn,
    /// The security parameter indexes of initiator and responder.
    Esp([[u8; 4]; 2]),
}

/// One tunnel between a home and the gateway.
#[derive(Debug)]
pub(super) struct Tunnel {
    faces: Faces,
    form: Form,
    counters: [u64; 2],
    chance: Random,
    serial: u16,
}

impl Tunnel {
    /// A WireGuard tunnel from that time on, for so many handshakes.
    pub(super) fn new(faces: Faces, from: i64, handshakes: u32, mut chance: Random) -> Self {
        let indexes = (0..handshakes.max(1)).map(|_| [chance.array(), chance.array()]).collect();
        Self { faces, form: Form::WireGuard { from, indexes, turn: 0 }, counters: [1, 0], chance, serial: 0 }
    }

    /// An OpenVPN tunnel over UDP.
    pub(super) fn openvpn(faces: Faces, chance: Random) -> Self {
        Self { faces, form: Form::OpenVpn, counters: [1, 1], chance, serial: 0 }
    }

    /// ESP in UDP.
    pub(super) fn esp(faces: Faces, mut chance: Random) -> Self {
        // 0 to 255 are reserved (RFC 4303, section 2.1).
        let spis = [chance.array::<4>(), chance.array::<4>()].map(|[a, b, c, d]| [a | 1, b, c, d]);
        Self { faces, form: Form::Esp(spis), counters: [1, 1], chance, serial: 0 }
    }

    /// The indexes that each handshake agrees on, initiator's first.
    pub(super) fn indexes(&self) -> &[[[u8; 4]; 2]] {
        match &self.form {
            Form::WireGuard { indexes, .. } => indexes,
            Form::OpenVpn | Form::Esp(_) => &[],
        }
    }

    /// The frame that carries an inner packet of that length.
    pub(super) fn wrap(&mut self, now: i64, direction: Direction, inner: usize) -> Option<Vec<u8>> {
        // The old keys are used until the new handshake is through.
        const SETTLED: i64 = 3_000_000_000;
        let receiver = match &mut self.form {
            Form::WireGuard { from, indexes, turn } => {
                let due = usize::try_from(now.saturating_sub(*from).saturating_sub(SETTLED) / REKEY).unwrap_or(0);
                let due = due.min(indexes.len().saturating_sub(1));
                if due != std::mem::replace(turn, due) {
                    // The empty packet that confirms the key was the initiator's first.
                    self.counters = [1, 0];
                }
                *indexes.get(due)?
            }
            Form::OpenVpn => [[0; 4]; 2],
            Form::Esp(spis) => *spis,
        };
        let [initiator, responder] = receiver;
        let [sent, received] = &mut self.counters;
        let (receiver, counter) = match direction {
            Direction::Orig => (responder, sent),
            Direction::Resp => (initiator, received),
        };
        let number = u32::try_from(*counter).unwrap_or(u32::MAX);
        let message = match self.form {
            Form::WireGuard { .. } => wireguard::data(&receiver, *counter, inner, &mut self.chance),
            Form::OpenVpn => openvpn::data(number, inner, &mut self.chance),
            Form::Esp(_) => ike::packet(receiver, number, inner, &mut self.chance),
        };
        *counter = counter.saturating_add(1);
        self.serial = self.serial.wrapping_add(1);
        self.faces.datagram(direction, self.serial, &message)
    }
}
