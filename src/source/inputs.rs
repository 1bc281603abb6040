//! Many captures as one, merged by time.
//!
//! Reads: files, the captures in directories, standard input (`-`). Emits: frames of all of them, each time the
//! earliest of the next frames; of equal times the one of the input named first, so the order is always the same.
//! Does not: sort within a file: frames of one file keep their order even where its time runs backwards; copy frames.
//!
//! A file is looked into for the time of its first frame, closed, and opened again when that time has come, so two
//! thousand rotated captures need one open file and one buffer at a time.

use super::capture::CaptureReader;
use super::file::{FileBytes, Handles};
use super::tree::{Tree, unreadable};
use super::window::FULL;
use super::{Filter, FilterError, InputFault, InputReport, Next, Source};
use crate::base::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Why there is nothing to read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No input was named.
    #[error("no input was named; name a capture file, a directory or - for standard input")]
    Nothing,
    /// The filter is not one.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Captures merged by time.
pub struct Inputs {
    inputs: Vec<Input>,
    /// Inputs being read other than the current one, by the time of their next frame.
    reading: BinaryHeap<Reverse<Turn>>,
    /// Inputs not begun, by the time of their first frame, latest first.
    waiting: Vec<Turn>,
    /// The input whose frame is handed out.
    current: Option<usize>,
    handles: Handles,
    filter: Option<Filter>,
    filtered: u64,
    skipped: u64,
}

/// When an input is next, and which; ordered by time, then by the order in which they were named.
type Turn = (Timestamp, usize);

/// Bytes of a file or of standard input.
type Bytes = Box<dyn Read + Send>;

struct Input {
    path: PathBuf,
    /// `None` for what has no length to know: standard input, a pipe.
    size: Option<u64>,
    reader: Option<CaptureReader<Bytes>>,
    /// What is known while no reader is there.
    report: InputReport,
    /// A filter that means nothing for the link type of this input.
    unfit: Option<InputFault>,
}

/// While more files than this are read at once, each has a small buffer.
const MANY: usize = 32;

/// The small buffer.
const SMALL: usize = 32 * 1024;

impl Inputs {
    /// Opens what is named: files, directories (with everything below them), `-` for standard input.
    ///
    /// In a directory only files that begin like a capture are taken; [`Inputs::skipped`] counts the others.
    /// An input that cannot be read is no error here: it stands in its report, and the run goes on with the others.
    ///
    /// # Errors
    /// When `paths` is empty.
    pub fn open(paths: &[PathBuf], filter: Option<Filter>) -> Result<Self, OpenError> {
        if paths.is_empty() {
            return Err(OpenError::Nothing);
        }
        let Tree { entries, skipped } = Tree::of(paths);
        let inputs = entries.into_iter().map(|(path, fault)| Input::new(path, fault)).collect();
        let mut all = Self {
            inputs,
            reading: BinaryHeap::new(),
            waiting: Vec::new(),
            current: None,
            handles: Handles::default(),
            filter,
            filtered: 0,
            skipped,
        };
        all.look_into_each();
        Ok(all)
    }

    /// Files in directories that were left out because they are no captures.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Finds out when each input begins. A single input is not looked into: there is nothing to wait for.
    fn look_into_each(&mut self) {
        let single = self.inputs.len() == 1;
        let mut stdin_taken = false;
        for (index, input) in self.inputs.iter_mut().enumerate() {
            if input.report.error.is_some() {
                continue;
            }
            if input.is_stdin() && std::mem::replace(&mut stdin_taken, true) {
                let reason = "standard input was named before".to_owned();
                input.report.error = Some(InputFault { offset: 0, reason });
                continue;
            }
            input.open(&self.handles, FULL);
            let Some(at) = input.advance() else { continue };
            if single || input.size.is_none() {
                self.reading.push(Reverse((at, index)));
            } else {
                input.reader = None;
                self.waiting.push((at, index));
            }
        }
        self.waiting.sort_unstable_by_key(|turn| Reverse(*turn));
    }

    /// Moves to the frame that is next of all; `None` at the end.
    #[inline]
    fn advance(&mut self) -> Option<usize> {
        if let Some(index) = self.current.take()
            && let Some(at) = self.inputs.get_mut(index).and_then(Input::advance)
        {
            let turn = (at, index);
            if self.reading.peek().is_none_or(|Reverse(other)| turn < *other)
                && self.waiting.last().is_none_or(|other| turn < *other)
            {
                self.current = Some(index);
                return Some(index);
            }
            self.reading.push(Reverse(turn));
        }
        self.change()
    }

