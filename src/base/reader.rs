//! A cursor over bytes from the network: every read is checked, none panics.
//!
//! Reads: big-endian integers and slices. Does not: allocate, or know any format.

/// Reads forward through a slice; every method gives `None` (and moves nothing) past the end.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(n)?;
        self.bytes = tail;
        Some(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = tail;
        Some(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes, big-endian.
    pub fn u24(&mut self) -> Option<u32> {
        self.array::<3>().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A block with its length in one byte before it, as a reader of its own.
    pub fn block_u8(&mut self) -> Option<Reader<'a>> {
        let mut ahead = *self;
        let n = ahead.u8()?;
        let block = ahead.take(usize::from(n))?;
        *self = ahead;
        Some(Reader::new(block))
    }

    /// A block with its length in two bytes before it.
    pub fn block_u16(&mut self) -> Option<Reader<'a>> {
        let mut ahead = *self;
        let n = ahead.u16()?;
        let block = ahead.take(usize::from(n))?;
        *self = ahead;
        Some(Reader::new(block))
    }

    /// A block with its length in three bytes before it.
    pub fn block_u24(&mut self) -> Option<Reader<'a>> {
        let mut ahead = *self;
        let n = ahead.u24()?;
        let block = ahead.take(usize::try_from(n).ok()?)?;
        *self = ahead;
        Some(Reader::new(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_past_the_end_moves_nothing() {
        let mut r = Reader::new(&[0, 3, 1, 2]);
        assert!(r.block_u16().is_none());
        assert_eq!(r.u16(), Some(3));
        assert_eq!(r.u24(), None);
        assert_eq!(r.take(2), Some(&[1, 2][..]));
        assert!(r.is_empty());
    }
}
