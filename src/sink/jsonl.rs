//! JSON lines: one object a line, to a file or to standard output.

use serde::Serialize;
use std::io::{self, Write};

/// Writes one record a line.
#[derive(Debug)]
pub struct JsonLines<W>(W);

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W) -> Self {
        Self(out)
    }

    /// Writes a record.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, record).map_err(io::Error::from)?;
        self.0.write_all(b"\n")
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
