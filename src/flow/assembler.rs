//! One direction of a TCP stream in order: for the handshake bytes only, so held bytes are few and bounded.
//!
//! Reads: segments in capture order. Emits: [`Chunk`]s in stream order; bytes the capture missed as a gap.
//! Overlaps: the bytes delivered first win. Reference: RFC 9293 section 3.10 for sequence arithmetic.
//! Does not: follow the window, check what a receiver would have accepted.

use crate::base::Timestamp;

/// How much may wait for a missing segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub bytes: usize,
    /// Segments.
    pub segments: usize,
}

impl Default for Limits {
    /// One initial congestion window of 10 full segments (RFC 6928) and as much again, in each direction.
    fn default() -> Self {
        Self { bytes: 64 * 1024, segments: 48 }
    }
}

/// The next piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Bytes, and when both they and the last byte before them that was captured late had passed. Behind a gap nobody
    /// knows when the missing bytes passed: then it is when these did, or a question would seem younger than it is.
    Bytes(Timestamp, &'a [u8]),
    /// So many bytes were never captured.
    Gap(Timestamp, u64),
}

#[derive(Debug)]
struct Held {
    at: Timestamp,
    seq: u32,
    bytes: Vec<u8>,
    missing: u32,
}

/// Puts the segments of one direction in order.
#[derive(Debug, Default)]
pub struct Assembler {
    next: Option<u32>,
    /// Most streams come in order, and need no room for this.
    waiting: Option<Box<Waiting>>,
}

/// What waits for a missing segment, ascending.
#[derive(Debug, Default)]
struct Waiting {
    held: Vec<Held>,
    bytes: usize,
}

