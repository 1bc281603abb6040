//! Tells the same packet seen twice by a mirror from a retransmission or a repeated acknowledgment.
//!
//! A SPAN session that copies both ingress and egress delivers each packet twice, microseconds to milliseconds apart.
//! The copies share the IPv4 identification, which a retransmission does not; where there is none (IPv6, or 0), only
//! packets that carry something and repeat within [`WITHOUT_ID_MICROS`] count. Errs towards "not a duplicate".

use crate::wire::{Packet, Transport};

/// How many of an end's newest packets are remembered.
const REMEMBERED: usize = 4;
/// Longest distance of two copies that share an IPv4 identification, in microseconds: far below the time in which a
/// 16-bit identification comes round again even at 1 M packets/s from one host (65 ms).
const WITH_ID_MICROS: u32 = 50_000;
/// Longest distance without an identification; shorter than any retransmission timer (RFC 6298: 1 s, in practice 200 ms)
/// and than the spacing of meaningful repeats.
const WITHOUT_ID_MICROS: u32 = 2_000;

/// The newest packets of one end, as (hash, time in microseconds, wrapping), the newest first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recent {
    seen: [(u32, u32); REMEMBERED],
}

impl Recent {
    /// Whether `packet` is a copy of one just seen; remembers it if not.
    pub(super) fn is_duplicate(&mut self, packet: &Packet<'_>) -> bool {
        let hash = signature(packet);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "wraps on purpose")]
        let now = (packet.at.nanos() / 1_000) as u32;
        let window = if packet.ip_id != 0 { WITH_ID_MICROS } else { WITHOUT_ID_MICROS };
        let comparable = packet.ip_id != 0 || carries_something(packet);
        if comparable && self.seen.iter().any(|(h, at)| *h == hash && now.wrapping_sub(*at) <= window) {
            return true;
        }
        let [newest, second, third, _] = self.seen;
        self.seen = [(hash, now), newest, second, third];
        false
    }
}

/// Data or a SYN: what would be sent again only after a timer.
fn carries_something(packet: &Packet<'_>) -> bool {
    match packet.transport {
        Transport::Tcp(tcp) => packet.payload_len > 0 || tcp.flags.0 & 0x07 != 0,
        _ => false,
    }
}

/// A hash of all that two copies share; never 0, the empty slot.
fn signature(packet: &Packet<'_>) -> u32 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |h: u64, v: u64| (h.rotate_left(5) ^ v).wrapping_mul(K);
    let mut h = mix(u64::from(packet.ip_id), u64::from(packet.payload_len));
    match packet.transport {
        Transport::Tcp(tcp) => {
            h = mix(h, (u64::from(tcp.seq) << 32) | u64::from(tcp.ack));
            h = mix(h, (u64::from(tcp.flags.0) << 16) | u64::from(tcp.window));
            if let Some((value, echo)) = tcp.options.timestamps {
                h = mix(h, (u64::from(value) << 32) | u64::from(echo));
            }
        }
        _ => {
            if let Some(head) = packet.payload.first_chunk::<8>() {
                h = mix(h, u64::from_le_bytes(*head));
            }
            if let Some(tail) = packet.payload.last_chunk::<8>() {
                h = mix(h, u64::from_le_bytes(*tail));
            }
        }
    }
    ((h >> 32) as u32).max(1)
}
