//! Fragments of IP packets, held until the packet is whole.
//!
//! Reads: pieces of IPv4 (RFC 791) and IPv6 (RFC 8200, section 4.5) packets. Emits: the payload of the whole packet.
//! Does not: answer, or guess what the receiver makes of contradictions.
//!
//! **Overlaps: the bytes that came first stay.** RFC 5722 wants such a packet dropped, and hosts differ; for a monitor the packet
//! is worth more than the doubt, so it is counted instead. Equal bytes are no overlap but a copy: mirror ports send them.
//! Copies that come within a moment after the packet was whole are swallowed.
//!
//! Bounds: packets, bytes and pieces held ([`FragmentLimits`]). What came first is given up first, a quarter at a time, so that
//! a flood costs constant time a piece.

use super::Unread;
use super::span::Span;
use crate::base::Timestamp;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// How much of unfinished packets is held, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Unfinished packets.
    pub packets: usize,
    /// Bytes of all of them.
    pub bytes: usize,
    /// Pieces of one packet. An Ethernet path makes 45 of the longest packet, a path with an MTU of 576 makes 119.
    pub pieces: usize,
    /// Capture time between the first piece and the last. RFC 1122, section 3.3.2 wants 60 to 120 s of a receiver; most use 30 s.
    pub age: Duration,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self { packets: 4096, bytes: 16 << 20, pieces: 256, age: Duration::from_secs(30) }
    }
}

/// What became of the fragments that came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FragmentCounters {
    /// Fragments that came, of whatever fate.
    pub seen: u64,
    /// Packets put together.
    pub reassembled: u64,
    /// Fragments whose bytes were all there already, and the same.
    pub duplicated: u64,
    /// Fragments that contradicted what came before them.
    pub overlapped: u64,
    /// Fragments that no packet can have: empty, beyond 65,535 bytes, or not a multiple of 8 before the end.
    pub refused: u64,
    /// Packets given up because their last piece did not come in time.
    pub expired: u64,
    /// Packets given up because a bound was reached.
    pub evicted: u64,
    /// Packets unfinished now.
    pub held: u64,
}

/// To which packet a fragment belongs. IPv6 tells the protocol only in the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) id: u32,
    pub(super) protocol: Option<u8>,
}

/// One fragment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) key: Key,
    /// Of what is behind the header, if this is the first piece.
    pub(super) protocol: u8,
    /// Bytes of payload before it.
    pub(super) offset: u32,
    /// Whether more come behind it.
    pub(super) more: bool,
    pub(super) payload: Span<'a>,
}

/// What was put together, beside the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole {
    /// Of what is behind the header.
    pub(super) protocol: u8,
    /// Length on the wire; more than the bytes if a piece was cut by the snap length.
    pub(super) wire: u32,
}

/// Unfinished packets.
#[derive(Debug)]
pub(super) struct Fragments {
    limits: FragmentLimits,
    counters: FragmentCounters,
    packets: HashMap<Key, Unfinished, RandomState>,
    bytes: usize,
    /// Numbers packets in the order of their first pieces.
    serial: u64,
    swept: Timestamp,
    /// Emptied packets, kept for their memory.
    spare: Vec<Unfinished>,
}

impl Fragments {
    pub(super) fn new(limits: FragmentLimits) -> Self {
        Self {
            limits,
            counters: FragmentCounters::default(),
            packets: HashMap::default(),
            bytes: 0,
            serial: 0,
            swept: Timestamp::MIN,
            spare: Vec::new(),
        }
    }

    pub(super) const fn counters(&self) -> &FragmentCounters {
        &self.counters
    }

