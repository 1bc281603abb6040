//! A refillable buffer over a byte stream: frames are lent out of it, nothing is copied out.
//!
//! Reads: any [`Read`]. Emits: slices of what is ahead, and where in the stream they lie.
//! Does not: know a format; grow for a length that is only claimed. The buffer doubles when it is full of bytes
//! that have really arrived, so a header that promises 4 GiB costs no more than the bytes behind it.

use super::InputFault;
use std::io::{ErrorKind, Read};

/// A buffer that starts small, so that a look at the first frame of a thousand files stays cheap.
const FIRST: usize = 16 * 1024;

/// What the buffer grows to by itself. Measured on a 1 GB capture: 64 KiB to 1 MiB read equally fast, so the size only
/// has to keep the calls to the system few.
pub(super) const FULL: usize = 256 * 1024;

/// The bytes ahead in a stream.
#[derive(Debug)]
pub(super) struct Window<R> {
    input: R,
    /// All of it is initialised; `start..end` holds unread bytes.
    buf: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset in the stream of `buf[start]`.
    offset: u64,
    full: usize,
    ended: Option<Ended>,
}

/// Why no more bytes come.
#[derive(Debug)]
enum Ended {
    Eof,
    Failed(String),
}

impl<R: Read> Window<R> {
    /// A window that grows to `full` bytes by itself, and beyond only for a frame that needs more.
    pub(super) fn new(input: R, full: usize) -> Self {
        Self { input, buf: vec![0; FIRST.min(full)], start: 0, end: 0, offset: 0, full, ended: None }
    }

    /// Whether `n` bytes are ahead; reads until they are or the stream ends.
    #[inline]
    pub(super) fn has(&mut self, n: usize) -> bool {
        self.end - self.start >= n || self.refill(n)
    }

    /// The bytes ahead as far as read. After `has(n)` there are at least `n`.
    #[inline]
    pub(super) fn ahead(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or_default()
    }

    /// `len` bytes that begin `lead` bytes ahead; empty if they are not there.
    #[inline]
    pub(super) fn slice(&self, lead: usize, len: usize) -> &[u8] {
        self.ahead().get(lead..lead.saturating_add(len)).unwrap_or_default()
    }

    /// The array that begins `lead` bytes ahead.
    #[inline]
    pub(super) fn array<const N: usize>(&self, lead: usize) -> Option<[u8; N]> {
        self.ahead().get(lead..)?.first_chunk::<N>().copied()
    }

    /// Moves over `n` bytes that are ahead.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.end - self.start);
        self.start += n;
        self.offset += n as u64;
    }

    /// Moves over `n` bytes wherever they are; `false` if the stream ends before.
    pub(super) fn skip(&mut self, mut n: u64) -> bool {
        loop {
            let here = usize::try_from(n).unwrap_or(usize::MAX).min(self.end - self.start);
            self.consume(here);
            n -= here as u64;
            if n == 0 {
                return true;
            }
            if !self.has(1) {
                return false;
            }
        }
    }

    /// Offset in the stream of the first byte ahead.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The stream, to ask it about itself.
    pub(super) const fn input(&self) -> &R {
        &self.input
    }

    /// Whether the stream ended of itself and nothing is ahead.
    pub(super) fn is_finished(&mut self) -> bool {
        !self.has(1) && matches!(self.ended, Some(Ended::Eof))
    }

    /// Whether the stream ended because it could not be read.
    pub(super) const fn failed(&self) -> bool {
        matches!(self.ended, Some(Ended::Failed(_)))
    }

    /// A fault at `offset`: the stream ended within `part`, or failed there.
    pub(super) fn cut(&self, offset: u64, part: &str) -> InputFault {
        let reason = match &self.ended {
            Some(Ended::Failed(why)) => why.clone(),
            _ => format!("the input ends within {part}"),
        };
        InputFault { offset, reason }
    }

    #[cold]
    fn refill(&mut self, n: usize) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.buf.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.offset > 0 && self.buf.len() < self.full {
            self.buf.resize(self.full.min(self.buf.len() * 2), 0);
        }
        while self.end < n {
            if self.end == self.buf.len() {
                self.buf.resize(self.buf.len() * 2, 0);
            }
            let room = self.buf.get_mut(self.end..).unwrap_or_default();
            match self.input.read(room) {
                Ok(0) => self.ended = Some(Ended::Eof),
                Ok(read) => self.end += read.min(room.len()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => self.ended = Some(Ended::Failed(e.to_string())),
            }
            if self.ended.is_some() {
                return self.end >= n;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes one at a time.
    struct Drip(u8);
    impl Read for Drip {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 200 || buf.is_empty() {
                return Ok(0);
            }
            buf[0] = self.0;
            self.0 += 1;
            Ok(1)
        }
    }

    #[test]
    fn bytes_come_in_order_whatever_the_reads() {
        let mut w = Window::new(Drip(0), 8);
        assert!(w.has(3));
        assert_eq!(w.slice(1, 2), [1, 2]);
        w.consume(2);
        assert!(w.has(100), "grows beyond its size when the bytes are there");
        assert_eq!(w.array::<2>(98), Some([100, 101]));
        assert!(w.skip(190));
        assert_eq!(w.offset(), 192);
        assert!(!w.has(9));
        assert_eq!(w.ahead().len(), 8);
        assert!(!w.is_finished());
        assert!(!w.skip(9));
        assert!(w.is_finished());
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut w = Window::new(&[1, 2, 3][..], FULL);
        assert!(!w.has(usize::MAX));
        assert!(w.buf.len() <= FULL);
        assert_eq!(w.ahead(), [1, 2, 3]);
    }
}
