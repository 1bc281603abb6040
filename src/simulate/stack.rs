//! The TCP/IP personalities of simulated hosts: what a stack shows in its headers and when it acknowledges.
//!
//! Reads: nothing. Emits: constants. Does not: send. The option orders and windows are those the systems are known by
//! (p0f 3 signatures `s:unix:Linux`, `s:win:Windows:7 or 8`/10, `s:unix:Mac OS X`); the delayed-acknowledgement
//! timers are the systems' defaults: Linux 40 ms after a burst of quick ones, Windows 10 40 ms, macOS 100 ms.

use crate::simulate::leg::MS;
use etherparse::TcpOptionElement::{
    self, MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale,
};

/// One kind of host.
#[derive(Debug)]
pub(super) struct Stack {
    /// The word used in `truth.json`.
    pub(super) name: &'static str,
    /// The TTL it sends with.
    pub(super) ttl: u8,
    /// The window field of its SYN, unscaled.
    pub(super) syn_window: u16,
    /// The receive window it advertises afterwards, bytes.
    pub(super) window: u32,
    /// Its window scale.
    pub(super) scale: u8,
    /// Whether it offers timestamps (RFC 7323).
    pub(super) timestamps: bool,
    /// How long it holds a single acknowledgement back, nanoseconds.
    pub(super) delayed_ack: i64,
    /// How many segments at the start of a connection it acknowledges at once.
    pub(super) quick_acks: u32,
    /// Whether its IPv4 identification counts (else it is 0, as RFC 6864 allows with DF).
    pub(super) counts_ids: bool,
    order: Order,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Linux,
    Windows,
    Apple,
}

impl Stack {
    /// The options of its SYN or SYN-ACK. `times` is absent when timestamps are not in use.
    pub(super) fn syn_options(&self, mss: u16, times: Option<(u32, u32)>) -> Vec<TcpOptionElement> {
        let times = times.map(|(value, echo)| Timestamp(value, echo));
        let scale = WindowScale(self.scale);
        let mut options = vec![MaximumSegmentSize(mss)];
        match self.order {
            Order::Linux => {
                match times {
                    Some(times) => options.extend([SelectiveAcknowledgementPermitted, times]),
                    None => options.extend([Noop, Noop, SelectiveAcknowledgementPermitted]),
                }
                options.extend([Noop, scale]);
            }
            Order::Windows => {
                options.extend([Noop, scale]);
                match times {
                    Some(times) => options.extend([SelectiveAcknowledgementPermitted, times]),
                    None => options.extend([Noop, Noop, SelectiveAcknowledgementPermitted]),
                }
            }
            Order::Apple => {
                options.extend([Noop, scale]);
                if let Some(times) = times {
                    options.extend([Noop, Noop, times]);
                }
                // The header's padding to a word is the end-of-list option that follows.
                options.push(SelectiveAcknowledgementPermitted);
            }
        }
        options
    }
}

/// Linux 5/6 and the routers, proxies and accelerators built on it.
pub(super) static LINUX: Stack = Stack {
    name: "linux",
    ttl: 64,
    syn_window: 64_240,
    window: 64_128,
    scale: 7,
    timestamps: true,
    delayed_ack: 40 * MS,
    quick_acks: 16,
    counts_ids: true,
    order: Order::Linux,
};

/// Windows 10 and 11.
pub(super) static WINDOWS: Stack = Stack {
    name: "windows",
    ttl: 128,
    syn_window: 64_240,
    window: 262_144,
    scale: 8,
    timestamps: false,
    delayed_ack: 40 * MS,
    quick_acks: 0,
    counts_ids: true,
    order: Order::Windows,
};

/// macOS 13 and later.
pub(super) static APPLE: Stack = Stack {
    name: "macos",
    ttl: 64,
    syn_window: 65_535,
    window: 131_712,
    scale: 6,
    timestamps: true,
    delayed_ack: 100 * MS,
    quick_acks: 8,
    counts_ids: false,
    order: Order::Apple,
};
