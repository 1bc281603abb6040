//! The classic capture file format with nanosecond time stamps, little-endian (draft-ietf-opsawg-pcap).
//!
//! Reads: frames. Emits: a file header, then record by record. Does not: sort.

use crate::base::Timestamp;
use std::io::{self, Write};

/// The file header.
pub(super) fn begin(out: &mut impl Write) -> io::Result<()> {
    const MAGIC: u32 = 0xa1b2_3c4d;
    const SNAP_LENGTH: u32 = 262_144;
    const ETHERNET: u32 = 1;
    out.write_all(&MAGIC.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0])?;
    [0, 0, SNAP_LENGTH, ETHERNET].into_iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))
}

/// Records, in the order given.
pub(super) fn frames(frames: &[(Timestamp, Vec<u8>)], out: &mut impl Write) -> io::Result<()> {
    const SECOND: i64 = 1_000_000_000;
    for (at, bytes) in frames {
        let seconds = u32::try_from(at.nanos().div_euclid(SECOND)).map_err(io::Error::other)?;
        let nanos = u32::try_from(at.nanos().rem_euclid(SECOND)).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        for word in [seconds, nanos, length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(bytes)?;
    }
    Ok(())
}
