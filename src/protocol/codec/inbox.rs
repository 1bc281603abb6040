//! What one end of a stream has sent and its reader has not used yet, with a bound.
//!
//! Remembers when the first unused byte passed, so that a message cut over several segments can be timed by its
//! first byte (an answer) or its last one (a question).

use crate::base::{Direction, Ends, Piece, Timestamp};

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

    /// What is held, in the pieces in which it passed.
    fn pieces(&self, dir: Direction) -> impl Iterator<Item = Piece> {
        let ends = self.marks.iter().skip(1).map(|(start, _)| *start).chain([self.bytes.len()]);
        self.marks.iter().zip(ends).filter_map(move |((start, at), end)| {
            Some(Piece { at: *at, dir, bytes: self.bytes.get(*start..end)?.to_vec() })
        })
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

/// What both ends have sent and nobody has used, for the one who reads on. In order of time, the originator first where
/// times are equal: of pieces that wait in both directions nobody knows which passed first.
#[must_use]
pub fn unused(inboxes: &Ends<Inbox>) -> Vec<Piece> {
    let orig = inboxes.orig.pieces(Direction::Orig);
    let mut pieces: Vec<Piece> = orig.chain(inboxes.resp.pieces(Direction::Resp)).collect();
    pieces.sort_by_key(|piece| piece.at);
    pieces
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

    #[test]
    fn what_is_unused_is_handed_on_as_it_passed() {
        let t = Timestamp::from_nanos;
        let mut ends = Ends { orig: Inbox::new(9), resp: Inbox::new(9) };
        for (at, dir, bytes) in
            [(1, Direction::Orig, &b"ab"[..]), (2, Direction::Resp, b"x"), (3, Direction::Orig, b"c")]
        {
            assert!(ends.of_mut(dir).push(t(at), bytes));
        }
        ends.orig.consume(1);
        let told: Vec<_> = unused(&ends).into_iter().map(|p| (p.at, p.dir, p.bytes)).collect();
        let expected = [(1, Direction::Orig, "b"), (2, Direction::Resp, "x"), (3, Direction::Orig, "c")];
        assert_eq!(told, expected.map(|(at, dir, text)| (t(at), dir, text.as_bytes().to_vec())));
        ends.orig.consume(2);
        ends.resp.consume(1);
        assert!(unused(&ends).is_empty());
    }
}
