//! The words all rooms share: time, frames, directions, round trips, a checked byte reader.
//!
//! Reads: nothing. Emits: types. Does not: hold behaviour of any one room.

mod beat;
mod claim;
mod count;
#[cfg(test)]
mod dice;
mod digest;
mod event;
mod frame;
mod reader;
mod rtt;
mod seldom;
mod shape;
mod sign;
mod spelling;
mod time;
mod volume;
pub mod words;

pub use beat::Beat;
pub use claim::{Claim, Identity, IdentityKind, Located, Stay, Sureness, Whereabouts};
pub use count::commas;
#[cfg(test)]
pub(crate) use dice::Dice;
pub use digest::{Digest, FlowDigest, WideDigest};
pub use event::{CARGO, CARGO_PROTOCOL, Event, EventKind, Events, Fault, Key, Link, Loop, Piece};
pub use frame::{Frame, LinkType};
pub use reader::Reader;
pub use rtt::{Layer, RttKind, RttPart, RttSample, Side, TcpTally, Window};
pub use seldom::{Emptiable, Seldom};
pub use shape::{Burst, Bursts, Gait, Sent, Shape};
pub use sign::{Said, Shows, Sign, last_labels};
pub use spelling::edits;
pub use time::Timestamp;
pub use volume::{TunnelSide, Volume};

/// Who of the two ends of a flow sent something (Zeek's `is_orig`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Sent by the originator: the end that opened the connection.
    Orig,
    /// Sent by the responder.
    Resp,
}

impl Direction {
    /// The other end.
    #[must_use]
    pub const fn flip(self) -> Self {
        match self {
            Self::Orig => Self::Resp,
            Self::Resp => Self::Orig,
        }
    }

    /// 0 for the originator, 1 for the responder: an index into a pair.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Orig => 0,
            Self::Resp => 1,
        }
    }
}

/// One value for each end of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends<T> {
    /// The originator's.
    pub orig: T,
    /// The responder's.
    pub resp: T,
}

impl<T> Ends<T> {
    /// The value of the end that sends in `direction`.
    pub const fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Orig => &self.orig,
            Direction::Resp => &self.resp,
        }
    }

    /// The same, to change it.
    pub const fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Orig => &mut self.orig,
            Direction::Resp => &mut self.resp,
        }
    }

    /// Exchanges the two, when originator and responder turn out to be the other way round.
    pub const fn swap(&mut self) {
        std::mem::swap(&mut self.orig, &mut self.resp);
    }
}