    /// Takes a fragment; if it was the one missing, writes the payload of the packet over `out`.
    pub(super) fn insert(
        &mut self,
        at: Timestamp,
        piece: &Piece<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Whole>, Unread> {
        self.counters.seen += 1;
        let whole = match piece.end() {
            Some(end) => Ok(self.hold(at, piece, end, out)),
            None => {
                self.counters.refused += 1;
                Err(Unread::Malformed)
            }
        };
        self.counters.held = self.packets.len() as u64;
        whole
    }

    fn hold(&mut self, at: Timestamp, piece: &Piece<'_>, end: u32, out: &mut Vec<u8>) -> Option<Whole> {
        self.make_room(at, piece.payload.bytes().len());
        self.forget_if_over(at, &piece.key);
        let packet = self.packets.entry(piece.key).or_insert_with(|| {
            self.serial += 1;
            self.spare.pop().unwrap_or_default().begin(self.serial, at)
        });
        if packet.done.is_some() {
            self.counters.duplicated += 1;
            return None;
        }
        let before = packet.bytes.len();
        match packet.add(piece, end) {
            Added::New => {}
            Added::Copy => self.counters.duplicated += 1,
            Added::Contradiction => self.counters.overlapped += 1,
        }
        self.bytes += packet.bytes.len() - before;
        if let Some(whole) = packet.whole() {
            packet.join(out);
            self.bytes -= packet.bytes.len();
            packet.finish(at);
            self.counters.reassembled += 1;
            return Some(whole);
        }
        if packet.taken >= self.limits.pieces {
            self.counters.evicted += 1;
            self.remove(&piece.key);
        }
        None
    }

    /// A packet with this key that is too old has nothing to do with the fragment that came.
    fn forget_if_over(&mut self, at: Timestamp, key: &Key) {
        let Some(packet) = self.packets.get(key) else { return };
        if packet.is_over(at, self.limits.age) {
            self.counters.expired += u64::from(packet.done.is_none());
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(packet) = self.packets.remove(key) {
            self.bytes -= packet.bytes.len();
            if self.spare.len() < SPARE {
                self.spare.push(packet);
            }
        }
    }

    /// Drops what is over once in a while, and what is oldest until there is room for one more packet and `bytes` more.
    fn make_room(&mut self, at: Timestamp, bytes: usize) {
        if distance(at, self.swept) > SWEEP {
            self.swept = at;
            self.sweep(at);
        }
        let is_full = |fragments: &Self| {
            fragments.packets.len() >= fragments.limits.packets || fragments.bytes + bytes > fragments.limits.bytes
        };
        if is_full(self) {
            self.sweep(at);
        }
        while is_full(self) && !self.packets.is_empty() {
            self.evict_oldest_quarter();
        }
    }

    fn sweep(&mut self, at: Timestamp) {
        let Self { packets, counters, limits, bytes, .. } = self;
        packets.retain(|_, packet| {
            let over = packet.is_over(at, limits.age);
            if over {
                *bytes -= packet.bytes.len();
                counters.expired += u64::from(packet.done.is_none());
            }
            !over
        });
    }

    fn evict_oldest_quarter(&mut self) {
        let mut serials: Vec<u64> = self.packets.values().map(|packet| packet.serial).collect();
        let quarter = serials.len() / 4;
        if quarter >= serials.len() {
            return;
        }
        let (_, &mut newest_evicted, _) = serials.select_nth_unstable(quarter);
        let Self { packets, counters, bytes, .. } = self;
        packets.retain(|_, packet| {
            let evict = packet.serial <= newest_evicted;
            if evict {
                *bytes -= packet.bytes.len();
                counters.evicted += u64::from(packet.done.is_none());
            }
            !evict
        });
    }
}

impl Piece<'_> {
    /// Where it ends, or `None` if no packet can have such a piece.
    fn end(&self) -> Option<u32> {
        let len = self.payload.wire();
        let end = self.offset.checked_add(len)?;
        let fits = len > 0 && end <= u32::from(u16::MAX) && (!self.more || len.is_multiple_of(8));
        fits.then_some(end)
    }
}

/// What a piece brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Added {
    New,
    Copy,
    Contradiction,
}

/// The pieces of one packet.
#[derive(Debug, Default)]
struct Unfinished {
    serial: u64,
    first_at: Timestamp,
    /// When it was whole: from then on it only stands there to swallow copies.
    done: Option<Timestamp>,
    protocol: u8,
    /// Length of the whole, when the last piece has told it.
    total: Option<u32>,
    /// Bytes of it that came, as on the wire.
    covered: u32,
    /// Pieces that came.
    taken: usize,
    /// In the order of the packet, none over another.
    parts: Vec<Part>,
    /// The bytes of the parts, in the order they came.
    bytes: Vec<u8>,
}

