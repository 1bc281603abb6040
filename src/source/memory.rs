//! Frames from memory, for tests and simulations.
//!
//! Reads: a list of frames. Emits: the same frames in the same order. Does not: sort them.

use super::{InputReport, Next, Source};
use crate::base::{Frame, LinkType, Timestamp};

/// A frame that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFrame {
    /// When it passed the capture point.
    pub at: Timestamp,
    /// What its first byte belongs to.
    pub link: LinkType,
    /// Bytes it had on the wire.
    pub orig_len: u32,
    /// The bytes captured.
    pub bytes: Vec<u8>,
}

impl MemoryFrame {
    /// The same frame, borrowed.
    #[must_use]
    pub fn frame(&self) -> Frame<'_> {
        Frame { at: self.at, link: self.link, orig_len: self.orig_len, bytes: &self.bytes }
    }
}

impl From<Frame<'_>> for MemoryFrame {
    fn from(frame: Frame<'_>) -> Self {
        Self { at: frame.at, link: frame.link, orig_len: frame.orig_len, bytes: frame.bytes.to_vec() }
    }
}

impl From<(Timestamp, LinkType, u32, Vec<u8>)> for MemoryFrame {
    fn from((at, link, orig_len, bytes): (Timestamp, LinkType, u32, Vec<u8>)) -> Self {
        Self { at, link, orig_len, bytes }
    }
}

/// A source of frames that are in memory already.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    frames: Vec<MemoryFrame>,
    next: usize,
}

impl Memory {
    /// Gives `frames` in their order.
    #[must_use]
    pub const fn new(frames: Vec<MemoryFrame>) -> Self {
        Self { frames, next: 0 }
    }

    /// Reads another source to its end into memory.
    pub fn collect(source: &mut impl Source) -> Self {
        let mut frames = Vec::new();
        loop {
            match source.next() {
                Next::Frame(frame) => frames.push(frame.into()),
                Next::Idle(_) => {}
                Next::End => return Self::new(frames),
            }
        }
    }

    /// All frames, given or not.
    #[must_use]
    pub fn frames(&self) -> &[MemoryFrame] {
        &self.frames
    }
}

impl FromIterator<(Timestamp, LinkType, u32, Vec<u8>)> for Memory {
    fn from_iter<I: IntoIterator<Item = (Timestamp, LinkType, u32, Vec<u8>)>>(frames: I) -> Self {
        Self::new(frames.into_iter().map(MemoryFrame::from).collect())
    }
}

impl Source for Memory {
    fn next(&mut self) -> Next<'_> {
        let Some(frame) = self.frames.get(self.next) else { return Next::End };
        self.next += 1;
        Next::Frame(frame.frame())
    }

    fn reports(&self) -> Vec<InputReport> {
        let given = self.frames.get(..self.next).unwrap_or_default();
        vec![InputReport {
            path: "memory".to_owned(),
            frames: given.len() as u64,
            bytes: given.iter().map(|f| f.bytes.len() as u64).sum(),
            start: given.iter().map(|f| f.at).min(),
            end: given.iter().map(|f| f.at).max(),
            ..InputReport::default()
        }]
    }
}
