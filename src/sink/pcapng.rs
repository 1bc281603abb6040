//! A capture file of the frames behind a finding: pcapng, with comments that Wireshark shows beside them.
//!
//! Reads: frames as they were captured. Emits: one section in this machine's byte order, one interface block for each
//! link type, nanosecond times. Does not: change a frame or its time.
//! Reference: draft-ietf-opsawg-pcapng (sections 3.5 options, 4.1 section header, 4.2 interface, 4.3 enhanced packet).

use crate::base::{Frame, LinkType};
use std::io::{self, Write};

/// Writes one file.
#[derive(Debug)]
pub struct PcapNg<W> {
    out: W,
    /// The interfaces described so far; a frame names its own by the place in here.
    interfaces: Vec<LinkType>,
    /// The block being made.
    block: Vec<u8>,
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
const USER_APPLICATION: u16 = 4;
const TIME_RESOLUTION: u16 = 9;
/// Units of a time: 10 to the power of minus nine seconds.
const NANOSECONDS: u8 = 9;

impl<W: Write> PcapNg<W> {
    /// Begins a file, with comments on the whole of it.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn new(out: W, comments: &[String]) -> io::Result<Self> {
        let mut file = Self { out, interfaces: Vec::new(), block: Vec::new() };
        file.begin(SECTION);
        file.u32(BYTE_ORDER);
        file.u16(1);
        file.u16(0);
        // The length of the section is not known yet.
        file.raw(&u64::MAX.to_ne_bytes());
        comments.iter().for_each(|comment| file.text(COMMENT, comment));
        file.text(USER_APPLICATION, concat!("farmlight ", env!("CARGO_PKG_VERSION")));
        file.end_of_options();
        file.finish()?;
        Ok(file)
    }

    /// Writes a frame, with comments on it. A time before 1970 can't be told in this format; it is told as 1970, and a
    /// comment says so.
    ///
    /// # Errors
    /// The output could not be written, or the frame is longer than a block can be.
    pub fn frame(&mut self, frame: &Frame<'_>, comments: &[String]) -> io::Result<()> {
        let interface = self.interface(frame.link)?;
        let length = u32::try_from(frame.bytes.len()).ok().filter(|length| *length < u32::MAX - (1 << 24));
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a frame of 4 GB"))?;
        let nanos = u64::try_from(frame.at.nanos()).unwrap_or(0);
        self.begin(ENHANCED_PACKET);
        self.u32(interface);
        self.raw(&(u32::try_from(nanos >> 32).unwrap_or(0)).to_ne_bytes());
        self.raw(&(u32::try_from(nanos & u64::from(u32::MAX)).unwrap_or(0)).to_ne_bytes());
        self.u32(length);
        self.u32(frame.orig_len);
        self.raw(frame.bytes);
        self.pad();
        comments.iter().for_each(|comment| self.text(COMMENT, comment));
        if frame.at.nanos() < 0 {
            self.text(COMMENT, &format!("farmlight: captured {} ns before 1970", frame.at.nanos().unsigned_abs()));
        }
        self.end_of_options();
        self.finish()
    }

    /// Writes what is buffered and gives the output back.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// The number of a link type's interface, described the first time it is needed.
    fn interface(&mut self, link: LinkType) -> io::Result<u32> {
        let place = match self.interfaces.iter().position(|known| *known == link) {
            Some(place) => place,
            None => {
                self.interfaces.push(link);
                self.begin(INTERFACE);
                self.u16(link.0);
                self.u16(0);
                // No limit on the length of frames.
                self.u32(0);
                self.text(INTERFACE_NAME, &format!("link type {}", link.0));
                self.option(TIME_RESOLUTION, &[NANOSECONDS]);
                self.end_of_options();
                self.finish()?;
                self.interfaces.len() - 1
            }
        };
        // There are 65,536 link types.
        Ok(u32::try_from(place).unwrap_or(u32::MAX))
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        // The length, once it is known.
        self.u32(0);
    }

    fn finish(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len() + 4);
        let length = length.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a block of 4 GB"))?;
        if let Some(place) = self.block.get_mut(4..8) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self.u32(length);
        self.out.write_all(&self.block)
    }

    /// A text as an option; of a longer one than an option can hold, as much as fits.
    fn text(&mut self, code: u16, text: &str) {
        let end = text.floor_char_boundary(usize::from(u16::MAX));
        self.option(code, text.as_bytes().get(..end).unwrap_or_default());
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(u16::try_from(value.len()).unwrap_or(0));
        self.raw(value);
        self.pad();
    }

    fn end_of_options(&mut self) {
        self.u32(0);
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn u16(&mut self, value: u16) {
        self.raw(&value.to_ne_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.raw(&value.to_ne_bytes());
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    /// Type and body of each block, with both lengths compared.
    fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let length = word(bytes, 4) as usize;
            assert!(length.is_multiple_of(4) && word(bytes, length - 4) as usize == length);
            all.push((word(bytes, 0), bytes[8..length - 4].to_vec()));
            bytes = &bytes[length..];
        }
        all
    }

    #[test]
    fn a_link_type_is_described_once_and_before_its_first_frame() {
        let mut file = PcapNg::new(Vec::new(), &["why".to_owned()]).unwrap();
        for (link, bytes) in [(1, &b"abcde"[..]), (101, b"fghi"), (1, b"")] {
            let at = Timestamp::from_nanos(1_700_000_000_123_456_789);
            file.frame(&Frame { at, link: LinkType(link), orig_len: 99, bytes }, &["note".to_owned()]).unwrap();
        }
        let blocks = blocks(&file.into_inner().unwrap());
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, ENHANCED_PACKET, INTERFACE, ENHANCED_PACKET, ENHANCED_PACKET]);
        let (_, first) = &blocks[2];
        let ticks = u64::from(word(first, 4)) << 32 | u64::from(word(first, 8));
        assert_eq!(ticks, 1_700_000_000_123_456_789);
        assert_eq!((word(first, 0), word(first, 12), word(first, 16)), (0, 5, 99));
        assert_eq!(&first[20..28], b"abcde\0\0\0");
        assert_eq!(&first[28..], [&1u16.to_ne_bytes()[..], &4u16.to_ne_bytes(), b"note", &[0; 4]].concat());
        assert_eq!((word(&blocks[4].1, 0), word(&blocks[5].1, 0)), (1, 0));
    }

    #[test]
    fn a_long_comment_is_cut_between_letters() {
        let mut file = PcapNg::new(Vec::new(), &["é".repeat(40_000)]).unwrap();
        let frame = Frame { at: Timestamp::from_nanos(-5), link: LinkType(1), orig_len: 0, bytes: b"" };
        file.frame(&frame, &[]).unwrap();
        let bytes = file.into_inner().unwrap();
        let blocks = blocks(&bytes);
        let option = &blocks[0].1[16..];
        let length = usize::from(u16::from_ne_bytes([option[2], option[3]]));
        assert_eq!(length, 65_534);
        assert!(std::str::from_utf8(&option[4..4 + length]).is_ok());
        assert!(String::from_utf8_lossy(&blocks[2].1).contains("5 ns before 1970"));
    }
}
