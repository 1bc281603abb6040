//! pcapng files: sections of blocks.
//!
//! Reads: section headers in either byte order, interface descriptions (link type, snap length, time resolution and
//! offset), enhanced, simple and obsolete packet blocks; moves over every other block by its length.
//! Emits: where each frame lies. Does not: read comments, names, statistics or secrets.
//! Reference: draft-ietf-opsawg-pcapng; where it leaves room, what Wireshark's reader does.

use super::capture::Head;
use super::pcap::Order;
use super::window::Window;
use super::{InputFault, frame_limit};
use crate::base::{LinkType, Timestamp};
use std::io::Read;

/// First four bytes of a section header block; a palindrome, so the same in both byte orders.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type, length and the length again: the least a block has.
const FRAMING: u32 = 12;

/// Largest block that is held in memory unless its link type has larger frames; Wireshark's bound.
const BLOCK_LIMIT: u32 = 16 * 1024 * 1024;

/// Interfaces in one section. Real files have a handful; the obsolete packet block can name no more than this.
const INTERFACE_LIMIT: usize = 65_536;

/// The state of the section being read.
#[derive(Debug)]
pub(super) struct PcapNg {
    order: Order,
    interfaces: Vec<Interface>,
    /// Largest block held in memory: grows with the frames that the link types at hand may have.
    limit: u32,
    /// The time of the frame before, for simple packet blocks, which carry none.
    last: Timestamp,
}

/// What an interface description says of its frames.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: LinkType,
    snaplen: u32,
    clock: Clock,
}

/// How ticks become time: `if_tsresol` and `if_tsoffset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    unit: Unit,
    offset: i64,
}

/// The length of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// So many nanoseconds.
    Nanos(u32),
    /// A nanosecond divided by this.
    Part(u128),
    /// A second divided by two to this.
    Binary(u8),
}

impl Clock {
    const MICROSECONDS: Self = Self { unit: Unit::Nanos(1_000), offset: 0 };

