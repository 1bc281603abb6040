//! A file read from front to back, with a bound on how many are open.
//!
//! Reads: regular files and pipes. Emits: their bytes. Does not: seek back.
//! Above the bound a file is opened for each piece that is read and closed after it, which costs little, as pieces are
//! large; so a thousand captures of the same hour can be merged under the usual limit of 1,024 open files.

use std::fs::File;
use std::io::{Error, Read, Result, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files held open between reads.
const HELD: usize = 256;

/// How many files are held open; shared by all files of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Handles(Arc<AtomicUsize>);

#[cfg(test)]
impl Handles {
    pub(super) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The bytes of one file.
#[derive(Debug)]
pub(super) struct FileBytes {
    path: PathBuf,
    /// The open file, if it is one of those held.
    held: Option<File>,
    offset: u64,
    /// Length when it was opened first, so that a file replaced in between is noticed.
    len: u64,
    handles: Handles,
}

impl FileBytes {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened or is a directory.
    pub(super) fn open(path: &Path, handles: &Handles) -> Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(Error::other("is a directory"));
        }
        // What is not a regular file cannot be opened again where it was left.
        let hold = !metadata.is_file() || handles.0.load(Ordering::Relaxed) < HELD;
        let held = hold.then_some(file);
        handles.0.fetch_add(usize::from(hold), Ordering::Relaxed);
        Ok(Self { path: path.to_owned(), held, offset: 0, len: metadata.len(), handles: handles.clone() })
    }
}

impl Read for FileBytes {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if let Some(file) = &mut self.held {
            return file.read(buf);
        }
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.len {
            return Err(Error::other("the file became shorter while it was read"));
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let n = file.read(buf)?;
        self.offset += n as u64;
        Ok(n)
    }
}

impl Drop for FileBytes {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.handles.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
