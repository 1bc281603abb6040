//! Classic capture files: one header, then records.
//!
//! Reads: microsecond and nanosecond files of both byte orders, and the "modified" form whose records carry eight more
//! bytes. Emits: where each frame lies. Does not: tell frames with a frame check sequence apart.
//! Reference: draft-ietf-opsawg-pcap; libpcap `sf-pcap.c` for the lengths that old versions wrote the other way round.

use super::capture::Head;
use super::window::Window;
use super::{InputFault, frame_limit};
use crate::base::{LinkType, Timestamp};
use std::io::Read;

/// Bytes before the first record.
const HEADER: usize = 24;

/// What the header of a file says about its records.
#[derive(Debug)]
pub(super) struct Pcap {
    order: Order,
    link: LinkType,
    /// Nanoseconds in one unit of the fraction field.
    unit: i64,
    /// Bytes in front of the frame.
    lead: usize,
    lengths: Lengths,
    limit: u32,
}

/// Byte order of a file or section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(super) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// In which order a record holds captured and original length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    CapturedFirst,
    OriginalFirst,
    /// Version 2.3 was written both ways; the smaller one is the captured length.
    Either,
}

/// The kinds of classic file by their magic number: byte order, nanoseconds in a unit, bytes in front of a frame.
pub(super) const fn magic(bytes: [u8; 4]) -> Option<(Order, i64, usize)> {
    match bytes {
        [0xd4, 0xc3, 0xb2, 0xa1] => Some((Order::Little, 1_000, 16)),
        [0xa1, 0xb2, 0xc3, 0xd4] => Some((Order::Big, 1_000, 16)),
        [0x4d, 0x3c, 0xb2, 0xa1] => Some((Order::Little, 1, 16)),
        [0xa1, 0xb2, 0x3c, 0x4d] => Some((Order::Big, 1, 16)),
        [0x34, 0xcd, 0xb2, 0xa1] => Some((Order::Little, 1_000, 24)),
        [0xa1, 0xb2, 0xcd, 0x34] => Some((Order::Big, 1_000, 24)),
        _ => None,
    }
}

impl Pcap {
    /// Reads the file header.
    pub(super) fn open<R: Read>(window: &mut Window<R>) -> Result<Self, InputFault> {
        let cut = |window: &Window<R>| window.cut(0, "the file header");
        if !window.has(HEADER) {
            return Err(cut(window));
        }
        let (Some(header), Some(kind)) = (window.array::<HEADER>(0), window.array(0).and_then(magic)) else {
            return Err(cut(window));
        };
        let (order, unit, lead) = kind;
        let [_, _, _, _, a, b, c, d, .., w, x, y, z] = header;
        let version = (order.u16([a, b]), order.u16([c, d]));
        let lengths = match version {
            (2, 3) => Lengths::Either,
            (2, 0..3) | (543, _) => Lengths::OriginalFirst,
            // No later version exists; Wireshark reads files that claim one as 2.4, and so do we.
            (2.., _) => Lengths::CapturedFirst,
            (major, minor) => {
                return Err(InputFault { offset: 4, reason: format!("pcap version {major}.{minor} is not known") });
            }
        };
        // The upper half holds the length of a frame check sequence and reserved bits.
        let link = LinkType((order.u32([w, x, y, z]) & 0xffff) as u16);
        window.consume(HEADER);
        Ok(Self { order, link, unit, lead, lengths, limit: frame_limit(link) })
    }

    /// The next record, which then lies ahead in the window; nothing at the end of the file.
    #[inline]
    pub(super) fn next<R: Read>(&self, window: &mut Window<R>) -> Result<Option<Head>, InputFault> {
        if !window.has(self.lead) {
            return if window.is_finished() { Ok(None) } else { Err(window.cut(window.offset(), "a record header")) };
        }
        let Some([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]) = window.array::<16>(0) else {
            return Err(window.cut(window.offset(), "a record header"));
        };
        let word = |bytes| self.order.u32(bytes);
        let (seconds, fraction) = (word([a, b, c, d]), word([e, f, g, h]));
        let (mut captured, mut original) = (word([i, j, k, l]), word([m, n, o, p]));
        if self.lengths != Lengths::CapturedFirst && (self.lengths == Lengths::OriginalFirst || captured > original) {
            (captured, original) = (original, captured);
        }
        if captured > self.limit {
            let reason = format!("a record claims {captured} bytes, more than the {} a frame may have", self.limit);
            return Err(InputFault { offset: window.offset(), reason });
        }
        let len = captured as usize;
        if !window.has(self.lead + len) {
            return Err(window.cut(window.offset(), "a frame"));
        }
        let at = Timestamp::from_parts(i64::from(seconds), i64::from(fraction) * self.unit);
        Ok(Some(Head { at, link: self.link, orig_len: original, lead: self.lead, len, tail: 0 }))
    }
}
