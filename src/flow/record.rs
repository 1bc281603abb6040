//! What is kept of one flow: its tuple, its times, and counters for each end.

use super::duplicate::Recent;
use super::syn::{Clock, Syn};
use super::{FiveTuple, Protocol};
use crate::base::{Direction, Ends, Timestamp};
use crate::wire::{Encapsulation, Packet, TcpFlags, TcpHeader, Transport};
use std::cmp::Ordering;
use std::num::NonZeroU16;

/// Counters and constants of what one end sent. Mirror duplicates are not in them.
#[derive(Debug, Clone, Copy, Default)]
pub struct End {
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets, headers included.
    pub bytes: u64,
    /// TTL or hop limit of its first packet.
    pub ttl: Option<u8>,
    /// Maximum segment size it announced, in bytes.
    pub mss: Option<u16>,
    /// Window scale it announced.
    pub window_scale: Option<u8>,
    /// Its largest IP packet, in bytes.
    pub max_packet: u32,
    /// How many of its packets were just that large.
    pub at_max: u32,
    /// The largest piece of a packet that came in pieces, IP header included, in bytes.
    pub largest_fragment: Option<NonZeroU16>,
    /// Its SYN or SYN-ACK.
    pub syn: Option<Syn>,
    /// The clock in its TCP timestamps.
    pub clock: Option<Clock>,
    recent: Recent,
}

impl End {
    /// Takes in the size of a packet.
    fn measure(&mut self, packet: &Packet<'_>) {
        match packet.ip_len.cmp(&self.max_packet) {
            Ordering::Less => {}
            Ordering::Equal => self.at_max = self.at_max.saturating_add(1),
            Ordering::Greater => (self.max_packet, self.at_max) = (packet.ip_len, 1),
        }
        self.largest_fragment = self.largest_fragment.max(NonZeroU16::new(packet.largest_fragment));
    }

    /// Takes in the sizes of another flow of the same end.
    pub fn take_in_sizes(&mut self, other: &Self) {
        match other.max_packet.cmp(&self.max_packet) {
            Ordering::Less => {}
            Ordering::Equal => self.at_max = self.at_max.saturating_add(other.at_max),
            Ordering::Greater => (self.max_packet, self.at_max) = (other.max_packet, other.at_max),
        }
        self.largest_fragment = self.largest_fragment.max(other.largest_fragment);
    }

    fn read_clock(&mut self, at: Timestamp, value: u32) {
        match &mut self.clock {
            Some(clock) => clock.go_on(at, value),
            None => self.clock = Some(Clock::start(at, value)),
        }
    }
}

/// Where a TCP connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TcpState {
    /// Neither SYN nor SYN-ACK seen: the capture began in the middle, or it isn't TCP.
    #[default]
    Unknown,
    /// Opening seen.
    Opened,
    /// One end has finished.
    Closing,
    /// Both have finished, or one has reset it.
    Closed,
}

/// One flow.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Who talks to whom; the originator as far as known.
    pub tuple: FiveTuple,
    /// First packet.
    pub first: Timestamp,
    /// Latest packet.
    pub last: Timestamp,
    /// Counters.
    pub ends: Ends<End>,
    /// Where TCP stands.
    pub tcp: TcpState,
    /// A SYN or SYN-ACK was seen: the capture holds the beginning.
    pub opening_seen: bool,
    /// What was wrapped around its first packet.
    pub encapsulation: Option<Box<Encapsulation>>,
    /// The run's clock at the latest packet.
    pub(super) last_clock: Timestamp,
    /// Initial sequence numbers, where the SYN or SYN-ACK was seen.
    pub isn: Ends<Option<u32>>,
    finished: Ends<bool>,
    pub(super) orig_is_low: bool,
}

impl Flow {
    pub(super) fn open(tuple: FiveTuple, orig_is_low: bool, packet: &Packet<'_>, clock: Timestamp) -> Self {
        Self {
            tuple,
            first: packet.at,
            last: packet.at,
            ends: Ends::default(),
            tcp: TcpState::Unknown,
            opening_seen: false,
            encapsulation: (!packet.encapsulation.is_empty()).then(|| Box::new(packet.encapsulation)),
            last_clock: clock,
            isn: Ends::default(),
            finished: Ends::default(),
            orig_is_low,
        }
    }

