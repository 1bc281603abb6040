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
    /// Bytes to read; `None` for what has no length to know: standard input, a pipe. Those can be opened only once.
    size: Option<u64>,
    /// Read to its end or to the fault that ended it.
    done: bool,
    reader: Option<CaptureReader<Bytes>>,
    /// What is known while no reader is there.
    report: InputReport,
    /// A filter that means nothing for the link type of this input.
    unfit: Option<InputFault>,
}

/// The name of standard input.
pub(super) const STDIN: &str = "-";

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
            if input.done {
                continue;
            }
            if input.is_stdin() && std::mem::replace(&mut stdin_taken, true) {
                input.fail(InputFault { offset: 0, reason: "standard input was named before".to_owned() });
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

    /// A frame that the filter left out counts as read. An input that was read to its end but has frames of a link
    /// type that the filter means nothing for tells that as its fault.
    fn reports(&self) -> Vec<InputReport> {
        self.inputs.iter().map(Input::report).collect()
    }

    fn position(&self) -> u64 {
        self.inputs.iter().map(Input::position).sum()
    }

    fn total(&self) -> Option<u64> {
        self.inputs.iter().map(|input| input.size).sum()
    }

    fn filtered(&self) -> u64 {
        self.filtered
    }
}

impl Input {
    fn new(path: PathBuf, fault: Option<InputFault>) -> Self {
        let name = path.to_string_lossy().into_owned();
        let done = fault.is_some();
        let size = match path.metadata() {
            Ok(metadata) if metadata.is_file() => Some(metadata.len()),
            // A fault known from the start leaves nothing to read.
            Ok(_) if !done => None,
            Err(_) if path == Path::new(STDIN) => None,
            _ => Some(0),
        };
        let report = InputReport { path: name, error: fault, ..InputReport::default() };
        Self { path, size, done, reader: None, report, unfit: None }
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new(STDIN)
    }