/// A part of the packet, and where in `Unfinished::bytes` it is.
#[derive(Debug, Clone, Copy)]
struct Part {
    start: u32,
    end: u32,
    from: usize,
    /// Less than `end - start` if the snap length cut it.
    captured: usize,
}

impl Unfinished {
    /// Makes an emptied one ready for another packet.
    fn begin(mut self, serial: u64, at: Timestamp) -> Self {
        self.parts.clear();
        self.bytes.clear();
        Self { serial, first_at: at, parts: self.parts, bytes: self.bytes, ..Self::default() }
    }

    /// A jump of the capture's time in either direction ends it.
    fn is_over(&self, at: Timestamp, age: Duration) -> bool {
        match self.done {
            Some(done) => distance(at, done) > COPIES,
            None => distance(at, self.first_at) > age,
        }
    }

    fn add(&mut self, piece: &Piece<'_>, end: u32) -> Added {
        self.taken += 1;
        let reaches = self.parts.last().map_or(0, |part| part.end);
        let too_long = self.total.is_some_and(|total| end > total || (!piece.more && end != total));
        if too_long || (!piece.more && end < reaches) {
            return Added::Contradiction;
        }
        if !piece.more {
            self.total = Some(end);
        }
        if piece.offset == 0 {
            self.protocol = piece.protocol;
        }
        self.fill(piece.offset, end, piece.payload.bytes())
    }

    /// Takes what is new of `bytes`, which belong to `start..end`.
    fn fill(&mut self, mut start: u32, end: u32, mut bytes: &[u8]) -> Added {
        let mut added = Added::Copy;
        let mut i = self.parts.partition_point(|part| part.end <= start);
        while start < end {
            let next = self.parts.get(i).copied().filter(|part| part.start < end);
            if let Some(part) = next.filter(|part| part.start <= start) {
                let (over, rest) = split(bytes, part.end.min(end) - start);
                if !self.same(&part, start, over) {
                    added = Added::Contradiction;
                }
                bytes = rest;
                start = part.end;
            } else {
                let gap_end = next.map_or(end, |part| part.start);
                let (new, rest) = split(bytes, gap_end - start);
                self.parts.insert(i, Part { start, end: gap_end, from: self.bytes.len(), captured: new.len() });
                self.bytes.extend_from_slice(new);
                self.covered += gap_end - start;
                if added == Added::Copy {
                    added = Added::New;
                }
                bytes = rest;
                start = gap_end;
            }
            i += 1;
        }
        added
    }

    /// Whether `bytes` repeat what `part` has from `start` on, as far as both were captured.
    fn same(&self, part: &Part, start: u32, bytes: &[u8]) -> bool {
        let has = self.bytes.get(part.from..part.from + part.captured).unwrap_or_default();
        let has = has.get((start - part.start) as usize..).unwrap_or_default();
        has.iter().zip(bytes).all(|(a, b)| a == b)
    }

    fn whole(&self) -> Option<Whole> {
        let wire = self.total.filter(|total| *total == self.covered)?;
        Some(Whole { protocol: self.protocol, wire })
    }

    /// Writes the bytes in order, up to the first that the snap length cut off.
    fn join(&self, out: &mut Vec<u8>) {
        out.clear();
        for part in &self.parts {
            out.extend_from_slice(self.bytes.get(part.from..part.from + part.captured).unwrap_or_default());
            if part.captured < (part.end - part.start) as usize {
                break;
            }
        }
    }

    fn finish(&mut self, at: Timestamp) {
        self.done = Some(at);
        self.parts.clear();
        self.bytes.clear();
    }
}

/// The first `n` bytes, or as many as there are, and the rest.
fn split(bytes: &[u8], n: u32) -> (&[u8], &[u8]) {
    bytes.split_at_checked(n as usize).unwrap_or((bytes, &[]))
}

fn distance(a: Timestamp, b: Timestamp) -> Duration {
    Duration::from_nanos(a.nanos().abs_diff(b.nanos()))
}

/// How long copies of a finished packet's fragments are swallowed: longer than mirror ports take for the second copy, shorter
/// than identifications take to come round (RFC 4963).
const COPIES: Duration = Duration::from_millis(100);
/// How often old packets are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Emptied packets kept for their memory.
const SPARE: usize = 16;
