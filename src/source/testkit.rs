//! Builds captures of every format in memory, for the tests of this room.

use super::pcap::Order;
use crate::base::{LinkType, Timestamp};
use std::io::Write;

/// Appends integers in one byte order.
pub(super) struct Bytes {
    pub(super) order: Order,
    pub(super) out: Vec<u8>,
}

impl Bytes {
    pub(super) fn new(order: Order) -> Self {
        Self { order, out: Vec::new() }
    }

    pub(super) fn u16(&mut self, v: u16) -> &mut Self {
        self.out.extend(if self.order == Order::Big { v.to_be_bytes() } else { v.to_le_bytes() });
        self
    }

    pub(super) fn u32(&mut self, v: u32) -> &mut Self {
        self.out.extend(if self.order == Order::Big { v.to_be_bytes() } else { v.to_le_bytes() });
        self
    }

    pub(super) fn raw(&mut self, v: &[u8]) -> &mut Self {
        self.out.extend_from_slice(v);
        self
    }
}

/// A classic file being built.
pub(super) struct PcapFile {
    pub(super) bytes: Bytes,
    magic: u32,
}

pub(super) const MICROS: u32 = 0xa1b2_c3d4;
pub(super) const NANOS: u32 = 0xa1b2_3c4d;
pub(super) const MODIFIED: u32 = 0xa1b2_cd34;

impl PcapFile {
    pub(super) fn new(order: Order, magic: u32, link: LinkType) -> Self {
        Self::with_version(order, magic, link, (2, 4))
    }

    pub(super) fn with_version(order: Order, magic: u32, link: LinkType, version: (u16, u16)) -> Self {
        let mut bytes = Bytes::new(order);
        bytes.u32(magic).u16(version.0).u16(version.1).u32(0).u32(0).u32(65_535).u32(u32::from(link.0));
        Self { bytes, magic }
    }

    pub(super) fn frame(&mut self, at: Timestamp, orig_len: u32, frame: &[u8]) -> &mut Self {
        self.record(at, u32::try_from(frame.len()).unwrap(), orig_len).bytes.raw(frame);
        self
    }

    pub(super) fn record(&mut self, at: Timestamp, first: u32, second: u32) -> &mut Self {
        let unit = if self.magic == NANOS { 1 } else { 1_000 };
        let (seconds, fraction) = (at.nanos() / 1_000_000_000, at.nanos() % 1_000_000_000 / unit);
        self.bytes.u32(u32::try_from(seconds).unwrap()).u32(u32::try_from(fraction).unwrap()).u32(first).u32(second);
        if self.magic == MODIFIED {
            self.bytes.u32(3).u16(8).raw(&[0, 0]);
        }
        self
    }

    pub(super) fn finish(&self) -> Vec<u8> {
        self.bytes.out.clone()
    }
}

/// A pcapng file being built.
pub(super) struct NgFile {
    pub(super) order: Order,
    pub(super) out: Vec<u8>,
}

impl NgFile {
    pub(super) fn new(order: Order) -> Self {
        let mut file = Self { order, out: Vec::new() };
        file.section(order);
        file
    }

    pub(super) fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let padded = body.len().next_multiple_of(4);
        let length = u32::try_from(padded + 12).unwrap();
        let mut b = Bytes::new(self.order);
        b.u32(kind).u32(length).raw(body).raw(&[0; 3][..padded - body.len()]).u32(length);
        self.out.extend(b.out);
        self
    }

    pub(super) fn body(&self, fill: impl FnOnce(&mut Bytes)) -> Vec<u8> {
        let mut b = Bytes::new(self.order);
        fill(&mut b);
        b.out
    }

    pub(super) fn section(&mut self, order: Order) -> &mut Self {
        self.order = order;
        let body = self.body(|b| {
            b.u32(0x1a2b_3c4d).u16(1).u16(0).u32(u32::MAX).u32(u32::MAX);
        });
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn interface(&mut self, link: LinkType, snaplen: u32, options: &[(u16, &[u8])]) -> &mut Self {
        let body = self.body(|b| {
            b.u16(link.0).u16(0).u32(snaplen);
            for (code, value) in options {
                b.u16(*code).u16(u16::try_from(value.len()).unwrap()).raw(value);
                b.raw(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
            }
        });
        self.block(1, &body)
    }

    pub(super) fn enhanced(&mut self, interface: u32, ticks: u64, orig_len: u32, frame: &[u8]) -> &mut Self {
        let body = self.body(|b| {
            b.u32(interface).u32((ticks >> 32) as u32).u32(ticks as u32);
            b.u32(u32::try_from(frame.len()).unwrap()).u32(orig_len).raw(frame);
        });
        self.block(6, &body)
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    w.write_all(bytes).unwrap();
    w.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A frame of `len` bytes that can be told from others by its first ones.
pub(super) fn numbered(n: u32, len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = n.to_be_bytes().to_vec();
    frame.resize(len.max(4), n as u8);
    frame
}
