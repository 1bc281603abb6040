//! When a flow is over: timeouts as a fact of the flow, and the buckets that find flows whose time has come.
//!
//! A flow ends when the run's clock passes its last packet's clock by its timeout, whether or not a sweep has been there:
//! the table checks at look-up, the sweep only frees memory early. So the number of workers can't change the outcome.

use super::{Flow, TcpState};
use crate::base::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a flow may be silent before it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP whose opening was seen and that has not closed.
    pub tcp: Duration,
    /// TCP that was opened but never answered, or seen only in the middle.
    pub tcp_unopened: Duration,
    /// TCP after both ends finished or one reset it: time for stragglers.
    pub tcp_closed: Duration,
    /// UDP and everything else.
    pub other: Duration,
}

impl Default for Timeouts {
    /// TCP 15 min (a remote desktop's or VPN's keepalive is well below), half-open 60 s, closed 10 s, others 3 min
    /// (WireGuard's and NAT keepalives are 15 to 30 s; RFC 4787 requires NATs to hold UDP for 2 min).
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(900),
            tcp_unopened: Duration::from_secs(60),
            tcp_closed: Duration::from_secs(10),
            other: Duration::from_secs(180),
        }
    }
}

impl Timeouts {
    /// The timeout that holds for a flow now.
    #[must_use]
    pub fn of(&self, flow: &Flow) -> Duration {
        if !flow.is_tcp() {
            return self.other;
        }
        match flow.tcp {
            TcpState::Closed => self.tcp_closed,
            TcpState::Opened if flow.ends.resp.packets == 0 => self.tcp_unopened,
            TcpState::Unknown if flow.ends.resp.packets == 0 || flow.ends.orig.packets == 0 => self.tcp_unopened,
            _ => self.tcp,
        }
    }

    /// Whether the flow is over at `clock`.
    #[must_use]
    pub fn is_over(&self, flow: &Flow, clock: Timestamp) -> bool {
        self.deadline(flow) < clock
    }

    pub(super) fn deadline(&self, flow: &Flow) -> Timestamp {
        flow.last_clock.plus(self.of(flow))
    }
}

/// Nanoseconds covered by one bucket.
const BUCKET: i64 = 4_000_000_000;

/// Slots of the table by the bucket of time in which to look at them again. Each slot stands in one bucket at most.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    buckets: BTreeMap<i64, Vec<(u32, u32)>>,
}

impl Agenda {
    /// Puts a slot (index, generation) down for `when`.
    pub(super) fn note(&mut self, when: Timestamp, slot: u32, generation: u32) {
        self.buckets.entry(when.nanos().div_euclid(BUCKET)).or_default().push((slot, generation));
    }

    /// Takes the earliest bucket that lies wholly before `clock`.
    pub(super) fn due(&mut self, clock: Timestamp) -> Option<Vec<(u32, u32)>> {
        let first = self.buckets.first_entry()?;
        (*first.key() < clock.nanos().div_euclid(BUCKET)).then(|| first.remove())
    }

    pub(super) fn clear(&mut self) {
        self.buckets.clear();
    }
}