/// How far `a` is ahead of `b` in sequence space; negative if behind.
#[expect(clippy::cast_possible_wrap, reason = "sequence arithmetic is modulo 2^32 on purpose")]
const fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl Assembler {
    /// A SYN with this sequence number: the stream begins one after it.
    pub fn on_syn(&mut self, seq: u32) {
        if self.next.is_none() {
            self.next = Some(seq.wrapping_add(1));
        }
    }

    /// A segment: `payload` of `len` bytes on the wire, of which the snap length may have cut the end. Says whether it
    /// brought nothing new: a retransmission.
    pub fn on_segment(
        &mut self,
        at: Timestamp,
        seq: u32,
        payload: &[u8],
        len: u32,
        limits: &Limits,
        deliver: &mut impl FnMut(Chunk<'_>),
    ) -> bool {
        if len == 0 {
            return false;
        }
        let next = *self.next.get_or_insert(seq);
        let missing = len.saturating_sub(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        if ahead(seq, next) > 0 {
            let repeated = self.hold(at, seq, payload, missing);
            if self.waiting.as_ref().is_some_and(|w| w.held.len() > limits.segments || w.bytes > limits.bytes) {
                self.skip_hole(deliver);
            }
            return repeated;
        }
        let repeated = ahead(seq.wrapping_add(len), next) <= 0;
        self.deliver(at, seq, payload, missing, deliver);
        self.release(at, deliver);
        repeated
    }

    /// The other end acknowledged up to `ack`: what it has got and we have not, the capture missed.
    pub fn on_ack(&mut self, ack: u32, deliver: &mut impl FnMut(Chunk<'_>)) {
        while let Some(first) = self.first_held() {
            if ahead(ack, first.seq) <= 0 {
                return;
            }
            self.skip_hole(deliver);
        }
    }

    /// Keeps a segment for later; whether it had been kept already.
    fn hold(&mut self, at: Timestamp, seq: u32, payload: &[u8], missing: u32) -> bool {
        let Waiting { held, bytes } = &mut **self.waiting.get_or_insert_default();
        let place = held.partition_point(|h| ahead(h.seq, seq) < 0);
        if held.get(place).is_some_and(|h| h.seq == seq && h.bytes.len() >= payload.len()) {
            return true;
        }
        *bytes += payload.len();
        held.insert(place, Held { at, seq, bytes: payload.to_vec(), missing });
        false
    }

    fn first_held(&self) -> Option<&Held> {
        self.waiting.as_ref()?.held.first()
    }

    fn take_first_held(&mut self) -> Option<Held> {
        let waiting = self.waiting.as_mut().filter(|waiting| !waiting.held.is_empty())?;
        let held = waiting.held.remove(0);
        waiting.bytes = waiting.bytes.saturating_sub(held.bytes.len());
        if waiting.held.is_empty() {
            self.waiting = None;
        }
        Some(held)
    }

    /// Hands out what of a segment at or before `next` is new.
    fn deliver(&mut self, at: Timestamp, seq: u32, payload: &[u8], missing: u32, to: &mut impl FnMut(Chunk<'_>)) {
        let Some(next) = self.next else { return };
        let old = usize::try_from(ahead(next, seq).max(0)).unwrap_or(0);
        let total = payload.len().saturating_add(missing as usize);
        if old >= total {
            return;
        }
        if let Some(fresh) = payload.get(old..).filter(|b| !b.is_empty()) {
            to(Chunk::Bytes(at, fresh));
        }
        let lost = (total - old).min(missing as usize);
        if lost > 0 {
            to(Chunk::Gap(at, u64::try_from(lost).unwrap_or(u64::MAX)));
        }
        let end = seq.wrapping_add(u32::try_from(total).unwrap_or(0));
        self.next = Some(end);
    }

    /// Hands out held segments that have become due.
    fn release(&mut self, mut at: Timestamp, to: &mut impl FnMut(Chunk<'_>)) {
        while let (Some(next), Some(first)) = (self.next, self.first_held()) {
            if ahead(first.seq, next) > 0 {
                return;
            }
            let Some(held) = self.take_first_held() else { return };
            at = at.max(held.at);
            self.deliver(at, held.seq, &held.bytes, held.missing, to);
        }
    }

    /// Gives up on the bytes before the first held segment.
    fn skip_hole(&mut self, to: &mut impl FnMut(Chunk<'_>)) {
        let (Some(next), Some(first)) = (self.next, self.first_held()) else { return };
        let (at, hole) = (first.at, ahead(first.seq, next));
        if let Ok(hole) = u64::try_from(hole) {
            to(Chunk::Gap(at, hole));
        }
        self.next = Some(first.seq);
        self.release(at, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(start: u32, segments: &[(u32, Vec<u8>)]) -> (Vec<u8>, u64) {
        let mut assembler = Assembler::default();
        assembler.on_syn(start.wrapping_sub(1));
        let (mut out, mut gaps) = (Vec::new(), 0);
        for (seq, bytes) in segments {
            let len = u32::try_from(bytes.len()).unwrap();
            assembler.on_segment(Timestamp::default(), *seq, bytes, len, &Limits::default(), &mut |c| match c {
                Chunk::Bytes(_, b) => out.extend_from_slice(b),
                Chunk::Gap(_, n) => gaps += n,
            });
        }
        (out, gaps)
    }

    #[test]
    fn what_the_peer_acknowledged_and_nobody_captured_is_a_gap() {
        let mut assembler = Assembler::default();
        assembler.on_syn(99);
        let mut seen = Vec::new();
        let mut note = |c: Chunk<'_>| match c {
            Chunk::Bytes(_, b) => seen.push(format!("bytes {}", b.len())),
            Chunk::Gap(_, n) => seen.push(format!("gap {n}")),
        };
        let t = Timestamp::default();
        assembler.on_segment(t, 110, b"later", 5, &Limits::default(), &mut note);
        assembler.on_ack(105, &mut note);
        assembler.on_ack(115, &mut note);
        assembler.on_segment(t, 115, b"cut", 8, &Limits::default(), &mut note);
        assert_eq!(seen, ["gap 10", "bytes 5", "bytes 3", "gap 5"]);
    }

    /// A question told as late as its acknowledgment would make the loop shorter than the path.
    #[test]
    fn what_waited_behind_a_gap_keeps_the_time_it_passed() {
        let t = Timestamp::from_nanos;
        let mut assembler = Assembler::default();
        assembler.on_syn(99);
        let mut seen = Vec::new();
        let mut note = |c: Chunk<'_>| {
            seen.push(match c {
                Chunk::Bytes(at, b) => (at, b.len()),
                Chunk::Gap(at, _) => (at, 0),
            });
        };
        assembler.on_segment(t(1), 110, b"later", 5, &Limits::default(), &mut note);
        assembler.on_segment(t(2), 115, b"last", 4, &Limits::default(), &mut note);
        assembler.on_ack(119, &mut note);
        assembler.on_segment(t(10), 121, b"c", 1, &Limits::default(), &mut note);
        assembler.on_segment(t(11), 119, b"ab", 2, &Limits::default(), &mut note);
        assert_eq!(seen, [(t(1), 0), (t(1), 5), (t(2), 4), (t(11), 2), (t(11), 1)]);
    }

    #[test]
    fn a_segment_with_nothing_new_is_a_retransmission() {
        let t = Timestamp::default();
        let (mut assembler, mut lost) = (Assembler::default(), 0);
        assembler.on_syn(99);
        let mut bring = |seq, bytes: &[u8], len| {
            assembler.on_segment(t, seq, bytes, len, &Limits::default(), &mut |c| {
                if let Chunk::Gap(_, n) = c {
                    lost += n;
                }
            })
        };
        assert!(!bring(100, b"abcd", 4));
        assert!(bring(100, b"abcd", 4) && bring(103, b"d", 1));
        assert!(!bring(103, b"de", 2) && !bring(105, b"", 0));
        assert!(!bring(107, b"hi", 2) && bring(107, b"hi", 2));
        // The snap length cut each; what of the second's five bytes is new are the last two.
        assert!(!bring(105, b"f", 2));
        assert!(!bring(106, b"", 5));
        assert_eq!(lost, 1 + 2);
    }

    #[test]
    fn memory_is_bounded_when_a_segment_never_comes() {
        let mut assembler = Assembler::default();
        assembler.on_syn(0);
        let limits = Limits { bytes: 1_000, segments: 10 };
        for i in 1..10_000u32 {
            assembler.on_segment(Timestamp::default(), i * 200, &[7; 100], 100, &limits, &mut |_| {});
            let waiting = assembler.waiting.as_ref().map_or((0, 0), |w| (w.bytes, w.held.len()));
            assert!(waiting.0 <= 1_100 && waiting.1 <= 11);
        }
    }

    proptest! {
        /// Any order, overlap and repetition of the pieces of a stream gives the stream, also across the wrap.
        #[test]
        fn any_arrival_order_gives_the_stream(
            start in prop_oneof![Just(u32::MAX - 40), any::<u32>()],
            stream in proptest::collection::vec(any::<u8>(), 1..200),
            cuts in proptest::collection::vec((0usize..200, 1usize..60), 0..30),
            shuffle in any::<u64>(),
        ) {
            let mut pieces: Vec<(usize, usize)> = (0..stream.len()).step_by(20).map(|i| (i, 20)).chain(cuts).collect();
            let mut seed = shuffle;
            for i in (1..pieces.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                pieces.swap(i, usize::try_from(seed >> 33).unwrap() % (i + 1));
            }
            let segments: Vec<(u32, Vec<u8>)> = pieces.iter().filter_map(|(from, len)| {
                let bytes = stream.get(*from..(from + len).min(stream.len()))?.to_vec();
                (!bytes.is_empty()).then(|| (start.wrapping_add(u32::try_from(*from).unwrap()), bytes))
            }).collect();
            let (out, gaps) = run(start, &segments);
            prop_assert_eq!(gaps, 0);
            prop_assert_eq!(out, stream);
        }
    }
}
