//! One capture of any supported format, from any byte stream.
//!
//! Reads: a [`Read`]: a file, standard input, bytes in memory. Emits: its frames in the order of the file, borrowed
//! from the buffer they were read into. Does not: seek, allocate per frame, or grow with the input.

use super::compress::{Counted, Decompressed};
use super::pcap::{self, Pcap};
use super::pcapng::{self, PcapNg};
use super::window::{FULL, Window};
use super::{InputFault, InputReport, Next, Source};
use crate::base::{Frame, LinkType, Timestamp};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a frame lies in the window, and its time and kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) at: Timestamp,
    pub(super) link: LinkType,
    pub(super) orig_len: u32,
    /// Bytes of its record before the frame.
    pub(super) lead: usize,
    pub(super) len: usize,
    /// Bytes of its record after the frame.
    pub(super) tail: usize,
}

/// Reads one capture: pcap or pcapng, plain, gzip or zstd.
///
/// The format is recognised from the first bytes when the first frame is asked for. Whatever cannot be read ends the
/// capture and stands in [`CaptureReader::report`]; all frames before it are delivered.
pub struct CaptureReader<R: Read> {
    window: Window<Decompressed<Counted<R>>>,
    format: Format,
    head: Option<Head>,
    report: InputReport,
    count: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Format {
    Unseen,
    Pcap(Pcap),
    PcapNg(PcapNg),
    Ended,
}

impl<R: Read> CaptureReader<R> {
    /// Reads `input`; `path` is what its report calls it.
    pub fn new(path: impl Into<String>, input: R) -> Self {
        Self::with_window(path.into(), input, FULL)
    }

    /// The same with another size of the buffer.
    pub(super) fn with_window(path: String, input: R, window: usize) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let input = Decompressed::new(Counted::new(input, Arc::clone(&count)));
        let report = InputReport { path, ..InputReport::default() };
        Self { window: Window::new(input, window), format: Format::Unseen, head: None, report, count }
    }

    /// Moves to the next frame and gives its time; `None` when there is none, and from then on.
    #[inline]
    pub fn advance(&mut self) -> Option<Timestamp> {
        if let Some(head) = self.head.take() {
            self.window.consume(head.lead + head.len + head.tail);
        }
        let step = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.window),
            Format::PcapNg(ng) => ng.next(&mut self.window),
            Format::Ended => return None,
            Format::Unseen => return self.open(),
        };
        let head = match step {
            Ok(Some(head)) => head,
            Ok(None) => return self.end(None),
            Err(fault) => return self.end(Some(fault)),
        };
        self.report.frames += 1;
        self.report.start = Some(self.report.start.map_or(head.at, |t| t.min(head.at)));
        self.report.end = Some(self.report.end.map_or(head.at, |t| t.max(head.at)));
        self.head = Some(head);
        Some(head.at)
    }

    /// The frame moved to.
    #[inline]
    pub fn frame(&self) -> Option<Frame<'_>> {
        let head = self.head?;
        let bytes = self.window.slice(head.lead, head.len);
        Some(Frame { at: head.at, link: head.link, orig_len: head.orig_len, bytes })
    }

    /// What was read so far.
    pub fn report(&self) -> InputReport {
        InputReport { bytes: self.bytes(), ..self.report.clone() }
    }

    /// Bytes taken from the input so far, before decompression.
    pub fn bytes(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    #[cold]
    fn open(&mut self) -> Option<Timestamp> {
        self.window.has(4);
        let first = self.window.array::<4>(0);
        let opened = match first {
            Some(pcapng::SECTION) => Ok(Format::PcapNg(PcapNg::new())),
            Some(first) if pcap::magic(first).is_some() => Pcap::open(&mut self.window).map(Format::Pcap),
            _ if self.window.failed() => Err(self.window.cut(0, "the file header")),
            _ => Err(InputFault { offset: 0, reason: self.no_capture() }),
        };
        match opened {
            Ok(format) => {
                self.format = format;
                self.advance()
            }
            Err(fault) => self.end(Some(fault)),
        }
    }

    #[cold]
    fn end(&mut self, fault: Option<InputFault>) -> Option<Timestamp> {
        self.format = Format::Ended;
        self.report.error = fault;
        None
    }

    /// Why the first bytes are no capture.
    fn no_capture(&self) -> String {
        let name = self.window.input().name();
        match (name, self.window.ahead().is_empty()) {
            (None, true) => "the input is empty".to_owned(),
            (None, false) => "neither pcap nor pcapng (editcap -F pcapng converts other formats)".to_owned(),
            (Some(name), true) => format!("nothing inside the {name} stream"),
            (Some(name), false) => format!("the {name} stream holds neither pcap nor pcapng"),
        }
    }
}

impl<R: Read> Source for CaptureReader<R> {
    fn next(&mut self) -> Next<'_> {
        self.advance();
        self.frame().map_or(Next::End, Next::Frame)
    }

    fn reports(&self) -> Vec<InputReport> {
        vec![self.report()]
    }

    fn position(&self) -> u64 {
        self.bytes()
    }
}
