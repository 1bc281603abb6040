//! CRYPTO frames put in order.
//!
//! Reads: the frames an Initial packet may hold (RFC 9000 sections 12.4 and 19, and Google's CRYPTO frame) and the
//! stream that they carry. Does not: read frames of other packets.

use super::quic_packet::varint;
use crate::base::Reader;

/// A frame of an Initial packet that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Handshake bytes and where they belong.
    Crypto {
        /// Offset in the stream.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The connection ends here.
    Close,
}

/// The frames in an opened Initial; ends at the first one that has no place there.
pub struct Frames<'a> {
    r: Reader<'a>,
    /// Google's frame numbers hold.
    google: bool,
}

impl<'a> Frames<'a> {
    /// `google` for the versions Q050, T050 and T051.
    #[must_use]
    pub const fn new(bytes: &'a [u8], google: bool) -> Self {
        Self { r: Reader::new(bytes), google }
    }

    fn crypto(&mut self) -> Option<Frame<'a>> {
        let offset = varint(&mut self.r)?;
        let len = usize::try_from(varint(&mut self.r)?).ok()?;
        Some(Frame::Crypto { offset, bytes: self.r.take(len)? })
    }

    /// Passes over an ACK frame of Google's, whose type byte tells the sizes of its numbers.
    fn google_ack(&mut self, kind: u8) -> Option<()> {
        let size = |bits: u8| [1, 2, 4, 6].get(usize::from(bits & 3)).copied();
        let (largest, block) = (size(kind >> 2)?, size(kind)?);
        // Largest acknowledged, its delay, how many blocks, the first one's length.
        self.r.take(largest + 2)?;
        let blocks = if kind & 0x20 == 0 { 0 } else { usize::from(self.r.u8()?) };
        self.r.take(block)?;
        self.r.take(blocks * (1 + block))?;
        // Timestamps: the first has five bytes, the others three.
        match self.r.u8()? {
            0 => Some(()),
            stamps => self.r.take(5 + 3 * (usize::from(stamps) - 1)).map(drop),
        }
    }

    /// Passes over an ACK frame, with the counts of ECN if it has them.
    fn ack(&mut self, counts: bool) -> Option<()> {
        varint(&mut self.r)?;
        varint(&mut self.r)?;
        let ranges = varint(&mut self.r)?;
        varint(&mut self.r)?;
        // Each range takes at least two bytes, so a false count ends soon.
        for _ in 0..ranges {
            varint(&mut self.r)?;
            varint(&mut self.r)?;
        }
        for _ in 0..if counts { 3 } else { 0 } {
            varint(&mut self.r)?;
        }
        Some(())
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        loop {
            match (self.r.u8()?, self.google) {
                // PADDING, PING.
                (0, _) | (1, false) | (7, true) => {}
                (2, false) => self.ack(false)?,
                (3, false) => self.ack(true)?,
                (6, false) | (8, true) => return self.crypto(),
                (0x1c | 0x1d, false) => return Some(Frame::Close),
                (kind @ 0x40..=0x7f, true) => self.google_ack(kind)?,
                // Anything else has no place here.
                _ => return None,
            }
        }
    }
}

/// The handshake bytes of one end, as far as they have come.
#[derive(Debug, Default)]
pub struct CryptoStream {
    bytes: Vec<u8>,
    /// What of `bytes` has come: half-open ranges, ascending, apart.
    ranges: Vec<(usize, usize)>,
}

impl CryptoStream {
    /// Puts bytes in their place; what lies beyond the limits is dropped.
    pub fn insert(&mut self, offset: u64, bytes: &[u8]) {
        let Some(start) = usize::try_from(offset).ok().filter(|start| *start <= STREAM_LIMIT) else {
            return;
        };
        let end = start + bytes.len().min(STREAM_LIMIT - start);
        if start == end || self.ranges.len() >= RANGES_LIMIT {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(start..end) {
            for (to, from) in place.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
        let (mut start, mut end) = (start, end);
        self.ranges.retain(|(s, e)| {
            let apart = *e < start || end < *s;
            if !apart {
                start = start.min(*s);
                end = end.max(*e);
            }
            apart
        });
        let place = self.ranges.partition_point(|(s, _)| *s < start);
        self.ranges.insert(place, (start, end));
    }

    /// The bytes from the beginning to the first gap.
    #[must_use]
    pub fn contiguous(&self) -> &[u8] {
        match self.ranges.first() {
            Some((0, end)) => self.bytes.get(..*end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }
}

/// Handshake bytes kept of one end; hellos with post-quantum keys stay below 4 KiB.
const STREAM_LIMIT: usize = 16_384;
/// Separate pieces kept; Chrome cuts its hello into some twenty.
const RANGES_LIMIT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn acknowledgements_and_padding_are_passed_over() {
        let bytes = [0, 0, 1, 2, 4, 0, 1, 0, 1, 1, 6, 0, 2, 9, 8, 3, 4, 0, 0, 0, 1, 1, 1, 6, 2, 1, 7, 0x1c];
        let frames: Vec<_> = Frames::new(&bytes, false).collect();
        let crypto = |offset, bytes| Frame::Crypto { offset, bytes };
        assert_eq!(frames, [crypto(0, &[9, 8][..]), crypto(2, &[7]), Frame::Close]);
    }

    #[test]
    fn googles_acknowledgements_are_passed_over() {
        let bytes = [0, 0x40, 1, 0, 0, 1, 0, 8, 0, 2, 5, 6, 0x60, 9, 0, 0, 1, 3, 7, 2, 1, 0, 0, 0, 0, 0, 8, 2, 1, 4];
        let frames: Vec<_> = Frames::new(&bytes, true).collect();
        let crypto = |offset, bytes| Frame::Crypto { offset, bytes };
        assert_eq!(frames, [crypto(0, &[5, 6][..]), crypto(2, &[4])]);
    }

    #[test]
    fn the_limits_hold() {
        let mut stream = CryptoStream::default();
        stream.insert(u64::MAX, &[1]);
        stream.insert(STREAM_LIMIT as u64 - 1, &[1, 2]);
        assert_eq!(stream.bytes.len(), STREAM_LIMIT);
        for i in 0..2 * RANGES_LIMIT as u64 {
            stream.insert(2 * i, &[1]);
        }
        assert_eq!(stream.ranges.len(), RANGES_LIMIT);
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_give_the_whole(cuts in prop::collection::vec(1_usize..40, 1..20), seed in any::<u64>()) {
            let whole: Vec<u8> = (0..cuts.iter().sum::<usize>()).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut pieces = Vec::new();
            let mut start = 0;
            for len in cuts {
                pieces.push((start, &whole[start..start + len]));
                start += len;
            }
            pieces.sort_by_key(|(start, _)| (*start as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
            let mut stream = CryptoStream::default();
            for (start, piece) in pieces {
                stream.insert(start as u64, piece);
            }
            prop_assert_eq!(stream.contiguous(), &whole[..]);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), google in any::<bool>()) {
            let _ = Frames::new(&bytes, google).count();
        }
    }
}
