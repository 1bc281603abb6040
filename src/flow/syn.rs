//! What one end's SYN or SYN-ACK, and the clock in its timestamps, say of the machine that sent it.
//!
//! Reads: TCP headers. Emits: constants of a flow's end. Does not: name a system.

use crate::base::Timestamp;
use crate::wire::{OptionKinds, Packet, TcpFlags, TcpHeader};

/// What a SYN or SYN-ACK shows beside MSS and window scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Syn {
    /// The kinds of its options, in order.
    pub options: OptionKinds,
    /// The window, unscaled.
    pub window: u16,
    /// IPv4's don't fragment.
    pub dont_fragment: bool,
    /// The IPv4 identification is 0.
    pub zero_id: bool,
    /// It asks for ECN (RFC 3168): ECE, and CWR in a SYN.
    pub ecn: bool,
    /// A SYN with a number to acknowledge: meaningless, and some stacks do not clear it.
    pub acknowledges: bool,
    /// An urgent pointer, with or without its flag.
    pub urgent: bool,
}

impl Syn {
    pub(super) const fn of(packet: &Packet<'_>, tcp: &TcpHeader) -> Self {
        Self {
            options: tcp.options.kinds,
            window: tcp.window,
            dont_fragment: packet.dont_fragment,
            zero_id: packet.src.is_ipv4() && packet.ip_id == 0,
            ecn: tcp.flags.has(TcpFlags::ECE),
            acknowledges: tcp.flags.is_syn() && tcp.ack != 0,
            urgent: tcp.urgent != 0 || tcp.flags.has(TcpFlags::URG),
        }
    }
}

/// The first and the latest timestamp of an end (RFC 7323): how fast its timestamp clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds of capture time, wrapping, and the timestamp.
    first: (u32, u32),
    last: (u32, u32),
}

/// A clock's rate is told from this long on, in ms: a tick of the slowest clock and a common queue are 1 % of it.
const MEASURABLE_MS: u32 = 10_000;
/// Rates told apart, in Hz, and how far off a measurement may be, in per cent. Linux with `tcp_usec_ts` ticks at 1 MHz.
const RATES: [u32; 5] = [10, 100, 250, 1_000, 1_000_000];
const OFF_PERCENT: u64 = 5;

impl Clock {
    pub(super) fn start(at: Timestamp, value: u32) -> Self {
        let now = (millis(at), value);
        Self { first: now, last: now }
    }

    pub(super) fn go_on(&mut self, at: Timestamp, value: u32) {
        self.last = (millis(at), value);
    }

    /// The first timestamp.
    #[must_use]
    pub const fn first(&self) -> u32 {
        self.first.1
    }

    /// How often a second it ticks, where the connection lasted long enough and the rate is one in use.
    #[must_use]
    pub fn hertz(&self) -> Option<u32> {
        let ms = self.last.0.wrapping_sub(self.first.0);
        if !(MEASURABLE_MS..u32::MAX / 2).contains(&ms) {
            return None;
        }
        let ticks = u64::from(self.last.1.wrapping_sub(self.first.1));
        let is_near = |hz: &u32| {
            let expected = u64::from(*hz) * u64::from(ms) / 1_000;
            ticks.abs_diff(expected) * 100 <= expected * OFF_PERCENT
        };
        RATES.into_iter().find(is_near)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "wraps on purpose")]
const fn millis(at: Timestamp) -> u32 {
    at.nanos().div_euclid(1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_its_rate_after_a_while() {
        let hertz = |seconds: i64, ticks: u32| {
            let mut clock = Clock::start(Timestamp::from_parts(1_700_000_000, 0), u32::MAX - 100);
            clock.go_on(Timestamp::from_parts(1_700_000_000 + seconds, 0), (u32::MAX - 100).wrapping_add(ticks));
            clock.hertz()
        };
        assert_eq!(hertz(60, 60_004), Some(1_000));
        assert_eq!(hertz(60, 14_990), Some(250));
        assert_eq!(hertz(60, 6_000), Some(100));
        assert_eq!(hertz(60, 60_000_100), Some(1_000_000));
        assert_eq!(hertz(60, 33_000), None);
        assert_eq!(hertz(2, 2_000), None);
        assert_eq!(hertz(60, u32::MAX - 5), None, "time stamps that go back are none");
    }
}