    /// Gets ready to read from the beginning; trouble goes into the report.
    fn open(&mut self, handles: &Handles, window: usize) {
        let bytes: Bytes = if self.is_stdin() {
            Box::new(std::io::stdin())
        } else {
            match FileBytes::open(&self.path, handles) {
                Ok(file) => Box::new(file),
                Err(e) => {
                    self.fail(unreadable(&e));
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
            self.done = true;
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
            None if self.done => self.size.unwrap_or(self.report.bytes),
            None => 0,
        }
    }

    fn fail(&mut self, fault: InputFault) {
        self.report.error = Some(fault);
        self.done = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::pcap::Order::{Big, Little};
    use super::super::testkit::{MICROS, NgFile, PcapFile, gzip, numbered};
    use super::*;
    use crate::base::LinkType;
    use tempfile::TempDir;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_parts(seconds, 0)
    }

    /// A classic file with one frame a time, each saying which file it is of.
    fn pcap(name: u32, times: &[i64]) -> Vec<u8> {
        let mut file = PcapFile::new(Little, MICROS, LinkType::ETHERNET);
        for t in times {
            file.frame(at(*t), 60, &numbered(name, 40));
        }
        file.finish()
    }

    struct Dir(TempDir);

    impl Dir {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            path
        }
    }

    fn read(inputs: &mut Inputs) -> Vec<(i64, u32)> {
        let mut all = Vec::new();
        while let Next::Frame(frame) = inputs.next() {
            all.push((frame.at.nanos() / 1_000_000_000, u32::from_be_bytes(*frame.bytes.first_chunk().unwrap())));
        }
        all
    }

    #[test]
    fn files_merge_by_time_and_ties_by_order() {
        let dir = Dir::new();
        let paths = [
            dir.write("a", &pcap(0, &[5, 7, 7, 30])),
            dir.write("b", &gzip(&pcap(1, &[1, 7, 8]))),
            dir.write("c", &pcap(2, &[40, 41])),
            dir.write("d", &pcap(3, &[5, 9, 6, 31])),
        ];
        let mut inputs = Inputs::open(&paths, None).unwrap();
        let expected = [
            (1, 1),
            (5, 0),
            (5, 3),
            (7, 0),
            (7, 0),
            (7, 1),
            (8, 1),
            (9, 3),
            (6, 3),
            (30, 0),
            (31, 3),
            (40, 2),
            (41, 2),
        ];
        assert_eq!(read(&mut inputs), expected);
        assert!(matches!(inputs.next(), Next::End));
        let reports = inputs.reports();
        assert_eq!(reports.iter().map(|r| r.frames).collect::<Vec<_>>(), [4, 3, 2, 4]);
        assert_eq!((reports[3].start, reports[3].end), (Some(at(5)), Some(at(31))));
        assert_eq!(Some(inputs.position()), inputs.total());
    }

    #[test]
    fn sources_can_move_to_another_thread() {
        const fn send<T: Send>() {}
        send::<Inputs>();
        send::<super::super::Live>();
        send::<super::super::Memory>();
    }

    #[test]
    fn a_single_file_keeps_its_order() {
        let dir = Dir::new();
        let mut inputs = Inputs::open(&[dir.write("a", &pcap(0, &[9, 3, 5, 3]))], None).unwrap();
        assert_eq!(read(&mut inputs), [(9, 0), (3, 0), (5, 0), (3, 0)]);
    }

    #[test]
    fn rotated_files_are_open_one_at_a_time_and_overlapping_ones_within_the_bound() {
        let dir = Dir::new();
        let paths: Vec<_> = (0..400)
            .map(|n: u32| dir.write(&format!("{:03}", 399 - n), &pcap(n, &[i64::from(n) * 10, i64::from(n) * 10 + 9])))
            .collect();
        let mut inputs = Inputs::open(&paths, None).unwrap();
        let mut most = 0;
        let mut times = Vec::new();
        while let Next::Frame(frame) = inputs.next() {
            times.push(frame.at);
            most = most.max(inputs.inputs.iter().filter(|i| i.reader.is_some()).count());
        }
        assert_eq!((times.len(), times.is_sorted(), most), (800, true, 1));

        let all: Vec<_> = (0..400)
            .map(|n: u32| {
                let mut file = PcapFile::new(Little, MICROS, LinkType::ETHERNET);
                for t in 0..80 {
                    file.frame(at(t), 900, &numbered(n, 900));
                }
                dir.write(&format!("all/{n}"), &file.finish())
            })
            .collect();
        let mut inputs = Inputs::open(&all, None).unwrap();
        let handles = inputs.handles.clone();
        let read = read(&mut inputs);
        let expected: Vec<_> = (0..80).flat_map(|t| (0..400).map(move |n| (t, n))).collect();
        assert!(read == expected, "merged by time, ties in the order named");
        assert_eq!(handles.held(), 0);
        assert!(inputs.reports().iter().all(|r| r.error.is_none()));
    }

    #[test]
    fn a_directory_gives_its_captures_sorted_and_counts_the_rest() {
        let dir = Dir::new();
        dir.write("2.pcap", &pcap(2, &[1]));
        dir.write("1/z", &gzip(&pcap(1, &[1])));
        dir.write("1/notes.txt", b"not a capture");
        dir.write("3.bin", &NgFile::new(Big).out);
        dir.write("empty", b"");
        std::os::unix::fs::symlink(dir.0.path(), dir.0.path().join("circle")).unwrap();
        std::os::unix::fs::symlink("gone", dir.0.path().join("dangling")).unwrap();
        let mut inputs = Inputs::open(&[dir.0.path().to_owned()], None).unwrap();
        assert_eq!(read(&mut inputs), [(1, 1), (1, 2)]);
        let names: Vec<_> = inputs.reports().into_iter().map(|r| (r.path, r.error.is_some())).collect();
        let path = |name: &str| dir.0.path().join(name).to_string_lossy().into_owned();
        let expected =
            [(path("1/z"), false), (path("2.pcap"), false), (path("3.bin"), false), (path("dangling"), true)];
        assert_eq!(names, expected);
        assert_eq!(inputs.skipped(), 3);
    }

    #[test]
    fn trouble_with_one_input_leaves_the_others_alone() {
        let dir = Dir::new();
        let good = pcap(7, &[1, 2, 3]);
        std::fs::create_dir(dir.0.path().join("none")).unwrap();
        let paths = [
            dir.0.path().join("missing"),
            dir.write("text", b"some text"),
            dir.write("zero", b""),
            dir.write("cut", &good[..good.len() - 1]),
            dir.0.path().join("none"),
            dir.write("good", &good),
        ];
        let mut inputs = Inputs::open(&paths, None).unwrap();
        assert_eq!(read(&mut inputs).len(), 5);
        let faults: Vec<_> = inputs.reports().into_iter().map(|r| r.error.map(|e| (e.offset, e.reason))).collect();
        let reasons = ["No such file", "neither pcap nor", "is empty", "ends within a frame", "no capture in this dir"];
        for (fault, reason) in faults.iter().zip(reasons) {
            let (offset, why) = fault.as_ref().unwrap();
            assert_eq!(*offset, if reason.contains("frame") { good.len() as u64 - 56 } else { 0 });
            assert!(why.contains(reason), "{why}");
        }
        assert_eq!(faults[5], None);
        let size = 9 + good.len() * 2 - 1;
        assert_eq!((inputs.position(), inputs.total()), (size as u64, Some(size as u64)));
        assert_eq!(Inputs::open(&[], None).err(), Some(OpenError::Nothing));
    }

    #[test]
    fn a_filter_leaves_out_and_counts() {
        let dir = Dir::new();
        let mut file = PcapFile::new(Little, MICROS, LinkType::ETHERNET);
        file.frame(at(1), 2_000, &numbered(1, 60)).frame(at(2), 60, &numbered(2, 60));
        let path = dir.write("a", &file.finish());
        let mut raw = PcapFile::new(Little, MICROS, LinkType::RAW);
        raw.frame(at(3), 60, &numbered(3, 60));
        let raw = dir.write("raw", &raw.finish());

        let filter = Filter::new("greater 1000").unwrap();
        let mut inputs = Inputs::open(&[path.clone(), raw.clone()], Some(filter)).unwrap();
        assert_eq!(read(&mut inputs), [(1, 1)]);
        assert_eq!((inputs.filtered(), inputs.reports()[0].frames), (2, 2));
        assert!(inputs.reports().iter().all(|r| r.error.is_none()));

        let filter = Filter::new("ether src 02:02:02:02:02:02").unwrap();
        let mut inputs = Inputs::open(&[path, raw], Some(filter)).unwrap();
        assert_eq!(read(&mut inputs), [(2, 2)]);
        let fault = inputs.reports()[1].error.clone().unwrap();
        assert!(fault.reason.contains("does not fit frames of link type 101"), "{}", fault.reason);
        assert!(Filter::new("wlan type mgt").is_ok());
        let error = Filter::new("prot tcp").unwrap_err();
        assert!(error.to_string().contains("`prot tcp` does not compile: "), "{error}");
    }
}
