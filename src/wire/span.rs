//! A part of a frame: the bytes captured of it, and how long it was on the wire.
//!
//! Reads: slices. Does not: know any format.

use super::Unread;
use crate::base::Reader;

/// What is left of a frame behind the headers read so far. Reads move it forward; past the end they give `Truncated`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    bytes: &'a [u8],
    /// Never less than `bytes.len()`.
    wire: u32,
    /// Whether the end is missing, so that an inner header may rightly claim more than `wire`.
    cut: bool,
}

impl<'a> Span<'a> {
    /// A whole frame or a reassembled datagram. A `wire` below the captured length is taken for that length.
    pub(super) fn new(bytes: &'a [u8], wire: u32) -> Self {
        let captured = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { bytes, wire: wire.max(captured), cut: wire > captured }
    }

    /// The bytes captured.
    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The length on the wire, in bytes.
    pub(super) const fn wire(&self) -> u32 {
        self.wire
    }

    /// The next `N` bytes.
    pub(super) fn read<const N: usize>(&mut self) -> Result<[u8; N], Unread> {
        let mut reader = Reader::new(self.bytes);
        let read = reader.array::<N>().ok_or(Unread::Truncated)?;
        self.bytes = reader.rest();
        self.wire = self.wire.saturating_sub(N as u32);
        Ok(read)
    }

    /// Two bytes, big-endian.
    pub(super) fn u16(&mut self) -> Result<u16, Unread> {
        self.read().map(u16::from_be_bytes)
    }

    /// What is behind the next `n` bytes.
    pub(super) fn skip(self, n: usize) -> Result<Self, Unread> {
        let (_, bytes) = self.bytes.split_at_checked(n).ok_or(Unread::Truncated)?;
        Ok(Self { bytes, wire: self.wire.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX)), ..self })
    }

    /// What is behind the next `n` bytes of the wire, though not all of them may have been captured.
    pub(super) fn skip_uncaptured(self, n: u32) -> Self {
        let captured = usize::try_from(n).unwrap_or(usize::MAX);
        Self { bytes: self.bytes.get(captured..).unwrap_or_default(), wire: self.wire.saturating_sub(n), ..self }
    }

    /// The first `len` bytes, when there are more: takes padding and trailers off.
    pub(super) fn limit(self, len: u32) -> Self {
        if len >= self.wire {
            return self;
        }
        let captured = usize::try_from(len).unwrap_or(usize::MAX);
        match self.bytes.get(..captured) {
            Some(bytes) => Self { bytes, wire: len, cut: false },
            None => Self { wire: len, ..self },
        }
    }

    /// The length a header claims: [`Span::limit`], or more than was on the wire if the end is known to be missing.
    pub(super) fn claim(self, len: u32) -> Self {
        if len > self.wire && self.cut { Self { wire: len, ..self } } else { self.limit(len) }
    }

    /// Told by a header that what follows was cut before it was sent here.
    pub(super) fn cut_by_sender(self) -> Self {
        Self { cut: true, ..self }
    }
}