    /// Goes over to the input that is next, opening those whose time has come.
    fn change(&mut self) -> Option<usize> {
        while let Some(&(at, index)) = self.waiting.last()
            && self.reading.peek().is_none_or(|Reverse(other)| (at, index) < *other)
        {
            self.waiting.pop();
            let window = if self.reading.len() < MANY { FULL } else { SMALL };
            let Some(input) = self.inputs.get_mut(index) else { continue };
            input.open(&self.handles, window);
            if let Some(at) = input.advance() {
                self.reading.push(Reverse((at, index)));
            }
        }
        let Reverse((_, index)) = self.reading.pop()?;
        self.current = Some(index);
        Some(index)
    }

    /// Whether the frame moved to is wanted; counts it if not.
    fn wanted(&mut self, index: usize) -> bool {
        let Some(filter) = &mut self.filter else { return true };
        let Some(input) = self.inputs.get_mut(index) else { return false };
        let Some(frame) = input.reader.as_ref().and_then(CaptureReader::frame) else { return false };
        let matches = match filter.matches(&frame) {
            Ok(matches) => matches,
            Err(why) => {
                input.unfit.get_or_insert_with(|| InputFault {
                    offset: 0,
                    reason: format!("the filter does not fit frames of link type {}: {why}", frame.link.0),
                });
                false
            }
        };
        self.filtered += u64::from(!matches);
        matches
    }
}

impl Source for Inputs {
    fn next(&mut self) -> Next<'_> {
        loop {
            let Some(index) = self.advance() else { return Next::End };
            if self.wanted(index) {
                break;
            }
        }
        let frame = self.current.and_then(|index| self.inputs.get(index)?.reader.as_ref()?.frame());
        frame.map_or(Next::End, Next::Frame)
    }

    /// A frame that the filter left out counts as read.
    fn reports(&self) -> Vec<InputReport> {
        self.inputs.iter().map(Input::report).collect()
    }

    fn position(&self) -> u64 {
        self.inputs.iter().map(Input::position).sum()
    }

    fn total(&self) -> Option<u64> {
        self.inputs.iter().map(|input| if input.report.error.is_some() { Some(0) } else { input.size }).sum()
    }

    fn filtered(&self) -> u64 {
        self.filtered
    }
}

impl Input {
    fn new(path: PathBuf, fault: Option<InputFault>) -> Self {
        let name = path.to_string_lossy().into_owned();
        let size = path.metadata().ok().filter(std::fs::Metadata::is_file).map(|m| m.len());
        let report = InputReport { path: name, error: fault, ..InputReport::default() };
        let mut input = Self { path, size, reader: None, report, unfit: None };
        if input.is_stdin() {
            input.size = None;
        }
        input
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Gets ready to read from the beginning; trouble goes into the report.
    fn open(&mut self, handles: &Handles, window: usize) {
        let bytes: Bytes = if self.is_stdin() {
            Box::new(std::io::stdin())
        } else {
            match FileBytes::open(&self.path, handles) {
                Ok(file) => Box::new(file),
                Err(e) => {
                    self.report.error = Some(unreadable(&e));
                    return;
                }
            }
        };
        self.reader = Some(CaptureReader::with_window(self.report.path.clone(), bytes, window));
    }

    /// Moves to the next frame; at the end keeps the report and frees the rest.
    #[inline]
    fn advance(&mut self) -> Option<Timestamp> {
        let at = self.reader.as_mut()?.advance();
        if at.is_none()
            && let Some(reader) = self.reader.take()
        {
            self.report = reader.report();
        }
        at
    }

    fn report(&self) -> InputReport {
        let mut report = self.reader.as_ref().map_or_else(|| self.report.clone(), CaptureReader::report);
        if report.error.is_none() {
            report.error.clone_from(&self.unfit);
        }
        report
    }

    /// An input that is done counts in full, so that the sum arrives at the total whatever was left unread.
    fn position(&self) -> u64 {
        match &self.reader {
            Some(reader) => reader.bytes(),
            None if self.report.error.is_some() => 0,
            None => self.report.bytes,
        }
    }
}
