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
    /// Memory for the pieces of all of them, in bytes.
    pub bytes: usize,
    /// Pieces of one packet. An Ethernet path makes 45 of the longest packet, a path with the smallest MTU (RFC 791: 68) 1,366.
    pub pieces: usize,
    /// Capture time between the first piece and the last. RFC 1122, section 3.3.2 wants 60 to 120 s of a receiver; most use 30 s.
    pub age: Duration,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self { packets: 4096, bytes: 16 << 20, pieces: 2048, age: Duration::from_secs(30) }
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
    /// Length of the largest piece.
    pub(super) largest: u32,
}

/// Unfinished packets.
#[derive(Debug)]
pub(super) struct Fragments {
    limits: FragmentLimits,
    counters: FragmentCounters,
    packets: HashMap<Key, Unfinished, RandomState>,
    /// What they cost together.
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
        self.make_room(at, piece.payload.bytes().len() + size_of::<Part>());
        self.forget_if_over(at, &piece.key);
        let packet = self.packets.entry(piece.key).or_insert_with(|| {
            self.serial += 1;
            self.spare.pop().unwrap_or_default().begin(self.serial, at)
        });
        if packet.done.is_some() {
            self.counters.duplicated += 1;
            return None;
        }
        let before = packet.cost();
        match packet.add(piece, end) {
            Added::New => {}
            Added::Copy => self.counters.duplicated += 1,
            Added::Contradiction => self.counters.overlapped += 1,
        }
        self.bytes += packet.cost() - before;
        if let Some(whole) = packet.whole() {
            packet.join(out);
            self.bytes -= packet.cost();
            let emptied = packet.finish(at);
            self.keep(emptied);
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
            self.bytes -= packet.cost();
            self.keep(packet);
        }
    }

    /// Keeps the memory of a packet for another.
    fn keep(&mut self, packet: Unfinished) {
        if self.spare.len() < SPARE {
            self.spare.push(packet);
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
                *bytes -= packet.cost();
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
                *bytes -= packet.cost();
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
    from: u32,
    /// Less than `end - start` if the snap length cut it.
    captured: u32,
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
                // Neither exceeds a packet's length, for no byte is held twice.
                let (from, captured) = (self.bytes.len() as u32, new.len() as u32);
                self.parts.insert(i, Part { start, end: gap_end, from, captured });
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
        let has = self.captured(part).get((start - part.start) as usize..).unwrap_or_default();
        has.iter().zip(bytes).all(|(a, b)| a == b)
    }

    fn captured(&self, part: &Part) -> &[u8] {
        self.bytes.get(part.from as usize..(part.from + part.captured) as usize).unwrap_or_default()
    }

    /// Memory for its pieces: a flood of tiny ones costs more than their bytes.
    fn cost(&self) -> usize {
        self.bytes.len() + self.parts.len() * size_of::<Part>()
    }

    fn whole(&self) -> Option<Whole> {
        let wire = self.total.filter(|total| *total == self.covered)?;
        let largest = self.parts.iter().map(|part| part.end - part.start).max().unwrap_or(wire);
        Some(Whole { protocol: self.protocol, wire, largest })
    }

    /// Writes the bytes in order, up to the first that the snap length cut off.
    fn join(&self, out: &mut Vec<u8>) {
        out.clear();
        for part in &self.parts {
            out.extend_from_slice(self.captured(part));
            if part.captured < part.end - part.start {
                break;
            }
        }
    }

    /// Leaves only what swallows copies, and gives the memory away.
    fn finish(&mut self, at: Timestamp) -> Self {
        let stub = Self { serial: self.serial, first_at: self.first_at, done: Some(at), ..Self::default() };
        std::mem::replace(self, stub)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn key(id: u32) -> Key {
        Key { src: IpAddr::from([192, 0, 2, 1]), dst: IpAddr::from([192, 0, 2, 2]), id, protocol: Some(17) }
    }

    fn piece(id: u32, offset: u32, more: bool, bytes: &[u8]) -> Piece<'_> {
        Piece { key: key(id), protocol: 17, offset, more, payload: Span::new(bytes, 0) }
    }

    /// Inserts pieces at 1 ms; gives what came out last.
    fn insert_all(fragments: &mut Fragments, pieces: &[Piece<'_>]) -> Option<(Whole, Vec<u8>)> {
        let mut out = Vec::new();
        let mut last = None;
        for piece in pieces {
            last = fragments.insert(at(1), piece, &mut out).unwrap().map(|whole| (whole, out.clone()));
        }
        last
    }

    fn fragments() -> Fragments {
        Fragments::new(FragmentLimits::default())
    }

    #[test]
    fn pieces_in_any_order_give_the_packet() {
        let (a, b, c) = (piece(1, 0, true, &[1; 16]), piece(1, 16, true, &[2; 8]), piece(1, 24, false, &[3; 5]));
        let want = [&[1; 16][..], &[2; 8], &[3; 5]].concat();
        for order in [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
            let mut f = fragments();
            assert_eq!(insert_all(&mut f, &order), Some((Whole { protocol: 17, wire: 29, largest: 16 }, want.clone())));
            assert_eq!((f.bytes, f.counters.reassembled, f.counters.seen), (0, 1, 3));
        }
    }

    #[test]
    fn copies_from_a_mirror_port_neither_break_nor_double_a_packet() {
        let (a, b) = (piece(1, 0, true, &[1; 16]), piece(1, 16, false, &[2; 8]));
        let mut f = fragments();
        assert!(insert_all(&mut f, &[a, a, b]).is_some());
        assert!(insert_all(&mut f, &[b, a, b]).is_none());
        assert_eq!((f.counters.duplicated, f.counters.overlapped, f.counters.reassembled), (4, 0, 1));
        // The same identification, a while later, is another packet.
        let mut out = Vec::new();
        assert_eq!(f.insert(at(200), &a, &mut out), Ok(None));
        assert!(f.insert(at(200), &b, &mut out).unwrap().is_some());
        assert_eq!((f.counters.expired, f.counters.evicted), (0, 0));
    }

    #[test]
    fn of_overlapping_pieces_the_first_stays() {
        let mut f = fragments();
        let pieces = [
            piece(1, 8, true, &[2; 16]),
            piece(1, 0, true, &[1; 32]),
            piece(1, 24, true, &[9; 8]),
            piece(1, 32, false, &[3; 4]),
        ];
        let want = [&[1; 8][..], &[2; 16], &[1; 8], &[3; 4]].concat();
        assert_eq!(insert_all(&mut f, &pieces).unwrap().1, want);
        assert_eq!((f.counters.overlapped, f.counters.duplicated), (2, 0));
    }

    #[test]
    fn a_teardrop_does_not_end_a_packet_twice() {
        let mut f = fragments();
        // The second piece ends within the first: its claim to be the last contradicts what is there.
        assert!(insert_all(&mut f, &[piece(1, 0, true, &[1; 40]), piece(1, 24, false, &[2; 4])]).is_none());
        assert_eq!(f.counters.overlapped, 1);
        // Nor may anything come behind the last piece, or another last piece elsewhere.
        let behind = [piece(2, 8, false, &[1; 8]), piece(2, 16, true, &[2; 8]), piece(2, 8, false, &[2; 4])];
        assert!(insert_all(&mut f, &behind).is_none());
        assert_eq!(f.counters.overlapped, 3);
        assert_eq!(insert_all(&mut f, &[piece(2, 0, true, &[0; 8])]).unwrap().1, [[0; 8], [1; 8]].concat());
    }

    #[test]
    fn pieces_no_packet_can_have_are_refused() {
        let mut f = fragments();
        let mut out = Vec::new();
        let impossible = [
            piece(1, 65_528, false, &[0; 8]),
            piece(1, 65_528, true, &[0; 1480]),
            piece(1, 0, true, &[0; 15]),
            piece(1, 8, false, &[]),
            piece(1, u32::MAX, false, &[1]),
        ];
        for piece in &impossible {
            assert_eq!(f.insert(at(1), piece, &mut out), Err(Unread::Malformed));
        }
        assert_eq!((f.counters.refused, f.counters.held, f.packets.len()), (5, 0, 0));
    }

    #[test]
    fn a_piece_cut_by_the_snap_length_leaves_the_true_length() {
        let cut = Piece { payload: Span::new(&[1; 10], 16), ..piece(1, 0, true, &[]) };
        let (whole, bytes) = insert_all(&mut fragments(), &[cut, piece(1, 16, false, &[2; 4])]).unwrap();
        assert_eq!((whole.wire, bytes), (20, vec![1; 10]));
    }

    #[test]
    fn what_is_old_expires_whichever_way_time_jumps() {
        for jump in [31_000, -31_000] {
            let mut f = fragments();
            let mut out = Vec::new();
            assert_eq!(f.insert(at(0), &piece(1, 0, true, &[1; 8]), &mut out), Ok(None));
            assert_eq!(f.insert(at(jump), &piece(1, 8, false, &[2; 8]), &mut out), Ok(None));
            assert_eq!((f.counters.expired, f.counters.held), (1, 1), "jump {jump}");
        }
    }

    #[test]
    fn a_flood_stays_within_every_bound() {
        let limits = FragmentLimits { packets: 64, bytes: 10_000, pieces: 8, age: Duration::from_secs(30) };
        let mut f = Fragments::new(limits);
        let mut out = Vec::new();
        for id in 0..5_000 {
            f.insert(at(1), &piece(id, 8, true, &[0; 800]), &mut out).unwrap();
            assert!(f.bytes <= limits.bytes && f.packets.len() <= limits.packets);
            assert_eq!(f.bytes, f.packets.values().map(Unfinished::cost).sum::<usize>());
        }
        assert_eq!(f.counters.evicted + f.counters.held, 5_000);
        let before = f.counters.evicted;
        for i in 0..8 {
            f.insert(at(1), &piece(9_999, 8 + i * 16, true, &[0; 8]), &mut out).unwrap();
        }
        assert!(!f.packets.contains_key(&key(9_999)) && f.counters.evicted > before);
    }

    #[test]
    fn the_newest_packets_outlive_a_flood() {
        let mut f = Fragments::new(FragmentLimits { packets: 8, ..FragmentLimits::default() });
        let mut out = Vec::new();
        for id in 0..100 {
            f.insert(at(1), &piece(id, 0, true, &[1; 8]), &mut out).unwrap();
        }
        assert!(f.insert(at(1), &piece(99, 8, false, &[2; 8]), &mut out).unwrap().is_some());
    }

    proptest! {
        /// Against a map of bytes, filled first come, first kept.
        #[test]
        fn any_pieces_give_what_a_plain_array_gives(
            pieces in prop::collection::vec((0u32..12, 1usize..5, any::<u8>()), 1..30),
            last in 8u32..14,
        ) {
            let mut f = fragments();
            let mut out = Vec::new();
            let mut array: Vec<Option<u8>> = vec![None; last as usize * 8];
            let mut reached = 0;
            let mut whole = None;
            for (offset, words, fill) in pieces {
                let bytes = vec![fill; words * 8];
                let start = offset as usize * 8;
                whole = whole.or(f.insert(at(1), &piece(1, offset * 8, true, &bytes), &mut out).unwrap());
                if f.counters.reassembled == 1 { break; }
                prop_assert!(whole.is_none());
                if start + bytes.len() > array.len() { array.resize(start + bytes.len(), None); }
                for at in &mut array[start..start + bytes.len()] { at.get_or_insert(fill); }
                reached = reached.max(start + bytes.len());
            }
            prop_assert!(whole.is_none(), "no last piece came");
            let end = last as usize * 8 + 3;
            whole = f.insert(at(1), &piece(1, last * 8, false, &[7; 3]), &mut out).unwrap();
            array.resize(array.len().max(end), None);
            for at in &mut array[end - 3..end] { at.get_or_insert(7); }
            let complete = reached <= end && array[..end].iter().all(Option::is_some);
            prop_assert_eq!(whole.map(|w| w.wire as usize), complete.then_some(end));
            if complete {
                prop_assert_eq!(out, array.into_iter().take(end).flatten().collect::<Vec<_>>());
            }
        }
    }
}
