//! Frames in: pcap and pcapng files, plain or compressed, standard input, live interfaces.
//!
//! The only room that does input. Emits [`Frame`]s in time order and, at the end, one [`InputReport`] an input.
//! Does not: look into a frame.

mod bpf;
mod capture;
mod compress;
mod dlt;
mod file;
mod filter;
mod inputs;
mod live;
mod memory;
mod pcap;
mod pcapng;
mod tree;
mod window;

pub use capture::CaptureReader;
pub use filter::{Filter, FilterError};
pub use inputs::{Inputs, OpenError};
pub use live::{Interface, Live, LiveError, LiveOptions, interfaces};
pub use memory::{Memory, MemoryFrame};

use crate::base::{Frame, LinkType, Timestamp};

/// What a source has next.
#[derive(Debug)]
pub enum Next<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// Nothing has arrived for a while; time has come to this point (live sources only).
    Idle(Timestamp),
    /// No more frames will come.
    End,
}

/// Where frames come from. Borrowed frames, so not an `Iterator`.
pub trait Source {
    /// The next frame. Trouble in one input ends that input only and is told in its report.
    fn next(&mut self) -> Next<'_>;

    /// What was read of each input so far, in the order the inputs were named.
    fn reports(&self) -> Vec<InputReport>;

    /// Bytes of input read so far, before decompression: where a progress bar stands.
    fn position(&self) -> u64 {
        0
    }

    /// Where [`Source::position`] will stand at the end, if that can be known.
    fn total(&self) -> Option<u64> {
        None
    }

    /// Frames that were read but did not match the filter, and so were not handed out.
    fn filtered(&self) -> u64 {
        0
    }
}

/// What became of one input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputReport {
    /// As the user named it.
    pub path: String,
    /// Frames read.
    pub frames: u64,
    /// Bytes of the input read, before decompression (for a live interface: bytes captured).
    pub bytes: u64,
    /// Earliest time stamp.
    pub start: Option<Timestamp>,
    /// Latest time stamp.
    pub end: Option<Timestamp>,
    /// Frames the kernel or the interface dropped (live only).
    pub kernel_dropped: Option<u64>,
    /// Why reading ended early, if it did.
    pub error: Option<InputFault>,
}

/// Where and why an input could not be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFault {
    /// Offset in the (decompressed) input, in bytes, where the part that could not be read begins.
    pub offset: u64,
    /// In words.
    pub reason: String,
}

/// The longest frame a file may hold, by link type; a record that claims more is damage.
/// The bounds are those of Wireshark (`wiretap/wtap.h`) and libpcap (`max_snaplen_for_dlt`).
const fn frame_limit(link: LinkType) -> u32 {
    const DBUS: LinkType = LinkType(231);
    const USBPCAP: LinkType = LinkType(249);
    const EBHSCR: LinkType = LinkType(279);
    match link {
        DBUS | USBPCAP => 128 * 1024 * 1024,
        EBHSCR => 32 * 1024 * 1024,
        _ => 256 * 1024,
    }
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod testkit;
