//! Whether a machine is worked in a session, by whom it shows its screen to, and how far away that is.
//!
//! Reads: finished sessions. Emits: which end is worked; the shortest loop to whoever looks at it. Does not: judge.
//!
//! Errs: who is worked is read off bytes, so a large upload over RDP looks like a screen; without a loop to the far end it
//! raises nothing.

use crate::base::{Direction, Layer, Side};
use crate::session::Session;

/// A screen in words: less than this nobody works by.
const A_PICTURE: u64 = 50_000;
/// A screen weighs more than a keyboard and a mouse: so many times (as `remote-echo` counts it).
const OUTWEIGHS: u64 = 2;

/// Messages of less than so many bytes are no work.
const HANDS: u64 = 1_000;

/// The end whose machine is worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worked {
    /// The side of whoever works it.
    far: Side,
}

impl Worked {
    /// Whether it is that end's machine: it sends the picture, which is most of the bytes (science note S17), or lets the
    /// other end open connections to it.
    pub(super) fn of(session: &Session, end: Direction) -> Option<Self> {
        let other = if end == Direction::Orig { &session.ends.resp } else { &session.ends.orig };
        let own = if end == Direction::Orig { &session.ends.orig } else { &session.ends.resp };
        let shows = match shows_to_somebody(session) {
            Some(shown) => shown == end,
            None => own.bytes > A_PICTURE && own.bytes > other.bytes.saturating_mul(OUTWEIGHS),
        };
        let reverse = end == Direction::Orig && is_reverse_forward(session);
        let far = if end == Direction::Orig { Side::Server } else { Side::Client };
        (shows || reverse).then_some(Self { far })
    }

    /// The shortest loop to whoever works it, where the loop is closed, the part of it up to where the session's own
    /// transport ends (0: there), and how many loops were measured.
    pub(super) fn reach(self, session: &Session) -> Option<(Layer, u32, u32, u32)> {
        // What a TURN server answers itself is the way to the relay, and what passes it the way beyond.
        let through = least(session, self.far, |_, method| method.ends_with("-through-relay"));
        if let Some((whole_us, n)) = through {
            let own = |_, method: &str| {
                matches!(method, "allocate" | "refresh" | "create-permission" | "channel-bind" | "send")
            };
            return Some((Layer::Stun, whole_us, least(session, self.far, own).map_or(0, |(us, _)| us), n));
        }
        let loops = [Layer::Stun, Layer::Rfb, Layer::RustDesk, Layer::RemoteEcho];
        let closed = |layer: Layer| {
            let (us, n) = least(session, self.far, |at, method| at == layer && is_viewers(at, method))?;
            Some((us, layer, n))
        };
        let (whole_us, layer, n) = loops.into_iter().filter_map(closed).min()?;
        let tcp = least(session, self.far, |at, _| matches!(at, Layer::TcpHandshake | Layer::TcpData));
        // Without a connection that ends earlier, the session's other end is who works the machine.
        Some((layer, whole_us, tcp.map_or(0, |(us, _)| us), n))
    }
}

/// Loops that only whoever looks at the screen closes, whatever is between.
fn is_viewers(layer: Layer, method: &str) -> bool {
    match layer {
        Layer::Stun => method == "binding",
        Layer::Rfb => matches!(method, "version" | "security-choice"),
        Layer::RustDesk => method == "signed-id",
        _ => layer == Layer::RemoteEcho,
    }
}

/// The end that sends pictures, or sound, in a call in which the other end sends none, but messages on a data channel:
/// so browsers and KVM boxes carry hands (science note S15).
pub(super) fn shows_to_somebody(session: &Session) -> Option<Direction> {
    let said = |key: &str| session.attributes.iter().find(|(known, _)| *known == key).map(|(_, value)| &value[..]);
    let media = |key: &str| {
        // Payload type, packets and bytes of each, as `docs/protocols/rtp.md` tells.
        said(key)?.split(',').map(|of_type| of_type.rsplit(':').next()?.parse::<u64>().ok()).sum::<Option<u64>>()
    };
    let hands = |key: &str| said(key).and_then(|bytes| bytes.parse().ok()).is_some_and(|bytes: u64| bytes > HANDS);
    match (media("rtp.client_sent"), media("rtp.server_sent")) {
        (Some(bytes), None) if bytes > A_PICTURE && hands("dtls.server_bytes") => Some(Direction::Orig),
        (None, Some(bytes)) if bytes > A_PICTURE && hands("dtls.client_bytes") => Some(Direction::Resp),
        _ => None,
    }
}

/// Whether the one who opened it lets the other end open connections through it.
pub(super) fn is_reverse_forward(session: &Session) -> bool {
    session.attributes.iter().any(|(key, value)| *key == "ssh.behaviour" && value == "reverse-forward")
}

/// The shortest of a session's unambiguous round trips to one side of some kinds, in microseconds, and how many.
pub(super) fn least(session: &Session, side: Side, wanted: impl Fn(Layer, &str) -> bool) -> Option<(u32, u32)> {
    let (least, n) = session.shortest(side, wanted)?;
    Some((u32::try_from(least.as_micros()).unwrap_or(u32::MAX), u32::try_from(n).unwrap_or(u32::MAX)))
}
