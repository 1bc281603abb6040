//! Round trips of a TCP connection's data on both sides of the capture point, as long as it lasts; and what was sent
//! again, or came in another order.
//!
//! Reads: every segment behind the handshake. Emits: samples of layer `tcp-data`, and [`TcpTally`]s.
//!
//! Method `ack`: a segment to the acknowledgment of exactly its end, where that acknowledges at least two full segments.
//! A receiver has to send it at once (RFC 9293, 3.8.6.3, as RFC 1122, 4.2.3.2; RFC 5681, 4.2: at least every second full
//! segment). Method `lone-ack`: the same where it acknowledges less. That may have waited up to 500 ms for a second
//! segment, or for the program's answer; on common systems 40 to 200 ms.
//! Method `timestamp`: a segment with a new timestamp to the first echo of it (RFC 7323, 4), only while this end has
//! nothing in flight that an acknowledgment would time: pure acknowledgments, and data behind a loss. The echo may have
//! waited for something to be said.
//! Bias: never shorter than the path's round trip; longer by the stack (microseconds), by queues, and as said above.
//!
//! Left out: whatever was or may have been in flight when something was sent again (Karn and Partridge, SIGCOMM 1987),
//! came in another order, or was missing at the receiver (selective acknowledgments say so, and where these are not in
//! use a repeated acknowledgment: RFC 2018, 4; RFC 5681, 3.2), because the next acknowledgment fills a hole; keep-alives
//! and probes of a closed window (RFC 9293, 3.8.4 and 3.8.6.1); SYN and RST, which a box on the way may have sent.
//! Ambiguous: the first segment seen of an end whose SYN was not, which may be a second copy.
//! Mirror copies must be filtered out before. A flow of which one direction is captured gives nothing.

use crate::base::{Direction, Ends, Layer, RttSample, Side, TcpTally, Timestamp};
use crate::wire::{TcpFlags, TcpHeader};
use std::collections::VecDeque;
use std::time::Duration;

/// Segments in flight that are followed; of more, those sent while so many wait are not timed. So many full ones are
/// 100 ms of 120 Mbit/s; they take 12 kB while they last.
const IN_FLIGHT: usize = 1_024;
/// What may be a full segment. Less is a program's small writing, for which nobody has to hurry (an IPv6 path carries
/// 1,220 bytes, tunnels a little less); more was put together by the capturing host, of pieces that may be as small as
/// this where there are timestamps and a tunnel.
const FULL: std::ops::RangeInclusive<u16> = 1_100..=1_400;
/// Where nothing is known of the path, what comes late by more than this was sent again (as Wireshark has it).
const REORDERED: Duration = Duration::from_millis(3);

const ACK: &str = "ack";
const LONE_ACK: &str = "lone-ack";
const TIMESTAMP: &str = "timestamp";

/// A number that may not be known yet, in five bytes instead of eight: there are many connections.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    is: bool,
    bytes: [u8; 4],
}

impl Known {
    const fn new(number: Option<u32>) -> Self {
        match number {
            Some(number) => Self { is: true, bytes: number.to_ne_bytes() },
            None => Self { is: false, bytes: [0; 4] },
        }
    }

    const fn get(self) -> Option<u32> {
        if self.is { Some(u32::from_ne_bytes(self.bytes)) } else { None }
    }

    /// Sets it, and gives what it was.
    fn replace(&mut self, number: u32) -> Option<u32> {
        std::mem::replace(self, Self::new(Some(number))).get()
    }
}

/// A segment that waits for its acknowledgment, or a timestamp for its echo.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// What will answer it.
    end: u32,
    /// Nanoseconds, in two halves: so it takes 12 bytes.
    at: [u32; 2],
}

impl Segment {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two halves")]
    const fn new(end: u32, at: Timestamp) -> Self {
        Self { end, at: [at.nanos() as u32, (at.nanos() as u64 >> 32) as u32] }
    }

    /// Stands where there is none.
    const NONE: Self = Self::new(0, Timestamp::MIN);

    /// What is there, if anything.
    fn get(self) -> Option<Self> {
        (self.at() != Timestamp::MIN).then_some(self)
    }

    const fn at(&self) -> Timestamp {
        #[expect(clippy::cast_possible_wrap, reason = "two halves")]
        Timestamp::from_nanos(((self.at[1] as u64) << 32 | self.at[0] as u64) as i64)
    }
}

