//! Compression undone: gzip (RFC 1952, many members) and Zstandard (RFC 8878, many frames), told by their magic.
//!
//! Reads: a byte stream. Emits: the stream inside, or the same stream when it is not compressed.
//! Does not: look at file names; undo compression twice.

use flate2::bufread::MultiGzDecoder;
use std::io::{BufReader, Chain, Cursor, Read, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zstd::stream::read::Decoder as ZstdDecoder;

/// Compressed bytes are read in pieces of this size.
const PIECE: usize = 128 * 1024;

/// Largest window a Zstandard frame may ask for, as a power of two: what `zstd -d` grants without `--long`.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Counts the bytes that pass, readable from elsewhere.
#[derive(Debug)]
pub(super) struct Counted<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub(super) const fn new(input: R, count: Arc<AtomicU64>) -> Self {
        Self { input, count }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = self.input.read(buf)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

type Sniffed<R> = Chain<Cursor<Head>, R>;

/// A stream, decompressed if its first bytes say that it is compressed. They are looked at with the first read.
pub(super) struct Decompressed<R: Read> {
    state: State<R>,
}

enum State<R: Read> {
    Unseen(Option<R>),
    Plain(Sniffed<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Sniffed<R>>>>),
    Zstd(Box<ZstdDecoder<'static, BufReader<Sniffed<R>>>>),
}

impl<R: Read> Decompressed<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { state: State::Unseen(Some(input)) }
    }

    /// `gzip`, `zstd`, or nothing for a plain stream or before the first read.
    pub(super) const fn name(&self) -> Option<&'static str> {
        match self.state {
            State::Gzip(_) => Some("gzip"),
            State::Zstd(_) => Some("zstd"),
            _ => None,
        }
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        match &mut self.state {
            State::Plain(r) => r.read(buf),
            State::Gzip(r) => r.read(buf).map_err(|e| named("gzip", &e)),
            State::Zstd(r) => r.read(buf).map_err(|e| named("zstd", &e)),
            State::Unseen(input) => {
                let Some(input) = input.take() else { return Ok(0) };
                self.state = sniff(input)?;
                self.read(buf)
            }
        }
    }
}

fn sniff<R: Read>(mut input: R) -> Result<State<R>> {
    let mut head = Head { bytes: [0; 4], len: 0 };
    while let Some(room) = head.bytes.get_mut(head.len..).filter(|room| !room.is_empty()) {
        match input.read(room) {
            Ok(0) => break,
            Ok(n) => head.len += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let stream = Cursor::new(head).chain(input);
    Ok(match (head.bytes, head.len) {
        ([0x1f, 0x8b, 8, _], 4) => State::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, stream)))),
        // A Zstandard frame (RFC 8878, 3.1.1) or a skippable frame (3.1.2), both little-endian.
        ([0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18], 4) => {
            let mut decoder = ZstdDecoder::with_buffer(BufReader::with_capacity(PIECE, stream))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            State::Zstd(Box::new(decoder))
        }
        _ => State::Plain(stream),
    })
}

fn named(format: &str, e: &std::io::Error) -> std::io::Error {
    std::io::Error::new(e.kind(), format!("{format}: {e}"))
}

/// The first bytes of a stream, given back to it.
#[derive(Debug, Clone, Copy)]
struct Head {
    bytes: [u8; 4],
    len: usize,
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        w.write_all(bytes).unwrap();
        w.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        Decompressed::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn members_and_frames_join() {
        assert_eq!(read(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(), b"one two");
        let frames = [zstd::encode_all(&b"one "[..], 1).unwrap(), zstd::encode_all(&b"two"[..], 1).unwrap()].concat();
        assert_eq!(read(&frames).unwrap(), b"one two");
        let skippable = [&[0x51, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &frames].concat();
        assert_eq!(read(&skippable).unwrap(), b"one two");
    }

    #[test]
    fn plain_bytes_pass_however_few() {
        for bytes in [&b""[..], b"a", b"\x1f\x8b\x08", b"plain text"] {
            assert_eq!(read(bytes).unwrap(), bytes);
        }
    }

    #[test]
    fn a_cut_stream_says_so_after_its_bytes() {
        let whole: Vec<u8> = (0..50_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (packed, name) in [(gzip(&whole), "gzip"), (zstd::encode_all(&whole[..], 1).unwrap(), "zstd")] {
            let mut stream = Decompressed::new(&packed[..packed.len() - 20]);
            let mut out = Vec::new();
            let e = stream.read_to_end(&mut out).unwrap_err();
            assert!(e.to_string().starts_with(name), "{e}");
            assert!(out.len() > whole.len() / 3 && whole.starts_with(&out), "{} of {}", out.len(), whole.len());
        }
    }
}
