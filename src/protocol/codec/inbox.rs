//! What one end of a stream has sent and its reader has not used yet, with a bound.
//!
//! Remembers when the first unused byte passed, so that a message cut over several segments can be timed by its
//! first byte (an answer) or its last one (a question).

use crate::base::Timestamp;

/// A bounded buffer of stream bytes.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// When the pieces in `bytes` passed: (offset of a piece's first byte, time), ascending.
    marks: Vec<(usize, Timestamp)>,
    limit: usize,
}

impl Inbox {
    /// Holds at most `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), marks: Vec::new(), limit }
    }

    /// Adds bytes; `false` (and nothing added) if they would pass the limit.
    #[must_use]
    pub fn push(&mut self, at: Timestamp, bytes: &[u8]) -> bool {
        if bytes.len() > self.limit.saturating_sub(self.bytes.len()) {
            return false;
        }
        if !bytes.is_empty() {
            self.marks.push((self.bytes.len(), at));
            self.bytes.extend_from_slice(bytes);
        }
        true
    }

    /// What is held.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// When the byte at `offset` passed; the newest time for an offset beyond the end.
    #[must_use]
    pub fn time_of(&self, offset: usize) -> Timestamp {
        self.marks.iter().rev().find(|(start, _)| *start <= offset).map_or_else(Timestamp::default, |(_, at)| *at)
    }

    /// Forgets the first `n` bytes.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.bytes.len());
        self.bytes.drain(..n);
        let kept = self.marks.iter().rposition(|(start, _)| *start <= n).unwrap_or(0);
        self.marks.drain(..kept);
        for (start, _) in &mut self.marks {
            *start = start.saturating_sub(n);
        }
        if self.bytes.is_empty() {
            self.marks.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_keeps_the_time_it_passed() {
        let t = Timestamp::from_nanos;
        let mut inbox = Inbox::new(6);
        assert!(inbox.push(t(1), b"abc"));
        assert!(inbox.push(t(2), b"de"));
        assert!(!inbox.push(t(3), b"fg"));
        assert_eq!((inbox.time_of(2), inbox.time_of(3)), (t(1), t(2)));
        inbox.consume(4);
        assert_eq!((inbox.bytes(), inbox.time_of(0)), (&b"e"[..], t(2)));
        inbox.consume(1);
        assert!(inbox.push(t(4), b"xyz"));
        assert_eq!(inbox.time_of(0), t(4));
    }
}