/// Bytes that passed the capture point after those behind them, or have not passed it yet.
#[derive(Debug, Clone, Copy)]
struct Hole {
    from: u32,
    to: u32,
    seen: Timestamp,
}

/// What was sent again, and in what order it came.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    hole: Option<Hole>,
    lost_before: u32,
    lost_after: u32,
    out_of_order: u32,
    copies: u32,
}

/// What most ends don't have, or not for long: kept apart, because a connection that is well does not need the room.
#[derive(Debug, Default)]
struct More {
    /// In flight behind the first.
    in_flight: VecDeque<Segment>,
    trouble: Trouble,
}

/// What one end sends, and how the other answers.
#[derive(Debug)]
struct Sender {
    more: Option<Box<More>>,
    /// The first segment in flight.
    first: Segment,
    /// A timestamp whose echo is awaited, and since when.
    asked: Segment,
    /// The shortest round trip from the capture point to the other end and back, in microseconds; the longest there is
    /// as long as it is not known.
    least: u32,
    /// Segments with payload.
    data: u32,
    /// Its largest segment, as far as that matters.
    full: u16,
    /// The other end's newest window, unscaled.
    window: u16,
    /// Behind the highest byte sent.
    next: Known,
    /// What the other end has acknowledged.
    acked: Known,
    /// The newest timestamp it sent.
    stamp: Known,
    /// What is first in flight is the first segment seen, and there may have been others before.
    is_doubtful: bool,
    /// The other end tells of what is missing by selective acknowledgments.
    told_by_sack: bool,
}

impl Default for Sender {
    fn default() -> Self {
        Self {
            more: None,
            first: Segment::NONE,
            asked: Segment::NONE,
            least: u32::MAX,
            data: 0,
            full: 0,
            window: 0,
            next: Known::default(),
            acked: Known::default(),
            stamp: Known::default(),
            is_doubtful: false,
            told_by_sack: false,
        }
    }
}

/// Follows one connection.
#[derive(Debug, Default)]
pub struct TcpData {
    ends: Ends<Sender>,
}