    /// Whether the originator is the sender of packets whose sender is (or isn't) the key's lower end.
    pub(super) const fn direction(&self, from_low: bool) -> Direction {
        if self.orig_is_low == from_low { Direction::Orig } else { Direction::Resp }
    }

    /// Whether a packet that begins a connection cannot belong to this one: its ports are used again.
    pub(super) fn is_reuse(&self, tcp: &TcpHeader) -> bool {
        tcp.flags.is_syn()
            && match self.isn.orig {
                Some(isn) => isn != tcp.seq,
                None => self.tcp == TcpState::Closed,
            }
    }

    /// Exchanges originator and responder.
    pub(super) const fn flip(&mut self) {
        self.tuple = self.tuple.flipped();
        self.ends.swap();
        self.finished.swap();
        self.isn.swap();
        self.orig_is_low = !self.orig_is_low;
    }

    /// Whether this packet shows that originator and responder are the other way round.
    pub(super) fn shows_flip(&self, dir: Direction, tcp: &TcpHeader) -> bool {
        let opens =
            (tcp.flags.is_syn() && dir == Direction::Resp) || (tcp.flags.is_syn_ack() && dir == Direction::Orig);
        opens && self.isn.orig.is_none() && self.tcp == TcpState::Unknown
    }

    /// Takes a packet into the counters; `false` if it is a mirror's copy, which is counted nowhere.
    pub(super) fn count(&mut self, dir: Direction, packet: &Packet<'_>, clock: Timestamp) -> bool {
        self.last_clock = self.last_clock.max(clock);
        let end = self.ends.of_mut(dir);
        if end.recent.is_duplicate(packet) {
            return false;
        }
        self.first = self.first.min(packet.at);
        self.last = self.last.max(packet.at);
        end.packets += 1;
        end.bytes += u64::from(packet.ip_len);
        end.measure(packet);
        end.ttl = end.ttl.or(Some(packet.ttl));
        if let Transport::Tcp(tcp) = packet.transport {
            self.track_tcp(dir, &tcp, packet);
        }
        true
    }

    fn track_tcp(&mut self, dir: Direction, tcp: &TcpHeader, packet: &Packet<'_>) {
        let flags = tcp.flags;
        if let Some((value, _)) = tcp.options.timestamps {
            self.ends.of_mut(dir).read_clock(packet.at, value);
        }
        if flags.has(TcpFlags::SYN) {
            let end = self.ends.of_mut(dir);
            end.mss = end.mss.or(tcp.options.mss);
            end.window_scale = end.window_scale.or(tcp.options.window_scale);
            // The opening packet's TTL is the stack's own; a packet seen before it may be anybody's.
            end.syn = end.syn.or(Some(Syn::of(packet, tcp)));
            end.ttl = if self.tcp == TcpState::Unknown { Some(packet.ttl) } else { end.ttl };
            let isn = self.isn.of_mut(dir);
            *isn = isn.or(Some(tcp.seq));
            if self.tcp == TcpState::Unknown {
                self.opening_seen = true;
                self.tcp = TcpState::Opened;
            }
        }
        if flags.has(TcpFlags::RST) {
            self.tcp = TcpState::Closed;
        } else if flags.has(TcpFlags::FIN) {
            *self.finished.of_mut(dir) = true;
            self.tcp = if self.finished.orig && self.finished.resp { TcpState::Closed } else { TcpState::Closing };
        }
    }

    /// Whether both ends have allowed selective acknowledgments, as far as their SYNs were captured.
    #[must_use]
    pub fn may_sack(&self) -> bool {
        let allows = |end: &End| end.syn.is_some_and(|syn| syn.options.letters().any(|letter| letter == 'S'));
        allows(&self.ends.orig) && allows(&self.ends.resp)
    }

    /// Whether it is TCP.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.tuple.proto == Protocol::TCP
    }
}