    fn at(self, ticks: u64) -> Timestamp {
        let nanos = match self.unit {
            Unit::Nanos(n) => u128::from(ticks) * u128::from(n),
            Unit::Part(n) => u128::from(ticks) / n,
            Unit::Binary(bits) => (u128::from(ticks) * 1_000_000_000) >> bits,
        };
        Timestamp::from_parts(self.offset, i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

impl Unit {
    /// From the byte of `if_tsresol`: the upper bit tells powers of two from powers of ten.
    fn from_resolution(byte: u8) -> Self {
        let exponent = byte & 0x7f;
        match (byte >> 7, exponent) {
            (1, bits) => Self::Binary(bits),
            (_, 0..=9) => Self::Nanos(10_u32.pow(9 - u32::from(exponent))),
            (_, n) => Self::Part(10_u128.checked_pow(u32::from(n) - 9).unwrap_or(u128::MAX)),
        }
    }
}

impl PcapNg {
    /// Before the first section header.
    pub(super) const fn new() -> Self {
        Self { order: Order::Little, interfaces: Vec::new(), limit: BLOCK_LIMIT, last: Timestamp::from_nanos(0) }
    }

    /// The next frame, whose block then lies ahead in the window; nothing at the end of the file.
    pub(super) fn next<R: Read>(&mut self, window: &mut Window<R>) -> Result<Option<Head>, InputFault> {
        loop {
            if !window.has(FRAMING as usize) {
                let finished = window.is_finished();
                return if finished { Ok(None) } else { Err(window.cut(window.offset(), "a block header")) };
            }
            let offset = window.offset();
            let fault = |reason: String| InputFault { offset, reason };
            let (Some(kind), Some(length)) = (window.array::<4>(0), window.array::<4>(4)) else {
                return Err(window.cut(offset, "a block header"));
            };
            if kind == SECTION {
                self.start_section(window)?;
            }
            let (kind, length) = (self.order.u32(kind), self.order.u32(length));
            if length < FRAMING || !length.is_multiple_of(4) {
                return Err(fault(format!("a block of type {kind:#x} claims {length} bytes, which no block can have")));
            }
            if !matches!(kind, INTERFACE | PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
                self.pass_block(window, length)?;
                continue;
            }
            let block = self.whole_block(window, length)?;
            if kind == INTERFACE {
                let interface = interface(self.order, block).map_err(|e| fault(e.to_owned()))?;
                if self.interfaces.len() >= INTERFACE_LIMIT {
                    return Err(fault(format!("more than {INTERFACE_LIMIT} interfaces in one section")));
                }
                self.limit = self.limit.max(frame_limit(interface.link));
                self.interfaces.push(interface);
                window.consume(length as usize);
                continue;
            }
            let head = self.packet(kind, block).map_err(fault)?;
            self.last = head.at;
            return Ok(Some(head));
        }
    }

    /// Takes byte order and version from the section header ahead and forgets the interfaces of the section before.
    fn start_section<R: Read>(&mut self, window: &mut Window<R>) -> Result<(), InputFault> {
        let offset = window.offset();
        window.has(16);
        let (Some(magic), Some([a, b, c, d])) = (window.array::<4>(8), window.array::<4>(12)) else {
            return Err(window.cut(offset, "a section header"));
        };
        self.order = match magic {
            [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
            [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
            _ => return Err(InputFault { offset, reason: "a section header without a byte-order magic".to_owned() }),
        };
        // 1.2 was written for a while and is the same format (draft-ietf-opsawg-pcapng, 4.1).
        match (self.order.u16([a, b]), self.order.u16([c, d])) {
            (1, 0 | 2) => {}
            (major, minor) => {
                return Err(InputFault { offset, reason: format!("pcapng version {major}.{minor} is not known") });
            }
        }
        self.interfaces.clear();
        self.limit = BLOCK_LIMIT;
        Ok(())
    }

    /// Moves over a block that is not needed, however long it is.
    fn pass_block<R: Read>(&self, window: &mut Window<R>, length: u32) -> Result<(), InputFault> {
        let offset = window.offset();
        if !window.skip(u64::from(length) - 4) || !window.has(4) {
            return Err(window.cut(offset, "a block"));
        }
        let again = window.array(0).map(|bytes| self.order.u32(bytes));
        if again != Some(length) {
            return Err(InputFault { offset, reason: trailer(length, again) });
        }
        window.consume(4);
        Ok(())
    }

    /// The block ahead, all of it, with its two lengths compared.
    fn whole_block<'w, R: Read>(&self, window: &'w mut Window<R>, length: u32) -> Result<&'w [u8], InputFault> {
        let offset = window.offset();
        if length > self.limit {
            let reason = format!("a block claims {length} bytes, more than the {} one may have", self.limit);
            return Err(InputFault { offset, reason });
        }
        if !window.has(length as usize) {
            return Err(window.cut(offset, "a block"));
        }
        let again = window.array(length as usize - 4).map(|bytes| self.order.u32(bytes));
        if again != Some(length) {
            return Err(InputFault { offset, reason: trailer(length, again) });
        }
        Ok(window.slice(0, length as usize))
    }

    /// Reads the fixed part of a packet block of any of the three kinds.
    fn packet(&self, kind: u32, block: &[u8]) -> Result<Head, String> {
        let word = |at: usize| word(self.order, block, at);
        let short = || "a packet block too short for its own fields".to_owned();
        let (id, ticks, captured, original, lead) = match kind {
            SIMPLE_PACKET => {
                let original = word(8).ok_or_else(short)?;
                let room = u32::try_from(block.len()).unwrap_or(u32::MAX).saturating_sub(FRAMING + 4);
                let snaplen = self.interfaces.first().map_or(0, |i| i.snaplen);
                let snaplen = if snaplen == 0 { u32::MAX } else { snaplen };
                (0, None, original.min(snaplen).min(room), original, 12)
            }
            _ => {
                let (Some(id), Some(high), Some(low), Some(captured), Some(original)) =
                    (word(8), word(12), word(16), word(20), word(24))
                else {
                    return Err(short());
                };
                // The obsolete block has a 16-bit interface and a 16-bit count of drops in place of the interface.
                let id = match block.get(8..).and_then(<[u8]>::first_chunk::<2>) {
                    Some(half) if kind == PACKET => u32::from(self.order.u16(*half)),
                    _ => id,
                };
                (id, Some(u64::from(high) << 32 | u64::from(low)), captured, original, 28)
            }
        };
        let Some(interface) = usize::try_from(id).ok().and_then(|id| self.interfaces.get(id)) else {
            return Err(format!("a packet of interface {id}, which is not described ({} are)", self.interfaces.len()));
        };
        let limit = frame_limit(interface.link);
        if captured > limit {
            return Err(format!("a packet claims {captured} bytes, more than the {limit} a frame may have"));
        }
        let len = captured as usize;
        let tail = block.len().checked_sub(lead + len).filter(|tail| *tail >= 4);
        let tail = tail.ok_or_else(|| format!("a packet of {captured} bytes in a block of {}", block.len()))?;
        let at = ticks.map_or(self.last, |ticks| interface.clock.at(ticks));
        Ok(Head { at, link: interface.link, orig_len: original, lead, len, tail })
    }
}

fn word(order: Order, block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk::<4>().map(|bytes| order.u32(*bytes))
}

fn trailer(length: u32, again: Option<u32>) -> String {
    format!("a block claims {length} bytes at its start and {} at its end", again.unwrap_or(0))
}

/// Reads an interface description block. Options after a malformed one are not read.
fn interface(order: Order, block: &[u8]) -> Result<Interface, &'static str> {
    let body = block.get(8..block.len().saturating_sub(4)).unwrap_or_default();
    let (Some([a, b, ..]), Some(snaplen)) = (body.first_chunk::<4>(), word(order, body, 4)) else {
        return Err("an interface description too short for its own fields");
    };
    let mut clock = Clock::MICROSECONDS;
    let mut options = body.get(8..).unwrap_or_default();
    while let Some(([a, b, c, d], rest)) = options.split_first_chunk::<4>() {
        let (code, len) = (order.u16([*a, *b]), usize::from(order.u16([*c, *d])));
        let Some(value) = rest.get(..len) else { break };
        match (code, value) {
            (0, _) => break,
            (9, [resolution]) => clock.unit = Unit::from_resolution(*resolution),
            (14, value) => {
                if let Some(seconds) = value.first_chunk::<8>() {
                    clock.offset = order.u64(*seconds).cast_signed();
                }
            }
            _ => {}
        }
        options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Interface { link: LinkType(order.u16([*a, *b])), snaplen, clock })
}