/// How far `a` is ahead of `b` in sequence space; negative if behind.
#[expect(clippy::cast_possible_wrap, reason = "sequence arithmetic is modulo 2^32 on purpose")]
const fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl TcpData {
    /// The methods of its samples.
    pub const METHODS: [&'static str; 3] = [ACK, LONE_ACK, TIMESTAMP];

    /// Of a connection that is about to carry its first data or to end without any, with the sequence numbers of its SYN
    /// and SYN-ACK as far as they were captured; and whether both have allowed selective acknowledgments.
    #[must_use]
    pub fn new(isn: Ends<Option<u32>>, sack: bool) -> Self {
        let begin = |isn: Option<u32>| isn.map(|isn| isn.wrapping_add(1));
        let whole = isn.orig.and(isn.resp).is_some();
        let sender = |isn| Sender {
            next: Known::new(begin(isn)),
            acked: Known::new(begin(isn).filter(|_| whole)),
            window: 1,
            told_by_sack: sack,
            ..Sender::default()
        };
        Self { ends: Ends { orig: sender(isn.orig), resp: sender(isn.resp) } }
    }

    /// A segment with `len` bytes of payload; at most two samples come of it, one of each kind of question.
    pub fn on_segment(
        &mut self,
        at: Timestamp,
        dir: Direction,
        tcp: &TcpHeader,
        len: u32,
        found: &mut impl FnMut(RttSample),
    ) {
        if tcp.flags.has(TcpFlags::RST) {
            self.ends = Ends { orig: self.ends.orig.silent(), resp: self.ends.resp.silent() };
            return;
        }
        let sample = |rtt, method, ambiguous| RttSample {
            at,
            side: if dir == Direction::Orig { Side::Client } else { Side::Server },
            rtt,
            layer: Layer::TcpData,
            method,
            ambiguous,
        };
        if tcp.flags.has(TcpFlags::ACK) {
            let peer = self.ends.of_mut(dir.flip());
            let echoed = peer.on_echo(at, tcp).map(|rtt| (rtt, TIMESTAMP, false));
            if let Some((rtt, method, ambiguous)) = peer.on_ack(at, tcp, len).or(echoed) {
                found(sample(rtt, method, ambiguous));
            }
        }
        let (a, b) = (self.ends.orig.least, self.ends.resp.least);
        let is_known = a != u32::MAX && b != u32::MAX;
        let loop_known = is_known.then(|| Duration::from_micros(u64::from(a) + u64::from(b)));
        let own = self.ends.of_mut(dir);
        own.on_sent(at, tcp, len, loop_known);
    }

    /// A copy of a packet that a mirror made.
    pub fn on_copy(&mut self, dir: Direction) {
        let copies = &mut self.ends.of_mut(dir).trouble().copies;
        *copies = copies.saturating_add(1);
    }

    /// Gives back the room that segments in flight took, where none are.
    pub fn rest(&mut self) {
        self.ends.orig.rest();
        self.ends.resp.rest();
    }

    /// What was counted of each end's segments.
    #[must_use]
    pub fn tallies(&self) -> Ends<TcpTally> {
        Ends { orig: self.ends.orig.tally(), resp: self.ends.resp.tally() }
    }
}

impl Trouble {
    const fn is_none(&self) -> bool {
        let Self { hole, lost_before, lost_after, out_of_order, copies } = self;
        hole.is_none() && *lost_before == 0 && *lost_after == 0 && *out_of_order == 0 && *copies == 0
    }
}

impl Sender {
    /// Nothing is awaited any more.
    fn silent(&mut self) -> Self {
        self.forget_in_flight();
        Self { data: self.data, more: self.more.take(), ..Self::default() }
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn trouble(&mut self) -> &mut Trouble {
        &mut self.more().trouble
    }

    fn rest(&mut self) {
        let Some(more) = &mut self.more else { return };
        if more.in_flight.is_empty() {
            more.in_flight = VecDeque::new();
        }
        if more.in_flight.capacity() == 0 && more.trouble.is_none() {
            self.more = None;
        }
    }

    fn tally(&self) -> TcpTally {
        let Trouble { lost_before, lost_after, out_of_order, copies, .. } =
            self.more.as_deref().map(|more| more.trouble).unwrap_or_default();
        TcpTally { data: self.data, lost_before, lost_after, out_of_order, copies }
    }

    /// The other end acknowledges; the loop that this closes, how, and whether it is ambiguous.
    fn on_ack(&mut self, at: Timestamp, tcp: &TcpHeader, len: u32) -> Option<(Duration, &'static str, bool)> {
        let more = ahead(tcp.ack, self.acked.get().unwrap_or(tcp.ack));
        if more < 0 {
            return None;
        }
        let moved = std::mem::replace(&mut self.window, tcp.window) != tcp.window;
        let repeated = more == 0 && len == 0 && !moved && !tcp.flags.has(TcpFlags::FIN);
        self.told_by_sack |= tcp.options.sacks;
        if tcp.options.sacks || (repeated && !self.told_by_sack) {
            // Something is missing there, or was: what is in flight will be acknowledged together with it.
            self.forget_in_flight();
        }
        let known = self.acked.replace(tcp.ack).is_some();
        let mut last = None;
        let mut is_doubtful = false;
        while let Some(first) = self.first.get()
            && ahead(tcp.ack, first.end) >= 0
        {
            last = Some(first);
            is_doubtful = std::mem::take(&mut self.is_doubtful);
            self.first = self.more.as_mut().and_then(|more| more.in_flight.pop_front()).unwrap_or(Segment::NONE);
        }
        let rtt = at.since(last.filter(|segment| segment.end == tcp.ack)?.at())?;
        if is_doubtful {
            return Some((rtt, LONE_ACK, true));
        }
        self.least = self.least.min(u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        let two = u32::from(self.full.clamp(*FULL.start(), *FULL.end())) * 2;
        let prompt = known && u32::try_from(more).is_ok_and(|more| more >= two);
        Some((rtt, if prompt { ACK } else { LONE_ACK }, false))
    }

    /// The other end echoes a timestamp.
    fn on_echo(&mut self, at: Timestamp, tcp: &TcpHeader) -> Option<Duration> {
        let (asked, (_, echo)) = (self.asked.get()?, tcp.options.timestamps?);
        if ahead(echo, asked.end) < 0 {
            return None;
        }
        self.asked = Segment::NONE;
        // A later one tells nothing: the first with it may have passed unseen.
        at.since(asked.at()).filter(|_| echo == asked.end)
    }

    /// This end sends.
    fn on_sent(&mut self, at: Timestamp, tcp: &TcpHeader, len: u32, whole_loop: Option<Duration>) {
        let flags = tcp.flags;
        let virtual_len = u32::from(flags.has(TcpFlags::SYN)) + u32::from(flags.has(TcpFlags::FIN));
        let end = tcp.seq.wrapping_add(len).wrapping_add(virtual_len);
        let Some(next) = self.next.get() else {
            self.next.replace(end);
            self.data += u32::from(len > 0);
            self.note_stamp(at, tcp, false);
            if end != tcp.seq {
                self.is_doubtful = !flags.has(TcpFlags::SYN);
                self.full = u16::try_from(len).unwrap_or(u16::MAX);
                self.follow(end, at, flags.has(TcpFlags::SYN));
            }
            return;
        };
        if len > 0 {
            self.data = self.data.saturating_add(1);
        }
        // A keep-alive repeats the last byte or none; a probe of a closed window looks the same, or brings one byte.
        let keep_alive = virtual_len == 0 && tcp.seq == next.wrapping_sub(1) && self.acked.get() == Some(next);
        let probe = self.window == 0 && self.acked.is;
        if len <= 1 && (keep_alive || probe) {
            self.note_stamp(at, tcp, false);
            self.next.replace(if ahead(end, next) > 0 { end } else { next });
            return;
        }
        let off = ahead(tcp.seq, next);
        if len + virtual_len == 0 {
            self.note_stamp(at, tcp, off == 0);
        } else if off < 0 {
            self.on_late(at, tcp.seq, end, len, whole_loop);
            // Its own timestamp tells which copy is answered.
            self.note_stamp(at, tcp, len > 0);
            self.next.replace(if ahead(end, next) > 0 { end } else { next });
        } else {
            if off > 0 {
                self.trouble().hole = Some(Hole { from: next, to: tcp.seq, seen: at });
            }
            self.next.replace(end);
            self.full = self.full.max(u16::try_from(len).unwrap_or(u16::MAX));
            self.follow(end, at, flags.has(TcpFlags::SYN));
            self.note_stamp(at, tcp, off == 0);
        }
    }

    fn follow(&mut self, end: u32, at: Timestamp, opening: bool) {
        if opening {
            return;
        }
        let segment = Segment::new(end, at);
        if !self.is_in_flight() {
            self.first = segment;
            return;
        }
        let behind = &mut self.more().in_flight;
        if behind.len() + 1 < IN_FLIGHT {
            behind.push_back(segment);
        }
    }

    fn is_in_flight(&self) -> bool {
        self.first.get().is_some()
    }

    fn forget_in_flight(&mut self) {
        self.first = Segment::NONE;
        self.is_doubtful = false;
        self.more.iter_mut().for_each(|more| more.in_flight.clear());
    }

    /// Something that lies before what was sent already.
    fn on_late(&mut self, at: Timestamp, seq: u32, end: u32, len: u32, whole_loop: Option<Duration>) {
        // Which of two copies the next acknowledgment means, nobody knows; and it means what lies behind it as well.
        self.forget_in_flight();
        self.asked = Segment::NONE;
        if len == 0 {
            return;
        }
        let trouble = self.trouble();
        let fills = trouble.hole.filter(|hole| ahead(seq, hole.from) >= 0 && ahead(end, hole.to) <= 0);
        let Some(hole) = fills else {
            trouble.lost_after = trouble.lost_after.saturating_add(1);
            return;
        };
        // Nobody can have asked for it again within a round trip.
        let late = at.since(hole.seen).is_some_and(|late| late >= whole_loop.unwrap_or(REORDERED));
        let count = if late { &mut trouble.lost_before } else { &mut trouble.out_of_order };
        *count = count.saturating_add(1);
        // Mostly the bytes come in order: what is left of the hole lies behind these.
        trouble.hole = (ahead(hole.to, end) > 0).then_some(Hole { from: end, ..hole });
    }

    /// Awaits the echo of a timestamp that was not sent before, if nothing else is awaited.
    fn note_stamp(&mut self, at: Timestamp, tcp: &TcpHeader, in_order: bool) {
        let Some((stamp, _)) = tcp.options.timestamps else { return };
        let fresh = self.stamp.get().is_none_or(|newest| ahead(stamp, newest) > 0);
        if !fresh {
            return;
        }
        // Of the first ever seen, earlier segments with the same may have passed before the capture began.
        let first = self.stamp.replace(stamp).is_none();
        if in_order && !first && self.asked.get().is_none() && !self.is_in_flight() {
            self.asked = Segment::new(stamp, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Orig, Resp};

    /// A connection seen from the middle, whose ends have acknowledged each other's byte 1000.
    struct Wire {
        meter: TcpData,
        found: Vec<(u64, &'static str)>,
        window: u16,
    }

    impl Wire {
        fn new() -> Self {
            Self::with(false)
        }

        fn with(sack: bool) -> Self {
            let meter = TcpData::new(Ends { orig: Some(999), resp: Some(999) }, sack);
            Self { meter, found: Vec::new(), window: 500 }
        }

        fn pass(&mut self, ms: i64, dir: Direction, tcp: TcpHeader, len: u32) {
            let tcp = TcpHeader { window: self.window, flags: TcpFlags(tcp.flags.0 | 0x10), ..tcp };
            let at = Timestamp::from_nanos(ms * 1_000_000);
            self.meter.on_segment(at, dir, &tcp, len, &mut |s| {
                let method = if s.ambiguous { "ambiguous" } else { s.method };
                self.found.push((u64::try_from(s.rtt.as_millis()).unwrap(), method));
            });
        }

        /// The server's data.
        fn data(&mut self, ms: i64, seq: u32, len: u32) {
            self.pass(ms, Resp, TcpHeader { seq, ack: 1000, ..TcpHeader::default() }, len);
        }

        /// The client's pure acknowledgment.
        fn ack(&mut self, ms: i64, ack: u32) {
            self.pass(ms, Orig, TcpHeader { seq: 1000, ack, ..TcpHeader::default() }, 0);
        }

        fn stamped(&mut self, ms: i64, dir: Direction, (seq, ack): (u32, u32), stamps: (u32, u32), len: u32) {
            let mut tcp = TcpHeader { seq, ack, ..TcpHeader::default() };
            tcp.options.timestamps = Some(stamps);
            self.pass(ms, dir, tcp, len);
        }
    }

    #[test]
    fn two_full_segments_are_answered_at_once_and_one_may_wait() {
        let mut wire = Wire::new();
        wire.data(0, 1000, 1448);
        wire.data(1, 2448, 1448);
        wire.ack(41, 3896);
        wire.data(50, 3896, 100);
        wire.ack(130, 3996);
        wire.data(200, 3996, 36);
        wire.data(201, 4032, 36);
        wire.ack(281, 4068);
        assert_eq!(wire.found, [(40, "ack"), (80, "lone-ack"), (80, "lone-ack")]);
        assert_eq!(wire.meter.tallies().resp, TcpTally { data: 5, ..TcpTally::default() });
    }

    #[test]
    fn only_the_end_of_a_segment_is_timed() {
        let mut wire = Wire::new();
        wire.data(0, 1000, 64_000);
        wire.ack(40, 1000 + 2 * 1448);
        assert_eq!(wire.found, []);
        wire.ack(45, 65_000);
        assert_eq!(wire.found, [(45, "ack")]);
    }

    #[test]
    fn what_is_sent_again_and_what_waited_for_it_tell_nothing() {
        let mut wire = Wire::new();
        for i in 0..4 {
            wire.data(i, 1000 + 1000 * u32::try_from(i).unwrap(), 1000);
        }
        wire.data(300, 1000, 1000);
        wire.ack(340, 5000);
        assert_eq!(wire.found, []);
        assert_eq!((wire.meter.tallies().resp.lost_after, wire.meter.tallies().resp.data), (1, 5));
        wire.data(350, 5000, 1448);
        wire.data(350, 6448, 1448);
        wire.ack(390, 7896);
        assert_eq!(wire.found, [(40, "ack")]);
    }

    #[test]
    fn an_acknowledgment_that_fills_a_hole_tells_nothing() {
        for sacks in [false, true] {
            let mut wire = Wire::new();
            (0..3).for_each(|i| wire.data(i, 1000 + 1448 * u32::try_from(i).unwrap(), 1448));
            let mut repeated = TcpHeader { seq: 1000, ack: 1000, window: 1, ..TcpHeader::default() };
            repeated.options.sacks = sacks;
            // A window that moves is no sign of a hole, selective acknowledgments are.
            wire.window = if sacks { 700 } else { 500 };
            wire.pass(20, Orig, repeated, 0);
            wire.pass(40, Orig, repeated, 0);
            // The repair went another way.
            wire.ack(400, 5344);
            assert_eq!(wire.found, [], "sacks {sacks}");
        }
    }

    #[test]
    fn a_new_window_is_no_repeated_acknowledgment() {
        let mut wire = Wire::new();
        wire.ack(0, 1000);
        wire.data(1, 1000, 2896);
        wire.window = 900;
        wire.ack(2, 1000);
        wire.ack(41, 3896);
        assert_eq!(wire.found, [(40, "ack")]);
    }

    #[test]
    fn another_order_is_no_loss_and_a_loss_before_the_tap_is_told_from_one_behind() {
        let mut wire = Wire::new();
        wire.data(0, 1000, 100);
        wire.ack(40, 1100);
        wire.pass(41, Orig, TcpHeader { seq: 1000, ack: 1100, ..TcpHeader::default() }, 10);
        wire.pass(51, Resp, TcpHeader { seq: 1100, ack: 1010, ..TcpHeader::default() }, 0);
        wire.found.clear();
        wire.data(100, 1200, 100);
        wire.data(101, 1100, 100);
        wire.ack(141, 1300);
        wire.data(200, 1400, 100);
        wire.data(300, 1300, 100);
        wire.ack(341, 1500);
        assert_eq!(wire.found, []);
        let tally = wire.meter.tallies().resp;
        assert_eq!((tally.out_of_order, tally.lost_before, tally.lost_after), (1, 1, 0));
    }

    #[test]
    fn keep_alives_and_probes_of_a_closed_window_are_left_out() {
        let mut wire = Wire::new();
        wire.data(0, 1000, 2896);
        wire.ack(40, 3896);
        wire.found.clear();
        wire.data(10_000, 3895, 1);
        wire.ack(10_040, 3896);
        wire.data(20_000, 3895, 0);
        wire.ack(20_040, 3896);
        wire.window = 0;
        wire.ack(20_041, 3896);
        wire.data(20_300, 3896, 1);
        wire.window = 500;
        wire.ack(20_900, 3897);
        assert_eq!(wire.found, []);
        assert_eq!(wire.meter.tallies().resp.retransmitted(), 0);
    }

    #[test]
    fn a_timestamp_times_what_acknowledgments_do_not() {
        let mut wire = Wire::new();
        // The server's data is timed by its acknowledgment, the client's acknowledgments by their echo.
        wire.stamped(0, Resp, (1000, 1000), (70, 6), 1448);
        wire.stamped(0, Resp, (2448, 1000), (70, 6), 1448);
        wire.stamped(40, Orig, (1000, 3896), (7, 70), 0);
        wire.stamped(52, Resp, (3896, 1000), (71, 6), 1448);
        wire.stamped(60, Resp, (5344, 1000), (72, 7), 1448);
        wire.found.clear();
        wire.stamped(90, Orig, (1000, 6792), (8, 71), 0);
        wire.stamped(91, Orig, (1000, 6792), (8, 71), 0);
        wire.stamped(102, Resp, (6792, 1000), (73, 8), 1448);
        assert_eq!(wire.found, [(30, "ack"), (12, "timestamp")]);
        // Sent again: its own timestamp says which copy is answered.
        wire.found.clear();
        wire.stamped(400, Resp, (6792, 1000), (90, 8), 1448);
        wire.stamped(440, Orig, (1000, 8240), (9, 90), 0);
        assert_eq!(wire.found, [(40, "timestamp")]);
    }

    /// The first packet with it passed unseen or was no question: the echo may be as old as that.
    #[test]
    fn a_timestamp_that_was_sent_before_is_not_timed() {
        let mut wire = Wire::new();
        wire.stamped(0, Orig, (1000, 1000), (7, 70), 0);
        wire.stamped(5, Orig, (1000, 1000), (7, 70), 0);
        wire.stamped(6, Resp, (1000, 1000), (71, 7), 100);
        // Behind a hole it is not asked either, and an echo of a later one ends the wait for an earlier.
        wire.stamped(50, Orig, (1500, 1100), (8, 71), 0);
        wire.stamped(51, Resp, (1100, 1000), (72, 8), 0);
        wire.stamped(60, Orig, (1000, 1100), (9, 72), 0);
        wire.stamped(70, Orig, (1000, 1100), (10, 72), 0);
        wire.stamped(71, Resp, (1100, 1000), (73, 10), 0);
        wire.stamped(99, Resp, (1100, 1000), (74, 9), 0);
        // The server's own 72 is the only one that is.
        assert_eq!(wire.found, [(44, "lone-ack"), (9, "timestamp")]);
    }

    /// Where selective acknowledgments are in use, a repeated one without any is an echo of many segments at once.
    #[test]
    fn a_repeated_acknowledgment_is_no_hole_where_holes_are_told_otherwise() {
        let mut wire = Wire::with(true);
        wire.data(0, 1000, 36);
        wire.ack(1, 1000);
        wire.ack(1, 1000);
        wire.ack(40, 1036);
        assert_eq!(wire.found, [(40, "lone-ack")]);
        // Seen from the middle, the first selective acknowledgment tells that they are.
        let mut wire = Wire::new();
        let mut sack = TcpHeader { seq: 1000, ack: 1000, ..TcpHeader::default() };
        sack.options.sacks = true;
        wire.data(0, 1000, 36);
        wire.pass(40, Orig, sack, 0);
        wire.ack(41, 1036);
        wire.data(50, 1036, 36);
        wire.ack(51, 1036);
        wire.ack(90, 1072);
        assert_eq!(wire.found, [(40, "lone-ack")]);
    }

    #[test]
    fn the_acknowledgment_of_an_end_is_a_round_trip() {
        let mut wire = Wire::new();
        wire.pass(0, Resp, TcpHeader { seq: 1000, ack: 1000, flags: TcpFlags::FIN, ..TcpHeader::default() }, 0);
        wire.pass(40, Orig, TcpHeader { seq: 1000, ack: 1001, flags: TcpFlags::FIN, ..TcpHeader::default() }, 0);
        wire.pass(52, Resp, TcpHeader { seq: 1001, ack: 1001, ..TcpHeader::default() }, 0);
        assert_eq!(wire.found, [(40, "lone-ack"), (12, "lone-ack")]);
        assert_eq!(wire.meter.tallies().resp, TcpTally::default());
        // Which of two ends was answered, nobody knows; and a reset may be anybody's.
        let mut wire = Wire::new();
        let fin = TcpHeader { seq: 1000, ack: 1000, flags: TcpFlags::FIN, ..TcpHeader::default() };
        wire.pass(0, Resp, fin, 0);
        wire.pass(300, Resp, fin, 0);
        wire.ack(340, 1001);
        assert_eq!(wire.found, []);
        let mut wire = Wire::new();
        wire.pass(0, Resp, fin, 0);
        wire.pass(5, Orig, TcpHeader { seq: 1000, ack: 1001, flags: TcpFlags::RST, ..TcpHeader::default() }, 0);
        assert_eq!(wire.found, []);
    }

    /// From the middle of a connection: the first segment may be a second copy, which only its own sample suffers from.
    #[test]
    fn the_first_segment_seen_is_ambiguous() {
        let mut wire = Wire::new();
        wire.meter = TcpData::new(Ends::default(), false);
        wire.data(0, 1000, 100);
        wire.data(1, 1100, 100);
        wire.ack(40, 1100);
        wire.ack(41, 1200);
        assert_eq!(wire.found, [(40, "ambiguous"), (40, "lone-ack")]);
        let mut wire = Wire::new();
        wire.meter = TcpData::new(Ends::default(), false);
        wire.data(0, 1000, 100);
        wire.data(1, 1100, 100);
        wire.ack(41, 1200);
        wire.data(50, 1200, 100);
        wire.ack(90, 1300);
        assert_eq!(wire.found, [(40, "lone-ack"), (40, "lone-ack")]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut meter = TcpData::new(Ends { orig: Some(0), resp: Some(0) }, false);
        for i in 0..10_000u32 {
            let tcp = TcpHeader { seq: 1 + i * 1448, ack: 1, flags: TcpFlags::ACK, ..TcpHeader::default() };
            meter.on_segment(Timestamp::from_nanos(i64::from(i)), Orig, &tcp, 1448, &mut |_| panic!("no answer"));
        }
        assert_eq!(meter.ends.orig.more.as_ref().map(|more| more.in_flight.len()), Some(IN_FLIGHT - 1));
        assert_eq!((size_of::<Segment>(), size_of::<TcpData>()), (12, 128));
    }
}
