//! From what the user named to the files to read.
//!
//! Reads: directories and the first bytes of the files in them. Emits: one entry an input, directories replaced by the
//! captures in them, sorted by name. Does not: follow symbolic links to directories (they may form a circle); open
//! pipes or devices it meets in a directory (reading them could wait for ever); judge a file the user named himself.

use super::compress::Decompressed;
use super::inputs::STDIN;
use super::{InputFault, pcap, pcapng};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What was found under the named paths.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// In the order to report them: a file to read, or why it cannot be.
    pub(super) entries: Vec<(PathBuf, Option<InputFault>)>,
    /// Files in directories that are no captures.
    pub(super) skipped: u64,
}

impl Tree {
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let mut tree = Self::default();
        for path in paths {
            if path.as_os_str() != STDIN && path.is_dir() {
                tree.directory(path);
            } else {
                tree.entries.push((path.clone(), None));
            }
        }
        tree
    }

    /// Adds the captures in and below a directory, without recursion: a stack of what is still to see.
    fn directory(&mut self, root: &Path) {
        let (found, skipped) = (self.entries.len(), self.skipped);
        let mut ahead = vec![(root.to_owned(), true)];
        while let Some((path, is_directory)) = ahead.pop() {
            if is_directory {
                match listing(&path) {
                    Ok(listed) => ahead.extend(listed.into_iter().rev()),
                    Err(e) => self.entries.push((path, Some(unreadable(&e)))),
                }
                continue;
            }
            match is_capture(&path) {
                Ok(Some(true)) => self.entries.push((path, None)),
                Ok(_) => self.skipped += 1,
                Err(e) => self.entries.push((path, Some(unreadable(&e)))),
            }
        }
        if self.entries.len() == found {
            let reason = format!("no capture in this directory ({} other files)", self.skipped - skipped);
            self.entries.push((root.to_owned(), Some(InputFault { offset: 0, reason })));
        }
    }
}

/// The names in a directory, sorted, and whether each is a directory to go down into.
fn listing(directory: &Path) -> std::io::Result<Vec<(PathBuf, bool)>> {
    let mut listed = std::fs::read_dir(directory)?
        .map(|entry| entry.and_then(|e| Ok((e.path(), e.file_type()?.is_dir()))))
        .collect::<std::io::Result<Vec<_>>>()?;
    listed.sort();
    Ok(listed)
}

/// Whether a regular file begins like a capture, under its compression if it has one; `None` for anything else.
fn is_capture(path: &Path) -> std::io::Result<Option<bool>> {
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let mut first = [0; 4];
    let file = File::open(path)?;
    // A damaged compressed file is no capture either: there is no magic to be seen.
    let seen = Decompressed::new(file).read_exact(&mut first).is_ok();
    Ok(Some(seen && (first == pcapng::SECTION || pcap::magic(first).is_some())))
}

/// The fault of a file or directory that cannot be opened.
pub(super) fn unreadable(e: &std::io::Error) -> InputFault {
    InputFault { offset: 0, reason: e.to_string() }
}
