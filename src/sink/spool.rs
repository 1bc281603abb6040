//! Records sorted beyond memory: sorted runs on disk, merged at the end.
//!
//! Sessions end in an order that depends on the number of workers; the file must not. Each worker fills a spool of its
//! own; what passes the bound goes to an unnamed temporary file as a sorted run. Memory is bounded by
//! [`Spool::HELD_BYTES`] a worker.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// What lines are sorted by: time, then the record's id. Carries the server's address for [`merge`]'s last touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Start, nanoseconds since the epoch.
    pub start: i64,
    /// A number that tells records of the same time apart, the same in every run.
    pub id: u64,
    /// The server, IPv4 as IPv4-mapped.
    pub server: IpAddr,
}

const KEY_BYTES: usize = 8 + 8 + 16;

impl Key {
    fn to_bytes(self) -> [u8; KEY_BYTES] {
        let server = match self.server {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut bytes = [0; KEY_BYTES];
        let parts = self.start.to_be_bytes().into_iter().chain(self.id.to_be_bytes()).chain(server.octets());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        bytes
    }

    fn of_bytes(bytes: &[u8; KEY_BYTES]) -> Option<Self> {
        let (start, rest) = bytes.split_first_chunk::<8>()?;
        let (id, rest) = rest.split_first_chunk::<8>()?;
        let (server, _) = rest.split_first_chunk::<16>()?;
        Some(Self {
            start: i64::from_be_bytes(*start),
            id: u64::from_be_bytes(*id),
            server: IpAddr::V6(Ipv6Addr::from(*server)).to_canonical(),
        })
    }
}

/// Lines of one worker, on their way to a sorted file.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    text: Vec<u8>,
    lines: Vec<(Key, usize, usize)>,
    runs: Vec<File>,
    failed: Option<io::Error>,
}

impl Spool {
    /// Text held before a run is written.
    pub const HELD_BYTES: usize = 32 << 20;

    /// An empty spool whose runs go to `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), text: Vec::new(), lines: Vec::new(), runs: Vec::new(), failed: None }
    }

    /// Adds a line (without its line end). Trouble with the disk is told by [`merge`].
    pub fn push(&mut self, key: Key, line: impl FnOnce(&mut Vec<u8>)) {
        if self.failed.is_some() {
            return;
        }
        let start = self.text.len();
        line(&mut self.text);
        self.lines.push((key, start, self.text.len()));
        if self.text.len() >= Self::HELD_BYTES {
            let spilled = self.spill();
            if let Err(error) = spilled {
                // A full disk must not fill the memory as well.
                *self = Self { failed: Some(error), ..Self::new(&self.dir) };
            }
        }
    }

    fn sort(&mut self) {
        let text = &self.text;
        let line = |start: usize, end: usize| text.get(start..end).unwrap_or(&[]);
        self.lines.sort_unstable_by(|a, b| (a.0, line(a.1, a.2)).cmp(&(b.0, line(b.1, b.2))));
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let mut run = BufWriter::with_capacity(1 << 18, tempfile::tempfile_in(&self.dir)?);
        for (key, start, end) in self.lines.drain(..) {
            let line = self.text.get(start..end).unwrap_or(&[]);
            run.write_all(&key.to_bytes())?;
            run.write_all(&u32::try_from(line.len()).unwrap_or(u32::MAX).to_be_bytes())?;
            run.write_all(line)?;
        }
        self.text.clear();
        let mut file = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }
}

/// A sorted sequence of lines.
enum Run {
    Held(std::vec::IntoIter<(Key, usize, usize)>, Vec<u8>),
    File(BufReader<File>),
}

impl Run {
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<Key>> {
        line.clear();
        match self {
            Self::Held(lines, text) => Ok(lines.next().map(|(key, start, end)| {
                line.extend_from_slice(text.get(start..end).unwrap_or(&[]));
                key
            })),
            Self::File(file) => {
                let mut head = [0u8; KEY_BYTES];
                match file.read_exact(&mut head) {
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                    other => other?,
                }
                let mut len = [0u8; 4];
                file.read_exact(&mut len)?;
                line.resize(usize::try_from(u32::from_be_bytes(len)).unwrap_or(0), 0);
                file.read_exact(line)?;
                Ok(Key::of_bytes(&head))
            }
        }
    }
}

/// Hands out the lines of all spools in order.
///
/// # Errors
/// A run could not be written or read back, or `each` failed.
pub fn merge(spools: Vec<Spool>, mut each: impl FnMut(&Key, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut runs = Vec::new();
    for mut spool in spools {
        if let Some(error) = spool.failed.take() {
            return Err(error);
        }
        spool.sort();
        runs.extend(spool.runs.drain(..).map(|file| Run::File(BufReader::with_capacity(1 << 16, file))));
        runs.push(Run::Held(std::mem::take(&mut spool.lines).into_iter(), std::mem::take(&mut spool.text)));
    }
    let mut heap = BinaryHeap::new();
    for (i, run) in runs.iter_mut().enumerate() {
        let mut line = Vec::new();
        if let Some(key) = run.next(&mut line)? {
            heap.push(Reverse((key, line, i)));
        }
    }
    while let Some(Reverse((key, mut line, i))) = heap.pop() {
        each(&key, &line)?;
        if let Some(key) = runs.get_mut(i).map_or(Ok(None), |run| run.next(&mut line))? {
            heap.push(Reverse((key, line, i)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_sorted_also_from_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut spools = [Spool::new(dir.path()), Spool::new(dir.path())];
        let server: IpAddr = "192.0.2.1".parse().unwrap();
        for i in 0..1_000u64 {
            let start = i64::try_from(i * 7_919 % 1_000).unwrap() - 500;
            let spool = &mut spools[usize::try_from(i % 2).unwrap()];
            spool.push(Key { start, id: i, server }, |out| out.extend_from_slice(start.to_string().as_bytes()));
            if i % 300 == 299 {
                spool.spill().unwrap();
            }
        }
        let mut seen = Vec::new();
        merge(spools.into(), |key, line| {
            assert_eq!((line, key.server), (key.start.to_string().as_bytes(), server));
            seen.push(key.start);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (-500..500).collect::<Vec<_>>());
    }

    #[test]
    fn trouble_with_the_disk_is_told_and_holds_no_memory() {
        let mut spool = Spool::new(Path::new("/nonexistent/farmlight"));
        let server: IpAddr = "192.0.2.1".parse().unwrap();
        for id in 0..5 {
            spool.push(Key { start: 0, id, server }, |out| out.resize(out.len() + Spool::HELD_BYTES / 2, b'x'));
        }
        assert_eq!((spool.text.capacity(), spool.lines.len()), (0, 0));
        assert_eq!(merge(vec![spool], |_, _| Ok(())).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
